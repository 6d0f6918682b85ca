"""Early warning in a running agent: samples in, events, alarms, status and, where asked for, proposals out.

The pair's figures are read in the loop's thread from what is in memory anyway; the machine's in a thread of their own,
for a dying card may keep a reader waiting. While that thread hangs its figures are missing, and that is shown.
"""
from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from twinbeat.config_warning import WarningConfig
from twinbeat.probe_pool import ProbePool
from twinbeat.run_loop import boottime_ns
from twinbeat.telemetry import REFRESH_S
from twinbeat.warning import limits
from twinbeat.warning.alarms import CODE, Alarms
from twinbeat.warning.detector import Detector
from twinbeat.warning.figures import Warned, rounded
from twinbeat.warning.machine import Absent, Machine, Sample
from twinbeat.warning.move import POINTS, Mover, mattering
from twinbeat.warning.pair import Pair
from twinbeat_core.events import Command, Health

if TYPE_CHECKING:
    from twinbeat.config import Config
    from twinbeat.run_node import NodeAgent

CMD_MOVE = 7
"""The core's command for a proposed move (twinbeat_core.model.CommandCode)."""
CLOSE_LIMIT_S = 0.5


class AgentLike(Protocol):
    """What is needed of the agent."""

    parts: Any
    names: Any
    events: Any
    scored: Callable[[Any], Any] | None

    def post(self, event: Any) -> bool:
        """Send an event to the core."""


