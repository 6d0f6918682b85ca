"""Health checks on a clock that the test moves: a loop without waiting, and probes that say what they are told."""
from __future__ import annotations

import heapq
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from run_fakes import WAIT_S
from run_rig import Rig

from twinbeat.config_check import CpuCheck
from twinbeat.health.load import CpuTimes
from twinbeat.health.probe import Measured
from twinbeat.health.service import HealthService
from twinbeat_core.events import Health

SECOND = 10**9
STEP_S = 0.05


class VirtualLoop:
    """Timers in virtual time; calls of other threads are run by `drain`, or waited for by `await_call`."""

    def __init__(self) -> None:
        self.now_ns = SECOND
        self.timers_run = 0
        self._timers: list[tuple[int, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._calls: deque[Callable[[], object]] = deque()
        self._changed = threading.Condition()

    def clock_ns(self) -> int:
        return self.now_ns

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> None:
        heapq.heappush(self._timers, (self.now_ns + round(delay_s * SECOND), next(self._order), callback))

    def call_every(self, period_s: float, callback: Callable[[], object]) -> None:
        def due() -> None:
            self.call_later(period_s, due)
            callback()

        self.call_later(period_s, due)

    def call_threadsafe(self, callback: Callable[[], object]) -> None:
        with self._changed:
            self._calls.append(callback)
            self._changed.notify_all()

    def await_call(self, count: int = 1) -> None:
        """Wait for calls from threads and run them."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._calls) >= count, WAIT_S), "no answer from a thread"
        self.drain()

    def drain(self) -> None:
        while self._calls:
            self._calls.popleft()()

    def advance(self, seconds: float) -> None:
        """Let so much time pass, timer by timer."""
        end_ns = self.now_ns + round(seconds * SECOND)
        while self._timers and self._timers[0][0] <= end_ns:
            at_ns, _, callback = heapq.heappop(self._timers)
            self.now_ns = max(self.now_ns, at_ns)
            self.timers_run += 1
            callback()
            self.drain()
        self.now_ns = end_ns

    def stall(self, seconds: float) -> None:
        """The process does not run for so long: timers are late."""
        self.now_ns += round(seconds * SECOND)
        self.advance(0)


class TestProbe:
    """Says what it is told; `blocking` ones wait for `release` when `hangs`."""

    __test__ = False

    def __init__(self, says: Iterable[Measured | bool | None] = (), *, blocking: bool = False) -> None:
        self.blocking = blocking
        self.answer: Measured | bool | None = True
        self.hangs = False
        self.release = threading.Event()
        self.entered = threading.Semaphore(0)
        self.looks = 0
        self.closed = False
        self._says = iter(says)

    def measure(self) -> Measured:
        self.looks += 1
        self.entered.release()
        if self.hangs:
            assert self.release.wait(WAIT_S)
        answer = next(self._says, self.answer)
        return answer if isinstance(answer, Measured) else Measured(answer, f"look {self.looks}", "as told")

    def close(self) -> None:
        self.closed = True
        self.release.set()


class NoLoad(CpuTimes):
    """A machine whose load the test sets."""

    percent: float | None = 0.0

    def sample(self) -> float | None:
        return self.percent


def idle_rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """An agent on a machine without load, for a fixture."""
    monkeypatch.setattr("twinbeat.health.service.CpuTimes", NoLoad)
    rig = Rig(tmp_path)
    yield rig
    rig.gate.end()


def table(name: str = "app", **keys: Any) -> CpuCheck:
    """A check's table; what it looks at does not matter here."""
    return CpuCheck(**({"type": "cpu", "name": name, "max_percent": 90.0} | keys))


class HealthRig:
    """Checks with told probes in virtual time; `posted` and `events` are what came out."""

    def __init__(self, *pairs: tuple[CpuCheck, Any]) -> None:
        self.loop = VirtualLoop()
        self.posted: list[Health] = []
        self.events: list[tuple[str, str]] = []
        self.ring_full = False
        self.cpu = NoLoad()
        self.service = HealthService(
            [check for check, _ in pairs], [probe for _, probe in pairs], self.loop, self._post,
            lambda code, text, _level: self.events.append((code, text)), self.loop.clock_ns, self.cpu,
        )  # fmt: skip
        self.service.start()

    def _post(self, event: Health) -> bool:
        if not self.ring_full:
            self.posted.append(event)
        return not self.ring_full

    @property
    def last(self) -> tuple[bool, int, int]:
        """What the core was told last: fit, score, load."""
        event = self.posted[-1]
        return event.fit, event.score, event.load

    def run(self, seconds: float) -> None:
        """Let time pass in small steps; every look that does not hang is answered within its step."""
        for _ in range(round(seconds / STEP_S)):
            self.loop.advance(STEP_S)
            entries = zip(self.service.board.entries, self.service._probes, strict=True)
            waiting = [probe for entry, probe in entries if entry.state.running and not getattr(probe, "hangs", False)]
            if waiting:
                self.loop.await_call(len(waiting))

    def codes(self) -> list[str]:
        return [code for code, _ in self.events]
