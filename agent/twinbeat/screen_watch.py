"""The live screen of `twinbeat watch`: `render` makes its lines from what was asked, and does nothing else."""
from __future__ import annotations

import datetime
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from twinbeat.group_names import compact
from twinbeat.screen import Answer, duration, entries, figure
from twinbeat.screen_alarms import (
    Alarm,
    aimed,
    alarms,
    alive,
    drivers,
    links_here,
    name_of,
    path_state,
    paths_of,
    voter_state,
)
from twinbeat.screen_events import event_line
from twinbeat.screen_paint import PLAIN, Paint, ago, clean, cut, length, local_time, painted, wrap
from twinbeat.screen_status import notes_of
from twinbeat.screen_why import stories_of

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.-~=+*#"
NOTHING_HEARD = "x"
TRACE_KEPT = 60
SCALE_MS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
"""Bounds between the heights of a trace."""
ALARMS_SHOWN = 4
STORIES_SHOWN = 3
GROUPS_SHOWN = 12
COLUMNS_MOST = 120
KEYS = "q quit   p pause"


class Size(NamedTuple):
    """Of a terminal."""

    columns: int
    lines: int


@dataclass
class Watching:
    """What the screen shows. `traces` are filled by `note`; `fault` says why the agent does not answer."""

    now: datetime.datetime
    status: Answer = field(default_factory=dict)
    why: Answer = field(default_factory=dict)
    events: deque[Answer] = field(default_factory=lambda: deque(maxlen=200))
    traces: dict[tuple[str, str], deque[float | None]] = field(default_factory=dict)
    fault: str = ""
    paused: bool = False
    paint: Paint = PLAIN
    blocks: bool = True
    zone: datetime.tzinfo | None = None

    def note(self, status: Answer) -> None:
        """Take a new status; each path's silence or longest gap, whichever is longer, goes on its trace."""
        self.status = status
        for link in links_here(status):
            for node, path in paths_of(link):
                trace = self.traces.setdefault((name_of(link), node), deque(maxlen=TRACE_KEPT))
                known = [path.get(key) for key in ("heard_ms_ago", "gap_max_ms")]
                figures = [value for value in known if isinstance(value, (int, float))]
                silent = not isinstance(known[0], (int, float)) or path_state(link, path) in ("DOWN", "RX_DEAD")
                trace.append(None if silent or not figures else max(figures))


def render(state: Watching, size: Size) -> list[str]:
    """At most `size.lines` lines of at most `size.columns` columns; what has least to say gives way first."""
    width = max(20, min(size.columns, COLUMNS_MOST))
    top = [head_line(state), *alarm_part(state, width)]
    top += ["", *group_part(state), "", *link_part(state, width), *voter_part(state)]
    room = size.lines - len(top) - 1
    stories = story_part(state)
    stories = stories if len(stories) <= room else []
    events = event_part(state, room - len(stories))
    body = (top + stories + events)[: size.lines - 1]
    body += [""] * (size.lines - 1 - len(body))
    return [cut(line, width) for line in [*body, state.paint("dim", KEYS)]][: size.lines]


def head_line(state: Watching) -> str:
    """Who answers, when, and whether this is the present."""
    status, paint = state.status, state.paint
    who = f"{clean(status.get('node', '?'))} of {clean(status.get('pair', '?'))}"
    clock = local_time(state.now.isoformat(), zone=state.zone)[:19]
    mode = paint("doubt", "PAUSED") if state.paused else paint("good", "live")
    if state.fault:
        mode = paint("bad", "NO ANSWER")
    return f"{paint('head', who)}  {clock}  up {duration(status.get('uptime_s'))}  {mode}"


def alarm_part(state: Watching, width: int) -> list[str]:
    """What is wrong, one line each; the remedy behind it where it fits. What an agent that is silent said is old."""
    found: list[Alarm] = alarms(state.status) if state.status else []
    lines = painted(state.paint, "bad", wrap(state.fault, width, "! ")) if state.fault else []
    for alarm in found[:ALARMS_SHOWN]:
        mark = "-" if alarm.level == "note" else "!"
        line = state.paint(alarm.level, f"{mark} {alarm.text}")
        if alarm.remedy and length(line) + len(alarm.remedy) + 3 <= width:
            line += f" ({alarm.remedy})"
        lines.append(line)
    if len(found) > ALARMS_SHOWN:
        lines.append(f"! and {len(found) - ALARMS_SHOWN} more: twinbeat status --groups")
    return lines


# ---------------------------------------------------------------- both nodes


def group_part(state: Watching) -> list[str]:
    """Every group as this node has it and as the others' frames say, below each node's health."""
    status, paint = aimed(state.status), state.paint
    peers = entries(status, "peers")
    heads = [f"{clean(status.get('node', '?'))}, here", *(f"{name_of(peer)}, by its frames" for peer in peers)]
    rows: list[tuple[list[str], list[str]]] = [
        (["", *(paint("head", text) for text in heads)], []),
        (["heard", "-", *(heard(peer, paint) for peer in peers)], []),
        (["health", condition(status), *(condition(peer) for peer in peers)], []),
    ]
    families = families_of(status)
    for name, units in families[:GROUPS_SHOWN]:
        own = said([(str(unit.get("state", "?")), unit.get("epoch")) for unit in units], paint)
        cells = [own, *(said(told(peer, units), paint) for peer in peers)]
        notes = [f"{name_of(unit)}: {note}" if len(units) > 1 else note for unit in units for note in notes_of(unit)]
        nobody = [name_of(unit) for unit in units if not drivers(unit)]
        below = [paint("note", note) for note in notes[:3]]
        below += [paint("bad", f"nobody drives {compact(nobody)}")] if nobody else []
        rows.append(([name, *cells], below))
    lines = []
    widths = [max(length(cells[column]) for cells, _ in rows) for column in range(len(heads) + 1)]
    for cells, below in rows:
        padded = (cell + " " * (wide - length(cell)) for cell, wide in zip(cells, widths, strict=True))
        lines += ["  ".join(padded).rstrip(), *(f"    {text}" for text in below)]
    if len(families) > GROUPS_SHOWN:
        lines.append(f"and {len(families) - GROUPS_SHOWN} more groups: twinbeat status --groups")
    return lines


