"""The answer of `twinbeat check` for people."""
from __future__ import annotations

import textwrap
from collections.abc import Iterator

from twinbeat.check import LinkReport, Report
from twinbeat.check_modes import mode_lines
from twinbeat.check_third import TermLine, ThirdReport

WIDTH = 100
MARKS = {"yes": "covered", "partly": "partly", "no": "NOT COVERED"}
TOTALS = ("lease", "grant")


def report_text(report: Report) -> str:
    """The whole report as text."""
    lines = [
        f"pair {report.pair}, seen from node {report.node} (configuration {report.digest:04x})",
        f"real-time scheduling: {'yes' if report.realtime else 'no'}; the gate is counted {report.check_ms:g} ms late",
    ]
    for link in report.links:
        lines += link_lines(link)
    if report.third_voter is not None:
        lines += third_lines(report.third_voter)
    lines += ["", "Groups"]
    for head, text in mode_lines(report.modes):
        lines += wrapped(text, head)
    lines += ["", *figure_lines(report), "", "What happens when ..."]
    for row in report.faults:
        outage = "" if row.outage_ms is None else f"; at most {row.outage_ms:.0f} ms undriven" if row.outage_ms else ""
        lines += wrapped(f"{row.text}{outage}", f"  {row.fault:<27} {MARKS[row.covered]:<12} ")
    if report.checks:
        from twinbeat.check_health import health_lines

        lines += ["", "When one health check fails on the node that drives ..."]
        for head, text in health_lines(report.checks):
            lines += wrapped(text, head)
    for title, items in (("Devices", report.devices), ("Warnings", report.warnings), ("PROBLEMS", report.problems)):
        if items:
            lines += ["", f"{title}:"]
            for item in items:
                lines += wrapped(item, "  - ")
    lines += ["", "This configuration does not do what it is asked for." if report.problems else "No problem found."]
    return "\n".join(lines)


def link_lines(link: LinkReport) -> Iterator[str]:
    """One link: its sum, its load, the loss it takes."""
    yield ""
    yield f"Link {link.name} ({link.type})"
    yield from map(term_line, link.terms)
    load = link.load
    if load.frame_ms is None:
        fast = f", {load.fast_kbit_s:.1f} while a faster link is silent" if load.fast_kbit_s > load.kbit_s else ""
        yield f"  load: heartbeats of {load.frame_bytes} bytes with headers, {load.kbit_s:.1f} kbit/s each way{fast}"
    else:
        yield (
            f"  load: heartbeats of {load.frame_bytes} bytes, {load.frame_ms:.2f} ms each: {load.quiet_percent:.1f} % "
            f"of the line, {load.busy_percent:.1f} % with answers, up to {load.worst_percent:.0f} % while asks are lost"
        )
    yield f"  tolerates {100 * link.tolerated_loss:.1f} % lost frames each way before the promise is lengthened"


def term_line(term: TermLine) -> str:
    """One term of a sum."""
    sign = "=" if term.name in TOTALS else "+"
    return f"  {sign} {term.ms:9.2f} ms  {term.name.replace('_', ' '):<20} {term.text}"


def third_lines(third: ThirdReport) -> Iterator[str]:
    """The third voter: its sum, and what waiting for it costs."""
    yield ""
    yield f"Third voter ({third.type})"
    yield from map(term_line, third.terms)
    yield f"  promises to the other at most {third.takeover_ms:.1f} ms after the driver died in silence"
    if third.killed_ms is not None:
        yield f"  a death that the gate tells of: at most {third.killed_ms:.1f} ms undriven"
    if third.gated:
        yield f"  gates the outputs of: {', '.join(third.gated)}"


def figure_lines(report: Report) -> Iterator[str]:
    """The figures that follow from the sums."""
    low, high = report.detection_ms
    yield f"Death in silence is detected {low:.0f} to {high:.0f} ms after it, with every link up."
    outage = report.outage
    budget = "no budget is set" if outage.budget_ms is None else f"the budget is {outage.budget_ms:g} ms"
    yield f"Worst outage then: {outage.fast_ms:.1f} ms ({budget}); on the slowest link alone: {outage.slow_ms:.1f} ms."
    yield f"A restarted node listens {report.listen_ms:.0f} ms before it votes."


def wrapped(text: str, head: str) -> list[str]:
    """Text under a head, later lines indented to it."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_on_hyphens=False,
        break_long_words=False,
    )
