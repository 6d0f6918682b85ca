"""A pair in memory for drills: two doors, roles that move as told, verdicts of both, time that passes by waiting."""
from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from twinbeat.errors import AgentNotRunning, ControlError, RefusedError

Json = dict[str, Any]
NODES = ("gw-a", "gw-b")
START_NS = 5_000_000_000
SWITCH_NS = 400_000


class FakeClock:
    """Time passes by waiting alone; `at(when_s, call)` does something on the way."""

    def __init__(self) -> None:
        self.ns = START_NS
        self._due: list[tuple[int, Callable[[], None]]] = []

    def now_ns(self) -> int:
        """Now."""
        return self.ns

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.ns += max(1_000_000, round(seconds * 1e9))
        for due in [due for due in self._due if due[0] <= self.ns]:
            self._due.remove(due)
            due[1]()

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Do something once so much time has passed."""
        self._due.append((self.ns + round(seconds * 1e9), call))


class FakePair:
    """gw-a drives `pump`. `on_ask(node, verb)` may interfere before an answer."""

    def __init__(self, groups: tuple[str, ...] = ("pump",)) -> None:
        self.clock = FakeClock()
        self.groups = groups
        self.driver: dict[str, str | None] = dict.fromkeys(groups, "gw-a")
        self.epoch = dict.fromkeys(groups, 8)
        self.up = dict.fromkeys(NODES, True)
        self.pid = {"gw-a": 100, "gw-b": 200}
        self.verdicts: dict[str, list[Json]] = {node: [] for node in NODES}
        self.asked: list[tuple[str, str, Json]] = []
        self.refuse: dict[str, str] = {}
        self.returns_after_s: float | None = 3.0
        self.gap_ns = SWITCH_NS
        self.mqtt_verdicts = False
        self.more_status: Json = {}
        self.on_ask: Callable[[str, str], None] = lambda _node, _verb: None

    def door(self, node: str, local: bool = True) -> FakeDoor:
        """The way to one agent."""
        return FakeDoor(self, node, local)

    def move(self, group: str, taker: str, cause: str, dead: bool = False) -> None:
        """A role moves, and both write down their half; a dead one does not."""
        giver = self.driver[group]
        off_ns = self.clock.ns
        if giver is not None and not dead:
            self._verdict(giver, group, self.epoch[group], "ACTIVE", "RELEASING", cause, off_ns, "off")
        self.epoch[group] += 8
        self.driver[group] = taker
        self._verdict(taker, group, self.epoch[group], "CLAIMING", "ACTIVE", cause, off_ns + self.gap_ns, "on")

    def die(self, node: str, cause: str) -> None:
        """An agent ends; the other takes over; its supervisor starts it again."""
        self.up[node] = False
        other = next(name for name in NODES if name != node)
        for group, driver in self.driver.items():
            if driver == node:
                self.move(group, other, cause, dead=cause == "DEATH_NOTICE")
        if self.returns_after_s is not None:
            self.clock.after(self.returns_after_s, lambda: self._rise(node))

    def _rise(self, node: str) -> None:
        self.up[node] = True
        self.pid[node] += 1

    def _verdict(self, node: str, group: str, epoch: int, old: str, new: str, cause: str, at_ns: int, way: str) -> None:
        self.verdicts[node].append({
            "node": node, "group": group, "epoch": epoch, "from": old, "to": new, "cause": cause, "by": cause,
            "time": "T", "boottime_ns": at_ns, "measured": {f"decided_to_{way}_ms": 0.0},
            "sentence": f"{node} {old} -> {new}.",
        })

    def status(self, node: str) -> Json:
        """As an agent says it."""
        other = next(name for name in NODES if name != node)
        states = {name: {group: "ACTIVE" if self.driver[group] == name else "STANDBY" for group in self.groups}
                  for name in NODES}
        return {
            "ok": True, "node": node, "pair": "pump-7", "pid": self.pid[node], "version": "0.2.0", "fit": True,
            "groups": [{"name": group, "driver": self.driver[group], "state": states[node][group],
                        "epoch": self.epoch[group], "alone": False} for group in self.groups],
            "peers": [{"name": other, "alive": self.up[other], "fit": True, "groups": states[other]}],
            "links": [{"name": "cross", "up": True}], "third_voter": None, **self.more_status,
        }


class FakeDoor:
    """The way to one agent of a FakePair."""

    def __init__(self, pair: FakePair, node: str, local: bool) -> None:
        self.pair = pair
        self.node = node
        self.local = local

    def ask(self, verb: str, **arguments: object) -> Json:
        """The answer of the agent."""
        pair = self.pair
        pair.on_ask(self.node, verb)
        pair.asked.append((self.node, verb, dict(arguments)))
        if not pair.up[self.node]:
            raise AgentNotRunning(f"{self.node}: no agent")
        if verb == "ping":
            return {"ok": True, "pid": pair.pid[self.node]}
        if verb == "status":
            return pair.status(self.node)
        if verb == "why":
            other = next(name for name in NODES if name != self.node)
            told = pair.verdicts[other] if pair.mqtt_verdicts else []
            return {"ok": True, "verdicts": pair.verdicts[self.node], "peer_verdicts": told}
        return self._handover(str(arguments["group"]), arguments.get("node"))

    def _handover(self, group: str, node: object) -> Json:
        pair = self.pair
        if self.node in pair.refuse:
            raise RefusedError(pair.refuse[self.node])
        taker = str(node) if node else next(name for name in NODES if name != self.node)
        if pair.driver[group] != self.node:
            raise RefusedError(f"{self.node} does not drive {group}")
        pair.move(group, taker, "HANDOVER")
        pair.clock.ns += 2_000_000
        return {"ok": True, "group": group, "driver": taker, "took_ms": 2.0}

    def here(self, pid: int) -> bool:
        """Whether its process is of this machine."""
        return self.local

    def signal(self, pid: int, number: signal.Signals) -> None:
        """The agent gets a signal."""
        if pid != self.pair.pid[self.node]:
            raise ControlError("not that process")
        self.pair.die(self.node, "DEATH_NOTICE" if number == signal.SIGKILL else "STOP")
