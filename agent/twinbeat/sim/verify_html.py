"""The answer of `twinbeat verify` as one HTML page that needs nothing else: tables, pictures of notable runs."""
from __future__ import annotations

import base64
import html
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from twinbeat.sim.verify import FaultResult, cases_of
from twinbeat.sim.verify_report import Line, Report
from twinbeat.sim.verify_run import Bench, Case, Plan
from twinbeat.sim.verify_text import LEGEND, SINGLE_HEAD, cell_legend, matrix, single_row, summary_lines
from twinbeat.version import __version__
from twinbeat_core.errors import TwinbeatError

MOST_PICTURES = 12
WORST_SHOWN = 3
"""So many of the longest outages among the faults that count are shown."""
STYLE = """\
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #1b1f24 }
table { border-collapse: collapse; margin: 1em 0; font-size: 13px }
th, td { border: 1px solid #c9ced6; padding: 3px 7px; text-align: left; vertical-align: top }
th { background: #eef1f5 }
td.yes { background: #dff3e3 } td.partly { background: #fff3cd } td.no, td.bad { background: #f9d7d7 }
td.cell { text-align: right; font-variant-numeric: tabular-nums }
.passed { color: #14682b } .failed { color: #a3161b }
figure { margin: 1.5em 0 } img { max-width: 100%; border: 1px solid #c9ced6 }
.wide { overflow-x: auto }
@media (prefers-color-scheme: dark) {
  body { background: #14171a; color: #dfe3e8 } th { background: #262b31 } th, td { border-color: #3d444d }
  td.yes { background: #173d22 } td.partly { background: #453a10 } td.no, td.bad { background: #4d1d1f }
  .passed { color: #7ad491 } .failed { color: #ff8d8d } img { background: #fff }
}
"""

Painter = Callable[[Bench, Plan], str]


class Chapter(NamedTuple):
    """One world: its report, and the bench that can run a notable run again for its picture."""

    report: Report
    bench: Bench


def page(chapters: Sequence[Chapter], paint: Painter | None = None) -> str:
    """The whole page. `paint` gives the SVG text of a run; its TwinbeatError becomes a sentence on the page."""
    names = ", ".join(chapter.report.title for chapter in chapters)
    lines = ["<!DOCTYPE html>", '<html lang="en">', "<head>", '<meta charset="utf-8">',
             '<meta name="viewport" content="width=device-width, initial-scale=1">',
             f"<title>twinbeat verify: {escaped(names)}</title>", f"<style>\n{STYLE}</style>", "</head>", "<body>"]
    for chapter in chapters:
        lines += chapter_lines(chapter, paint or painted)
    return "\n".join([*lines, f"<p>Made by twinbeat {escaped(__version__)}.</p>", "</body>", "</html>", ""])


def escaped(text: str) -> str:
    """Text that cannot become markup, in an attribute either."""
    return html.escape(text, quote=True)


def chapter_lines(chapter: Chapter, paint: Painter) -> Iterator[str]:
    """One world: judgement, figures, tables, pictures."""
    report = chapter.report
    verdict = ("passed", "passed") if report.ok else ("failed", "failed")
    yield f'<h1>{escaped(report.title)}: <span class="{verdict[0]}">{verdict[1]}</span></h1>'
    yield f"<p>Every single and double fault, {report.runs} runs of each, seed {report.seed}.</p>"
    for title, items in (("Problems", report.problems), ("Contradictions", report.contradictions),
                         ("Summary", list(summary_lines(report))), ("Notes", report.notes),
                         ("What the figures rest on", report.facts)):
        if items:
            yield f"<h2>{title}</h2>"
            yield "<ul>" + "".join(f"<li>{escaped(item)}</li>" for item in items) + "</ul>"
    for story in report.again:
        yield f"<pre>{escaped(chr(10).join(story))}</pre>"
    yield "<h2>Single faults</h2>"
    yield from single_table(report.singles)
    yield "<ul>" + "".join(f"<li><b>{escaped(name)}</b>: {escaped(text)}</li>" for name, text in LEGEND) + "</ul>"
    if report.doubles:
        yield "<h2>Double faults</h2>"
        yield "<p>The row's fault first, the column's while it lasts.</p>"
        yield from double_table(report)
        yield f"<p>{escaped(cell_legend())}</p>"
    yield "<h2>Notable runs</h2>"
    yield from pictures(chapter, paint)


