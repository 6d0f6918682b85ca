"""From the results of `twinbeat verify` to its answer: what is covered, what is over the budget, what contradicts."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct

from twinbeat.sim.verify import FaultResult
from twinbeat.sim.verify_faults import Fault, Kind, paired_faults, single_faults
from twinbeat.sim.verify_promise import Promise, promise_of
from twinbeat.sim.verify_world import Subject
from twinbeat_core.model import LinkKind, Lone

if TYPE_CHECKING:
    from twinbeat.check_coverage import FaultRow

Cover = Literal["yes", "partly", "no"]
KIND_NAMES = {LinkKind.LINK_SERIAL: "serial", LinkKind.LINK_MQTT: "mqtt", LinkKind.LINK_UDP: "udp"}
Again = Callable[[str, int], list[str]]
MOST_AGAIN = 3
ROUNDING_MS = 0.001
SWITCHING = "use outputs with a shorter release_ms or make_ms, or raise the budget"
SILENCE = ("lower period_ms or missed of the fastest link, use outputs with a shorter release_ms, or raise the budget")
CHECK_ROWS: dict[str, tuple[str, ...]] = {
    "planned handover or stop": ("handover", "stop", "unfit"),
    "agent killed or crashed": ("kill", "crash"),
    "agent frozen": ("stall", "pause"),
    "kernel hung, power on": ("hang", "hiccup"),
    "power of the driver lost": ("power", "brownout", "disk"),
    "all links cut, both alive": ("cut-all",),
    "third voter lost": ("voter-kill", "voter-crash"),
    "driver cut off from it": ("voter-cut-driver",),
    "driver cut off from all": ("cut-driver", "mute-all"),
    "all links cut, all alive": ("cut-all",),
}
"""Which faults here are meant by a row of `twinbeat check`; rows about links are found by the link's type."""


class Line(Struct, frozen=True, kw_only=True):
    """One single fault with its judgement.

    counts   it is judged against the outage budget: a driver is promised after it
    over_ms  by how much it is over the budget
    covered  "yes": in every run one node drove, never two; "partly": not in every run, or it is not promised;
             "no": two drove at once, or nobody until repair in every run
    why, remedy  in words; remedy is empty where nothing need be changed
    """

    kind: str
    counts: bool
    over_ms: float
    covered: Cover
    why: str
    remedy: str
    result: FaultResult


class Report(Struct, frozen=True, kw_only=True):
    """The whole answer about one world; `problems` and `contradictions` make it a no.

    again           the gravest run of each fault that broke a promise, in the words of a scenario
    contradictions  where `twinbeat check` says yes and the simulator shows otherwise
    notes           where `twinbeat check` claims less than is promised and seen; runs that prove nothing
    """

    title: str
    seed: int
    runs: int
    facts: list[str]
    budget_ms: float | None
    singles: list[Line]
    paired: list[str]
    doubles: list[FaultResult]
    problems: list[str]
    again: list[list[str]]
    contradictions: list[str]
    notes: list[str]

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return not self.problems and not self.contradictions


def as_data(report: Report) -> dict[str, Any]:
    """Plain data for --json."""
    data: dict[str, Any] = msgspec.to_builtins(report)
    return {"ok": report.ok, **data}


def build_report(subject: Subject, singles: Sequence[FaultResult], doubles: Sequence[FaultResult], *, seed: int,
                 runs: int, checked: Sequence[FaultRow] = (), again: Again = lambda key, run: []) -> Report:
    """The judgement; `checked`: the rows of `twinbeat check` for the same file; `again` tells a run in words."""
    lines = [line_of(subject, fault, result) for fault, result in zip(single_faults(subject), singles, strict=True)]
    return Report(
        title=subject.title,
        seed=seed,
        runs=runs,
        facts=facts_of(subject),
        budget_ms=subject.budget_ms,
        singles=lines,
        paired=[fault.text for fault in paired_faults(subject)],
        doubles=list(doubles),
        problems=[*budget_problems(subject, lines), *promise_problems(lines, doubles)],
        again=[again(result.key, result.shown) for result in (*singles, *doubles) if result.broken][:MOST_AGAIN],
        contradictions=contradictions_of(subject, checked, lines),
        notes=[*cautious_of(subject, checked, lines), *limit_notes([*singles, *doubles])],
    )


