"""The screen of `twinbeat status`: what is wrong first, then who drives, the other nodes, the links, this node."""
from __future__ import annotations

from typing import Any

from twinbeat.group_names import compact
from twinbeat.screen import Answer, age, duration, entries, figure
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
from twinbeat.screen_paint import COLUMNS_MAX, PLAIN, Paint, clean, cut, length, wrap

ALARMS_SHOWN = 6
WARNINGS_SHOWN = 3
GROUPS_SHOWN = 10

Row = tuple[str, ...]


def status_text(
    answer: Answer, *, paint: Paint = PLAIN, width: int = COLUMNS_MAX, every_group: bool = False
) -> str:
    """The whole screen. `every_group`: each shard on a line of its own, and every fault and warning."""
    answer = aimed(answer)
    lines = [*head_lines(answer, width, paint)]
    found = alarms(answer)
    lines += alarm_lines(found, width, paint, len(found) if every_group else ALARMS_SHOWN)
    lines += group_lines(answer, width, paint, every_group)
    lines += peer_lines(answer, width, paint)
    lines += link_lines(answer, width, paint)
    lines += own_lines(answer, width, paint)
    lines += warning_lines(answer, width, every_group)
    return "\n".join(line.rstrip() for line in lines)


def head_lines(answer: Answer, width: int, paint: Paint) -> list[str]:
    """Who answers."""
    who = f"node {clean(answer.get('node', '?'))}"
    if answer.get("pair"):
        who += f" of pair {clean(answer['pair'])}"
    details = [f"version {clean(answer.get('version', '?'))}", f"up {duration(answer.get('uptime_s'))}"]
    if answer.get("session") is not None:
        details.append(f"start no. {answer['session']}")
    return [cut(f"{paint('head', who)} ({', '.join(details)})", width)]


def alarm_lines(found: list[Alarm], width: int, paint: Paint, limit: int = ALARMS_SHOWN) -> list[str]:
    """What is wrong, each with its remedy below it. Nothing where all is well."""
    lines: list[str] = []
    for alarm in found[:limit]:
        lines += [paint(alarm.level, line) for line in wrap(alarm.text, width, "! " if alarm.level != "note" else "- ")]
        lines += wrap(alarm.remedy, width, "    ") if alarm.remedy else []
    if len(found) > limit:
        lines.append(f"! and {len(found) - limit} more: twinbeat status --groups")
    return ["", *lines] if lines else []


# ---------------------------------------------------------------- groups


def group_lines(answer: Answer, width: int, paint: Paint, every_group: bool) -> list[str]:
    """A row for each group, one line for a family of shards; what is under way stands below."""
    groups = {name_of(group): group for group in entries(answer, "groups")}
    blocks: list[tuple[Row | None, list[str]]] = []
    left = list(groups)
    for family in entries(answer, "families"):
        units = [groups[name] for name in family.get("units", []) if name in groups]
        if len(units) > 1 and not every_group:
            left = [name for name in left if groups[name] not in units]
            blocks.append((None, shard_lines(family, units, answer, paint)))
    singles = [groups[name] for name in left]
    shown = singles if every_group else shortest(singles)
    alike, shared = shared_notes(shown, paint)
    below = {name_of(group): [] if name_of(group) in alike else course_lines(group, paint) for group in shown}
    rows = [(group_row(group, answer, paint), below[name_of(group)]) for group in shown]
    head = ("group", "driver", "here", "epoch", "since", "authority")
    table = columns(head, [row for row, _ in rows], paint, width)
    lines = ["", table[0]] if rows else [""]
    for line, (_, notes) in zip(table[1:], rows, strict=True):
        lines += [line, *(cut(text, width) for text in notes)]
    lines += [cut(text, width) for text in shared]
    if len(shown) < len(singles):
        lines.append(f"  and {len(singles) - len(shown)} more, all driven: twinbeat status --groups")
    return lines + [cut(line, width) for _, notes in blocks for line in notes]


def shortest(groups: list[Answer]) -> list[Answer]:
    """At most `GROUPS_SHOWN`, those first that nobody drives or something is under way for."""
    if len(groups) <= GROUPS_SHOWN:
        return groups
    order = sorted(range(len(groups)), key=lambda i: (bool(groups[i].get("driver")), not notes_of(groups[i]), i))
    return [groups[i] for i in sorted(order[:GROUPS_SHOWN])]