def single_table(lines: Sequence[Line]) -> Iterator[str]:
    """The single faults with the reasons."""
    yield '<div class="wide"><table><tr>' + "".join(f"<th>{escaped(name)}</th>" for name in (*SINGLE_HEAD, "because"))
    for line in lines:
        cells = single_row(line)
        because = line.why + (f"; remedy: {line.remedy}" if line.remedy else "")
        figure = ' class="bad"' if line.over_ms else ""
        marked = f"<td>{escaped(cells[0])}</td><td{figure}>{escaped(cells[1])}</td>" + "".join(
            f"<td>{escaped(entry)}</td>" for entry in cells[2:-1])
        yield f'<tr>{marked}<td class="{line.covered}">{escaped(cells[-1])}</td><td>{escaped(because)}</td>'
    yield "</table></div>"


def double_table(report: Report) -> Iterator[str]:
    """The double faults; a cell's title says both faults in full."""
    numbers = "".join(f'<th title="{escaped(text)}">{number}</th>' for number, text in enumerate(report.paired, 1))
    yield f'<div class="wide"><table><tr><th>first fault</th><th></th>{numbers}'
    for number, (first, cells) in enumerate(zip(report.paired, matrix(report), strict=True), start=1):
        marked = "".join(
            f'<td class="{cell_class(entry)}" title="{escaped(f"{first}, then {second}")}">{escaped(entry)}</td>'
            for second, entry in zip(report.paired, cells, strict=True))
        yield f"<tr><td>{escaped(first)}</td><th>{number}</th>{marked}"
    yield "</table></div>"


def cell_class(entry: str) -> str:
    """How a cell of the double table is coloured."""
    if "!" in entry or "~" in entry:
        return "cell bad"
    return "cell no" if "x" in entry else "cell partly" if "-" in entry else "cell"


# ---------------------------------------------------------------- pictures
def pictures(chapter: Chapter, paint: Painter) -> Iterator[str]:
    """The gravest run of each notable fault as a picture, or one sentence where none can be drawn."""
    cases = {case.key: case for group in cases_of(chapter.bench.subject) for case in group}
    chosen = notable(chapter.report)
    for result, why in chosen[:MOST_PICTURES]:
        try:
            yield picture(chapter.bench, cases[result.key], result, why, paint)
        except TwinbeatError as error:
            yield f"<p>There are no pictures: {escaped(str(error))}</p>"
            return
    if not chosen:
        yield "<p>None: no fault was noticed by anybody.</p>"
    elif len(chosen) > MOST_PICTURES:
        rest = ", ".join(result.text for result, _ in chosen[MOST_PICTURES:])
        yield f"<p>Notable too, without a picture: {escaped(rest)}.</p>"


def notable(report: Report) -> list[tuple[FaultResult, str]]:
    """Which runs are worth a look and why: broken promises, the longest outages that count, two drivers, nobody."""
    found: dict[str, tuple[FaultResult, str]] = {}

    def add(result: FaultResult, why: str) -> None:
        found.setdefault(result.key, (result, why))

    results = [line.result for line in report.singles]
    for result in (*results, *report.doubles):
        if result.broken:
            add(result, f"a promise was broken: {'; '.join(result.broken)}")
    counted = [line for line in report.singles if line.counts and line.result.worst_ms]
    for line in sorted(counted, key=lambda line: -line.result.worst_ms)[:WORST_SHOWN]:
        over = f", {line.over_ms:.1f} ms over the budget" if line.over_ms else ""
        add(line.result, f"nobody drove for {line.result.worst_ms:.1f} ms{over}")
    for result in results:
        if result.unsettled:
            add(result, "roles settled later than the bound after healing")
        elif result.two_runs:
            add(result, "two drove at once: " + "; ".join(result.reasons))
        elif result.open_runs:
            add(result, "nobody drove until it was repaired")
    return list(found.values())


def picture(bench: Bench, case: Case, result: FaultResult, why: str, paint: Painter) -> str:
    """One figure: the SVG as an image of its own, so that its names and ids stay its own."""
    svg = paint(bench, bench.plan(case, result.shown))
    data = base64.b64encode(svg.encode()).decode()
    caption = f"{result.text}: {why} (run {result.shown} of {result.runs})"
    return (f'<figure><img alt="{escaped(caption)}" src="data:image/svg+xml;base64,{data}">'
            f"<figcaption>{escaped(caption)}</figcaption></figure>")


def painted(bench: Bench, plan: Plan) -> str:
    """The timeline of a run as SVG text."""
    from twinbeat.sim.plot import svg_text

    return svg_text(bench.specs[plan.variant], bench.run(plan, log=True), plan.actions)
