"""A run told for people: one line for each thing that matters, and what it comes to. This is what golden files hold.

Times are milliseconds of virtual time with three decimals. Lines with `*` are actions, lines with `!` violations.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from twinbeat.sim.scenario_actions import action_text
from twinbeat.sim.scenario_words import Names
from twinbeat.sim.spec import (
    ALL,
    MS,
    RULE_TEXT,
    SAFETY,
    Action,
    Excuse,
    Gap,
    LogEntry,
    LogKind,
    Rule,
    RunResult,
    Violation,
)
from twinbeat_core.model import Cause, ReportCode, State

EXCUSE_TEXT = {
    Excuse.L3: "L3: lone = takeover while all links were impaired",
    Excuse.FROZEN: "a whole gateway stood still and its output kept its level",
    Excuse.CONTACT: "a contact was stuck",
    Excuse.CLOCK: "a clock ran beyond its bound",
    Excuse.DISK: "all who knew the epoch lost their disks",
    Excuse.ALONE: "who drives alone had not heard of the epoch",
}
DEATHS = {1: "killed", 2: "without power", 3: "stopped"}
WITH_EPOCH = (State.CLAIMING, State.ACTIVE, State.RELEASING)
"""In the others a node's epoch is one that it has ready, which tells nobody anything."""
# Links come and go too often to be told here; what they mean shows in the roles.
TOLD_REPORTS = {
    ReportCode.RP_SELF_LATE: "was late itself",
    ReportCode.RP_HANDOVER_REFUSED: "refuses the handover",
    ReportCode.RP_OUTPUT_FAULT: "has an output fault",
    ReportCode.RP_EPOCH_CEILING: "waits until reserved epochs are on disk",
    ReportCode.RP_CONFIG_MISMATCH: "sees another configuration",
    ReportCode.RP_VERSION_MISMATCH: "sees another protocol version",
}


class Told(NamedTuple):
    """What the telling needs: the world's names, its actions, what came of them, and how long settling may take."""

    names: Names
    actions: Sequence[Action]
    result: RunResult
    bound_ns: int


def ms(ns: int) -> str:
    """Milliseconds with three decimals, cut, so that nothing is told before it happened."""
    sign, ns = ("-", -ns) if ns < 0 else ("", ns)
    return f"{sign}{ns // MS}.{ns % MS // 1000:03}"


def story(told: Told) -> list[str]:
    """The whole expected output."""
    return [*(line(at_ns, text) for at_ns, text in events(told)), "", *closing(told)]


def line(at_ns: int, text: str) -> str:
    """One event."""
    return f"{ms(at_ns):>12}  {text}"


# ---------------------------------------------------------------- events
def events(told: Told) -> Iterator[tuple[int, str]]:
    """Moment and text of each entry of the log that is worth telling."""
    lengths = violation_lengths(told.result)
    for entry in told.result.log:
        text = event_text(entry, told, lengths)
        if text:
            yield entry.at_ns, text


def violation_lengths(result: RunResult) -> dict[tuple[int, int, int, int, int], int]:
    """How long each violation lasted: when it is logged nobody knows yet."""
    return {key_of(violation): violation.length_ns for violation in (*result.violations, *result.excused)}


def key_of(violation: Violation) -> tuple[int, int, int, int, int]:
    """By what a violation is found again in the log."""
    return violation.at_ns, violation.rule, violation.group, violation.node, violation.other


def event_text(entry: LogEntry, told: Told, lengths: dict[tuple[int, int, int, int, int], int]) -> str:
    """What happened; empty where it is not worth telling."""
    who = who_text(entry.node, entry.group, told.names)
    if entry.kind == LogKind.ACTION:
        over = "over: " if entry.b == 2 else ""
        return f"* {over}{action_text(told.actions[entry.a], told.names)}"
    if entry.kind == LogKind.STATE:
        cause = Cause(entry.c).name.removeprefix("CAUSE_").lower()
        epoch = f", epoch {entry.d}" if entry.d and entry.b in WITH_EPOCH else ""
        return f"{who}: {State(entry.a).name} -> {State(entry.b).name}, {cause}{epoch}"
    if entry.kind == LogKind.OUTPUT:
        return f"{who}: output {'on' if entry.a else 'off'}, epoch {entry.d}"
    if entry.kind == LogKind.DIED:
        return f"{node_text(entry.node, told.names)}: {DEATHS[entry.a]}"
    if entry.kind == LogKind.STARTED:
        return f"{node_text(entry.node, told.names)}: starts{', its disk lost' if entry.b else ''}"
    if entry.kind == LogKind.REPORT and entry.a in TOLD_REPORTS:
        return report_text(entry, told.names)
    if entry.kind == LogKind.VIOLATION:
        return violation_event(entry, told, lengths)
    return ""


def report_text(entry: LogEntry, names: Names) -> str:
    """A report of a node."""
    about_group = entry.a in (ReportCode.RP_HANDOVER_REFUSED, ReportCode.RP_OUTPUT_FAULT)
    return f"{who_text(entry.node, entry.group if about_group else ALL, names)}: {TOLD_REPORTS[ReportCode(entry.a)]}"


