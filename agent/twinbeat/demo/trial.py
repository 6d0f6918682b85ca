"""Runs trials: wait until the pair is steady, inject, observe, heal, evaluate."""
from __future__ import annotations

import platform
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from twinbeat.demo import procs
from twinbeat.demo.agents import Agent
from twinbeat.demo.faults import Fault
from twinbeat.demo.measure import Change, TrialFigures, evaluate
from twinbeat.demo.rig import Rig
from twinbeat.demo.status import voter_word

TAKEOVER_TIMEOUT_S = 3.0
GRANTS = 3                # of the third voter that may pass besides
HOLD_OBSERVE_S = 1.5      # lone = "hold" and nobody may take over: how long to make sure
SETTLE_S = 0.2            # watched on after the takeover
LOSS_LEAD_S = 1.0         # with --loss: how long before the first fault, so that the pair knows its links
USE_SAMPLE_S = 2.0
OVERLAP_TAIL_S = 0.05
DETAILED_TRIALS = 3       # in so many trials the agents are asked why, and the views show everything
VERDICT_WAIT_NS = 1_500_000_000
VERDICT_POLL_S = 0.05


@dataclass(frozen=True)
class TrialRecord:
    """One trial as the views and the report want it."""

    number: int
    fault: Fault
    driver: str
    fault_ns: int
    observed_ns: int
    end_ns: int
    changes: list[Change]
    figures: TrialFigures
    why: dict[str, dict[str, Any]] = field(default_factory=dict)
    moves: bool = True                                     # the other node was expected to take over
    voter: str = ""                                        # which kind of third voter the pair has, if any
    votes: dict[str, str] = field(default_factory=dict)    # what it says to each node that can be asked


def explains(verdict: dict[str, Any], fault_ns: int) -> bool:
    """Whether an agent's verdict is about what came after the fault."""
    return bool(verdict.get("boottime_ns", 0) >= fault_ns)


def _verdicts(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return list(answer.get("verdicts", []))


class Machine:
    """What a run of trials tells of the machine, and of what the agents used."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.use: dict[str, dict[str, float | None]] = {}
        self._busy_from = procs.machine_busy_ns()

    def machine(self) -> dict[str, Any]:
        """What the figures were taken on."""
        busy, total = (now - then for now, then in zip(procs.machine_busy_ns(), self._busy_from, strict=True))
        return {"cpus": procs.cpu_count(), "model": procs.cpu_model(), "arch": platform.machine(),
                "kernel": platform.release(), "python": platform.python_version(), "sched_fifo": self.rig.fifo,
                "broker": self.rig.broker.version(), "load": self.rig.load,
                "third_voter": self.rig.voter.describe() if self.rig.voter is not None else None,
                "busy_percent": round(100 * busy / max(1, total), 1)}

    def askable(self) -> dict[str, Agent]:
        """The agents that are neither dead nor frozen."""
        return {node: agent for node, agent in self.rig.agents.items()
                if agent.pid is not None and procs.is_alive(agent.pid) and not procs.is_stopped(agent.pid)}

    def begin_use(self) -> dict[str, int]:
        """CPU time of every agent so far; for `end_use`."""
        return {"": procs.now_ns(), **{node: agent.cpu_ns() for node, agent in self.rig.agents.items()}}

    def end_use(self, begin: dict[str, int]) -> None:
        """Notes in `use` what each agent used since."""
        elapsed = procs.now_ns() - begin[""]
        for node, agent in self.rig.agents.items():
            cpu_percent = round(100 * (agent.cpu_ns() - begin[node]) / elapsed, 2)
            memory = {name: round(mib, 1) if mib is not None else None for name, mib in agent.memory().items()}
            self.use[node] = {"cpu_percent": cpu_percent, **memory}


class Trials(Machine):
    """The trials of one run; iterate over `records()`."""

    def __init__(self, rig: Rig, fault: Fault, count: int, seconds: float, loss_percent: float, seed: int,
                 on_begin: Callable[[int, str], None] = lambda _number, _driver: None,
                 use_sample_s: float = USE_SAMPLE_S) -> None:
        super().__init__(rig)
        self.fault = fault
        self.count = count
        self.seconds = seconds
        self.loss_percent = loss_percent
        self._random = random.Random(seed)
        self._on_begin = on_begin
        self._use_sample_s = use_sample_s
        self._moves = fault.moves(rig.settings)

    def records(self) -> Iterator[TrialRecord]:
        """One trial after the other, roles as they fell."""
        self._steady()
        if self.seconds < self._use_sample_s or self._moves:
            before = self.begin_use()
            time.sleep(self._use_sample_s)
            self.end_use(before)
        if self.loss_percent and self.fault.name != "loss":
            self.rig.set_loss(self.loss_percent)
            time.sleep(LOSS_LEAD_S)
        for number in range(1, self.count + 1):
            yield self._trial(number)

    def _steady(self) -> str:
        driver = self.rig.wait_steady()
        if driver is None:
            raise self.rig.not_steady()
        return driver

    def _trial(self, number: int) -> TrialRecord:
        rig, driver = self.rig, self._steady()
        self._on_begin(number, driver)
        rig.timeline.forget_before(procs.now_ns())
        period_s = rig.settings.period_ms / 1000
        time.sleep(self._random.uniform(1, 4) * period_s)
        use = self.begin_use() if not self.use else None
        fault_ns = self.fault.inject(rig, driver, self.loss_percent)
        self._observe(driver, fault_ns)
        observed_ns = procs.now_ns()
        votes = self._ask_votes() if number <= DETAILED_TRIALS else {}
        if use is not None:
            self.end_use(use)
        why = self._ask_why(fault_ns) if number <= DETAILED_TRIALS else {}
        self.fault.heal(rig, driver)
        self._steady()
        end_ns = procs.now_ns()
        time.sleep(OVERLAP_TAIL_S)
        changes = rig.timeline.since(fault_ns)
        figures = evaluate(changes, fault_ns, observed_ns, end_ns, rig.settings.judged_release_ms)
        return TrialRecord(number, self.fault, driver, fault_ns, observed_ns, end_ns, changes, figures, why,
                           self._moves, rig.settings.third_voter or "", votes)

    def _observe(self, driver: str, fault_ns: int) -> None:
        rig, fault = self.rig, self.fault
        if not self._moves:
            time.sleep(max(0.0, self.seconds - (procs.now_ns() - fault_ns) / 1e9))
            return
        if fault.undriven_allowed(rig.settings):
            time.sleep(HOLD_OBSERVE_S)
            return
        grant_s = rig.voter.grant_ms / 1000 if rig.voter is not None else 0.0
        rig.timeline.wait(lambda levels: any(on for node, on in levels.items() if node != driver),
                          TAKEOVER_TIMEOUT_S + GRANTS * grant_s)
        time.sleep(max(SETTLE_S, self.seconds))

    def _ask_why(self, fault_ns: int) -> dict[str, dict[str, Any]]:
        """What the agents that can be asked say; waits a little for a verdict where there must be one."""
        deadline_ns = procs.now_ns() + VERDICT_WAIT_NS
        while True:
            said = {node: agent.control("why") for node, agent in self.askable().items()}
            if (not self._moves or procs.now_ns() > deadline_ns
                    or any(explains(verdict, fault_ns) for answer in said.values() for verdict in _verdicts(answer))):
                return said
            time.sleep(VERDICT_POLL_S)

    def _ask_votes(self) -> dict[str, str]:
        words = {node: voter_word(agent.control("status")) for node, agent in self.askable().items()}
        return {node: word for node, word in words.items() if word is not None}
