"""Which arbiter is meant, and the lines that lead to it."""
from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twinbeat.config_digest import pair_id_of
from twinbeat.config_schema import ArbiterVoter
from twinbeat.errors import ConfigError, UsageError
from twinbeat_bridge.protocol import Session
from twinbeat_bridge.session import SerialSession

if TYPE_CHECKING:
    import argparse

    from twinbeat.config import Config

BAUD = 921600
GRANT_MS = 500
"""Length of the promises that a test asks for: short, because a test that breaks off leaves one behind."""
SIDES = 2


@dataclass(frozen=True)
class Line:
    """A serial line to one side of the arbiter. `side` is the number of the node whose line it is."""

    side: int
    name: str
    path: str
    baud: int


@dataclass(frozen=True)
class Target:
    """The arbiter that is meant. `pair_id`, `voter` None: any."""

    lines: tuple[Line, ...]
    pair_name: str | None
    pair_id: int | None
    voter: int | None
    group_names: tuple[str, ...]
    node_names: tuple[str, ...]
    cfg: Config | None = None

    def group_name(self, group: int) -> str:
        """The configuration's name of a group, else its number as the file counts."""
        return self.group_names[group] if group < len(self.group_names) else str(group + 1)

    def session(self, side: int) -> Session:
        """A session of its own life on one side."""
        return Session(side, self.pair_id or 0, secrets.randbits(32) | 1, self.voter, GRANT_MS)


def find_target(arguments: argparse.Namespace) -> Target:
    """From --config, --node, --port, --side, --baud and --pair. Raises UsageError or ConfigError."""
    cfg = read_config(arguments)
    if len(arguments.port) > SIDES:
        raise UsageError(f"--port is given {len(arguments.port)} times; an arbiter has {SIDES} sides")
    if len(arguments.port) == SIDES and arguments.side is not None:
        raise UsageError("--side says on which side a single --port is; with two ports the first is on side 0")
    if cfg is None:
        return Target(
            lines=tuple(lines_of(arguments, arguments.baud or BAUD, 0, ("side 0", "side 1"))),
            pair_name=arguments.pair,
            pair_id=pair_id_of(arguments.pair) if arguments.pair else None,
            voter=None,
            group_names=(),
            node_names=(),
        )
    if arguments.pair and arguments.pair != cfg.pair.name:
        raise UsageError(f"--pair {arguments.pair}: {cfg.path} is of the pair {cfg.pair.name}; leave one of them out")
    voter = cfg.third_voter
    if not isinstance(voter, ArbiterVoter):
        have = f'type = "{voter.type}"' if voter is not None else "no [third_voter]"
        raise ConfigError(f'{cfg.path}: the file has {have}; add [third_voter] with type = "arbiter", or use --port')
    baud = arguments.baud or voter.baud
    lines = lines_of(arguments, baud, cfg.self_index, cfg.node_names)
    if not arguments.port:
        lines = [Line(cfg.self_index, cfg.node, cfg.serial_path(voter.port), baud)]
    return Target(
        lines=tuple(lines),
        pair_name=cfg.pair.name,
        pair_id=cfg.pair_id,
        voter=int(voter.id, 16),
        group_names=tuple(group.name for group in cfg.groups),
        node_names=cfg.node_names,
        cfg=cfg,
    )


def lines_of(arguments: argparse.Namespace, baud: int, side: int, names: tuple[str, ...]) -> list[Line]:
    """The lines that --port names."""
    if len(arguments.port) == 1:
        side = arguments.side if arguments.side is not None else side
        return [Line(side, names[side], arguments.port[0], baud)]
    return [Line(number, names[number], path, baud) for number, path in enumerate(arguments.port)]


def read_config(arguments: argparse.Namespace) -> Config | None:
    """The configuration, where it is named or needed."""
    if arguments.config is None and (arguments.port or arguments.pair):
        return None
    from twinbeat.config import DEFAULT_PATH, load_config

    return load_config(arguments.config or DEFAULT_PATH, arguments.node, any_node=bool(arguments.port))


@contextmanager
def opened(target: Target) -> Iterator[list[OpenLine]]:
    """The lines, open for this process alone. Raises DeviceError."""
    from twinbeat.serial_port import open_serial

    fds: list[int] = []
    try:
        for line in target.lines:
            fds.append(open_serial(line.path, line.baud))
        yield [OpenLine(target, line, fd) for line, fd in zip(target.lines, fds, strict=True)]
    finally:
        for fd in fds:
            os.close(fd)


def require_lines(target: Target) -> None:
    """UsageError where no line is named."""
    if not target.lines:
        raise UsageError("which arbiter? Give --port PATH, or --config")


class OpenLine:
    """An open line, and the life that talks on it."""

    def __init__(self, target: Target, line: Line, fd: int) -> None:
        self.target = target
        self.line = line
        self._fd = fd
        self.serial = self.life()
        self.serial.drain()

    def life(self) -> SerialSession:
        """A further life of this side's gateway on the same line: what one holds, another does not get."""
        session = self.target.session(self.line.side)
        return SerialSession(self._fd, session, self.line.path, any_pair=self.target.pair_id is None)


def data_of(line: Line) -> dict[str, Any]:
    """A line as plain data."""
    return {"side": line.side, "node": line.name, "port": line.path, "baud": line.baud}
