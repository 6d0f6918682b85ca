"""Frames heard, summed up: one entry for each unbroken series from one node on one link."""
from __future__ import annotations

from dataclasses import dataclass, field

from twinbeat.replay.walk import Entry, Step, ms
from twinbeat.run_words import Names, state_name
from twinbeat_core.events import Heard, Send
from twinbeat_core.frames import Frame
from twinbeat_core.model import FrameKind
from twinbeat_core.settings import Settings

SEQUENCE_NUMBERS = 256
LOST_MOST = 127         # a larger step backwards or forwards says nothing about loss


@dataclass
class Run:
    """An unbroken series of frames of one life of a node on one link."""

    node: int
    link: int
    incarnation: int
    first_ns: int
    last_ns: int
    last_frame: Frame
    gaps_ns: list[int] = field(default_factory=list)
    count: int = 1
    lost: int = 0
    repeated: int = 0

    def add(self, frame: Frame, at_ns: int) -> None:
        """The next frame."""
        distance = (frame.link_seq - self.last_frame.link_seq) % SEQUENCE_NUMBERS
        if 0 < distance <= LOST_MOST:
            self.lost += distance - 1
        else:
            self.repeated += 1
        self.gaps_ns.append(at_ns - self.last_ns)
        self.count += 1
        self.last_ns = at_ns
        self.last_frame = frame


class Runs:
    """Collects runs; a silence of more than the link's missed periods, or another life, ends one."""

    def __init__(self, settings: Settings, names: Names) -> None:
        self.done: list[Run] = []
        self._names = names
        self._open: dict[tuple[int, int], Run] = {}
        self._silence_ns = [int(link.missed * link.period_ms * 1e6) for link in settings.links]

    def take(self, step: Step) -> None:
        """One step; heartbeats of other nodes count, death notices and this node's own name do not."""
        event = step.event
        if not isinstance(event, Heard) or event.link >= len(self._silence_ns) or event.code:
            return
        frame = event.frame
        if frame.kind != FrameKind.FRAME_HEARTBEAT or frame.source == step.after["node"]:
            return
        key = (frame.source, event.link)
        run = self._open.get(key)
        at_ns = event.rx_at_ns or step.at_ns
        if run is not None and (
            run.incarnation != frame.incarnation or at_ns - run.last_ns > self._silence_ns[event.link]
        ):
            self.done.append(self._open.pop(key))
            run = None
        if run is None:
            self._open[key] = Run(frame.source, event.link, frame.incarnation, at_ns, at_ns, frame)
        else:
            run.add(frame, at_ns)

    def close(self) -> list[Run]:
        """All runs, in the order of their last frames."""
        self.done += self._open.values()
        self._open.clear()
        return sorted(self.done, key=lambda run: run.last_ns)

    def entry(self, run: Run) -> Entry:
        """A run as an entry at its last frame."""
        node, link = self._names.node_name(run.node), self._names.link_name(run.link)
        text = f"{run.count} frame{'' if run.count == 1 else 's'} from {node} on link {link}"
        data: dict[str, object] = {"node": node, "link": link, "frames": run.count, "lost": run.lost,
                                   "over_ms": ms(run.last_ns - run.first_ns)}
        if run.gaps_ns:
            every, longest = ms((run.last_ns - run.first_ns) / len(run.gaps_ns)), ms(max(run.gaps_ns))
            text += f", one every {every:.1f} ms, longest gap {longest:.1f} ms"
            data |= {"every_ms": every, "longest_gap_ms": longest}
        if run.lost:
            text += f", {run.lost} lost ({100 * run.lost / (run.lost + run.count):.1f} %)"
        text += f"; the last one said {said(run.last_frame, self._names)}"
        return Entry(run.last_ns, "frames", text, data)


def said(frame: Frame, names: Names) -> str:
    """What a frame says of the groups."""
    return ", ".join(
        f"{names.group_name(number)} {state_name(row.state)}" + (f" (epoch {row.epoch})" if row.epoch else "")
        for number, row in enumerate(frame.rows)
    ) or "nothing"


class Unanswered:
    """Frames sent on each link since anything was heard from the other nodes."""

    def __init__(self) -> None:
        self.sent: dict[int, int] = {}

    def take(self, step: Step) -> None:
        """One step."""
        if isinstance(step.event, Heard):
            self.sent.clear()
        for effect in step.effects:
            if isinstance(effect, Send):
                for link in effect.links:
                    self.sent[link] = self.sent.get(link, 0) + 1

    def text(self, names: Names) -> str:
        """ "3 frames sent on cross, 1 on mqtt0, none answered", or nothing."""
        parts = [f"{count} on {names.link_name(link)}" for link, count in sorted(self.sent.items())]
        return f"frames sent since anything was heard: {', '.join(parts)}" if parts else ""