def families_of(status: Answer) -> list[tuple[str, list[Answer]]]:
    """Groups by family, in the order of the file; a group of no known family is one of its own."""
    groups = {name_of(group): group for group in entries(status, "groups")}
    found: list[tuple[str, list[Answer]]] = []
    for family in entries(status, "families"):
        units = [groups.pop(name) for name in family.get("units", []) if name in groups]
        if units:
            found.append((name_of(family), units))
    return found + [(name, [group]) for name, group in groups.items()]


def heard(peer: Answer, paint: Paint) -> str:
    """How long ago a node was heard."""
    ms = peer.get("heard_ms_ago")
    text = f"{figure(ms, 'ms', 1)} ago" if isinstance(ms, (int, float)) else "never"
    return text if alive(peer) else paint("bad", f"{text} {'DEAD' if peer.get('dead') else 'SILENT'}")


def condition(node: Answer) -> str:
    """Score and load of a node."""
    score = node.get("score", node.get("health"))
    text = f"{clean(score if isinstance(score, (int, float)) else '-')}, load {figure(node.get('load'), '%')}"
    return f"{text}, NOT FIT" if node.get("fit") is False else text


def told(peer: Answer, units: Sequence[Answer]) -> list[tuple[str, object]]:
    """What a node's frames say of some groups."""
    states, epochs = peer.get("groups"), peer.get("epochs")
    states, epochs = states if isinstance(states, dict) else {}, epochs if isinstance(epochs, dict) else {}
    return [(str(states.get(unit.get("name"), "-")), epochs.get(unit.get("name"))) for unit in units]


def said(rows: Iterable[tuple[str, object]], paint: Paint) -> str:
    """One state with its epoch, or how many groups are in which."""
    found = [(clean(state), epoch) for state, epoch in rows]
    if len(found) == 1:
        state, epoch = found[0]
        return style(state, paint) + (f" epoch {epoch}" if isinstance(epoch, int) and epoch else "")
    counts: dict[str, int] = {}
    for state, _ in found:
        counts[state] = counts.get(state, 0) + 1
    return ", ".join(f"{number} {style(state, paint)}" for state, number in counts.items())


def style(state: str, paint: Paint) -> str:
    """A state in its colour."""
    return paint({"ACTIVE": "good", "CLAIMING": "doubt", "RELEASING": "doubt", "OUT": "note"}.get(state, ""), state)


# ---------------------------------------------------------------- links, voter


def link_part(state: Watching, width: int) -> list[str]:
    """Each path with its figures and its trace, as wide as there is room."""
    paint = state.paint
    rows = [["link", "to", "state", "loss", "gap", ""]]
    for link in links_here(state.status):
        for node, path in paths_of(link):
            word = path_state(link, path)
            trace = state.traces.get((name_of(link), node), deque())
            shown = [name_of(link), node, paint("good" if word == "UP" else "doubt", word),
                     figure(path.get("loss_percent"), "%", 1), figure(path.get("gap_max_ms"), "ms", 1)]
            rows.append([*shown, sparkline(trace, TRACE_KEPT, state.blocks)])
    widths = [max(length(row[column]) for row in rows) for column in range(5)]
    room = max(0, width - sum(widths) - 10)
    lines = []
    for row in rows:
        cells = [cell + " " * (wide - length(cell)) for cell, wide in zip(row[:5], widths, strict=True)]
        lines.append("  ".join([*cells, row[5][-room:] if room else ""]).rstrip())
    return [paint("dim", lines[0]), *lines[1:]]


def sparkline(trace: Iterable[float | None], most: int, blocks: bool) -> str:
    """Silences as heights, the newest last: up to 1, 3, 10, 30, 100, 300, 1000 ms and above; x: nothing is heard."""
    heights = BLOCKS if blocks else ASCII
    return "".join(
        NOTHING_HEARD if ms is None else heights[sum(ms > bound for bound in SCALE_MS)] for ms in list(trace)[-most:]
    )


def voter_part(state: Watching) -> list[str]:
    """The third voter, where there is one."""
    voter = state.status.get("third_voter")
    if not isinstance(voter, dict):
        return []
    word, reason = voter_state(voter)
    text = f"third voter ({clean(voter.get('type', '?'))}): {word}{f', {reason}' if reason else ''}"
    return ["", text if word in ("answers", "?") else state.paint("bad", text)]


# ---------------------------------------------------------------- what happened


def story_part(state: Watching) -> list[str]:
    """The newest role changes, a line each."""
    found = stories_of(state.why)[-STORIES_SHOWN:]
    if not found:
        return []
    lines = ["", state.paint("dim", "role changes (twinbeat why)")]
    for story in found:
        when = story.anchor.get("time")
        clock = local_time(when, date=False, zone=state.zone)
        lines.append(f"{clock} ({ago(when, state.now)}) {clean(story.headline())}")
    return lines


def event_part(state: Watching, room: int) -> list[str]:
    """The newest events, as many as fit, the newest last."""
    if room < 3 or not state.events:
        return []
    shown = list(state.events)[-(room - 2):]
    lines = [event_line(event, None, state.paint, state.zone, date=False) for event in shown]
    return ["", state.paint("dim", "events (twinbeat events)"), *lines]