class WarningService:
    """One node's early warning. `begin` starts it; `close` waits a moment for what reads."""

    def __init__(
        self,
        table: WarningConfig,
        agent: AgentLike,
        pair: Pair,
        machine: Machine,
        alarms: Alarms,
        clock_ns: Callable[[], int] = boottime_ns,
    ) -> None:
        self.detector = Detector(table.horizon_s, table.every_s, table.quiet_s, self._told)
        self.proposed = 0
        self.hangs = 0
        self._table = table
        self._agent = agent
        self._pair = pair
        self._machine = machine
        self._alarms = alarms
        self._clock_ns = clock_ns
        self._pool = ProbePool(1)
        self._reading = False
        self._asked_s = 0.0
        self._absent: list[Absent] = []
        self._mover = Mover()
        self._points = 0
        self._health: Health | None = None
        self._repeated_s = 0.0
        self._closed = False

    def begin(self) -> None:
        """Sample from now on."""
        self._agent.scored = self.scored
        self._agent.parts.loop.call_every(self._table.every_s, self.tick)

    def tick(self) -> None:
        """One sample of everything, and what follows from it."""
        if self._closed:
            return
        view = self._agent.parts.rt.view()
        now_s = self._now_s()
        losses = {link: int(broker.counters.losses) for link, broker in self._agent.parts.brokers.items()}
        for figure, value in self._pair.read(view, losses):
            self.detector.add(figure, now_s, value)
        self._read_machine(now_s)
        self.detector.forget_silent(now_s)
        standing = self.detector.warnings(now_s)
        self._repeat(now_s, standing)
        self._score(standing)
        if self._table.predict == "handover":
            self._propose(now_s, standing, view.get("core", view))

    def close(self) -> None:
        """No more samples; the topics of what stands vanish by themselves."""
        self._closed = True
        self._pool.close(CLOSE_LIMIT_S)

    # ------------------------------------------------------------ the machine's figures

    def _read_machine(self, now_s: float) -> None:
        self.detector.add(limits.waiting(), now_s, now_s - self._asked_s if self._reading else 0.0)
        if self._reading:
            self.hangs += 1
            return
        self._asked_s = now_s
        self._reading = self._pool.submit(self._job)

    def _job(self) -> None:
        """In the thread."""
        samples: list[Sample] = []
        try:
            samples = self._machine.read()
        finally:
            absent = self._machine.absent
            self._agent.parts.loop.call_threadsafe(lambda: self._machine_read(samples, absent))

    def _machine_read(self, samples: list[Sample], absent: list[Absent]) -> None:
        self._reading = False
        if self._closed:
            return
        self._absent = absent
        now_s = self._now_s()
        for figure, value in samples:
            self.detector.add(figure, now_s, value)

    # ------------------------------------------------------------ what follows

    def _told(self, stands: bool, warned: Warned) -> None:
        """A warning began, became graver, or ended."""
        if stands:
            self._agent.events.add(CODE, f"early warning: {warned.text}", logging.WARNING)
            self._alarms.stands(warned)
        else:
            self._agent.events.add(CODE, f"early warning ended: {warned.figure}", logging.INFO)
            self._alarms.ended(warned)

    def _repeat(self, now_s: float, standing: list[Warned]) -> None:
        if now_s - self._repeated_s >= REFRESH_S:
            self._repeated_s = now_s
            for warned in standing:
                self._alarms.stands(warned)

    def scored(self, event: Any) -> Any:
        """An event on its way to the core: the score of health without the points of what is coming.

        The last point stays: a prediction makes nobody unfit.
        """
        if type(event) is not Health:
            return event
        self._health = event
        return event if not self._points else replace(event, score=min(event.score, max(1, event.score - self._points)))

    def _score(self, standing: list[Warned]) -> None:
        """Tell the core when the points change, and again while they stand: nobody else may speak of health here."""
        points = POINTS if mattering(standing) else 0
        if points or points != self._points:
            self._points = points
            now_ns = self._clock_ns()
            self._agent.post(Health(now_ns, True) if self._health is None else replace(self._health, now_ns=now_ns))

    def _propose(self, now_s: float, standing: list[Warned], core: Mapping[str, Any]) -> None:
        found = self._mover.look(now_s, standing, core)
        if found is None:
            return
        group, node, why = found
        command: Any = Command(self._clock_ns(), CMD_MOVE, group, node)  # type: ignore[arg-type]
        if self._agent.post(command):
            self.proposed += 1
            name, taker = self._agent.names.group_name(group), self._agent.names.node_name(node)
            text = f"{name}: handover to {taker} proposed because of {why.text}"
            self._agent.events.add(CODE, text, logging.WARNING, group=name)

    # ------------------------------------------------------------ what is shown

    def _now_s(self) -> float:
        return self._clock_ns() / 1e9

    def standing(self) -> list[dict[str, object]]:
        """The warnings that stand, for status."""
        return [warned.as_dict() for warned in self.detector.warnings(self._now_s())]

    def describe(self) -> dict[str, object]:
        """Everything, for `twinbeat warnings --all`."""
        now_s = self._now_s()
        figures = [
            {
                "figure": figure.key,
                "name": figure.name,
                "unit": figure.unit,
                "value": rounded(value),
                "limit": rounded(figure.limit),
                "age_s": round(now_s - newest_s, 1),
            }
            for figure, value, newest_s in sorted(self.detector.figures(), key=lambda one: one[0].key)
        ]
        return {
            "predict": self._table.predict,
            "every_s": self._table.every_s,
            "horizon_s": self._table.horizon_s,
            "warnings": self.standing(),
            "figures": figures,
            "absent": [{"source": absent.what, "why": absent.why} for absent in self._absent],
            "points": self._points,
            "proposed": self.proposed,
            "hangs": self.hangs,
        }


def begin_warnings(
    cfg: Config, agent: NodeAgent, state_dir: Path, leave: Callable[[Callable[[], object]], object]
) -> None:
    """Start it unless the file says predict = "off"; the figures' limits are those of the file."""
    table = cfg.warning or WarningConfig()
    if table.predict == "off":
        return
    from twinbeat.config import core_settings

    settings = core_settings(cfg)
    core = settings.compile()
    grants_ms = [core.grant_ms(link) for link in range(len(cfg.links))]
    late_ms = settings.check_ms if table.late_ms is None else table.late_ms
    service = WarningService(
        table,
        agent,
        Pair(table, agent.names, grants_ms, late_ms),
        Machine(table, tuple(dict.fromkeys((*table.disks, str(state_dir))))),
        Alarms(cfg.pair.name, cfg.node, lambda: list(agent.parts.brokers.values())),
    )
    agent.early = service
    agent.status_parts["early_warnings"] = service.standing
    leave(service.close)
    service.begin()
