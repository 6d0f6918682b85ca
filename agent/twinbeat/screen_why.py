"""The screen of `twinbeat why`: each story with both nodes' halves beside each other."""
from __future__ import annotations

import datetime
from itertools import zip_longest
from typing import Any

from twinbeat.group_names import compact
from twinbeat.screen import Answer, entries, figure
from twinbeat.screen_paint import COLUMNS_MAX, PLAIN, Paint, ago, clean, cut, local_time, painted, wrap
from twinbeat.story import Story, stories

Record = dict[str, Any]

NOTHING = "No role has changed on this node as far as its records go."
FIGURES = {
    "claim_ms": "claim",
    "decided_to_ordered_ms": "decided to ordered",
    "ordered_to_on_ms": "ordered to on",
    "ordered_to_off_ms": "ordered to off",
}


def stories_of(answer: Answer) -> list[Story]:
    """The stories of an answer to the verb `why`, oldest first."""
    return stories(entries(answer, "verdicts") + entries(answer, "peer_verdicts"))


def why_text(
    answer: Answer,
    count: int,
    now: datetime.datetime,
    *,
    paint: Paint = PLAIN,
    width: int = COLUMNS_MAX,
    zone: datetime.tzinfo | None = None,
) -> str:
    """The newest `count` stories, the newest last. `now` tells how long ago they were."""
    found = stories_of(answer)
    if not found:
        return NOTHING
    shown = [story_lines(story, answer, now, paint, width, zone) for story in found[-count:]]
    return "\n\n".join("\n".join(lines) for lines in shown)


def story_lines(
    story: Story, answer: Answer, now: datetime.datetime, paint: Paint, width: int, zone: datetime.tzinfo | None
) -> list[str]:
    """One story."""
    when = story.anchor.get("time")
    lines = [paint("dim", f"{local_time(when, zone=zone)} ({ago(when, now)})")]
    lines += painted(paint, "head", wrap(story.headline(), width))
    if story.changes[0].service is not None or story.overlap:
        return lines + wrap(str(story.anchor.get("sentence", "?")), width, "  ")
    halves = [half for half in (giver_half(story, answer), taker_half(story, answer)) if half]
    if len(halves) == 2:
        lines += beside(halves[0], halves[1], width, paint)
    else:
        lines += [line for text in halves[0] for line in wrap(text, width, "  ", "    ")]
    lines += [line for text in remarks(story) for line in wrap(text, width, "  ", "    ")]
    return lines


def beside(left: list[str], right: list[str], width: int, paint: Paint) -> list[str]:
    """Two halves in columns; their first lines are heads."""
    column = (width - 5) // 2
    columns = [[line for text in half for line in wrap(text, column, "", "  ")] for half in (left, right)]
    rows = list(zip_longest(*columns, fillvalue=""))
    shown = [f"  {cut(one, column):<{column}} | {cut(other, column)}".rstrip() for one, other in rows]
    return [paint("note", shown[0]), *shown[1:]]


def giver_half(story: Story, answer: Answer) -> list[str]:
    """Who let go: its own records, or why they are missing. Nothing where nobody drove before."""
    if story.giver is None and not story.lets:
        return []
    head = f"{story.giver}, which let go"
    if story.lets:
        return [head, *half_lines(story.lets)]
    if story.cause == "DEATH_NOTICE":
        return [f"{story.giver}, which died", "no record: its agent died before it could write one"]
    return [head, *missing(str(story.giver), story, answer)]


def taker_half(story: Story, answer: Answer) -> list[str]:
    """Who took over: its own records, or why they are missing."""
    if story.takes:
        return [f"{story.taker}, which took over", *half_lines(story.takes)]
    if story.nobody:
        return ["then nobody drove", "until a later start: who drove next found nobody"]
    others = [node for node in nodes_of(answer) if node != story.giver]
    who = others[0] if len(others) == 1 else "the other nodes"
    return [f"{who}: who took over?", *missing(who, story, answer)]


def nodes_of(answer: Answer) -> list[str]:
    """This node and its peers, as far as the answer names them."""
    source = answer.get("peer_source")
    peers = source.get("nodes", []) if isinstance(source, dict) else []
    return [str(name) for name in [answer.get("node"), *peers] if name]


def half_lines(records: list[Record]) -> list[str]:
    """One node's half: its clock, what it says, what it measured."""
    first = records[0]
    said = clean(first.get("sentence", "?"))
    lines = [f"{local_time(first.get('time'), date=False, zone=datetime.UTC)}Z by its clock"]
    if len(records) == 1:
        lines.append(said)
    else:
        groups = compact([str(record.get("group")) for record in records])
        epochs = sorted({int(record.get("epoch", 0)) for record in records})
        span = f"epoch {epochs[0]}" if len(epochs) == 1 else f"epochs {epochs[0]} to {epochs[-1]}"
        lines.append(f"{len(records)} groups: {groups}; {span}")
        lines.append(f"the first: {said}")
    figures = measured(records)
    return lines + ([f"measured: {figures}"] if figures else [])


