"""Arrival times out of recordings: frames per direction and link, each life of sender and receiver by itself."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from twinbeat.replay.walk import again
from twinbeat_core.events import Heard, Late, Report, Send, Start
from twinbeat_core.failover import Failover
from twinbeat_core.frames import Frame
from twinbeat_core.model import FrameFlag, FrameKind, ReportCode
from twinbeat_rt.recording import Recording


class Arrival(NamedTuple):
    """One frame: when it came (receiver's clock, ns), its send stamp (sender's clock, us), its number on the link."""

    rx_ns: int
    stamp_us: int
    link_seq: int


class Direction(NamedTuple):
    """Frames of node `source` as node `target` hears them on `link`."""

    source: int
    target: int
    link: int


class Lives(NamedTuple):
    """One incarnation of the sender and one of the receiver: clocks, stamps and numbers belong together."""

    sender: int
    receiver: int


@dataclass
class Collected:
    """What recordings hold for the timing of one pair.

    arrivals    by direction and lives; the same frame in two recordings counts once
    trips_ms    by asking node and link: round trips of asks that went out on that link alone, by (answering node,
                life of the asking node, stamp)
    late_ns     by receiving node: (from, to) where that node itself was late
    spans_ns    by receiving node: (from, to) of each recording
    """

    arrivals: dict[Direction, dict[Lives, set[Arrival]]] = field(default_factory=dict)
    trips_ms: dict[tuple[int, int], dict[tuple[int, int, int], float]] = field(default_factory=dict)
    late_ns: dict[int, set[tuple[int, int]]] = field(default_factory=dict)
    spans_ns: dict[int, list[tuple[int, int]]] = field(default_factory=dict)

    def length_ns(self, node: int) -> int:
        """How long node `node` was recorded, overlaps counted once."""
        total, end = 0, 0
        for begin, until in sorted(self.spans_ns.get(node, [])):
            total += max(0, until - max(begin, end))
            end = max(end, until)
        return total


class Collector:
    """Takes recordings of the nodes of one pair."""

    def __init__(self) -> None:
        self.found = Collected()

    def take(self, recording: Recording, node: int) -> None:
        """Everything of one recording; `node` wrote it."""
        core = Failover(recording.settings)
        core.restore(recording.snapshot)
        own_life = int(core.view()["incarnation"])
        asks: dict[int, int] = {}
        if recording.events:
            span = (recording.events[0].now_ns, recording.events[-1].now_ns)
            self.found.spans_ns.setdefault(node, []).append(span)
        for number, recorded in enumerate(recording.events):
            event, effects = again(core, recorded, number)
            if isinstance(event, Start):
                own_life = event.incarnation
                asks.clear()
            elif isinstance(event, Heard):
                self._heard(node, own_life, event, asks)
            elif isinstance(event, Late):
                self._late(node, event.now_ns, event.late_ns)
            for effect in effects:
                if isinstance(effect, Send) and len(effect.links) == 1 and effect.frame.flags & FrameFlag.FLAG_ASK:
                    asks[effect.frame.stamp] = effect.links[0]
                elif isinstance(effect, Report) and effect.code == ReportCode.RP_SELF_LATE:
                    self._late(node, event.now_ns, effect.value)

    def _heard(self, node: int, own_life: int, event: Heard, asks: dict[int, int]) -> None:
        frame = event.frame
        if event.code or frame.kind != FrameKind.FRAME_HEARTBEAT or frame.source == node:
            return
        rx_ns = event.rx_at_ns or event.now_ns
        lives = self.found.arrivals.setdefault(Direction(frame.source, node, event.link), {})
        lives.setdefault(Lives(frame.incarnation, own_life), set()).add(Arrival(rx_ns, frame.stamp, frame.link_seq))
        stamp = echoed(frame, node, own_life)
        if stamp is not None and asks.get(stamp) == event.link:
            # The first frame with this echo on the link is the answer; what comes later only repeats it.
            trips = self.found.trips_ms.setdefault((node, event.link), {})
            trips.setdefault((frame.source, own_life, stamp), (rx_ns - stamp * 1000) / 1e6)

    def _late(self, node: int, at_ns: int, late_ns: int) -> None:
        self.found.late_ns.setdefault(node, set()).add((at_ns - late_ns, at_ns))


def echoed(frame: Frame, node: int, life: int) -> int | None:
    """The stamp of this life of `node` that a frame echoes."""
    return next((echo.stamp for echo in frame.echoes if echo.node == node and echo.incarnation == life), None)


def collect(recordings: Iterable[tuple[Recording, int]]) -> Collected:
    """All arrivals of recordings, each with the number of the node that wrote it."""
    collector = Collector()
    for recording, node in recordings:
        collector.take(recording, node)
    return collector.found
