"""The configuration: one TOML file, the same on both gateways, read once and never changed while running.

`load_config` gives a `Config` or raises ConfigError with every fault of the file, one line each.
"""
from __future__ import annotations

import os
import re
import socket
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from twinbeat.config_digest import config_digest, pair_id_of
from twinbeat.config_model import GroupConfig, load_file
from twinbeat.config_modes import Family, expand, families_of, spare_of
from twinbeat.config_reader import Reader, suggestion
from twinbeat.config_rules import check_rules, named_links
from twinbeat.config_schema import (
    AgentConfig,
    BalanceConfig,
    LinkConfig,
    MqttLink,
    NodeConfig,
    PairConfig,
    SerialLink,
    ThirdVoter,
    TimingConfig,
    UdpLink,
)
from twinbeat.errors import ConfigError

if TYPE_CHECKING:
    from twinbeat.config_check import CheckConfig
    from twinbeat.config_operator import RemoteConfig
    from twinbeat.config_warning import WarningConfig
    from twinbeat_core.settings import Settings

__all__ = [
    "DEFAULT_PATH",
    "AgentConfig",
    "BalanceConfig",
    "Config",
    "Family",
    "GroupConfig",
    "LinkConfig",
    "MqttLink",
    "NodeConfig",
    "PairConfig",
    "SerialLink",
    "ThirdVoter",
    "TimingConfig",
    "UdpLink",
    "core_settings",
    "load_config",
]

DEFAULT_PATH = "/etc/twinbeat/twinbeat.toml"
DEFAULT_RUN_DIR = "/run/twinbeat"
DEFAULT_STATE_DIR = "/var/lib/twinbeat"


class Config(Struct, frozen=True, kw_only=True):
    """A checked configuration as one node sees it. Node and link numbers are positions in the file.

    path      the file
    node      the name of this node
    groups    the units that the core moves: each shard of a group that has shards, else the group itself
    families  the groups as the file writes them, with the numbers of their units
    digest    16 bits that are equal on all nodes when their files say the same ([agent] does not count)
    pair_id   16 bits made from the pair's name
    """

    path: Path
    node: str
    pair: PairConfig
    nodes: dict[str, NodeConfig]
    links: tuple[LinkConfig, ...]
    groups: tuple[GroupConfig, ...]
    timing: TimingConfig
    agent: AgentConfig
    digest: int
    pair_id: int
    third_voter: ThirdVoter | None = None
    checks: tuple[CheckConfig, ...] = ()
    remote: RemoteConfig | None = None
    families: tuple[Family, ...] = ()
    balance: BalanceConfig | None = None
    warning: WarningConfig | None = None

    @property
    def node_names(self) -> tuple[str, ...]:
        """All nodes in the order of the file, which is their number in frames."""
        return tuple(self.nodes)

    @property
    def self_index(self) -> int:
        """This node's number."""
        return self.node_names.index(self.node)

    @property
    def peer_names(self) -> tuple[str, ...]:
        """The other nodes."""
        return tuple(name for name in self.nodes if name != self.node)

    @property
    def spare(self) -> str | None:
        """The spare node, where there is one."""
        return spare_of(self.nodes)

    def may_drive(self, group: GroupConfig, node: str | None = None) -> bool:
        """Whether this node (or `node`) may drive a unit; one that may not has none of its outputs."""
        return (node or self.node) in group.drivers

    def reaches(self, link: LinkConfig, node: str | None = None) -> bool:
        """Whether a link is connected to this node (or `node`): all but a serial cable between two others."""
        return not isinstance(link, SerialLink) or not link.between or (node or self.node) in link.between

    def checks_of(self, node: str) -> tuple[CheckConfig, ...]:
        """The health checks that a node runs."""
        return tuple(check for check in self.checks if not check.nodes or node in check.nodes)

    @property
    def key_path(self) -> Path:
        """The pair's key file; a relative path counts from the configuration file."""
        return self.resolve(self.pair.key_file)

    def resolve(self, path: str) -> Path:
        """A path of the file, counted from the file's own directory when it is relative."""
        return self.path.parent / path

    def link_name(self, link: int) -> str:
        """The name of a link as status and topics show it."""
        return self.links[link].name or str(link)

    def serial_path(self, port: str, node: str | None = None) -> str:
        """The device behind a port name on this node (or `node`); a text with a slash is a device already."""
        return port if "/" in port else self.nodes[node or self.node].serial[port]

    def udp_address(self, link: UdpLink, node: str | None = None) -> tuple[str, int]:
        """(address, port) of this node (or `node`) on a UDP link."""
        from twinbeat.config_rules import split_address

        return split_address(self.nodes[node or self.node].udp[link.address])

    def run_dir(self, override: str | None = None) -> Path:
        """Where socket and lock live: --run-dir, TWINBEAT_RUN_DIR, [agent] run_dir, /run/twinbeat."""
        return Path(override or os.environ.get("TWINBEAT_RUN_DIR") or self.agent.run_dir or DEFAULT_RUN_DIR)

    def state_dir(self, override: str | None = None) -> Path:
        """Where epochs and recordings live: --state-dir, TWINBEAT_STATE_DIR, [agent] state_dir, /var/lib/twinbeat."""
        return Path(override or os.environ.get("TWINBEAT_STATE_DIR") or self.agent.state_dir or DEFAULT_STATE_DIR)

    def socket_path(self, run_dir_override: str | None = None) -> Path:
        """The control socket of this node's agent."""
        return self.run_dir(run_dir_override) / f"{self.pair.name}-{self.node}.sock"


