"""The checks in a running agent: timers, threads, and the core told of what they come to."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from twinbeat.config_check import CheckConfig
from twinbeat.health.board import Entry, HealthBoard, Tell
from twinbeat.health.load import CpuTimes, LoadMeter
from twinbeat.health.probe import Measured, Probe, os_reason, unavailable
from twinbeat.health.probes import build_probe
from twinbeat.probe_pool import ProbePool
from twinbeat.run_loop import boottime_ns
from twinbeat_core.events import Health

if TYPE_CHECKING:
    from twinbeat.config import Config
    from twinbeat.run_node import NodeAgent

BEAT_S = 1.0
STALL_NS = 250_000_000
"""Woken so much too late, this process stood still."""
CLOSE_LIMIT_S = 1.5
"""Longest wait at the end for what runs; a command is ended within it."""


class LoopLike(Protocol):
    """What is needed of the agent's loop."""

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Any:
        """Call once."""

    def call_every(self, period_s: float, callback: Callable[[], object]) -> None:
        """Call again and again."""

    def call_threadsafe(self, callback: Callable[[], object]) -> None:
        """Call soon, from any thread."""


class HealthService:
    """Runs checks in the loop's thread and, where they may wait, in threads of their own. `close` waits a moment.

    `said` may be set: the load that applications report, which counts where it is larger than what is measured.
    """

    def __init__(
        self,
        checks: Sequence[CheckConfig],
        probes: Sequence[Probe],
        loop: LoopLike,
        post: Callable[[Health], bool],
        tell: Tell,
        clock_ns: Callable[[], int] = boottime_ns,
        cpu: CpuTimes | LoadMeter | None = None,
    ) -> None:
        self.board = HealthBoard(checks, post, tell, clock_ns())
        self.pool = ProbePool(sum(probe.blocking for probe in probes))
        self._probes = list(probes)
        self._loop = loop
        self._clock_ns = clock_ns
        self.said: Callable[[], int | None] = lambda: None
        self._cpu = cpu or CpuTimes()
        self._armed_ns = 0
        self._closed = False

    def start(self) -> None:
        """Tell the core the first figures and begin to look."""
        self._beat()
        self._loop.call_every(BEAT_S, self._beat)
        self.turn()

    def turn(self) -> None:
        """Begin what is due, count what is overdue, and come back for the next."""
        if self._closed:
            return
        now_ns = self._clock_ns()
        if self._armed_ns and now_ns - self._armed_ns > STALL_NS:
            self.board.excuse(now_ns)
        for entry, probe in zip(self.board.entries, self._probes, strict=True):
            self.board.overdue(entry, now_ns)
            if entry.state.due(now_ns):
                self._look(entry, probe, now_ns)
        self.board.publish(now_ns)
        due_ns = max(self.board.due_ns(), now_ns + 1_000_000)
        self._armed_ns = due_ns
        self._loop.call_later((due_ns - now_ns) / 1e9, self.turn)

    def reasons(self) -> list[str]:
        """What makes this node unfit, in words."""
        return self.board.reasons()

    def load(self) -> int | None:
        """The larger of what is measured and what is reported, in percent; None: neither is there."""
        return self.board.load

    def describe(self) -> dict[str, Any]:
        """What status shows under `health`."""
        hung = sum(entry.state.hung for entry in self.board.entries)
        return self.board.describe(self._clock_ns()) | {"threads": self.pool.threads, "hung": hung}

    def close(self) -> None:
        """End the threads and what runs in them. One that hangs is left behind."""
        self._closed = True
        for probe in self._probes:
            probe.close()
        self.pool.close(CLOSE_LIMIT_S)

    def _beat(self) -> None:
        if self._closed:
            return
        try:
            load = self._cpu.sample()
        except (OSError, ValueError):
            load = None                      # no such count here
        said = self.said()
        figures = [round(figure) for figure in (load, said) if figure is not None]
        self.board.load = max(figures, default=None)
        self.board.publish(self._clock_ns())

    def _look(self, entry: Entry, probe: Probe, now_ns: int) -> None:
        token = entry.state.start(now_ns)
        if not probe.blocking:
            self._answered(entry, token, measure(probe))
        elif not self.pool.submit(lambda: self._job(entry, token, probe)):
            self._answered(entry, token, unavailable("there is no thread for it: the system refuses another one"))

    def _job(self, entry: Entry, token: int, probe: Probe) -> None:
        """In a thread of the pool."""
        measured = measure(probe)
        if not self._closed:
            self._loop.call_threadsafe(lambda: self._answered(entry, token, measured))

    def _answered(self, entry: Entry, token: int, measured: Measured) -> None:
        if self._closed:
            return
        now_ns = self._clock_ns()
        self.board.answer(entry, token, measured, now_ns)
        self.board.publish(now_ns)


def measure(probe: Probe) -> Measured:
    """Look once; whatever goes wrong is an answer too."""
    try:
        return probe.measure()
    except OSError as error:
        return unavailable(os_reason(error))
    except Exception as error:  # noqa: BLE001 - a fault in one probe must not end the others
        return unavailable(f"{type(error).__name__}: {error}")


def start_health(cfg: Config, agent: NodeAgent) -> HealthService:
    """The checks of this node, begun. The brokers must not have been started yet."""
    checks = cfg.checks_of(cfg.node)
    probes = [build_probe(cfg, check, agent.parts.brokers) for check in checks]
    meter = LoadMeter() if getattr(cfg, "balance", None) is not None else None
    service = HealthService(checks, probes, agent.parts.loop, agent.post, agent.events.add, cpu=meter)
    service.start()
    return service
