"""Stand-ins for the gate and the real-time part: what the agent told them is kept, what it shall hear is pushed."""
from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from twinbeat_core.events import Command
from twinbeat_core.model import Cause, State
from twinbeat_core.outputs import FastOutput
from twinbeat_rt.messages import Reported

WAIT_S = 10.0


class Watched:
    """Something that changes in another thread and can be waited for, with a bound."""

    def __init__(self) -> None:
        self._changed = threading.Condition()

    def touch(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def wait(self, true: Callable[[], Any], what: str) -> None:
        with self._changed:
            assert self._changed.wait_for(true, WAIT_S), f"not within {WAIT_S:g} s: {what}"


class FakeGate:
    """A gate that holds nothing but the lock it is given."""

    def __init__(self, pid: int = 4242) -> None:
        self.pid = pid
        self.living = True
        self.held: list[int] = []

    def alive(self) -> bool:
        return self.living

    def hold_fd(self, fd: int) -> None:
        self.held.append(os.dup(fd))

    def end(self, timeout_ms: int = 2000) -> bool:
        for fd in self.held:
            os.close(fd)
        self.held = []
        return True


def peer_view(node: int, *, state: str = "STANDBY", epoch: int = 0, links: int = 1, **changes: Any) -> dict[str, Any]:
    """One other node in a view."""
    path = {"up": True, "rx_dead": False, "tx_dead": False, "silent_ms": 4.0, "loss_percent": 0.0, "gap_max_ms": 11.0,
            "grant_ms": 40.0, "late_frames": 0}
    peer = {
        "node": node, "known": True, "dead": False, "incarnation": 77, "silent_ms": 4.0, "heard": True, "flags": 0,
        "proven_ms": 5.0, "health": 100, "load": 0, "suspect": False, "silent": False, "config_mismatch": False,
        "version_mismatch": False, "grant_ms": 40, "rows": [{"state": state, "vote": 15, "epoch": epoch}],
        "paths": [{"link": link, **path} for link in range(links)],
    }
    return peer | changes


def core_view(state: str = "STANDBY", *, epoch: int = 0, peers: list[dict[str, Any]] | None = None,
              **changes: Any) -> dict[str, Any]:
    """A view of the core with one group."""
    group = {
        "group": 0, "state": state, "cause": "CAUSE_NONE", "epoch": epoch, "floor": 0, "seen": epoch, "bars": 0,
        "alone": False, "since_ms": 10.0, "authority_ms": 30.0 if state == "ACTIVE" else None,
        "promise": {"holder": None, "epoch": 0, "left_ms": None}, "votes": {},
    }
    view = {
        "now_ns": 1, "node": 0, "incarnation": 1, "started_ms": 1.0, "ceiling": 1024, "fit": True, "health": 100,
        "load": 0, "stopping": False, "self_frames": 0, "illegal": 0, "grant_max_ms": 90.0, "deadline_ms": 4.0,
        "groups": [group], "peers": [peer_view(1)] if peers is None else peers,
    }
    return view | changes


class FakeRuntime(Watched):
    """The real-time part as the agent sees it; `act` may answer an event that was posted."""

    def __init__(self, gate: FakeGate, settings: Any = None, key: bytes = b"", **options: Any) -> None:
        super().__init__()
        self.gate, self.settings, self.key, self.options = gate, settings, key, options
        self.notify_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.calls: list[str] = []
        self.posted: list[Any] = []
        self.frames: list[tuple[int, bytes, int]] = []
        self.outputs: list[FastOutput] = []
        self.ports: list[tuple[int, int]] = []
        self.arbiters: list[tuple[bool, int, int]] = []
        self.arbiter_fd = -1
        self.arbiter: dict[str, Any] | None = None
        self.notices: dict[int, list[bytes]] = {}
        self.beats = 0
        self.ticks = 0
        self.ring_full = False
        self.core = core_view()
        self.act: Callable[[Any], None] = lambda event: None
        self._messages: list[Any] = []
        self._lock = threading.Lock()

    def set_outputs(self, outputs: list[FastOutput]) -> None:
        self.calls.append("set_outputs")
        self.outputs = list(outputs)

    def set_serial(self, link: int, fd: int) -> None:
        self.calls.append("set_serial")
        self.ports.append((link, fd))
        self.touch()

    def set_arbiter(self, fd: int, voter: int, grant_ms: int) -> None:
        self.calls.append("set_arbiter")
        if self.arbiter_fd >= 0:
            os.close(self.arbiter_fd)
        self.arbiter_fd = fd
        self.arbiters.append((fd >= 0, voter, grant_ms))
        self.touch()

    def death_notices(self, node: int) -> list[bytes]:
        return self.notices.get(node, [])

    def set_udp(self, link: int, fd: int, peers: list[tuple[str, int]]) -> None:
        self.calls.append("set_udp")
        os.close(fd)

    def start(self, incarnation: int, ceiling: int, disk_lost: bool) -> list[str]:
        self.calls.append("start")
        self.started = (incarnation, ceiling, disk_lost)
        return ["no real-time scheduling"]

    def poll(self) -> list[Any]:
        try:
            os.eventfd_read(self.notify_fd)
        except BlockingIOError:
            pass
        with self._lock:
            found, self._messages = self._messages, []
        return found

    def push(self, *messages: Any) -> None:
        with self._lock:
            self._messages += messages
        os.eventfd_write(self.notify_fd, 1)

    def post(self, event: Any) -> bool:
        if self.ring_full:
            return False
        self.posted.append(event)
        self.act(event)
        self.touch()
        return True

    def post_frame(self, link: int, data: bytes, rx_at_ns: int) -> bool:
        self.frames.append((link, data, rx_at_ns))
        self.touch()
        return True

    def heartbeat(self) -> None:
        self.beats += 1
        self.touch()

    def view(self) -> dict[str, Any]:
        return {"core": self.core, "decider": {"wakeups": self.ticks}, "arbiter": self.arbiter}

    def save_recording(self, path: str) -> int:
        with open(path, "wb") as file:
            file.write(b"recording")
        return 9

    def stop(self, planned: bool = True) -> None:
        self.calls.append("stop" if planned else "fail")
        if self.arbiter_fd >= 0:
            os.close(self.arbiter_fd)
        os.close(self.notify_fd)


class FakeClient(Watched):
    """A client of a witness or an ensemble: how it was made and what it was told is kept."""

    def __init__(self, *made: Any, **options: Any) -> None:
        super().__init__()
        self.made, self.options = made, options
        self.said: list[tuple[Any, ...]] = []
        self.state: dict[str, Any] = {"type": "witness", "connected": True}

    def start(self) -> None:
        self.said.append(("start",))

    def ask(self, group: int, epoch: int, stamp: int) -> None:
        self.said.append(("ask", group, epoch, stamp))
        self.touch()

    def give_back(self, group: int, epoch: int) -> None:
        self.said.append(("give_back", group, epoch))
        self.touch()

    def peer_dead(self, node: int, incarnation: int, groups: frozenset[int], notice: bytes) -> None:
        self.said.append(("peer_dead", node, incarnation, groups, notice))
        self.touch()

    def stop(self) -> None:
        self.said.append(("stop",))

    def describe(self) -> dict[str, Any]:
        return self.state


def state_report(old: State, new: State, cause: int, *, epoch: int = 9, at_ns: int = 1000, group: int = 0) -> Reported:
    """The core's report of a changed state."""
    return Reported(at_ns, 1, group, old, 0, epoch, new, cause)


def reaches(rt: FakeRuntime, state: str, **more: Any) -> Callable[[Any], None]:
    """An `act` with which the core reaches a state when it is told a command."""

    def act(event: Any) -> None:
        if isinstance(event, Command):
            rt.core = core_view(state, **more)
            rt.push(state_report(State.STANDBY, State.OUT, Cause.CAUSE_OPERATOR))

    return act
