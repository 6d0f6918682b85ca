"""A small world in virtual time for tests of the core: nodes, links, gates, outputs; one seed, no clock."""
from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from twinbeat_core import events as ev
from twinbeat_core.failover import Failover
from twinbeat_core.frames import Echo, Frame, Row
from twinbeat_core.model import (
    CommandCode,
    DriveCode,
    FrameKind,
    LinkKind,
    Lone,
    OutputCode,
    ReportCode,
    RowFlag,
    State,
)
from twinbeat_core.settings import GroupSettings, LinkSettings, Settings

MS = 1_000_000
SERIAL = LinkSettings(kind=LinkKind.LINK_SERIAL, period_ms=10, rtt_ms=0.9, reask_ms=1.25)
MQTT = LinkSettings(kind=LinkKind.LINK_MQTT, period_ms=100, fast_period_ms=20, rtt_ms=8, reask_ms=5)


def settings(node: int, *, nodes: int = 2, links: tuple[LinkSettings, ...] = (SERIAL, MQTT), groups: int = 1,
             lone: Lone = Lone.LONE_TAKEOVER, release_ms: float = 0.0, group: dict[str, object] | None = None,
             **more: object) -> Settings:
    ranks = tuple(range(nodes))
    return Settings(
        node_count=nodes, self_node=node, links=links, pair_id=7, config_digest=1, voters=ranks,
        groups=tuple(GroupSettings(lone=lone, rank=ranks, release_ms=release_ms, **(group or {}))  # type: ignore[arg-type]
                     for _ in range(groups)),
        **more,  # type: ignore[arg-type]
    )


@dataclass
class Gate:
    """Drives a group until its deadline; drops by itself; its on-times are what the checks judge."""

    on_since: int | None = None
    deadline: int = 0
    epoch: int = 0
    spans: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class Node:
    core: Failover
    incarnation: int
    ceiling: int = 0
    gates: list[Gate] = field(default_factory=list)
    alive: bool = True
    frozen: bool = False
    waiting: list[object] = field(default_factory=list)
    wake_at: int = -1
    drift: float = 0.0
    reports: list[tuple[float, ev.Report]] = field(default_factory=list)