def group_row(group: Answer, answer: Answer, paint: Paint) -> Row:
    """One group: who drives and by which epoch, and what it is here."""
    state = clean(group.get("state", "?"))
    style = "good" if state == "ACTIVE" else ""
    reasons = group.get("barred_by") or ([group["fault"]] if group.get("fault") else [])
    if reasons:
        state += f" ({', '.join(map(clean, reasons))})"
    if group.get("may_drive") is False:
        state += " (votes only)"
    if group.get("alone") and not any(alive(peer) for peer in entries(answer, "peers")):
        state += " (alone)"
    authority = group.get("authority_ms")
    who = ", ".join(drivers(group))
    return (
        name_of(group),
        who or paint("bad", "NOBODY"),
        paint(style, state),
        epoch_of(group, answer),
        duration(since_s(group)),
        figure(authority, "ms") if authority else "-",
    )


def epoch_of(group: Answer, answer: Answer) -> str:
    """That of the driver, as this node or the driver's frames say; "-" where there was none yet."""
    found = group.get("epoch")
    for peer in entries(answer, "peers"):
        told = peer.get("epochs")
        if peer.get("name") == group.get("driver") and isinstance(told, dict):
            found = told.get(str(group.get("name")), found)
    return str(found) if found else "-"


def since_s(group: Answer) -> object:
    """Seconds since the group's state here."""
    since = group.get("since_s")
    if since is None and isinstance(group.get("since_ms"), (int, float)):
        since = group["since_ms"] / 1000
    return since


def notes_of(group: Answer) -> list[str]:
    """What is under way for a group, with its countdown."""
    notes = []
    held_ms, changes = group.get("hold_down_ms"), group.get("changes")
    if isinstance(held_ms, (int, float)) and held_ms > 0:
        more = f", {changes} change{'s' * (changes != 1)}" if isinstance(changes, int) and changes else ""
        notes.append(f"moves held down {duration(held_ms / 1000)}{more}")
    back_ms = group.get("failback_in_ms")
    if isinstance(back_ms, (int, float)):
        to = f" to {clean(group['failback_to'])}" if group.get("failback_to") else ""
        notes.append(f"back{to or ' to the better ranked node'} in {duration(back_ms / 1000)}")
    if group.get("preparing"):
        notes.append(f"{clean(group['preparing'])} prepares to take it")
    return notes


def course_lines(group: Answer, paint: Paint) -> list[str]:
    """The notes of a group below its row."""
    return [f"    {paint('note', note)}" for note in notes_of(group)]


def shared_notes(groups: list[Answer], paint: Paint) -> tuple[set[str], list[str]]:
    """The groups that say the same as others, and what they say, once, with the longest countdowns."""
    by_kind: dict[tuple[str, ...], list[Answer]] = {}
    for group in groups:
        by_kind.setdefault(tuple(kind(note) for note in notes_of(group)), []).append(group)
    told = {notes: same for notes, same in by_kind.items() if notes and len(same) > 1}
    lines = []
    for same in told.values():
        last = max(same, key=lambda group: [group.get(key) or 0 for key in ("hold_down_ms", "failback_in_ms")])
        names = compact([name_of(group) for group in same])
        lines += [f"    {paint('note', f'{names}: {note}')}" for note in notes_of(last)]
    return {name_of(group) for same in told.values() for group in same}, lines


def shard_lines(family: Answer, units: list[Answer], answer: Answer, paint: Paint) -> list[str]:
    """A family of shards in one line: how many are where. Shards that nobody drives are named."""
    node = answer.get("node")
    count: dict[str, int] = {}
    for unit in units:
        for who in drivers(unit):
            count[who] = count.get(who, 0) + 1
    here = count.pop(str(node), 0)
    places = [paint("good", f"{here} here")] + [f"{number} on {who}" for who, number in sorted(count.items())]
    nobody = [name_of(unit) for unit in units if not unit.get("driver")]
    if nobody:
        places.append(paint("bad", f"{len(nobody)} driven by NOBODY"))
    lines = [f"  {name_of(family)}: {len(units)} shards, {', '.join(places)}"]
    own_ms = [unit["authority_ms"] for unit in units if isinstance(unit.get("authority_ms"), (int, float))]
    if own_ms:
        lines[0] += f"; authority {figure(min(own_ms), 'ms')} at least"
    alike, shared = shared_notes(units, paint)
    rest = [unit for unit in units if name_of(unit) not in alike]
    lines += [f"    {paint('note', f'{name_of(unit)}: {note}')}" for unit in rest for note in notes_of(unit)]
    return lines + shared


def kind(note: str) -> str:
    """A note without its figures: shards that say the same are told together."""
    return "".join(char for char in note if not char.isdigit())


# ---------------------------------------------------------------- nodes and links


def peer_lines(answer: Answer, width: int, paint: Paint) -> list[str]:
    """The other nodes and the third voter."""
    rows = [peer_row(peer, paint) for peer in entries(answer, "peers")]
    voter = answer.get("third_voter")
    if isinstance(voter, dict):
        word, _ = voter_state(voter)
        style = "good" if word == "answers" else "" if word == "?" else "bad"
        rows.append(("third voter", paint(style, word), "-", "-", clean(voter.get("type", ""))))
    return ["", *columns(("peer", "heard", "health", "load", "says"), rows, paint, width)] if rows else []


