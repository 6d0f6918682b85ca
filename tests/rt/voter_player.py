"""An arbiter that the test plays: the far end of its serial line, read and answered in a thread of its own."""
from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import threading
import time
import tty
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from harness import PATIENCE_S, Child, Line, Relay, lone_node, now_ns

from twinbeat_bridge.arbiter import frames, lease

VOTER = 0xA0B1C2D3
LIFE = 7001
GRANT_MS = 500
NEVER_MS = 65535
ROOM = 1 << 30           # epochs that are reserved


class Ask(NamedTuple):
    """A frame of the gateway: kinds of frames.py, stamp in microseconds; rows: (group, epoch)."""

    kind: int
    node: int
    pair: int
    incarnation: int
    stamp: int
    life: int
    clock: int
    grant: int
    rows: tuple[tuple[int, int], ...]
    at_ns: int

    @property
    def claims(self) -> bool:
        """Asks for a promise, not for the floor alone."""
        return self.kind == frames.ASK and any(epoch for _, epoch in self.rows)


class Row(NamedTuple):
    """One group of an answer."""

    group: int
    code: int
    epoch: int = 0
    ms: int = 0
    contacts: int = 0


Act = Callable[[Ask], "list[Row] | None"]
"""Rows of the answer to an ask; None: no answer."""


def silent(_ask: Ask) -> None:
    """No answer at all."""


def promises(ask: Ask) -> list[Row]:
    """Whatever is asked for, unproven or not."""
    return [Row(group, lease.PROMISED, epoch, ask.grant) if epoch else Row(group, lease.REFUSED)
            for group, epoch in ask.rows]


def says(code: int, epoch: int = 0, ms: int = 0) -> Act:
    """The same code for every row."""
    return lambda ask: [Row(group, code, epoch, ms) for group, _ in ask.rows]


