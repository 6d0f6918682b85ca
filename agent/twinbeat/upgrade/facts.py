"""What decides whether two versions work together: facts of the program installed here, and of earlier releases."""
from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from msgspec import Struct

from twinbeat.config import load_config
from twinbeat.config_digest import DIGEST_RULES
from twinbeat.errors import ConfigError, UsageError
from twinbeat.store import FORMAT as STATE_FORMAT
from twinbeat.upgrade.pin import NEWEST, OLDEST, pinned_layout
from twinbeat.version import __version__
from twinbeat_bridge.protocol import VERSION as VOTER_PROTOCOL

SCHEMA = 1
LIBRARIES = ("msgspec", "paho-mqtt", "pyserial", "gpiod", "kazoo")
"""What the program runs with; the last one only where ZooKeeper is the third voter."""
OPTIONAL = ("kazoo",)
FILE_BYTES_MAX = 1 << 20


class Facts(Struct, frozen=True, kw_only=True):
    """One program. None: it does not say.

    protocol_oldest, protocol_newest  layouts of the frames it reads; protocol_pinned: the newest it is held to
    digest_rules    number of the rules by which a file becomes the digest that frames carry
    state_format    of the state file with starts and reserved epochs
    voter_protocol  first byte of what is said to an arbiter or witness
    config_file, config_digest  the file that it was asked about, and what it read from it
    """

    twinbeat: str
    protocol_oldest: int
    protocol_newest: int
    digest_rules: int
    state_format: int
    voter_protocol: int
    protocol_pinned: int | None = None
    python: str | None = None
    libraries: dict[str, str] | None = None
    config_file: str | None = None
    config_digest: int | None = None
    config_problem: str | None = None
    third_voter: str | None = None

    @property
    def newest_spoken(self) -> int:
        """The newest layout it says anything in."""
        return self.protocol_newest if self.protocol_pinned is None else self.protocol_pinned


RELEASES: dict[str, Facts] = {
    "0.1.0": Facts(twinbeat="0.1.0", protocol_oldest=1, protocol_newest=1, digest_rules=1, state_format=1,
                   voter_protocol=0xD1),
}
"""Earlier releases. One that says less of itself is looked up here."""


def own_facts(config: str | None = None) -> Facts:
    """The program that runs this; with `config` also what it reads from that file."""
    digest = problem = third_voter = None
    if config is not None:
        try:
            cfg = load_config(config, any_node=True)
            digest, third_voter = cfg.digest, cfg.third_voter.type if cfg.third_voter else None
        except ConfigError as error:
            problem = str(error)
    return Facts(
        twinbeat=__version__,
        protocol_oldest=OLDEST,
        protocol_newest=NEWEST,
        protocol_pinned=pinned_layout(),
        digest_rules=DIGEST_RULES,
        state_format=STATE_FORMAT,
        voter_protocol=VOTER_PROTOCOL,
        python=platform.python_version(),
        libraries=library_versions(),
        config_file=config,
        config_digest=digest,
        config_problem=problem,
        third_voter=third_voter,
    )


def library_versions() -> dict[str, str]:
    """What is installed of the libraries; "missing" for one that is not."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            if name not in OPTIONAL:
                found[name] = "missing"
    return found


def as_data(facts: Facts) -> dict[str, Any]:
    """For JSON, with what a report of a fault should name."""
    data = {name: getattr(facts, name) for name in facts.__struct_fields__}
    data = {name: value for name, value in data.items() if value is not None}
    return {"schema": SCHEMA, **data, "kernel": platform.release(), "machine": platform.machine()}


def release_facts(name: str) -> Facts:
    """A release by its number. Raises UsageError where this program does not know it."""
    known = {__version__: own_facts()} | RELEASES
    if name not in known:
        raise UsageError(
            f'--peer-version {name}: this program, {__version__}, knows the releases {", ".join(sorted(known))}; run '
            "twinbeat version --json on the other gateway and give its answer with --with FILE.json"
        )
    return known[name]


def facts_of_file(path: str) -> Facts:
    """The answer of `twinbeat version --json` from the other gateway. Raises UsageError."""
    try:
        with Path(path).open("rb") as file:
            values = json.loads(file.read(FILE_BYTES_MAX))
    except OSError as error:
        raise UsageError(f"--with {path}: cannot be read: {error.strerror}; name the file with that answer") from None
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or not isinstance(values.get("twinbeat"), str):
        raise UsageError(f"--with {path}: this is not the answer of twinbeat version --json; write it on the other "
                         "gateway with: twinbeat version --json --config FILE > other.json")
    return facts_of(values, f"--with {path}")


def facts_of(values: dict[str, Any], place: str) -> Facts:
    """From plain data; a release that says less of itself is known by its number. Raises UsageError."""
    name = str(values["twinbeat"])
    base = {key: values[key] for key in NUMBERS if key in values}
    bad = [key for key, value in base.items() if type(value) is not int or value < 0]
    if bad:
        raise UsageError(f"{place}: {bad[0]} = {base[bad[0]]!r} is no number; write the answer of twinbeat version "
                         "--json anew on the other gateway")
    if len(base) < len(NUMBERS):
        if name not in RELEASES:
            raise UsageError(f"{place}: twinbeat {name} does not say {missing(base)}, and this program does not know "
                             "that release: install one of them that does on both gateways")
        base = {key: getattr(RELEASES[name], key) for key in NUMBERS} | base
    texts = {key: values[key] for key in TEXTS if isinstance(values.get(key), str)}
    whole = {key: values[key] for key in ("config_digest", "protocol_pinned") if type(values.get(key)) is int}
    libraries = values.get("libraries")
    named = {str(key): str(value) for key, value in libraries.items()} if isinstance(libraries, dict) else None
    return Facts(twinbeat=name, libraries=named, **base, **texts, **whole)


def missing(base: dict[str, Any]) -> str:
    """The first number that is not there."""
    return next(key for key in NUMBERS if key not in base)


NUMBERS = ("protocol_oldest", "protocol_newest", "digest_rules", "state_format", "voter_protocol")
TEXTS = ("python", "config_file", "config_problem", "third_voter")