def peer_row(peer: Answer, paint: Paint) -> Row:
    """One other node, and what its frames say."""
    silent_ms = peer.get("heard_ms_ago", peer.get("silent_ms"))
    heard = f"{age(silent_ms)} ago" if isinstance(silent_ms, (int, float)) else "never"
    if not alive(peer):
        heard = paint("bad", heard if heard == "never" else f"{heard}, {'DEAD' if peer.get('dead') else 'SILENT'}")
    states = peer.get("groups")
    said: dict[str, list[str]] = {}
    for name, state in (states.items() if isinstance(states, dict) else ()):
        said.setdefault(clean(state), []).append(clean(name))
    heard_of = isinstance(silent_ms, (int, float)) and not peer.get("dead")
    words = [f"{state} {compact(names)}" for state, names in said.items() if heard_of]
    if peer.get("fit") is False:
        words.insert(0, "not fit")
    if peer.get("config_mismatch"):
        words.insert(0, "OTHER CONFIGURATION")
    if peer.get("version_mismatch"):
        words.insert(0, "OTHER PROTOCOL VERSION")
    health, load = peer.get("health", "-"), peer.get("load")
    return name_of(peer), heard, clean(health), figure(load, "%"), "; ".join(words)


def link_lines(answer: Answer, width: int, paint: Paint) -> list[str]:
    """A row for each link and other node."""
    several = len(entries(answer, "peers")) > 1
    rows: list[Row] = []
    for link in links_here(answer):
        for node, path in paths_of(link):
            state = path_state(link, path)
            rows.append(
                (
                    f"{name_of(link)} to {node}" if several and node != "?" else name_of(link),
                    clean(link.get("type", "?")),
                    paint("good" if state == "UP" else "doubt", state),
                    age(path.get("heard_ms_ago", path.get("silent_ms"))),
                    figure(path.get("loss_percent"), "%", 1),
                    figure(path.get("gap_max_ms"), "ms", 1),
                )
            )
    head = ("link", "type", "state", "silent", "loss", "longest gap")
    return ["", *columns(head, rows, paint, width)] if rows else []


def own_lines(answer: Answer, width: int, paint: Paint) -> list[str]:
    """This node's health, load and applications; a check in a row of its own only where it is not good."""
    health = answer.get("health")
    given: dict[str, Any] = health if isinstance(health, dict) else {}
    score, load = given.get("score", answer.get("score")), given.get("load", answer.get("load"))
    if score is None and load is None:
        return []
    checks = entries(given, "checks")
    text = f"health: score {clean(score if score is not None else '?')}, load {figure(load, '%')}"
    if checks:
        good = sum(check.get("state") == "good" for check in checks)
        text += f", {good} of {len(checks)} checks good"
    watchers = answer.get("watchers")
    if isinstance(watchers, int) and watchers > 0:
        text += f", {watchers} application{'s watch' if watchers > 1 else ' watches'}"
    rows: list[Row] = [
        (
            name_of(check),
            paint("bad", clean(check.get("state", "?")).upper()),
            duration(check["since_ms"] / 1000) if isinstance(check.get("since_ms"), (int, float)) else "?",
            clean(check.get("effect", "?")),
        )
        for check in checks
        if check.get("state") != "good"
    ]
    return ["", cut(text, width), *(columns(("check", "state", "since", "effect"), rows, paint, width) if rows else [])]


def warning_lines(answer: Answer, width: int, every: bool) -> list[str]:
    """What the agent found doubtful at its start."""
    warnings = answer.get("warnings")
    if not isinstance(warnings, list) or not warnings:
        return []
    shown = warnings if every else warnings[:WARNINGS_SHOWN]
    lines = ["", "Warnings:", *(line for text in shown for line in wrap(str(text), width, "  - "))]
    if len(shown) < len(warnings):
        lines.append(f"  and {len(warnings) - len(shown)} more: twinbeat status --groups")
    return lines


def columns(head: Row, rows: list[Row], paint: Paint, width: int) -> list[str]:
    """Columns as wide as their widest cell, cells painted or not; every line at most `width` wide."""
    widths = [max(length(row[column]) for row in [head, *rows]) for column in range(len(head))]
    shown = [
        "  " + "  ".join(cell + " " * (wide - length(cell)) for cell, wide in zip(row, widths, strict=True)).rstrip()
        for row in [tuple(paint("dim", cell) for cell in head), *rows]
    ]
    return [cut(line, width) for line in shown]