class Player:
    """`act` says what is answered to asks; `told` is the body for a query; `head` changes the head of every answer."""

    def __init__(self, act: Act | None = None, groups: int = 1) -> None:
        self.leases = lease.Leases(groups, 2000, LIFE, 0, ROOM, self.now_ms() - 5000)
        self.act: Act = act or self.by_the_rules
        self.told: Callable[[Ask], bytes] | None = None
        self.returned: Callable[[Ask], None] = lambda ask: None
        self.head: dict[str, int] = {}
        self.heard: list[Ask] = []
        self.answered: list[tuple[Ask, int]] = []        # with the clock that was said
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        # Agents of other tests look for a port that went away by its name, and the system gives names out again.
        fcntl.flock(self.slave, fcntl.LOCK_EX)
        self.path = os.ttyname(self.slave)
        self._reader = frames.Reader()
        self._strange: list[str] = []
        self._changed = threading.Condition()
        self._stop, self._stopper = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @staticmethod
    def now_ms() -> int:
        """The arbiter's clock."""
        return time.monotonic_ns() // 1_000_000

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self.master, self._stop], [], [])
            if self._stop in ready:
                return
            for body in self._reader.feed(os.read(self.master, 4096)):
                parts = frames.read_ask(body)
                if parts is None:
                    self._strange.append(body.hex())
                    continue
                ask = Ask._make([*parts[:8], tuple(parts[8]), now_ns()])
                with self._changed:
                    self.heard.append(ask)       # before the answer: what follows from it finds the ask here
                    self._changed.notify_all()
                self._serve(ask)

    def _serve(self, ask: Ask) -> None:
        if ask.kind == frames.ASK:
            rows = self.act(ask)
            if rows is not None:
                self.answer(ask, rows)
        elif ask.kind == frames.QUERY and self.told is not None:
            self.write(frames.wrap(self.told(ask)))
        elif ask.kind == frames.RETURN:
            for group, epoch in ask.rows:
                self.leases.give_back(ask.node, ask.incarnation, group, epoch)
            self.returned(ask)

    def by_the_rules(self, ask: Ask) -> list[Row]:
        """What lease.py says."""
        rows = []
        for group, epoch in ask.rows:
            said = self.leases.ask(self.now_ms(), ask.node, ask.incarnation, ask.stamp, ask.life, ask.clock, ask.grant,
                                   group, epoch)
            if said is not None:
                rows.append(Row(group, *said))
        return rows

    # ------------------------------------------------------------ what goes out

    def head_of(self, ask: Ask, kind: int, count: int, **changes: int) -> bytes:
        """The first 30 bytes of an answer."""
        fields: dict[str, int] = {
            "kind": kind, "count": count, "node": ask.node, "pair": ask.pair, "incarnation": ask.incarnation,
            "stamp": ask.stamp, "life": self.leases.life, "clock": self.leases.clock(self.now_ms()), "voter": VOTER,
            "heard": NEVER_MS,
        }
        return bytes(frames.vote_head(**(fields | self.head | changes)))

    def answer(self, ask: Ask, rows: list[Row], **changes: int) -> None:
        """A vote; `changes` of its head go before `self.head`."""
        head = self.head_of(ask, frames.VOTE, len(rows), **changes)
        body = head + b"".join(
            frames.vote_row(row.group, row.code, row.contacts, row.epoch, row.ms) for row in rows
        )
        self.answered.append((ask, int.from_bytes(head[20:24], "little")))
        self.write(frames.wrap(body))

    def write(self, data: bytes) -> None:
        """Bytes to the gateway."""
        while data:
            data = data[os.write(self.master, data):]

    # ------------------------------------------------------------ what came in

    def mark(self) -> int:
        """How many frames have come so far."""
        return len(self.heard)

    def wait(self, match: Callable[[Ask], bool], since: int = 0) -> Ask:
        """The first frame from `since` on that matches."""
        return self.wait_many(1, match, since)[0]

    def wait_many(self, count: int, match: Callable[[Ask], bool], since: int = 0) -> list[Ask]:
        """The first `count` of them."""
        def found() -> list[Ask]:
            return [ask for ask in self.heard[since:] if match(ask)]

        with self._changed:
            came = self._changed.wait_for(lambda: len(found()) >= count, PATIENCE_S)
            assert not self._strange, f"no frames for an arbiter: {self._strange}"
            assert came, f"noise {self._reader.noise}; last: {self.heard[-8:]}"
            return found()[:count]

    # ------------------------------------------------------------ plug

    def unplug(self) -> None:
        """The cable is pulled."""
        os.write(self._stopper, b"x")
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        os.close(self.master)

    def close(self) -> None:
        """End the thread and close everything."""
        if self._thread.is_alive():
            self.unplug()
        for fd in (self.slave, self._stop, self._stopper):
            os.close(fd)


@contextlib.contextmanager
def playing(act: Act | None = None, groups: int = 1) -> Iterator[Player]:
    """A player for the time of a `with`."""
    player = Player(act, groups)
    try:
        yield player
    finally:
        player.close()


@contextlib.contextmanager
def voted_node(act: Act | None = None, **parameters: Any) -> Iterator[tuple[Child, Relay, Line, Player]]:
    """A node whose peer is silent, with an arbiter; `act` None: one that keeps to the rules."""
    with playing(act, parameters.get("groups", 1)) as player:
        if "head" in parameters:
            player.head = parameters.pop("head")
        given = {"arbiter": player.slave, "voter": VOTER, "third_grant_ms": GRANT_MS, "more_fds": [player.slave]}
        with lone_node(**(given | parameters)) as (child, relay, line):
            yield child, relay, line, player


def figures(child: Child) -> dict[str, Any]:
    """What the client of the arbiter has counted."""
    found = child.ask("View", do="view")["arbiter"]
    assert isinstance(found, dict)
    return found


def figures_when(child: Child, match: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """The first figures that match."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        now = figures(child)
        if match(now):
            return now
    raise AssertionError(f"not within {PATIENCE_S:g} s; last: {now}")