def line_of(subject: Subject, fault: Fault, result: FaultResult) -> Line:
    """One single fault judged."""
    promise = promise_of(fault, subject)
    counts = promise.driver and fault.kind != Kind.COLD
    over_ms = 0.0
    if counts and subject.budget_ms is not None:
        over_ms = max(0.0, result.worst_ms - subject.budget_ms)
    covered, why, remedy = cover(result, promise)
    return Line(kind=fault.kind.value, counts=counts, over_ms=over_ms, covered=covered, why=why, remedy=remedy,
                result=result)


def cover(result: FaultResult, promise: Promise) -> tuple[Cover, str, str]:
    """Whether the fault is covered, why, and what would change it."""
    runs = result.runs
    if result.broken:
        return "no", f"a promise was broken: {'; '.join(result.broken)}", "report it with file, seed and version"
    if result.two_runs:
        reason = result.reasons[0] if result.reasons else promise.why
        return "no", f"two drive at once in {of(result.two_runs, runs)} for up to {result.two_ms:.0f} ms: {reason}", \
            promise.remedy
    undriven = result.open_runs if promise.driver else result.open_runs + result.through_runs
    if undriven:
        where = "" if undriven >= result.counted else f" in {of(undriven, runs)}"
        until = "it is repaired" if result.open_runs else "it has passed"
        return "partly" if where else "no", f"nobody drives until {until}{where}: {promise.why}", promise.remedy
    if promise.stuck:
        return "no", promise.why, promise.remedy
    if promise.quiet and result.gap_runs:
        return "partly", f"{promise.why}, but in {of(result.gap_runs, runs)} nobody drives for a moment, at most " \
            f"{result.worst_ms:.1f} ms", ""
    if promise.limit:
        return "partly", f"{promise.why}; {promise.limit}", promise.remedy
    if not promise.driver:
        return "partly", f"no run went wrong, but it is not promised: {promise.why}", promise.remedy
    return "yes", promise.why, ""


def of(some: int, runs: int) -> str:
    """So many of all runs."""
    return f"{some} of {runs} runs" if some < runs else "every run"


def facts_of(subject: Subject) -> list[str]:
    """What the figures rest on, one sentence each."""
    spec, settings = subject.spec, subject.spec.settings[0]
    core = settings.compile()
    nodes = f"nodes {', '.join(spec.nodes_named)}" + ("; a third voter" if subject.third_voter else "")
    facts = [f"{nodes}; clocks wrong by {settings.drift_ppm} ppm in opposite directions; the gate up to "
             f"{spec.gate_late_us / 1000:g} ms late"]
    for number, (name, link, world) in enumerate(zip(spec.links_named, settings.links, spec.links, strict=True)):
        most_ms = (world.latency_us + world.jitter_us) / 1000
        facts.append(f"link {name} ({KIND_NAMES[LinkKind(link.kind)]}): a heartbeat every {link.period_ms:g} ms, "
                     f"{world.latency_us / 1000:g} to {most_ms:g} ms under way, T_L {core.lease_ms(number):.1f} ms, "
                     f"T_G {core.grant_ms(number):.0f} ms")
    if subject.third_voter:
        least_ms, most_ms = (us / 1000 for us in spec.voter_us)
        facts.append(f"third voter: {least_ms:g} to {most_ms:g} ms away, T_L {core.third_lease_ms:.1f} ms, "
                     f"T_G {core.third_grant_ms:.0f} ms{selects(subject)}")
    for number in subject.groups:
        name, group, keeps = spec.groups_named[number], settings.groups[number], subject.keeps_level
        lone = f', lone = "{"hold" if group.lone == Lone.LONE_HOLD else "takeover"}"' if subject.alone_decides else ""
        facts.append(f"group {name}: release {group.release_ms:g} ms, make {group.make_ms:g} ms, the output "
                     f"{'keeps its level' if keeps else 'falls'} when its gateway stands still{lone}")
    return facts


def selects(subject: Subject) -> str:
    """How fast its contacts are, where they gate."""
    make_ms, release_ms = (us / 1000 for us in subject.spec.select_us)
    return f"; its contacts make in {make_ms:g} ms and release in {release_ms:g} ms" if subject.gated else ""


