"""The witness's own file: which broker, which pairs. Every fault in it is one line with place, value and remedy."""
from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from twinbeat.config import read_toml
from twinbeat.config_reader import Reader, suggestion
from twinbeat.config_rules import check_broker, split_broker, twins
from twinbeat.config_schema import BrokerTable, Name, Text
from twinbeat.errors import ConfigError
from twinbeat.links.mqtt_options import MqttOptions, read_password

DEFAULT_STATE_DIR = "/var/lib/twinbeat-witness"
TABLES = ("witness", "pair")


class WitnessTable(BrokerTable, frozen=True, kw_only=True, omit_defaults=True):
    """[witness]: its name, its broker, its limits. `grant_max_ms`: no promise is longer, and so long it abstains."""

    name: Name
    keepalive_s: Annotated[int, Meta(ge=1, le=300)] = 5
    state_dir: Text = DEFAULT_STATE_DIR
    keys_dir: Text | None = None
    grant_max_ms: Annotated[int, Meta(ge=50, le=60000)] = 10000
    metrics_port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    log: Literal["debug", "info", "warning", "error"] = "info"


class PairTable(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """[[pair]]: a pair by name, with the key file that its gateways have."""

    name: Name
    key_file: Text


class WitnessConfig(Struct, frozen=True, kw_only=True):
    """A whole file, checked. Relative paths count from its directory."""

    path: Path
    witness: WitnessTable
    pairs: tuple[PairTable, ...] = ()

    @property
    def state_dir(self) -> Path:
        """Where reservations and the lock live."""
        return self.path.parent / self.witness.state_dir

    @property
    def keys_dir(self) -> Path | None:
        """The directory of `<pair>.key` files."""
        return self.path.parent / self.witness.keys_dir if self.witness.keys_dir is not None else None

    def key_path(self, pair: PairTable) -> Path:
        """A pair's key file."""
        return self.path.parent / pair.key_file

    def options(self) -> MqttOptions:
        """The broker as a connection needs it, with the password read. Raises KeyFileError."""
        table = self.witness
        host, port, tls = split_broker(table.broker)
        password = None
        if table.password_file is not None:
            password = read_password(str(self.path.parent / table.password_file))
        files = {name: getattr(table, name) for name in ("ca", "cert", "key")}
        paths = {name: str(self.path.parent / file) if file is not None else None for name, file in files.items()}
        return MqttOptions(
            link=0, name="witness", pair="", node=table.name, host=host, port=port, tls=tls,
            user=table.user, password=password, keepalive_s=table.keepalive_s,
            ca=paths["ca"], cert=paths["cert"], key=paths["key"],
        )  # fmt: skip


def load_witness_config(path: str | Path) -> WitnessConfig:
    """Read and check a file. Raises ConfigError with one line for each fault."""
    file_path = Path(path)
    reader = Reader()
    data = read_toml(file_path)
    for key in data:
        if key not in TABLES:
            reader.add("top level", f'unknown table or key "{key}"; {suggestion(key, TABLES, "tables")}')
    witness = load_witness(data.get("witness"), reader)
    pairs = load_pairs(data.get("pair", []), reader)
    if witness is not None:
        check_broker(witness, "[witness]", reader)
        if not pairs and witness.keys_dir is None and "pair" not in data:
            reader.add("[witness]", "there is no pair to serve; add [[pair]] tables (name and key_file), or keys_dir")
    for pair, _ in twins(list(pairs), lambda pair: pair.name):
        reader.add("[[pair]]", f'name = "{pair.name}" stands there twice; a pair has one key')
    if witness is None or reader.problems:
        raise ConfigError([f"{file_path}: {problem}" for problem in reader.problems])
    return WitnessConfig(path=file_path, witness=witness, pairs=tuple(pairs))


def load_witness(value: Any, reader: Reader) -> WitnessTable | None:
    """The [witness] table."""
    if value is None:
        reader.add("top level", "there is no [witness] table; it takes at least name and broker")
        return None
    table = reader.table(value, "[witness]")
    return reader.struct(table, WitnessTable, "[witness]") if table is not None else None


def load_pairs(value: Any, reader: Reader) -> list[PairTable]:
    """The [[pair]] tables."""
    if not isinstance(value, list):
        reader.add("[pair]", "pairs are a list here; write [[pair]] with two brackets")
        return []
    pairs = []
    for number, item in enumerate(value, start=1):
        place = f"[[pair]] {number}"
        table = reader.table(item, place)
        pair = reader.struct(table, PairTable, place) if table is not None else None
        if pair is not None:
            pairs.append(pair)
    return pairs
