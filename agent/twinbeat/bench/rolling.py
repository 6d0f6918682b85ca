"""A rolling upgrade of a real pair, one gateway after the other, while an application asks who drives.

Old is the present program held to the layout of the frames that its predecessor speaks; a test does the same with a
predecessor that is installed. The application sees, at every tick, whose output is on.
"""
from __future__ import annotations

import itertools
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinbeat.demo import procs
from twinbeat.demo.agents import GROUP, NODES, Agent, PairSettings
from twinbeat.demo.helper import RigError
from twinbeat.demo.measure import Change, level_changes, overlap_ms, spread, undriven_ms
from twinbeat.demo.rig import Rig
from twinbeat.upgrade.pin import PIN

NEW = [sys.executable, "-m", "twinbeat"]
PINNED = ["/usr/bin/env", f"{PIN}=1", *NEW]
PLANNED = {"HANDOVER", "STOP", "OPERATOR", "RELEASED"}
SETTINGS = PairSettings(period_ms=20)
"""Promises of some 70 ms, so that a machine that is shared may stand still for a while."""
ROUNDS = (10, 1)              # full, quick
POLL_S = 0.004
ASK_EVERY = 10
VERDICTS_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Gap:
    """A time without a driven output: who drove before and after, and how long it took."""

    begin_ns: int
    end_ns: int
    before: str | None
    after: str

    @property
    def ms(self) -> float:
        """Its length."""
        return (self.end_ns - self.begin_ns) / 1e6


def gaps(changes: Sequence[Change]) -> list[Gap]:
    """Every time between the first and the last on in which no board was on. One stamp: off before on, a gap of 0."""
    found = []
    on: set[str] = set()
    last: str | None = None
    since_ns: int | None = None
    for change in level_changes(changes):
        if change.on:
            if since_ns is not None and not on:
                found.append(Gap(since_ns, change.at_ns, last, change.node))
            on.add(change.node)
            since_ns = None
        else:
            on.discard(change.node)
            last = change.node
            if not on:
                since_ns = change.at_ns
    return found


def unplanned(found: Sequence[Gap], first: str, takers: Sequence[str]) -> list[Gap]:
    """The gaps that do not belong, in this order, to a planned handover from `first` to each taker in turn."""
    planned = list(zip([first, *takers[:-1]], takers, strict=True))
    rest = []
    for gap in found:
        if planned and (gap.before, gap.after) == planned[0]:
            planned.pop(0)
        else:
            rest.append(gap)
    return rest


class Traffic(threading.Thread):
    """The application: at every tick the node whose output is on handles it; now and then it asks both agents."""

    def __init__(self, rig: Rig) -> None:
        super().__init__(daemon=True)
        self.handled: dict[str, int] = dict.fromkeys(NODES, 0)
        self.twice = 0
        self.missed = 0
        self.missed_in_a_row = 0
        self.asked = 0
        self._rig = rig
        self._over = threading.Event()

    def run(self) -> None:
        """Until `end`."""
        missed = 0
        for tick in itertools.count():
            if self._over.wait(POLL_S):
                return
            on = [node for node, level in self._rig.timeline.levels().items() if level]
            for node in on:
                self.handled[node] += 1
            self.twice += len(on) > 1
            missed = 0 if on else missed + 1
            self.missed += not on
            self.missed_in_a_row = max(self.missed_in_a_row, missed)
            if tick % ASK_EVERY == 0:
                for agent in list(self._rig.agents.values()):
                    self.asked += bool(agent.control("status", timeout_s=0.5).get("ok"))

    def end(self) -> None:
        """No more ticks."""
        self._over.set()
        self.join(10)