def violation_event(entry: LogEntry, told: Told, lengths: dict[tuple[int, int, int, int, int], int]) -> str:
    """A violation; one of no length was none (two contacts that moved at the same moment)."""
    key = (entry.at_ns, entry.a, entry.group, entry.node, entry.c)
    if key not in lengths:
        return ""
    rule = Rule(entry.a)
    excuse = f"; excused, {EXCUSE_TEXT[Excuse(entry.b)]}" if entry.b else ""
    return f"! {violation_text(rule, key[2:], lengths[key], told.names)} ({RULE_TEXT[rule]}){excuse}"


def violation_text(rule: Rule, where: tuple[int, int, int], length_ns: int, names: Names) -> str:
    """What was broken, where, and for how long or by how much."""
    group, node, other = where
    words = rule.name.lower().replace("_", " ")
    both = " and ".join(node_text(which, names) for which in (other, node) if which >= 0)
    of = f" of {names.group[group]}" if group >= 0 and len(names.group) > 1 else ""
    length = f", {ms(length_ns)} ms" if length_ns else ""
    return f"{words}{of}{': ' if both else ''}{both}{length}"


def node_text(node: int, names: Names) -> str:
    """A node's name, or the third voter."""
    return names.node[node] if 0 <= node < len(names.node) else "voter"


def who_text(node: int, group: int, names: Names) -> str:
    """A node, and the group where there are several."""
    if node < 0:
        return "-"
    if group < 0 or len(names.group) == 1:
        return node_text(node, names)
    return f"{node_text(node, names)} {names.group[group]}"


# ---------------------------------------------------------------- closing lines
def closing(told: Told) -> list[str]:
    """What the run comes to."""
    result = told.result
    broken = [violation for violation in result.violations if violation.rule in SAFETY]
    lines = [f"  safety: {'violated: ' + counted(broken) if broken else 'ok'}"]
    limits = [violation for violation in result.violations if violation.rule == Rule.LIMIT]
    lines += ["  simulator: a limit was reached, this run proves nothing"] if limits else []
    lines += [f"  excused: {excused_text(result.excused)}"] if result.excused else []
    lines += [f"  liveness: {liveness_text(told)}"] if result.healed_ns >= 0 else []
    lines += [f"  drivers at end: {drivers_text(told)}"]
    lines += undriven_lines(told)
    return [*lines, f"  drop-outs: {drop_outs_text(result.gaps)}"]


def counted(violations: Sequence[Violation]) -> str:
    """Each rule with how often it was broken and for how long at most."""
    texts = []
    for rule, count in Counter(violation.rule for violation in violations).items():
        longest = max(violation.length_ns for violation in violations if violation.rule == rule)
        often = f" {count} times" if count > 1 else ""
        length = f", {'at most ' if count > 1 else ''}{ms(longest)} ms" if longest else ""
        texts.append(f"{rule.name.lower().replace('_', ' ')}{often}{length} ({RULE_TEXT[rule]})")
    return "; ".join(texts)


def excused_text(excused: Sequence[Violation]) -> str:
    """What was not promised, by reason."""
    texts = []
    for excuse in dict.fromkeys(violation.excuse for violation in excused):
        texts.append(f"{counted([one for one in excused if one.excuse == excuse])}: {EXCUSE_TEXT[excuse]}")
    return "; ".join(texts)


def liveness_text(told: Told) -> str:
    """One driver after healing, within the bound."""
    result = told.result
    broken = [one for one in result.violations if one.rule not in SAFETY and one.rule != Rule.LIMIT]
    if broken:
        return f"violated: {counted(broken)}"
    if result.end_ns - result.healed_ns < told.bound_ns:
        return f"not judged, the run ends sooner than {ms(told.bound_ns)} ms after healing"
    return f"ok, settled {ms(result.settled_ns)} ms after healing, of {ms(told.bound_ns)} ms"


def drivers_text(told: Told) -> str:
    """Who drives, by group where there are several."""
    texts = [" and ".join(told.names.node[node] for node in nodes) or "nobody" for nodes in told.result.drivers]
    if len(texts) == 1:
        return texts[0]
    return ", ".join(f"{name} {text}" for name, text in zip(told.names.group, texts, strict=True))


def undriven_lines(told: Told) -> list[str]:
    """How long nobody drove at first, and the longest time afterwards with the action before it."""
    first = [gap for gap in told.result.gaps if gap.before == ALL]
    later = [gap for gap in told.result.gaps if gap.before != ALL]
    lines = [f"  first driven: {first_text(first)}"] if first else []
    if not later:
        return [*lines, "  longest undriven: 0.000 ms"]
    gap = max(later, key=lambda one: one.length_ns)
    return [*lines, f"  longest undriven: {gap_text(gap, told)}"]


def first_text(gaps: Sequence[Gap]) -> str:
    """When the last of the groups was driven for the first time."""
    if any(gap.after == ALL for gap in gaps):
        return "never"
    return f"after {ms(max(gap.length_ns for gap in gaps))} ms"


def gap_text(gap: Gap, told: Told) -> str:
    """One time without a driver."""
    text = f"{ms(gap.length_ns)} ms from {ms(gap.at_ns)}"
    if len(told.names.group) > 1:
        text += f" of {told.names.group[gap.group]}"
    if gap.action >= 0:
        text += f", after {action_text(told.actions[gap.action], told.names)}"
    return text if gap.after != ALL else f"{text}, until the end"


def drop_outs_text(gaps: Sequence[Gap]) -> str:
    """How often the driver's own output fell and came back."""
    lengths = [gap.length_ns for gap in gaps if gap.before == gap.after != ALL]
    return f"{len(lengths)}, longest {ms(max(lengths))} ms" if lengths else "0"
