"""The answer of `twinbeat verify` as Markdown, and docs/faults.md, which is made of it."""
from __future__ import annotations

from collections.abc import Iterator, Sequence

from twinbeat.sim.verify_report import Report
from twinbeat.sim.verify_text import CELLS, LEGEND, SINGLE_HEAD, matrix, single_row, summary_lines

WORLD_TITLES = {
    "pair": 'Bare pair, lone = "takeover"',
    "hold": 'Bare pair, lone = "hold"',
    "three": "Three nodes that vote",
    "voter": "Pair and arbiter",
    "gated": "Pair and arbiter that gates the outputs",
    "witness": "Pair and witness",
    "hothot": "Pair that shares four groups (hot-hot)",
    "spare": "Two nodes and a spare that backs both (hot-spare)",
    "overlap": "Pair that drives together (overlap)",
    "many": "Bare pair with eight groups",
    "solo": "One node alone",
}
INTRODUCTION = """\
What every single and every double fault does, as the simulator sees it with the very core that the agents run.
`{command}` makes this page; a test makes it again and
compares. `twinbeat verify` on a configuration file gives the same tables for that file, with pictures of its worst
runs (`--html`).

In each run the nodes start, one of them drives, and the fault comes at a random moment. Clocks are wrong by the bound
and in opposite directions, the gate is late, and in a third of the runs every way, lateness and release is the longest
possible. Then everything is repaired, and the roles must settle. A fault that lasts does so until the repair; one
"for a time" takes 50 ms to 2 s. The *driver* is the node that drives before the fault, the *standby* the one that
comes next.
"""


def page(reports: Sequence[Report], command: str) -> str:
    """The whole document: introduction, legends, one chapter for each world."""
    lines = ["# Faults and what comes of them", "", *INTRODUCTION.format(command=command).splitlines(), "",
             "In the tables of single faults:", ""]
    lines += [f"- **{name}**: {text}." for name, text in LEGEND]
    lines += ["", "In the tables of double faults the row is the first fault and the column the second, which comes",
              "while the first lasts: before it is noticed, while it is judged, after it was answered, or later.",
              "In the cells:", ""]
    lines += [f"- `{sign}` {text}" for sign, text in CELLS]
    for report in reports:
        lines += ["", *chapter(report)]
    return "\n".join(lines)


def chapter(report: Report) -> Iterator[str]:
    """One world."""
    yield f"## {WORLD_TITLES.get(report.title, plain(report.title))}"
    yield ""
    yield from (f"- {plain(fact)}" for fact in report.facts)
    yield f"- {report.runs} runs of each fault, seed {report.seed}"
    yield ""
    yield from (plain(sentence) for sentence in summary_lines(report))
    yield ""
    yield from single_table(report)
    yield ""
    if report.doubles:
        yield from double_table(report)
        yield ""
    for title, items in (("Notes", report.notes), ("Contradictions", report.contradictions),
                         ("Problems", report.problems)):
        if items:
            yield f"{title}:"
            yield ""
            yield from (f"- {plain(item)}" for item in items)
            yield ""
    yield f"Judgement: {'passed' if report.ok else 'failed'}."


def single_table(report: Report) -> Iterator[str]:
    """The single faults with the reasons."""
    yield row((*SINGLE_HEAD, "because"))
    yield "|---" * (len(SINGLE_HEAD) + 1) + "|"
    for line in report.singles:
        because = line.why + (f"; remedy: {line.remedy}" if line.remedy else "")
        yield row((*single_row(line), because))


def double_table(report: Report) -> Iterator[str]:
    """The double faults; columns have the numbers of the rows."""
    size = len(report.paired)
    yield row(("first fault", "", *map(str, range(1, size + 1))))
    yield "|---" * (size + 2) + "|"
    for number, (text, cells) in enumerate(zip(report.paired, matrix(report), strict=True), start=1):
        yield row((text, str(number), *cells))


def row(cells: Sequence[str]) -> str:
    """One line of a table."""
    return "| " + " | ".join(plain(entry) for entry in cells) + " |"


def plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    for sign in "\\`*|<[]":
        text = text.replace(sign, "\\" + sign)
    return text
