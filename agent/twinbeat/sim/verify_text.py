"""The answer of `twinbeat verify` for people: text for the terminal; what text, Markdown and HTML have in common."""
from __future__ import annotations

import textwrap
from collections.abc import Iterator
from itertools import groupby

from twinbeat.screen import table
from twinbeat.sim.verify import FaultResult
from twinbeat.sim.verify_report import Line, Report

WIDTH = 118
MARKS = {"yes": "covered", "partly": "partly", "no": "NOT COVERED"}
SINGLE_HEAD = ("fault", "longest ms", "typical ms", "two drive", "moves", "drop-outs", "settles", "covered")
LEGEND = (
    ("longest, typical", "the longest time without a driver after the fault, in the worst run and in the run in the "
     'middle, of a cold start from the first node\'s start; "until repaired": nobody drives before the fault is ended '
     "from outside"),
    ("two drive", "runs in which two outputs were on at once, and for how long at most"),
    ("moves, drop-outs", "over all runs: another node took over; the driver's own output fell off and came back"),
    ("settles", "once everything is repaired, one node drives within the bound of protocol.md"),
    ("covered", "yes: one node drives, never two; partly: not in every run, or it went well but is not promised; "
     "no: two drove at once, or nobody did until the fault was over"),
)
CELLS = (
    (".", "nobody noticed"),
    ("46", "the longest time without a driver in ms"),
    ("-", "in some run nobody drives until everything is repaired"),
    ("x", "in some run two drive at once, where that is not promised to be excluded"),
    ("~", "in some run the roles settle later than the bound after healing"),
    ("!", "a promise was broken"),
)


def legend_lines() -> list[str]:
    """What the columns of the single table mean."""
    return [f"{name}: {text}" for name, text in LEGEND]


def cell_legend() -> str:
    """What the cells of the double table mean."""
    return "; ".join(f"{sign} {text}" for sign, text in CELLS)


def single_row(line: Line) -> tuple[str, ...]:
    """One fault as cells under SINGLE_HEAD."""
    result = line.result
    return (result.text, longest(result), typical(result), two(result), str(result.moves or "."),
            str(result.drop_outs or "."), f"no ({result.unsettled} runs)" if result.unsettled else "yes",
            line.covered)


def longest(result: FaultResult) -> str:
    """The longest outage."""
    figure = f"{result.worst_ms:.1f}" if result.worst_ms else "."
    if not result.open_runs:
        return figure
    return "until repaired" if result.open_runs >= result.counted else f"{figure}, until repaired"


def typical(result: FaultResult) -> str:
    """The outage of the run in the middle."""
    if 2 * result.open_runs > result.counted:
        return "until repaired"
    return f"{result.typical_ms:.1f}" if result.typical_ms else "."


def two(result: FaultResult) -> str:
    """Whether two drove."""
    if not result.two_runs:
        return "never"
    return f"{result.two_runs} of {result.runs}, {result.two_ms:.0f} ms"


def cell(result: FaultResult) -> str:
    """A double fault as a cell of the matrix."""
    signs = "".join(sign for sign, here in (("-", result.open_runs), ("x", result.two_runs),
                                            ("~", result.unsettled), ("!", result.broken)) if here)
    figure = f"{result.worst_ms:.0f}" if result.worst_ms >= 0.5 and not result.open_runs else ""
    return figure + signs or "."


def matrix(report: Report) -> list[list[str]]:
    """The double table, row by row: the first fault's row, the second fault's column; "" on the diagonal."""
    results = iter(report.doubles)
    size = len(report.paired)
    return [["" if row == column else cell(next(results)) for column in range(size)] for row in range(size)]


def summary_lines(report: Report) -> Iterator[str]:
    """The budget and the sums, one sentence each."""
    lines = report.singles
    counted = [line for line in lines if line.counts]
    worst = max(counted, key=lambda line: line.result.worst_ms, default=None)
    if worst is not None:
        budget = "no budget is set" if report.budget_ms is None else f"the budget is {report.budget_ms:g} ms"
        yield (f"Longest outage of a single fault after which a driver is promised: {worst.result.worst_ms:.1f} ms "
               f"({worst.result.text}); {budget}.")
    covers = [line.covered for line in lines]
    yield (f"Of {len(lines)} single faults {covers.count('yes')} are covered, {covers.count('partly')} partly, "
           f"{covers.count('no')} not.")
    if report.doubles:
        twos = sum(result.two_runs > 0 for result in report.doubles)
        opens = sum(result.open_runs > 0 for result in report.doubles)
        broken = sum(not result.sound for result in report.doubles)
        yield (f"Of {len(report.doubles)} double faults {broken} broke a promise; after {twos} two may drive at once "
               f"where that is not promised to be excluded, after {opens} nobody may drive until repair.")


def report_text(report: Report) -> str:
    """The whole answer as text."""
    lines = [f"{report.title}: every single and double fault, {report.runs} runs of each, seed {report.seed}"]
    for fact in report.facts:
        lines += wrapped(fact, "  ")
    lines += ["", "Single faults", *table(SINGLE_HEAD, [single_row(line) for line in report.singles]), ""]
    for entry in legend_lines():
        lines += wrapped(entry, "  ")
    lines += ["", *coverage_lines(report), ""]
    if report.doubles:
        lines += [*double_lines(report), ""]
    for sentence in summary_lines(report):
        lines += wrapped(sentence, "")
    for title, items in (("Notes", report.notes), ("CONTRADICTIONS", report.contradictions),
                         ("PROBLEMS", report.problems)):
        if items:
            lines += ["", f"{title}:"]
            for item in items:
                lines += wrapped(item, "  - ")
    for story in report.again:
        lines += ["", *(f"  {line}" for line in story)]
    lines += ["", "PASSED" if report.ok else "FAILED"]
    return "\n".join(lines)


def coverage_lines(report: Report) -> Iterator[str]:
    """What is covered and why; faults with the same reason together."""
    yield "What is covered, and what is not"
    order = sorted(report.singles, key=lambda line: (("no", "partly", "yes").index(line.covered), line.why))
    for (covered, why, remedy), same in groupby(order, key=lambda line: (line.covered, line.why, line.remedy)):
        faults = ", ".join(line.result.text for line in same)
        help_text = f"; remedy: {remedy}" if remedy else ""
        yield from wrapped(f"{faults}: {why}{help_text}", f"  {MARKS[covered]:<12} ")


def double_lines(report: Report) -> Iterator[str]:
    """The double table with numbers for names."""
    yield "Double faults: the row's fault first, the column's while it lasts"
    for number, text in enumerate(report.paired, start=1):
        yield f"  {number:>2} {text}"
    yield ""
    rows = matrix(report)
    width = max(4, max((len(entry) for row in rows for entry in row), default=0)) + 1
    yield "     " + "".join(f"{number:>{width}}" for number in range(1, len(rows) + 1))
    for number, row in enumerate(rows, start=1):
        yield f"  {number:>2} " + "".join(f"{entry:>{width}}" for entry in row)
    yield from wrapped(cell_legend(), "  ")


def wrapped(text: str, head: str) -> list[str]:
    """Text under a head, later lines indented to it."""
    return textwrap.wrap(text, WIDTH, initial_indent=head, subsequent_indent=" " * len(head),
                         break_on_hyphens=False, break_long_words=False)
