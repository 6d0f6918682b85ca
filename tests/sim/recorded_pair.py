"""Two cores in virtual time whose events are recorded as a real agent records them: files with known distributions."""
from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from twinbeat_core import events as ev
from twinbeat_core.failover import Failover
from twinbeat_core.frames import Echo, Frame, Row
from twinbeat_core.model import (
    Cause,
    CommandCode,
    DriveCode,
    FrameKind,
    LateCode,
    LinkKind,
    Lone,
    OutputCode,
    ReportCode,
    RowFlag,
    State,
)
from twinbeat_core.settings import GroupSettings, LinkSettings, Settings
from twinbeat_rt.offline import CoreRecorder

MS = 1_000_000
SERIAL = LinkSettings(kind=LinkKind.LINK_SERIAL, period_ms=10, rtt_ms=1.9, reask_ms=1.4)
MQTT = LinkSettings(kind=LinkKind.LINK_MQTT, period_ms=100, fast_period_ms=20, rtt_ms=8, reask_ms=8)
GATE_MS = 0.1


def pair_settings(*links: LinkSettings, lone: Lone = Lone.LONE_TAKEOVER, mistake_exp: int = 9) -> Settings:
    """Settings of node 0; `Pair` makes node 1's from them."""
    group = GroupSettings(lone=lone, rank=(0, 1))
    return Settings(node_count=2, self_node=0, links=links or (SERIAL, MQTT), groups=(group,), pair_id=0x1234,
                    config_digest=0xABCD, voters=(0, 1), mistake_exp=mistake_exp)


@dataclass
class Way:
    """How frames pass in one direction of a link; `delay_ms` draws one delay. No frame overtakes another."""

    delay_ms: Callable[[random.Random], float]
    loss: float = 0.0
    cut: bool = False
    last_ns: int = 0


@dataclass
class Node:
    """One agent: its core, its clock (offset and drift), its output."""

    recorder: CoreRecorder
    clock_ns: int
    drift: float
    incarnation: int
    alive: bool = True
    frozen_until: int = 0
    wake_at: int = -1
    on: bool = False
    active_at: list[int] = field(default_factory=list)
    lapses: int = 0
    reports: list[tuple[int, ev.Report]] = field(default_factory=list)


