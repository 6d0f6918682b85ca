"""Runs trials of modes with many units or three nodes: wait until all is well, inject, observe, heal, evaluate."""
from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from twinbeat.demo import procs
from twinbeat.demo.faults import Fault
from twinbeat.demo.helper import RigError
from twinbeat.demo.layout import Layout
from twinbeat.demo.measure import Change
from twinbeat.demo.rig import Rig
from twinbeat.demo.trial import (
    DETAILED_TRIALS,
    HOLD_OBSERVE_S,
    LOSS_LEAD_S,
    OVERLAP_TAIL_S,
    SETTLE_S,
    TAKEOVER_TIMEOUT_S,
    USE_SAMPLE_S,
    Machine,
)
from twinbeat.demo.unit_measure import Moments, UnitFigures, evaluate_units
from twinbeat.demo.unit_status import all_settled

STEADY_S = 0.25
SETTLE_TIMEOUT_S = 40.0
POLL_S = 0.03
KEEPS_ON = ("partition",)     # its victim may be a node that drives nothing


@dataclass(frozen=True)
class UnitRecord:
    """One trial as the views and the report want it."""

    number: int
    fault: Fault
    layout: Layout
    at: Moments
    changes: list[Change]
    figures: list[UnitFigures]
    struck: str
    home_s: float                             # from the healing until all was as before
    why: dict[str, list[str]] = field(default_factory=dict)


class UnitTrials(Machine):
    """The trials of one run; iterate over `records()`."""

    def __init__(self, rig: Rig, fault: Fault, count: int, seconds: float, loss_percent: float, seed: int,
                 on_begin: Callable[[int, str], None] = lambda _number, _struck: None) -> None:
        super().__init__(rig)
        self.fault = fault
        self.count = count
        self.seconds = seconds
        self.loss_percent = loss_percent
        self._layout = rig.layout
        self._random = random.Random(seed)
        self._on_begin = on_begin

    def records(self) -> Iterator[UnitRecord]:
        """One trial after the other; each node is struck in its turn."""
        self.settle()
        before = self.begin_use()
        time.sleep(USE_SAMPLE_S)
        self.end_use(before)
        if self.loss_percent and self.fault.name != "loss":
            self.rig.set_loss(self.loss_percent)
            time.sleep(LOSS_LEAD_S)
        for number in range(1, self.count + 1):
            yield self._trial(number)

    def settle(self) -> list[frozenset[str]]:
        """Until every unit is driven as it should be and all agents know it. RigError when that does not come."""
        timeline = self.rig.timeline
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        last, since = timeline.drivers(), time.monotonic()
        while time.monotonic() < deadline:
            drivers = timeline.drivers()
            if drivers != last:
                last, since = drivers, time.monotonic()
            if self._home(drivers) and time.monotonic() - since >= STEADY_S:
                answers = {node: agent.control("status") for node, agent in self.rig.agents.items()}
                if all_settled(answers, self._layout, drivers) and timeline.drivers() == drivers:
                    return drivers
            time.sleep(POLL_S)
        raise self._not_settled()

    def _home(self, drivers: list[frozenset[str]]) -> bool:
        if self._layout.goes_home or self._layout.mode == "overlap":
            return drivers == [self._layout.home(unit) for unit in range(len(drivers))]
        return len(drivers[0]) == 1 and len(set(drivers)) == 1

    def _not_settled(self) -> RigError:
        driven = ", ".join(f"{name}: {' and '.join(sorted(nodes)) or 'nobody'}"
                           for name, nodes in zip(self._layout.units, self.rig.timeline.drivers(), strict=True))
        words = "; ".join(f"{node} says: {agent.last_words()}" for node, agent in self.rig.agents.items())
        return RigError(f"the nodes did not settle within {SETTLE_TIMEOUT_S:g} s (boards: {driven}; {words})")

    def _struck(self, number: int, drivers: list[frozenset[str]]) -> str:
        """Whom the fault strikes: one node after the other, of those that drive something."""
        nodes = list(self._layout.nodes)
        if self.fault.name not in KEEPS_ON:
            nodes = [node for node in nodes if any(node in driven for driven in drivers)]
        return nodes[(number - 1) % len(nodes)]

    def _trial(self, number: int) -> UnitRecord:
        rig, drivers = self.rig, self.settle()
        struck = self._struck(number, drivers)
        self._on_begin(number, struck)
        rig.timeline.forget_before(procs.now_ns())
        time.sleep(self._random.uniform(1, 4) * rig.settings.period_ms / 1000)
        fault_ns = self.fault.inject(rig, struck, self.loss_percent)
        victim = struck if self.fault.moves(rig.settings) else None
        self._observe(victim, drivers, fault_ns)
        observed_ns = procs.now_ns()
        why = self._say_why(fault_ns) if number <= DETAILED_TRIALS else {}
        healed_ns = procs.now_ns()
        self.fault.heal(rig, struck)
        self.settle()
        end_ns = procs.now_ns()
        time.sleep(OVERLAP_TAIL_S)
        changes = rig.timeline.since(fault_ns)
        at = Moments(fault_ns, observed_ns, end_ns, victim, self._layout.mode != "overlap",
                     rig.settings.judged_release_ms)
        figures = evaluate_units(changes, len(drivers), at)
        return UnitRecord(number, self.fault, self._layout, at, changes, figures, struck,
                          (end_ns - healed_ns) / 1e9 - STEADY_S, why)

    def _observe(self, victim: str | None, drivers: list[frozenset[str]], fault_ns: int) -> None:
        if victim is None:
            time.sleep(max(0.0, self.seconds - (procs.now_ns() - fault_ns) / 1e9))
            return
        if self.fault.undriven_allowed(self.rig.settings):
            time.sleep(HOLD_OBSERVE_S)
            return
        lost = [unit for unit, nodes in enumerate(drivers) if victim in nodes]

        def driven(now: list[frozenset[str]]) -> bool:
            return all(now[unit] - {victim} for unit in lost)

        self.rig.timeline.wait_drivers(driven, TAKEOVER_TIMEOUT_S)
        time.sleep(max(SETTLE_S, self.seconds))

    def _say_why(self, fault_ns: int) -> dict[str, list[str]]:
        """What the agents that can be asked say of the changes since the fault, each sentence once."""
        said = {}
        for node, agent in self.askable().items():
            verdicts = agent.control("why").get("verdicts", [])
            found = [str(one.get("sentence")) for one in verdicts if one.get("boottime_ns", 0) >= fault_ns]
            said[node] = list(dict.fromkeys(found))
        return said