class World:
    """Nodes joined by links; `run_ms` advances virtual time from event to event."""

    def __init__(self, *, seed: int = 0, nodes: int = 2, gate_late_ms: float = 0.0, **config: object) -> None:
        self.random = random.Random(seed)
        self.now = 1_000 * MS
        self.queue: list[tuple[int, int, Callable[[], None]]] = []
        self.serial = 0
        self.config = dict(config, nodes=nodes)
        self.release = int(float(config.get("release_ms", 0.0)) * MS)  # type: ignore[arg-type]
        self.gate_late_ms = gate_late_ms
        self.cut: set[tuple[int, int, int]] = set()      # (link, from, to)
        self.loss = 0.0
        self.corrupting_delay_ms = 0.0
        self.latency_ms = (0.1, 1.5)
        self.nodes = [self._new_node(i, 0) for i in range(nodes)]

    # ------------------------------------------------------------ building
    def _new_node(self, i: int, ceiling: int) -> Node:
        made = settings(i, **self.config)  # type: ignore[arg-type]
        node = Node(Failover(made), self.random.randrange(1, 1 << 32), ceiling)
        node.gates = [Gate() for _ in made.groups]
        return node

    def start(self, i: int, *, disk_lost: bool = False) -> None:
        node = self.nodes[i]
        self.deliver(i, lambda now: ev.Start(now, node.incarnation, node.ceiling, disk_lost))

    def start_all(self) -> None:
        for i in range(len(self.nodes)):
            self.start(i)

    def restart(self, i: int, *, lost: bool = False) -> None:
        old = self.nodes[i]
        self.nodes[i] = self._new_node(i, 0 if lost else old.ceiling)
        for old_gate, gate in zip(old.gates, self.nodes[i].gates, strict=True):
            gate.spans = old_gate.spans
        self.nodes[i].drift = old.drift
        self.start(i, disk_lost=lost)

    # ------------------------------------------------------------ time
    def at(self, when: int, action: Callable[[], None]) -> None:
        self.serial += 1
        heapq.heappush(self.queue, (when, self.serial, action))

    def after_ms(self, ms: float, action: Callable[[], None]) -> None:
        self.at(self.now + int(ms * MS), action)

    def local(self, i: int) -> int:
        """The node's own clock."""
        return int(self.now * (1 + self.nodes[i].drift)) + i * 5_000 * MS

    def world_time(self, i: int, local_ns: int) -> int:
        return int((local_ns - i * 5_000 * MS) / (1 + self.nodes[i].drift))

    def run_ms(self, ms: float) -> None:
        end = self.now + int(ms * MS)
        while self.queue and self.queue[0][0] <= end:
            when, _, action = heapq.heappop(self.queue)
            self.now = max(self.now, when)
            action()
        self.now = end

    # ------------------------------------------------------------ stepping
    def deliver(self, i: int, make: Callable[[int], object]) -> None:
        node = self.nodes[i]
        if not node.alive:
            return
        if node.frozen:
            node.waiting.append(make)
            return
        effects = node.core.step(make(self.local(i)))  # type: ignore[arg-type]
        for effect in effects:
            self.perform(i, effect)
        self.arm(i)

    def arm(self, i: int) -> None:
        node = self.nodes[i]
        deadline = node.core.deadline_ns
        if deadline is None:
            return
        at = max(self.world_time(i, deadline) + 1, self.now)
        if at == node.wake_at:
            return
        node.wake_at = at
        self.at(at, lambda: self.wake(i, node, at))

    def wake(self, i: int, node: Node, at: int) -> None:
        if self.nodes[i] is node and node.wake_at == at:
            node.wake_at = -1
            self.deliver(i, lambda now: ev.Wake(now))

    def perform(self, i: int, effect: object) -> None:
        node = self.nodes[i]
        if isinstance(effect, ev.Send):
            for link in effect.links:
                self.transmit(i, link, effect.frame._replace(link_seq=effect.link_seq[link]))
        elif isinstance(effect, ev.Drive):
            self.drive(i, effect)
        elif isinstance(effect, ev.Persist):
            ceiling = effect.ceiling

            def done() -> None:
                if self.nodes[i] is node and node.alive:
                    node.ceiling = max(node.ceiling, ceiling)
                    self.deliver(i, lambda now: ev.Persisted(now, ceiling))
            self.after_ms(3.0, done)
        elif isinstance(effect, ev.Report):
            node.reports.append((self.now / MS, effect))

    def transmit(self, i: int, link: int, frame: Frame) -> None:
        for j in range(len(self.nodes)):
            if j == i or (link, i, j) in self.cut or self.random.random() < self.loss:
                continue
            self.carry(j, link, frame, self.latency_ms[link] * self.random.uniform(0.8, 1.5))

    def carry(self, j: int, link: int, frame: Frame, delay_ms: float) -> None:
        self.after_ms(delay_ms, lambda: self.deliver(j, lambda now: ev.Heard(now, link, frame)))

    # ------------------------------------------------------------ gates and outputs
    def drive(self, i: int, effect: ev.Drive) -> None:
        node, gate = self.nodes[i], self.nodes[i].gates[effect.group]
        if effect.code == DriveCode.DRIVE_OFF:
            epoch = effect.epoch
            self.gate_off(node, effect.group)
            self.after_ms(0.03, lambda: self.tell_output(i, node, effect.group, OutputCode.OUTPUT_OFF, epoch))
            return
        gate.deadline = self.world_time(i, effect.deadline_ns)
        gate.epoch = effect.epoch
        if effect.code == DriveCode.DRIVE_ON and gate.on_since is None:
            gate.on_since = self.now
        self.at(gate.deadline, lambda: self.gate_deadline(i, node, effect.group))

    def tell_output(self, i: int, node: Node, group: int, code: OutputCode, epoch: int) -> None:
        if self.nodes[i] is node and node.alive:
            self.deliver(i, lambda now: ev.Output(now, group, code, epoch))

    def gate_deadline(self, i: int, node: Node, group: int) -> None:
        gate = node.gates[group]
        if gate.on_since is None or self.now < gate.deadline:
            return
        self.after_ms(self.random.uniform(0, self.gate_late_ms), lambda: self.gate_drop(i, node, group))

    def gate_drop(self, i: int, node: Node, group: int) -> None:
        if node.gates[group].on_since is not None and self.now >= node.gates[group].deadline:
            self.gate_off(node, group)
            self.tell_output(i, node, group, OutputCode.OUTPUT_OFF, node.gates[group].epoch)

    def gate_off(self, node: Node, group: int) -> None:
        gate = node.gates[group]
        if gate.on_since is not None:
            gate.spans.append((gate.on_since, self.now + self.release))
            gate.on_since = None

    # ------------------------------------------------------------ faults
    def freeze(self, i: int) -> None:
        self.nodes[i].frozen = True

    def thaw(self, i: int) -> None:
        node = self.nodes[i]
        node.frozen = False
        waiting, node.waiting = node.waiting, []
        for make in waiting:
            self.deliver(i, make)  # type: ignore[arg-type]

    def power(self, i: int) -> None:
        """Node and gate vanish; the output falls with them."""
        for group in range(len(self.nodes[i].gates)):
            self.gate_off(self.nodes[i], group)
        self.nodes[i].alive = False

    def kill(self, i: int, *, links: tuple[int, ...] = (0,)) -> None:
        """The worker dies; its gate drops and says so."""
        node = self.nodes[i]
        peers = {p["node"]: p for p in node.core.view()["peers"]}
        self.power(i)
        frame = Frame(
            source=i, incarnation=node.incarnation, stamp=self.local(i) // 1000, pair_id=7, config_digest=1,
            kind=FrameKind.FRAME_DEATH,
            echoes=tuple(Echo(n, 0, 0, p["incarnation"], 1) for n, p in peers.items()),
            rows=tuple(Row(State.STANDBY, 15, RowFlag.ROW_DROPPED, g.epoch) for g in node.gates),
        )
        self.after_ms(0.1 + self.release / MS, lambda: [self.transmit(i, link, frame) for link in links] and None)

    def cut_all(self, links: tuple[int, ...], pairs: tuple[tuple[int, int], ...] = ((0, 1), (1, 0))) -> None:
        self.cut |= {(link, a, b) for link in links for a, b in pairs}

    def heal(self) -> None:
        self.cut.clear()

    def handover(self, i: int, group: int = 0, node: int = 15) -> None:
        self.deliver(i, lambda now: ev.Command(now, CommandCode.CMD_HANDOVER, group, node))

    # ------------------------------------------------------------ judging
    def spans(self, i: int, group: int = 0) -> list[tuple[int, int]]:
        gate = self.nodes[i].gates[group]
        return gate.spans + ([(gate.on_since, self.now)] if gate.on_since is not None else [])

    def overlap_ms(self, group: int = 0) -> float:
        """The longest time two nodes' outputs were on together."""
        worst = 0
        for i in range(len(self.nodes)):
            for j in range(i):
                for a0, a1 in self.spans(i, group):
                    for b0, b1 in self.spans(j, group):
                        worst = max(worst, min(a1, b1) - max(a0, b0))
        return worst / MS

    def drivers(self, group: int = 0) -> list[int]:
        return [i for i, n in enumerate(self.nodes) if n.gates[group].on_since is not None]

    def state(self, i: int, group: int = 0) -> str:
        return str(self.nodes[i].core.view()["groups"][group]["state"])

    def changes(self, i: int) -> list[tuple[float, str]]:
        return [(at, f"{State(r.node).name}>{State(r.value).name}:{r.cause.name}")
                for at, r in self.nodes[i].reports if r.code == ReportCode.RP_STATE]