class Pair:
    """The world: `run_ms` lets time pass; `save` writes a node's recording."""

    def __init__(self, settings: Settings, ways: Callable[[int], Way], seed: int = 1, drift_ppm: float = 0.0) -> None:
        self.random = random.Random(seed)
        self.now = 0
        self.settings = settings
        self.links = len(settings.links)
        self.ways = {(link, node): ways(link) for link in range(self.links) for node in (0, 1)}
        self.nodes = [self._node(node, drift_ppm * (1 if node == 0 else -1) / 1e6) for node in (0, 1)]
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._serial = 0

    def _node(self, number: int, drift: float) -> Node:
        core = Failover(replace(self.settings, self_node=number))
        return Node(CoreRecorder(core), (50 + 700 * number) * 1000 * MS, drift, 100 + number)

    # ------------------------------------------------------------ time
    def local(self, node: Node) -> int:
        """The node's own clock now."""
        return node.clock_ns + int(self.now * (1 + node.drift))

    def at(self, when: int, action: Callable[[], None]) -> None:
        """Do something later."""
        self._serial += 1
        heapq.heappush(self._queue, (when, self._serial, action))

    def run_ms(self, length_ms: float) -> None:
        """Let time pass."""
        end = self.now + int(length_ms * MS)
        while self._queue and self._queue[0][0] <= end:
            when, _number, action = heapq.heappop(self._queue)
            self.now = max(self.now, when)
            action()
        self.now = end

    def start(self) -> None:
        """Both agents start, with their first block of epochs on disk."""
        for number in (0, 1):
            self._start(number, self.nodes[number].incarnation)

    def _start(self, number: int, incarnation: int) -> None:
        self.step(number, lambda now: ev.Start(now, incarnation, 64))

    def started(self) -> Pair:
        """Start and wait until one of them drives: node 0, unless frames are lost."""
        self.start()
        self.run_ms(3000)
        for _patience in range(20):
            if self.nodes[0].on != self.nodes[1].on:
                return self
            self.run_ms(500)
        raise AssertionError("the pair did not settle")

    # ------------------------------------------------------------ events
    def step(self, number: int, make: Callable[[int], ev.Event]) -> None:
        """An event for a node's core, carried out."""
        node = self.nodes[number]
        if not node.alive:
            return
        if node.frozen_until > self.now:
            self.at(node.frozen_until, lambda: self.step(number, make))
            return
        for effect in node.recorder.step(make(self.local(node))):
            self._carry_out(number, node, effect)
        self._plan_wake(number, node)

    def _plan_wake(self, number: int, node: Node) -> None:
        deadline = node.recorder.core.deadline_ns
        if deadline is None:
            return
        when = max(self.now, int((deadline - node.clock_ns) / (1 + node.drift)) + 1000)
        if when != node.wake_at:
            node.wake_at = when
            self.at(when, lambda: self._wake(number, when))

    def _wake(self, number: int, when: int) -> None:
        if self.nodes[number].wake_at == when:
            self.nodes[number].wake_at = -1
            self.step(number, lambda now: ev.Wake(now))

    def _carry_out(self, number: int, node: Node, effect: ev.Effect) -> None:
        if isinstance(effect, ev.Send):
            for link in effect.links:
                self.transmit(number, link, effect.frame._replace(link_seq=effect.link_seq[link]))
        elif isinstance(effect, ev.Drive) and effect.code != DriveCode.DRIVE_EXTEND:
            on = effect.code == DriveCode.DRIVE_ON
            self.at(self.now + int(GATE_MS * MS), lambda: self._switched(number, effect.group, on, effect.epoch))
        elif isinstance(effect, ev.Persist):
            self.at(self.now + 2 * MS, lambda: self.step(number, lambda now: ev.Persisted(now, effect.ceiling)))
        elif isinstance(effect, ev.Report):
            self._note(node, effect)

    def _note(self, node: Node, report: ev.Report) -> None:
        node.reports.append((self.now, report))
        if report.code != ReportCode.RP_STATE:
            return
        if report.value == State.ACTIVE:
            node.active_at.append(self.now)
        if report.node == State.ACTIVE and report.extra in (Cause.CAUSE_LAPSED, Cause.CAUSE_SELF_LATE):
            node.lapses += 1

    def _switched(self, number: int, group: int, on: bool, epoch: int) -> None:
        node = self.nodes[number]
        node.on = on
        code = OutputCode.OUTPUT_DRIVEN if on else OutputCode.OUTPUT_OFF
        self.step(number, lambda now: ev.Output(now, group, code, epoch))

    # ------------------------------------------------------------ links
    def transmit(self, number: int, link: int, frame: Frame) -> None:
        """A frame from a node to the other."""
        way = self.ways[(link, number)]
        if way.cut or self.random.random() < way.loss:
            return
        arrives = max(self.now + int(way.delay_ms(self.random) * MS), way.last_ns + 1000)
        way.last_ns = arrives
        self.at(arrives, lambda: self._arrive(1 - number, link, frame))

    def _arrive(self, number: int, link: int, frame: Frame) -> None:
        rx_ns = self.local(self.nodes[number])
        self.step(number, lambda now: ev.Heard(now, link, frame, rx_ns if now - rx_ns < MS else now))

    # ------------------------------------------------------------ faults
    def power(self, number: int) -> None:
        """The node is gone and says nothing."""
        self.nodes[number].alive = False
        self.nodes[number].on = False

    def kill(self, number: int) -> None:
        """The worker dies; its gate drops the outputs and says so on the first link."""
        node, other = self.nodes[number], self.nodes[1 - number]
        epoch = node.recorder.core.view()["groups"][0]["epoch"]
        stamp = self.local(node) // 1000
        self.power(number)
        frame = Frame(
            source=number, incarnation=node.incarnation, stamp=stamp, pair_id=0x1234, config_digest=0xABCD,
            kind=FrameKind.FRAME_DEATH, echoes=(Echo(1 - number, 0, 0, other.incarnation, 1),),
            rows=(Row(State.STANDBY, 15, RowFlag.ROW_DROPPED, epoch),),
        )
        self.at(self.now + MS // 10, lambda: self.transmit(number, 0, frame))

    def freeze(self, number: int, length_ms: float) -> None:
        """The worker stands still for a time; then everything that came is taken in, and that it was late is said."""
        node = self.nodes[number]
        until = self.now + int(length_ms * MS)
        self.at(until, lambda: self.step(number, lambda now: ev.Late(now, LateCode.LATE_CANARY, int(length_ms * MS))))
        node.frozen_until = until

    def cut(self, *links: int, cut: bool = True) -> None:
        """Cut or mend links in both directions."""
        for link in links:
            for node in (0, 1):
                self.ways[(link, node)].cut = cut

    def command(self, number: int, code: CommandCode) -> None:
        """An operator's or the agent's wish."""
        self.step(number, lambda now: ev.Command(now, code))

    def save(self, number: int, directory: Path, name: str = "") -> Path:
        """The node's recording so far."""
        path = directory / (name or f"node-{number}.tbr")
        self.nodes[number].recorder.save(str(path))
        return path


def even(low_ms: float = 0.2, spread_ms: float = 0.1) -> Callable[[int], Way]:
    """Every link with an evenly spread delay."""
    return lambda _link: Way(lambda chance: low_ms + spread_ms * chance.random())


def exponential(low_ms: float, mean_ms: float, loss: float = 0.0) -> Callable[[int], Way]:
    """Every link with a least delay, an exponential rest, and a share of frames lost."""
    return lambda _link: Way(lambda chance: low_ms + chance.expovariate(1 / mean_ms), loss)
