"""A replay for people and for scripts."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from twinbeat.replay.changes import Change, evidence_text, measures_text
from twinbeat.replay.compare import Verdict
from twinbeat.replay.every import every_step
from twinbeat.replay.load import Naming
from twinbeat.replay.story import Story, Window, kinds_in_order, shortened, within
from twinbeat.replay.walk import ms
from twinbeat.run_view import driver_of
from twinbeat_core.settings import Settings
from twinbeat_rt.recording import Recording


@dataclass(frozen=True)
class Told:
    """All that there is to say about one recording."""

    path: str
    recording: Recording
    settings: Settings
    naming: Naming
    story: Story
    verdict: Verdict
    part: Window
    chosen: int          # index of the explained episode, -1: none
    all_events: bool

    @property
    def exit_code(self) -> int:
        """1: it does not replay to the same."""
        return 0 if self.verdict.same else 1


WORDS = {
    "START": ("start", "starts"), "HEARD": ("frame heard", "frames heard"), "LINK": ("link change", "link changes"),
    "VOTE": ("vote of the third voter", "votes of the third voter"), "HEALTH": ("health report", "health reports"),
    "OUTPUT": ("word of an output", "words of outputs"), "SYNC": ("replication report", "replication reports"),
    "COMMAND": ("command", "commands"), "WAKE": ("wake-up", "wake-ups"),
    "PERSISTED": ("write to disk", "writes to disk"), "LATE": ("late thread", "late threads"),
}


def as_text(told: Told) -> Iterator[str]:
    """The lines for people."""
    yield from header(told)
    yield ""
    yield from role_changes(told)
    yield from timeline(told)
    yield from closing(told)


def header(told: Told) -> Iterator[str]:
    """Whose recording it is, what is in it, and whether it replays."""
    settings, story, names = told.settings, told.story, told.naming.names
    seconds = (story.ends_ns - story.begins_ns) / 1e9
    counts = ", ".join(f"{count} {WORDS[kind][count != 1]}" for kind, count in kinds_in_order(story.kinds))
    total = sum(story.kinds.values())
    yield told.path
    yield (f"  {names.node}, number {settings.self_node} of {settings.node_count} nodes; pair {settings.pair_id:04x}, "
           f"configuration {settings.config_digest:04x}, incarnation {story.last['incarnation']}")
    yield f"  {seconds:.3f} s, {total} events: {counts}" if total else "  no events"
    if told.naming.warning:
        yield f"  note: {told.naming.warning}"
    states = len(told.recording.checkpoints)
    if told.verdict.same:
        yield f"  replayed: the same bit for bit, {total} times effects, {states} states"
        return
    yield f"  REPLAYED: NOT THE SAME, {told.verdict.total} differences"
    for line in told.verdict.lines:
        yield f"    {line}"
    yield f"  reason: {told.verdict.reason}"
    yield "  what follows is what this core decides with the recorded events"


def role_changes(told: Told) -> Iterator[str]:
    """The list of role changes; times from the one that is explained."""
    if not told.story.changes:
        yield "No role changed in this recording."
        return
    yield "Role changes, in ms from the one that is explained:"
    for number, episode in enumerate(told.story.episodes, start=1):
        for index, change in enumerate(episode):
            label = f"{number}" if index == 0 else ""
            yield f"  {label:>3} {clock(change.at_ns, told.part)}  {change.sentence}"


def timeline(told: Told) -> Iterator[str]:
    """What happened round the change, step by step."""
    yield ""
    if told.all_events:
        yield "Every event:"
        for step in every_step(told.recording, told.naming.names, told.part):
            yield f"  {step['at_ms']:+14.3f}  {step['kind']:<9} {step['text']}"
            for effect in step["effects"]:
                yield f"  {'':14}  {'':9} -> {effect}"
        return
    yield "Step by step:"
    for entry in shortened(within(told.story, told.part)):
        yield f"  {clock(entry.at_ns, told.part)}  {entry.text}"


def closing(told: Told) -> Iterator[str]:
    """The verdict: cause, evidence, figures."""
    yield ""
    if told.chosen < 0:
        yield f"Verdict: no role changed. {standing(told)}"
        return
    for change in told.story.episodes[told.chosen]:
        yield f"Verdict: {change.sentence}"
        by = change.record["by"]
        yield f"  cause {change.record['cause']}" + (f", by {by}" if by != change.record["cause"] else "")
        for line in [*evidence_text(change), *measures_text(change)]:
            yield f"  {line}"


def standing(told: Told) -> str:
    """Who drives what at the end, as this node knows."""
    names, parts = told.naming.names, []
    for number, group in enumerate(told.story.last["groups"]):
        driver = driver_of(told.story.last, names, number)
        parts.append(f"{names.group_name(number)}: {driver or 'nobody'} drives, here {group['state']}")
    return "; ".join(parts) + "."


def clock(at_ns: int, part: Window) -> str:
    """A time relative to the explained change."""
    return f"{ms(at_ns - part.zero_ns):+12.3f} ms"


def as_data(told: Told) -> dict[str, Any]:
    """The same for scripts."""
    story, settings, part = told.story, told.settings, told.part
    data: dict[str, Any] = {
        "file": told.path,
        "exit_code": told.exit_code,
        "node": told.naming.names.node,
        "node_number": settings.self_node,
        "pair_id": f"{settings.pair_id:04x}",
        "config_digest": f"{settings.config_digest:04x}",
        "incarnation": story.last["incarnation"],
        "begins_boottime_ns": story.begins_ns,
        "zero_boottime_ns": part.zero_ns,
        "length_ms": ms(story.ends_ns - story.begins_ns),
        "events": dict(kinds_in_order(story.kinds)),
        "same": told.verdict.same,
        "differences": told.verdict.total,
        "first_differences": told.verdict.data,
        "reason": told.verdict.reason,
        "changes": [change_data(change, number, part)
                    for number, episode in enumerate(story.episodes, start=1) for change in episode],
        "explained": told.chosen + 1,
        "steps": [{"at_ms": ms(entry.at_ns - part.zero_ns), "kind": entry.kind, "text": entry.text, **entry.data}
                  for entry in within(story, part)],
        "at_end": standing(told),
    }
    if told.naming.warning:
        data["warning"] = told.naming.warning
    if told.all_events:
        data["every_event"] = list(every_step(told.recording, told.naming.names, part))
    return data


def change_data(change: Change, number: int, part: Window) -> dict[str, Any]:
    """A role change with its number and its time."""
    return {"change": number, "at_ms": ms(change.at_ns - part.zero_ns), **change.record}
