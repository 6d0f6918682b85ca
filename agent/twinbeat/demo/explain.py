"""Says in plain words what the relay boards showed, and draws it."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twinbeat.demo.layout import NODES
from twinbeat.demo.measure import NS_PER_MS, Change, TrialFigures, intervals_on, levels_at
from twinbeat.demo.trial import TrialRecord, explains

WIDTH = 56
ON, OFF, PART = "█", "·", "▌"
VOTES = {
    "promised": "holds its promise to {nodes}", "refused": "refuses {nodes}", "abstains": "abstains for {nodes}",
    "silent": "is silent for {nodes}", "answers": "answers {nodes}",
}
VOTERS = {"arbiter": "The arbiter", "witness": "The witness", "zookeeper": "ZooKeeper"}
LEAD = 0.15               # share of the picture before the fault


def ms(value: float) -> str:
    """A time in milliseconds with a sensible number of digits."""
    return f"{value:.2f} ms" if value < 10 else f"{value:.1f} ms" if value < 1000 else f"{value / 1000:.2f} s"


def sentences(record: TrialRecord) -> list[str]:
    """What happened, as the boards saw it."""
    figures, driver = record.figures, record.driver
    other = next(node for node in NODES if node != driver)
    said = [f"{driver} drives the output; {record.fault.words.format(driver=driver, other=other)}."]
    if figures.driver_off_ms is not None and record.fault.name != "power":
        said.append(f"The output of {driver} went off {ms(figures.driver_off_ms)} after that.")
    if figures.takeover_ms is not None:
        said.append(f"The output of {figures.new_driver} came on {ms(figures.takeover_ms)} after it.")
    said.append(_undriven(figures))
    said.append(f"Both were on at once for {ms(figures.overlap_ms)}." if figures.overlap_ms > 0
                else "Never were both on at once.")
    if record.votes:
        said.append(third_voter_says(record))
    if not record.moves and figures.role_changes + figures.dropouts == 0:
        said.append("The role did not move.")
    elif figures.role_changes + figures.dropouts > int(record.moves):
        said.append(f"In all: {_count(figures.role_changes, 'role change')}, {_count(figures.dropouts, 'dropout')}.")
    return said


def third_voter_says(record: TrialRecord) -> str:
    """Its part in who drives, from what it last told the agents that could be asked."""
    words: dict[str, list[str]] = {}
    for node, word in record.votes.items():
        words.setdefault(word, []).append(node)
    said = [VOTES.get(word, "tells {nodes}: " + word).format(nodes=" and ".join(nodes))
            for word, nodes in sorted(words.items())]
    return f"{VOTERS.get(record.voter, 'The third voter')} {', '.join(said)}."


def _undriven(figures: TrialFigures) -> str:
    if figures.gap_ms is None:
        return "Nobody drove the output in the end."
    if figures.gap_ms == 0:
        return "The output was driven without a break."
    return f"The output was undriven for {ms(figures.gap_ms)}."


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def picture(record: TrialRecord) -> list[str]:
    """The moments around the fault as one bar for each board, to scale."""
    last = max((change.at_ns for change in record.changes if record.fault_ns <= change.at_ns <= record.observed_ns),
               default=record.fault_ns + 10 * NS_PER_MS)
    after_ns = max(1.4 * (last - record.fault_ns), 0.2 * NS_PER_MS)
    from_ns = round(record.fault_ns - LEAD / (1 - LEAD) * after_ns)
    end_ns = round(record.fault_ns + after_ns)
    fault_column = round(LEAD * WIDTH)
    column_ms = (end_ns - from_ns) / WIDTH / NS_PER_MS
    lines = [f"  {node:>8} {bar(record.changes, node, from_ns, end_ns)}" for node in NODES]
    lines.append(f"  {'':>8} {' ' * fault_column}^ {record.fault.name}   (one column = {column_ms:.2g} ms)")
    return lines


def bar(changes: Sequence[Change], node: str, from_ns: int, end_ns: int, width: int = WIDTH) -> str:
    """The level of one board between two moments."""
    on = intervals_on(changes, node, max(end_ns, max((change.at_ns for change in changes), default=0)), 0.0)
    columns = []
    for column in range(width):
        left = from_ns + (end_ns - from_ns) * column / width
        right = from_ns + (end_ns - from_ns) * (column + 1) / width
        covered = sum(max(0.0, min(right, stop) - max(left, start)) for start, stop in on) / (right - left)
        columns.append(ON if covered > 0.99 else OFF if covered < 0.01 else PART)
    return "".join(columns)


def agents_say(record: TrialRecord) -> list[str]:
    """The agents' own verdicts on what happened since the fault, from those that could be asked."""
    return [f"  {node} says: {verdict.get('sentence')}"
            for node, answer in record.why.items()
            for verdict in answer.get("verdicts", []) if explains(verdict, record.fault_ns)]


def table(summary: dict[str, Any]) -> list[str]:
    """The figures of all trials for people."""
    lines = []
    for name, label in (("takeover_ms", "takeover"), ("gap_ms", "undriven")):
        figures = summary[name]
        if figures is not None:
            lines.append(f"  {label:<10} min {figures['min']:8.2f}   p50 {figures['p50']:8.2f}   "
                         f"p99 {figures['p99']:8.2f}   max {figures['max']:8.2f}   ms")
    lines.append(f"  trials {summary['trials']}, both on at once in {summary['double_driver_trials']} "
                 f"(longest {summary['overlap_ms_max'] or 0:.2f} ms), nobody on in {summary['no_driver_trials']}, "
                 f"role changes {summary['role_changes']}, dropouts {summary['dropouts']}")
    return [*lines, *used(summary)]


def used(summary: dict[str, Any]) -> list[str]:
    """What each agent used."""
    lines = []
    for node, use in summary["agents"].items():
        memory = ", ".join(f"{label} {use[name]:.1f} MiB" for name, label in
                           (("rss_mib", "memory"), ("gate_pss_mib", "gate")) if use[name] is not None)
        lines.append(f"  {node}: CPU {use['cpu_percent']:.1f} % of a core, {memory}")
    return lines


def level_word(changes: Sequence[Change], at_ns: int) -> str:
    """Who is on at a moment, for a line of text."""
    on = [node for node, level in levels_at(changes, at_ns).items() if level]
    return " and ".join(on) or "nobody"