class Upgrade:
    """The steps of docs/upgrade.md on a rig whose agents run the old program. RigError where one of them fails."""

    def __init__(self, rig: Rig, new: list[str]) -> None:
        self.rig = rig
        self.new = new
        self.begun_ns = 0
        self.ended_ns = 0

    def steady(self) -> str:
        """Who drives, once exactly one board is on and both agents are ready."""
        driver = self.rig.wait_steady()
        if driver is None:
            raise self.rig.not_steady()
        return driver

    def begin(self) -> str:
        """From here on everything is judged. Returns who drives."""
        driver = self.steady()
        self.begun_ns = procs.now_ns()
        return driver

    def command(self, node: str, verb: str, **arguments: Any) -> dict[str, Any]:
        """A verb that must be done."""
        answer = self.rig.agents[node].control(verb, timeout_s=6.0, **arguments)
        if not answer.get("ok"):
            raise RigError(f"{verb} on {node}: {answer.get('error')}")
        return answer

    def drain(self, node: str) -> None:
        """Out of service: hands over first where it drives."""
        self.command(node, "out", group=GROUP)

    def hand_over(self, node: str) -> str:
        """Planned handover away from a node; who drives then."""
        driver: str = self.command(node, "handover", group=GROUP)["driver"]
        return driver

    def replace(self, node: str, command: list[str]) -> None:
        """Planned stop of a node's agent, start of the same node with another program."""
        rig, agent = self.rig, self.rig.agents[node]
        old = [pid for pid in (agent.pid, agent.gate_pid) if pid is not None]
        agent.terminate()
        if not agent.wait_ended():
            raise RigError(f"{node} did not stop: {agent.last_words()}")
        agent.kill()
        rig.helpers["injector"].request(forget=old)
        rig.agents[node] = Agent(node, rig.directory, rig.directory / "twinbeat.toml", command)
        rig.restart_agent(node)

    def roll(self, new: list[str]) -> tuple[str, list[str]]:
        """All steps of a rolling upgrade; the first driver, and who was made to drive, in order."""
        first = self.begin()
        second = next(node for node in self.rig.agents if node != first)
        self.drain(second)
        self.replace(second, new)
        self._still(first)
        takers = [self.hand_over(first)]
        self._still(second)
        self.replace(first, new)
        self._still(second)
        takers.append(self.hand_over(second))
        return first, takers

    def end(self) -> list[Change]:
        """What both boards received since `begin`, and one earlier change of each."""
        self.steady()
        self.ended_ns = procs.now_ns()
        return self.rig.timeline.since(self.begun_ns)

    def overlap_ms(self, changes: Sequence[Change]) -> float:
        """Both boards on at once, at worst."""
        return overlap_ms(changes, self.begun_ns, self.ended_ns, self.rig.settings.judged_release_ms)

    def undriven_ms(self, changes: Sequence[Change]) -> float:
        """All time without a driven output."""
        return undriven_ms(changes, self.begun_ns, self.ended_ns)

    def verdicts(self, ons_and_offs: int) -> list[dict[str, Any]]:
        """What both nodes wrote down of role changes from `begin` to `end`, in order; waits for so many of a driver.

        A verdict is complete a moment after its change, when the gate has confirmed the outputs.
        """
        deadline_s = time.monotonic() + VERDICTS_TIMEOUT_S
        while True:
            found = []
            for node, agent in self.rig.agents.items():
                path: Path = agent.state_dir / f"demo-{node}.verdicts.jsonl"
                found += [json.loads(line) for line in path.read_text().splitlines()]
            found = [one for one in found if self.begun_ns <= one["boottime_ns"] <= self.ended_ns]
            changed = [one for one in found if "ACTIVE" in (one["from"], one["to"])]
            if len(changed) >= ons_and_offs or time.monotonic() > deadline_s:
                return sorted(found, key=lambda one: one["boottime_ns"])
            time.sleep(POLL_S)

    def _still(self, wanted: str) -> None:
        driver = self.steady()
        if driver != wanted:
            raise RigError(f"{driver} drives where {wanted} should: the role moved by itself")


def measure(quick: bool, say: Callable[[str], None] = lambda _text: None) -> dict[str, Any]:
    """Upgrades of a pair from the old layout to the new and back in turn, under traffic: what was undriven, and why."""
    planned: list[float] = []
    total: dict[str, int] = dict.fromkeys(("upgrades", "unplanned_gaps", "unplanned_causes", "double_driver_trials",
                                           "ticks", "missed", "twice"), 0)
    busy_from = procs.machine_busy_ns()
    with tempfile.TemporaryDirectory(prefix="twinbeat-bench-") as directory, \
            Rig(Path(directory), SETTINGS, agent_command=PINNED) as rig:
        for number in range(ROUNDS[quick]):
            to = NEW if number % 2 == 0 else PINNED
            say(f"  upgrade {number + 1} of {ROUNDS[quick]}")
            upgrade, traffic = Upgrade(rig, to), Traffic(rig)
            upgrade.steady()
            traffic.start()
            try:
                first, takers = upgrade.roll(to)
                changes = upgrade.end()
            finally:
                traffic.end()
            found = gaps(changes)
            strange = unplanned(found, first, takers)
            causes = [one["cause"] for one in upgrade.verdicts(2 * len(takers)) if "ACTIVE" in (one["from"], one["to"])]
            planned += [gap.ms for gap in found if gap not in strange]
            for name, count in (("upgrades", 1), ("unplanned_gaps", len(strange)), ("missed", traffic.missed),
                                ("unplanned_causes", sum(cause not in PLANNED for cause in causes)),
                                ("double_driver_trials", int(upgrade.overlap_ms(changes) > 0)),
                                ("ticks", sum(traffic.handled.values())), ("twice", traffic.twice)):
                total[name] += count
    busy, whole = (now - then for now, then in zip(procs.machine_busy_ns(), busy_from, strict=True))
    figures = spread(planned)
    return {**total, "gap_ms": figures.as_dict() if figures else None,
            "machine": {"busy_percent": round(100 * busy / max(1, whole), 1)}}