def budget_problems(subject: Subject, lines: Sequence[Line]) -> list[str]:
    """Which faults are over the budget, by how much, and what would help."""
    return [
        f"{line.result.text}: nobody drives for up to {line.result.worst_ms:.1f} ms, {line.over_ms:.1f} ms over the "
        f"budget of {subject.budget_ms:g} ms; {SWITCHING if told(subject, line) else SILENCE}"
        for line in lines if line.over_ms > 0
    ]


def told(subject: Subject, line: Line) -> bool:
    """The other node is told, so that no silence has to be waited for."""
    return line.kind == Kind.PLANNED or (line.kind == Kind.KILLED and subject.has_crosslink)


def promise_problems(lines: Sequence[Line], doubles: Sequence[FaultResult]) -> list[str]:
    """Promises that the simulator saw broken. Nothing here is excused."""
    found = [
        f"{line.result.text}: a driver is promised, but in {of(line.result.open_runs, line.result.runs)} nobody drives "
        "until everything is repaired; report it with file, seed and version"
        for line in lines if line.counts and line.result.open_runs
    ]
    for result in (*(line.result for line in lines), *doubles):
        for rule, runs in result.broken.items():
            found.append(f"{result.text}: in {of(runs, result.runs)} a promise was broken ({rule}); the gravest is run "
                         f"{result.shown}; report it with file, seed and version")
        if 2 * result.void > result.runs:
            found.append(f"{result.text}: {of(result.void, result.runs)} found another node driving than the fault was "
                         "meant for; report it with file, seed and version")
    return found


def contradictions_of(subject: Subject, checked: Sequence[FaultRow], lines: Sequence[Line]) -> list[str]:
    """Where `twinbeat check` says yes and the simulator shows otherwise."""
    by_key = {line.result.key: line for line in lines}
    found = []
    for row in checked:
        if row.covered != "yes":
            continue
        for key in keys_of(subject, row.fault):
            what = break_of(by_key[key].result, row.outage_ms) if key in by_key else ""
            if what:
                found.append(f'check says yes to "{row.fault}", but {by_key[key].result.text}: {what}')
    return found


def cautious_of(subject: Subject, checked: Sequence[FaultRow], lines: Sequence[Line]) -> list[str]:
    """Where `twinbeat check` claims less than is promised and seen; its rows speak of all groups together."""
    if len(subject.groups) < len(subject.spec.groups_named):
        return []
    by_key = {line.result.key: line for line in lines}
    found = []
    for row in checked:
        covers = [by_key[key].covered for key in keys_of(subject, row.fault) if key in by_key]
        if row.covered != "yes" and covers and all(covered == "yes" for covered in covers):
            found.append(f'check says {row.covered} to "{row.fault}", but here one node drove in every run')
    return found


def limit_notes(results: Sequence[FaultResult]) -> list[str]:
    """Runs that the simulator could not hold: with many groups too much happens at once."""
    return [f"{result.text}: {of(result.limited, result.runs)} reached a limit of the simulator and proves nothing"
            for result in results if result.limited]


def keys_of(subject: Subject, fault: str) -> tuple[str, ...]:
    """The faults here that a row of `twinbeat check` speaks of."""
    names, links = subject.spec.links_named, subject.spec.settings[0].links
    if fault == "one link deaf one way":
        return tuple(f"{way}-{name}" for name in names for way in ("deaf", "mute"))
    kind = {"serial cable cut": LinkKind.LINK_SERIAL, "broker or network lost": LinkKind.LINK_MQTT}.get(fault)
    if kind is not None:
        return tuple(f"cut-{name}" for name, link in zip(names, links, strict=True) if link.kind == kind)
    if fault == "all links cut, both alive" and len(names) == 1:
        return (f"cut-{names[0]}",)
    return CHECK_ROWS.get(fault, ())


def break_of(result: FaultResult, outage_ms: float | None) -> str:
    """What in a result contradicts a yes with this outage; empty when nothing does."""
    if result.two_runs:
        return f"two drive at once in {of(result.two_runs, result.runs)}"
    if result.open_runs:
        return f"nobody drives until it is repaired in {of(result.open_runs, result.runs)}"
    if outage_ms is not None and result.worst_ms > outage_ms + ROUNDING_MS:
        return f"nobody drives for up to {result.worst_ms:.1f} ms, not {outage_ms:.1f} ms"
    return ""
