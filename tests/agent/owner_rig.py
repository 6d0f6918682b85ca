"""An owner's desk over a view that the test writes, on a clock that the test moves; and one behind a real socket."""
from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from health_rig import VirtualLoop
from run_fakes import WAIT_S, core_view, peer_view

from twinbeat.control import ControlServer, Verb
from twinbeat.key_lease import LeaseTerms, wait_for
from twinbeat.load_report import LoadReport
from twinbeat.run_loop import Loop, boottime_ns
from twinbeat.run_owner import OwnerDesk
from twinbeat.run_units import Unit, Units
from twinbeat.run_words import Names

MS = 1_000_000
LEASE_NS = 30 * MS
TERMS = LeaseTerms(LEASE_NS, wait_for(LEASE_NS, 200), 72.5, 410.0)
NODES = ("gw-a", "gw-b")
SHARDS = 4


def units_of(*, overlap: bool = False) -> Units:
    """Four shards of lines and one group of its own, pump."""
    shards = [
        Unit(number=shard, name=f"lines.{shard}", family="lines", shard=shard, drivers=NODES, overlap=overlap)
        for shard in range(SHARDS)
    ]
    return Units((*shards, Unit(number=SHARDS, name="pump", family="pump", drivers=NODES)))


UNITS = units_of()
NAMES = Names("gw-a", NODES, [unit.name for unit in UNITS.items], ["direct"])


class World:
    """What the core of gw-a shows. `drive` and `leave` are what happens here, `peer` what gw-b says."""

    def __init__(self, clock_ns: Callable[[], int]) -> None:
        self.clock_ns = clock_ns
        self.looks = 0
        self.renewed_ns: dict[int, int] = {}
        self.since_ns: dict[int, int] = {}
        self.epoch: dict[int, int] = {}
        self.peer_epoch: dict[int, int] = {}
        self.authority_ns = 25 * MS
        self.view_takes_ns = 0
        self.pause: Callable[[], None] = lambda: None

    def drive(self, number: int, epoch: int, ago_ms: float = 0.0) -> None:
        self.epoch[number], self.since_ns[number] = epoch, self.clock_ns() - int(ago_ms * MS)

    def leave(self, number: int) -> None:
        self.epoch.pop(number, None)
        self.since_ns.pop(number, None)

    def __call__(self) -> dict[str, Any]:
        self.looks += 1
        now_ns = self.clock_ns()
        self.pause()
        template = core_view()["groups"][0]
        groups = []
        for number in range(len(UNITS.items)):
            active = number in self.since_ns
            groups.append(template | {
                "group": number,
                "state": "ACTIVE" if active else "STANDBY",
                "cause": "CAUSE_MAJORITY" if active else "CAUSE_OFF",
                "epoch": self.epoch.get(number, 0),
                "since_ms": (now_ns - self.since_ns.get(number, 0)) / MS,
                "authority_ms": self.authority_ns / MS if active and self.authority_ns else None,
            })
        rows = [{"state": "ACTIVE" if number in self.peer_epoch else "STANDBY", "vote": 15,
                 "epoch": self.peer_epoch.get(number, 0)} for number in range(len(UNITS.items))]
        return core_view(now_ns=now_ns, groups=groups, peers=[peer_view(1, rows=rows)])


class FakeStream:
    """A connection that keeps what is pushed."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.open = True
        self.gone: list[Callable[[], None]] = []

    def push(self, answer: dict[str, Any]) -> bool:
        if self.open:
            self.lines.append(answer)
        return self.open

    def keep(self, gone: Callable[[], None]) -> None:
        self.gone.append(gone)

    def leave(self) -> None:
        self.open = False
        for gone in self.gone:
            gone()


class DeskRig:
    """The desk in virtual time."""

    def __init__(self, units: Units = UNITS) -> None:
        self.loop = VirtualLoop()
        self.world = World(self.loop.clock_ns)
        self.hooks: list[Callable[[], bool]] = []
        self.desk = OwnerDesk(NAMES, units, TERMS, self.loop, self.world, self.hooks.append, lambda number: "SILENCE",
                              self.loop.clock_ns)

    def ask(self, verb: str, **more: Any) -> dict[str, Any]:
        found: list[dict[str, Any]] = []
        self.desk.table()[verb](more, found.append)
        assert len(found) == 1
        return found[0]

    def watch(self) -> tuple[FakeStream, dict[str, Any]]:
        stream, found = FakeStream(), []
        self.desk.table()["watch"].serve({}, found.append, stream)  # type: ignore[attr-defined]
        return stream, found[0]

    def message(self) -> None:
        """A message of the core arrived: the agent lets its watchers look."""
        self.hooks[:] = [hook for hook in self.hooks if not hook()]


class SocketRig:
    """The desk and the load verb behind a real control socket, in real time."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "c.sock"
        self.world = World(boottime_ns)
        self.hooks: list[Callable[[], bool]] = []
        self.posted: list[Any] = []
        self.start()

    def start(self) -> None:
        self.loop = Loop()
        desk = OwnerDesk(NAMES, UNITS, TERMS, self.loop, self.world, self.hooks.append, lambda number: "SILENCE")
        self.load = LoadReport(self._post, self.loop, None)
        verbs: dict[str, Verb] = {**desk.table(), **self.load.table()}
        self.load.start()
        self.server = ControlServer(self.loop, self.path, verbs)
        self.thread = threading.Thread(target=self.loop.run, daemon=True)
        self.thread.start()

    def _post(self, event: Any) -> bool:
        self.posted.append(event)
        return True

    def in_loop(self, call: Callable[[], Any]) -> Any:
        """Run something in the loop's thread and return its result."""
        done, found = threading.Event(), []
        self.loop.call_threadsafe(lambda: (found.append(call()), done.set()))
        assert done.wait(WAIT_S)
        return found[0]

    def change(self, call: Callable[[], Any]) -> None:
        """Change the world in the loop's thread and let the watchers look."""

        def act() -> None:
            call()
            self.hooks[:] = [hook for hook in self.hooks if not hook()]

        self.in_loop(act)

    def stop(self) -> None:
        self.in_loop(self.server.close)
        self.loop.call_threadsafe(self.loop.stop)
        self.thread.join(WAIT_S)
        self.loop.close()
        self.hooks.clear()
