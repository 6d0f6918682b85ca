"""A rolling upgrade of a real pair, one gateway after the other, while an application asks who drives."""
from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinbeat.demo import procs
from twinbeat.demo.agents import GROUP, NODES, Agent
from twinbeat.demo.measure import Change, level_changes, overlap_ms, undriven_ms
from twinbeat.demo.rig import Rig

NEW = [sys.executable, "-m", "twinbeat"]
PINNED = ["/usr/bin/env", "TWINBEAT_PROTOCOL_MAX=1", *NEW]
"""The present program, held to the layout of the frames that its predecessor speaks."""
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
    """The steps of docs/upgrade.md on a rig whose agents run the old program."""

    def __init__(self, rig: Rig, new: list[str]) -> None:
        self.rig = rig
        self.new = new
        self.begun_ns = 0
        self.ended_ns = 0

    def steady(self) -> str:
        """Who drives, once exactly one board is on and both agents are ready."""
        driver = self.rig.wait_steady()
        assert driver is not None, self.rig.not_steady()
        return driver

    def begin(self) -> str:
        """From here on everything is judged. Returns who drives."""
        driver = self.steady()
        self.begun_ns = procs.now_ns()
        return driver

    def command(self, node: str, verb: str, **arguments: Any) -> dict[str, Any]:
        """A verb that must be done."""
        answer = self.rig.agents[node].control(verb, timeout_s=6.0, **arguments)
        assert answer.get("ok"), f"{verb} on {node}: {answer}"
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
        assert agent.wait_ended(), f"{node} did not stop: {agent.last_words()}"
        agent.kill()
        rig.helpers["injector"].request(forget=old)
        rig.agents[node] = Agent(node, rig.directory, rig.directory / "twinbeat.toml", command)
        rig.restart_agent(node)

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