def measured(records: list[Record]) -> str:
    """What was measured, of several groups as ranges."""
    parts = []
    values = [record["measured"] for record in records if isinstance(record.get("measured"), dict)]
    for key in dict.fromkeys(key for value in values for key in value):
        found = [value[key] for value in values if isinstance(value.get(key), (int, float))]
        if not found:
            continue
        span = f"{min(found):g}" if min(found) == max(found) else f"{min(found):g} to {max(found):g}"
        parts.append(f"{FIGURES.get(key, clean(key).removesuffix('_ms').replace('_', ' '))} {span} ms")
    return ", ".join(parts)


def missing(node: str, story: Story, answer: Answer) -> list[str]:
    """Why a half is not here, and how to get it."""
    group = story.groups[0]
    there = f"ask there: twinbeat why {group}"
    if node == answer.get("node"):
        return ["no record of it here; its agent may not have run, or its file was replaced"]
    source = answer.get("peer_source")
    if not isinstance(source, dict):
        return [f"not in what was read; add its file with --file, or {there}"]
    brokers = source.get("brokers")
    brokers = brokers if isinstance(brokers, dict) else {}
    if not brokers:
        return [f"not known here: without an MQTT link this node cannot read it; {there}"]
    if not any(brokers.values()):
        return [f"not known here: {', '.join(brokers)} is not connected; {there}"]
    return [f"it has not come over MQTT; {there}"]


def remarks(story: Story) -> list[str]:
    """What the taker, or else the giver, knew of others; and what the two halves do not tell."""
    record = story.anchor
    evidence = record.get("evidence")
    texts = []
    if isinstance(evidence, dict):
        texts += [f"{record.get('node')} knew: {peer_sentence(peer)}" for peer in entries(evidence, "peers")]
        if evidence.get("unfit"):
            texts.append(f"failed checks on {record.get('node')}: {'; '.join(map(clean, evidence['unfit']))}")
    silent_ms = silence_ms(story)
    if silent_ms is not None:
        texts.append(
            f"from the last frame of {story.giver} to the outputs on: about {silent_ms:.1f} ms, by the clock of "
            f"{story.taker}"
        )
    elif story.lets and story.takes and story.giver == story.taker:
        off_ns, on_ns = (switched_ns(half[0], word) for half, word in ((story.lets, "off"), (story.takes, "on")))
        if off_ns is not None and on_ns is not None and on_ns > off_ns:
            texts.append(f"off for {(on_ns - off_ns) / 1e6:.1f} ms, by the clock of {story.taker}")
    elif story.lets and story.takes:
        texts.append("the time between off and on is not told: the two clocks are not compared")
    return texts


def switched_ns(record: Record, word: str) -> float | None:
    """When the outputs were off or on, by the clock of the node that wrote the record."""
    figures = record.get("measured")
    parts = [figures.get(key) for key in ("decided_to_ordered_ms", f"ordered_to_{word}_ms")] if figures else []
    known = [value * 1e6 for value in parts if isinstance(value, (int, float))]
    decided_ns = record.get("boottime_ns")
    return decided_ns + sum(known) if isinstance(decided_ns, int) and len(known) == 2 else None


def silence_ms(story: Story) -> float | None:
    """Where silence or death was the cause: from the peer's last frame until the first group's outputs were on."""
    if story.cause not in ("SILENCE", "DEATH_NOTICE") or not story.takes:
        return None
    take = story.takes[0]
    measured_ms, evidence = take.get("measured"), take.get("evidence")
    if not isinstance(measured_ms, dict) or not isinstance(evidence, dict):
        return None
    ago_ms = next((peer.get("heard_ms_ago") for peer in entries(evidence, "peers")
                   if peer.get("node") == story.giver), None)
    rest = [measured_ms.get(key) for key in ("decided_to_ordered_ms", "ordered_to_on_ms")]
    known = [value for value in [ago_ms, *rest] if isinstance(value, (int, float))]
    return sum(known) if len(known) == 3 else None


def peer_sentence(peer: Answer) -> str:
    """What was known of another node at that moment."""
    name = clean(peer.get("node", "?"))
    ago_ms = peer.get("heard_ms_ago")
    if ago_ms is None:
        return f"{name} had not been heard"
    text = f"{name} was last heard {figure(ago_ms, 'ms', 1)} before"
    # A death notice is a frame too, of the gate: what it says of the groups is not what the agent did.
    dead = peer.get("gate_said_dead")
    text += ", when its gate reported its agent's death" if dead else f", as {clean(peer.get('said_state', '?'))}"
    links = peer.get("links")
    if isinstance(links, dict) and links:
        states = ", ".join(
            f"{clean(link)} {clean(path.get('state', '?'))} (silent {figure(path.get('heard_ms_ago'), 'ms', 1)})"
            for link, path in links.items()
            if isinstance(path, dict)
        )
        text += f"; links: {states}"
    return text
