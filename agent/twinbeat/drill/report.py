"""The report of a drill: plain data, and the same in words."""
from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from twinbeat.errors import DeviceError

SCHEMA = 1
Mark = Literal["ok", "note", "no"]
WORDS = {"handover": "planned handover", "stop": "planned stop of the agent", "kill": "the agent killed (SIGKILL)"}


class Condition(Struct, frozen=True, kw_only=True):
    """Something looked at before; a "no" forbids the drill."""

    about: str
    mark: Mark
    text: str


class Step(Struct, frozen=True, kw_only=True):
    """What was done or seen, `at_ms` after the beginning."""

    at_ms: float
    text: str
    ok: bool = True


class Gap(Struct, frozen=True, kw_only=True):
    """The time without a driven output at one move. `ms` None: not measured; `exact` False: at most so long.

    within  against the budget; None where it cannot be said
    """

    group: str
    giver: str
    taker: str
    ms: float | None
    exact: bool
    how: str
    within: bool | None = None


class Expected(Struct, frozen=True, kw_only=True):
    """Who would drive a group and what it costs, by the computed figures."""

    group: str
    driver: str | None
    taker: str | None
    gap_ms: float | None
    worst_ms: float | None


class Report(Struct, kw_only=True):
    """Everything about one drill. `passed` None: a dry run. `reverted` None: nothing had moved."""

    kind: Literal["dry", "live"]
    fault: str
    time: str
    by: str
    node: str = "?"
    pair: str = "?"
    versions: dict[str, str] = {}
    groups: list[str] = []
    conditions: list[Condition] = []
    expected: list[Expected] = []
    steps: list[Step] = []
    gaps: list[Gap] = []
    verdicts: list[dict[str, Any]] = []
    budget_ms: float | None = None
    budget_from: str = ""
    possible: bool = False
    passed: bool | None = None
    reverted: bool | None = None
    interrupted: bool = False
    failure: str = ""
    left: str = ""
    schema: int = SCHEMA

    def data(self) -> dict[str, Any]:
        """For JSON."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return {"ok": self.possible if self.passed is None else self.passed, **data}


def utc_now() -> str:
    """The wall clock, for people who read the report."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def markdown(report: Report) -> str:
    """The report as a page."""
    title = f"Drill of pair {report.pair}: {WORDS[report.fault]}"
    lines = [f"# {title}{' (dry)' if report.kind == 'dry' else ''}", "", f"**{headline(report)}**", ""]
    lines += [
        f"- time: {report.time}",
        f"- by: {report.by}, on {report.node}",
        f"- versions: {', '.join(f'{node} {version}' for node, version in report.versions.items()) or 'not known'}",
        f"- groups: {', '.join(report.groups) or 'none'}",
        f"- budget: {budget_text(report)}",
    ]
    if report.left:
        lines.append(f"- the pair now: {report.left}")
    lines += ["", "## Conditions", ""]
    lines += [f"- {item.mark}: {item.about}: {item.text}" for item in report.conditions]
    if report.expected:
        lines += ["", "## Expected", "", "| group | drives now | would drive | gap | at worst |",
                  "|---|---|---|---|---|"]
        lines += [f"| {one.group} | {one.driver or 'nobody'} | {one.taker or 'nobody'} | {span(one.gap_ms)} | "
                  f"{span(one.worst_ms)} |" for one in report.expected]
    if report.steps:
        lines += ["", "## Steps", ""]
        lines += [f"- {step.at_ms / 1000:.3f} s: {'' if step.ok else 'FAILED: '}{step.text}" for step in report.steps]
    if report.gaps:
        lines += ["", "## Measured", "", "| group | from | to | undriven | how | within budget |",
                  "|---|---|---|---|---|---|"]
        lines += [f"| {gap.group} | {gap.giver} | {gap.taker} | {gap_text(gap)} | {gap.how} | "
                  f"{ {True: 'yes', False: 'NO', None: 'cannot be said'}[gap.within] } |" for gap in report.gaps]
    if report.verdicts:
        lines += ["", "## Verdicts", ""]
        lines += [f"- `{verdict['id']}`: {verdict['sentence']}" for verdict in report.verdicts]
    return "\n".join(lines) + "\n"


def headline(report: Report) -> str:
    """The outcome in one sentence."""
    if report.kind == "dry":
        return "It would work." if report.possible else "It would not work as things are."
    if report.passed:
        return "Passed: the roles moved as planned and are as they were."
    ended = "Interrupted" if report.interrupted else "Failed"
    why = f": {report.failure}" if report.failure else ""
    back = {True: "The roles are as they were.", False: "The roles are NOT as they were.", None: "No role had moved."}
    return f"{ended}{why}. {back[report.reverted]}"


def budget_text(report: Report) -> str:
    """What the gaps are judged against."""
    return f"{report.budget_ms:g} ms ({report.budget_from})" if report.budget_ms is not None else "none known"


def span(value: float | None) -> str:
    """A time, "?" where it is not known."""
    return "?" if value is None else f"{value:.1f} ms"


def gap_text(gap: Gap) -> str:
    """A gap as people read it."""
    if gap.ms is None:
        return "not measured"
    return f"{gap.ms:.2f} ms" if gap.exact else f"at most {gap.ms:.1f} ms"


def check_writable(path: str | None) -> None:
    """Raises DeviceError when the report could not be written afterwards; leaves nothing behind."""
    if path is None:
        return
    folder = Path(path).parent
    if not folder.is_dir():
        raise DeviceError(f"--report {path}: there is no directory {folder}; make it, or name another file")
    if Path(path).is_dir():
        raise DeviceError(f"--report {path}: this is a directory; name a file in it")


def write(report: Report, path: str | None) -> list[Path]:
    """FILE as Markdown and the same name with .json; returns what was written. Raises DeviceError."""
    if path is None:
        return []
    page = Path(path)
    page = page.with_suffix(".md") if page.suffix in ("", ".json") else page
    data = page.with_suffix(".json")
    try:
        page.write_text(markdown(report), encoding="utf-8")
        data.write_text(json.dumps(report.data(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise DeviceError(f"--report {path}: cannot be written: {error.strerror}; name another file") from None
    return [page, data]