def load_config(path: str | Path, node: str | None = None, *, any_node: bool = False) -> Config:
    """Read and check a file as node `node` sees it (None: TWINBEAT_NODE, else the host name).

    `any_node` takes the first node where none is named and the host is none of them, for looking at a
    file on another machine. Raises ConfigError with one line for each fault.
    """
    file_path = Path(path)
    reader = Reader()
    tables = load_file(read_toml(file_path), reader)
    if tables is not None:
        check_rules(tables, reader)
    if tables is None or reader.problems:
        raise ConfigError([f"{file_path}: {problem}" for problem in reader.problems])
    return Config(
        path=file_path,
        node=choose_node(file_path, list(tables.nodes), node, any_node=any_node),
        pair=tables.pair,
        nodes=tables.nodes,
        links=named_links(tables.links),
        groups=expand(tables.groups, tables.nodes),
        timing=tables.timing,
        agent=tables.agent,
        digest=config_digest(tables),
        pair_id=pair_id_of(tables.pair.name),
        third_voter=tables.third_voter,
        checks=tables.checks,
        remote=tables.remote,
        families=families_of(tables.groups),
        balance=tables.balance,
        warning=tables.warning,
    )


def core_settings(cfg: Config, *, realtime: bool | None = None) -> Settings:
    """The core's settings for this node; see `twinbeat.config_core`."""
    from twinbeat.config_core import core_settings as build

    return build(cfg, realtime=realtime)


def choose_node(path: Path, names: list[str], wanted: str | None, *, any_node: bool) -> str:
    """Which of `names` this machine is; ConfigError when it is none of them."""
    listed = ", ".join(names)
    for word, source in ((wanted, "--node"), (os.environ.get("TWINBEAT_NODE"), "TWINBEAT_NODE")):
        if not word:
            continue
        if word in names:
            return word
        raise ConfigError(
            f'{path}: {source} names node "{word}", which is not in the file; {suggestion(word, names, "nodes")}'
        )
    host = socket.gethostname()
    for word in (host, host.partition(".")[0]):
        if word in names:
            return word
    if any_node:
        return names[0]
    raise ConfigError(
        f'{path}: this machine is called "{host}", and the file has only the nodes {listed}; '
        "say which one this is with --node NAME or TWINBEAT_NODE, or name the [node.…] table like the host"
    )


def read_toml(path: Path) -> dict[str, Any]:
    """The file's tables; ConfigError when it cannot be read or is not TOML."""
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; write it, or name another one with --config") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: this is a directory; name the file in it with --config") from None
    except PermissionError:
        raise ConfigError(f"{path}: this user may not read it; run as root or as the agent's user") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8 text") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; name another file with --config") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {toml_fault(str(error), text)}") from None


def toml_fault(message: str, text: str) -> str:
    """A TOML error in the words of the file: line first, a second declaration explained."""
    place = re.search(r"\(at line (\d+), column (\d+)\)", message)
    where = f"line {place[1]}, column {place[2]}" if place else "end of the file"
    what = message.partition(" (at ")[0]
    twice = re.match(r"Cannot declare \((.*)\) twice", what)
    if twice:
        names = [part.strip().strip("'\"") for part in twice[1].split(",") if part.strip()]
        table = ".".join(names)
        if len(names) == 2 and names[0] == "node":
            return (
                f'{where}: there are two nodes with the name "{names[1]}": [{table}] is declared twice; '
                "give every node a name of its own"
            )
        return f"{where}: [{table}] is declared twice; put its keys into one table (lists are written [[{table}]])"
    if what == "Cannot overwrite a value" and place:
        line = text.splitlines()[int(place[1]) - 1].strip() if int(place[1]) <= len(text.splitlines()) else ""
        return f'{where}: "{line}" sets a key or table for the second time; keep one of the two'
    return f"{where}: not valid TOML: {what}"
