"""What a campaign found, as text for people and as data for scripts."""
from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from twinbeat.sim.campaign_runs import Plan
from twinbeat.sim.campaign_tally import Failure, FaultTally, Tally
from twinbeat.sim.chance import PROFILES, WORLD_NAMES
from twinbeat.sim.chance_draw import CIRCUMSTANCES
from twinbeat.sim.shrink import Case
from twinbeat.sim.spec import RULE_TEXT, Excuse, Rule

NS_IN_MS = 1e6
DEFAULT_SECONDS = 10.0
EXCUSE_TEXT = {
    Excuse.L3: "lone = takeover and all links impaired",
    Excuse.FROZEN: "a whole gateway stood still",
    Excuse.CONTACT: "a contact was stuck",
    Excuse.CLOCK: "a clock beyond its bound",
    Excuse.DISK: "all who knew lost their disks",
    Excuse.ALONE: "alone, without having heard of it",
}


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A failing run that was shortened and written. `runs` is what shortening took."""

    failure: Failure
    path: str
    case: Case
    runs: int
    reproduces: bool


@dataclass(kw_only=True)
class Outcome:
    """A campaign and what came of it. `asked` runs from seed `first` on; `seconds` of real time."""

    plan: Plan
    first: int
    asked: int
    jobs: int
    seconds: float
    tally: Tally
    complete: bool
    saved: list[Saved] = field(default_factory=list)
    drawn: str = ""


def again(plan: Plan, seed: int, world: str) -> str:
    """The command that runs one seed again."""
    seconds = "" if plan.seconds == DEFAULT_SECONDS else f" --seconds {plan.seconds:g}"
    return f"twinbeat sim --campaign 1 --seed {seed} --world {world} --profile {plan.profile}{seconds}"


def milliseconds(length_ns: int) -> str:
    """A length with as many digits as are worth reading."""
    ms = length_ns / NS_IN_MS
    return f"{ms:.2f}" if ms < 10 else f"{ms:.1f}" if ms < 100 else f"{ms:.0f}"


def aligned(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], left: int) -> list[str]:
    """A table; the first `left` columns are words, the others figures."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    return [
        "  " + "  ".join(f"{cell:<{width}}" if column < left else f"{cell:>{width}}"
                         for column, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in [head, *rows]
    ]


# ---------------------------------------------------------------- text
def report(outcome: Outcome) -> list[str]:
    """The whole summary."""
    plan, tally = outcome.plan, outcome.tally
    last = outcome.first + outcome.asked - 1
    lines = [f"campaign: {outcome.asked} runs, seeds {outcome.first} to {last}, profile {plan.profile}: "
             f"{PROFILES[plan.profile]}"]
    if not outcome.complete:
        lines.append(f"interrupted: {tally.runs} of {outcome.asked} runs were made; the figures are of those")
    if tally.runs == 0:
        return lines
    lines += ["", *world_table(tally), "", *fault_table(tally), "", *violation_lines(tally)]
    lines += excused_lines(tally)
    lines += [line for saved in outcome.saved for line in saved_lines(saved, plan)]
    if outcome.drawn:
        lines.append(outcome.drawn)
    return [*lines, "", rate_line(outcome)]


def world_table(tally: Tally) -> list[str]:
    """How much each world was run."""
    rows = [
        (world, f"{counts.runs}", f"{counts.steps}", f"{counts.simulated_ns / 1e9:.0f}",
         milliseconds(counts.worst_settled_ns))
        for world, counts in sorted(tally.worlds.items(), key=lambda item: WORLD_NAMES.index(item[0]))
    ]
    return aligned(("world", "runs", "steps", "simulated s", "settled ms, worst"), rows, 1)


def ordered_faults(tally: Tally) -> list[tuple[tuple[str, str, int], FaultTally]]:
    """By world, circumstances and name."""
    return sorted(tally.faults.items(), key=lambda item: (WORLD_NAMES.index(item[0][0]), item[0][2], item[0][1]))


def fault_table(tally: Tally) -> list[str]:
    """Times without a driver after each kind of fault; kinds that left none follow in words."""
    head = ("world", "fault", "came", "faults", "gaps", "median ms", "p99 ms", "worst ms", "seed", "drop-outs")
    rows: list[tuple[str, ...]] = []
    without: dict[tuple[str, int], list[str]] = {}
    for (world, name, how), fault in ordered_faults(tally):
        if not fault.gaps:
            without.setdefault((world, how), []).append(f"{name} ({fault.faults})")
            continue
        figures = [milliseconds(length) for length in (fault.quantile_ns(0.5), fault.quantile_ns(0.99), fault.worst_ns)]
        rows.append((world, name, CIRCUMSTANCES[how], f"{fault.faults}", f"{fault.gaps}", *figures,
                     f"{fault.worst_seed}", f"{fault.dropouts}"))
    lines = ["time without a driver, by the fault before it", *(aligned(head, rows, 3) if rows else ["  none"])]
    for (world, how), names in without.items():
        text = f"{world}, {CIRCUMSTANCES[how]}: none after {', '.join(names)}"
        lines += textwrap.wrap(text, 116, initial_indent="  ", subsequent_indent="    ")
    return lines


def violation_lines(tally: Tally) -> list[str]:
    """What was broken that is promised."""
    if not tally.violations:
        return ["violations: none"]
    lines = ["violations:"]
    for (world, rule), count in sorted(tally.violations.items()):
        kept = tally.first[world, rule]
        seeds = ", ".join(str(failure.seed) for failure in kept)
        lines.append(f"  {world}: {Rule(rule).name.lower()} ({RULE_TEXT[Rule(rule)]}): {count}, first seeds {seeds}")
    return lines


def excused_lines(tally: Tally) -> list[str]:
    """What happened where it is not promised to be excluded."""
    rows = [f"  {world}: {Rule(rule).name.lower()} where {EXCUSE_TEXT[Excuse(excuse)]}: {count}"
            for (world, rule, excuse), count in sorted(tally.excused.items())]
    return ["not promised to be excluded, and seen:", *rows] if rows else []


def saved_lines(saved: Saved, plan: Plan) -> list[str]:
    """Where a failing run was written."""
    failure = saved.failure
    count = len(saved.case.actions)
    told = f"{count} actions, after {saved.runs} runs" if saved.reproduces else "as a file it does not fail"
    return [f"  seed {failure.seed} ({failure.world}, {failure.violation.rule.name.lower()}): {saved.path} ({told})",
            f"    {again(plan, failure.seed, failure.world)}"]


def rate_line(outcome: Outcome) -> str:
    """How fast it went."""
    tally, seconds = outcome.tally, max(outcome.seconds, 1e-9)
    steps = sum(world.steps for world in tally.worlds.values())
    simulated = sum(world.simulated_ns for world in tally.worlds.values()) / 1e9
    return (f"{tally.runs} runs, {steps} steps, {simulated:.0f} simulated seconds in {outcome.seconds:.1f} s with "
            f"{outcome.jobs} worker{'s' if outcome.jobs > 1 else ''}: {tally.runs / seconds:.0f} runs/s, "
            f"{steps / seconds / 1e6:.2f} million steps/s, {simulated / seconds:.0f} simulated s/s")


# ---------------------------------------------------------------- data
def as_json(outcome: Outcome) -> dict[str, Any]:
    """The summary for a script; times in milliseconds."""
    plan, tally = outcome.plan, outcome.tally
    return {
        "runs": tally.runs, "asked": outcome.asked, "complete": outcome.complete, "first_seed": outcome.first,
        "world": plan.world, "profile": plan.profile, "seconds": plan.seconds, "jobs": outcome.jobs,
        "elapsed_s": round(outcome.seconds, 3),
        "worlds": {world: {"runs": counts.runs, "steps": counts.steps,
                           "simulated_s": round(counts.simulated_ns / 1e9, 3),
                           "worst_settled_ms": round(counts.worst_settled_ns / NS_IN_MS, 3)}
                   for world, counts in sorted(tally.worlds.items())},
        "faults": [fault_json(key, fault) for key, fault in ordered_faults(tally)],
        "violations": [
            {"world": world, "rule": Rule(rule).name.lower(), "text": RULE_TEXT[Rule(rule)], "count": count,
             "first_seeds": [failure.seed for failure in tally.first[world, rule]]}
            for (world, rule), count in sorted(tally.violations.items())],
        "excused": [
            {"world": world, "rule": Rule(rule).name.lower(), "reason": Excuse(excuse).name.lower(), "count": count}
            for (world, rule, excuse), count in sorted(tally.excused.items())],
        "saved": [{"seed": saved.failure.seed, "world": saved.failure.world, "file": saved.path,
                   "rule": saved.failure.violation.rule.name.lower(), "actions": len(saved.case.actions),
                   "reproduces": saved.reproduces, "again": again(plan, saved.failure.seed, saved.failure.world)}
                  for saved in outcome.saved],
        "drawn": outcome.drawn,
    }


def fault_json(key: tuple[str, str, int], fault: FaultTally) -> dict[str, Any]:
    """One row of the table of faults."""
    world, name, how = key
    return {
        "world": world, "fault": name, "came": CIRCUMSTANCES[how], "faults": fault.faults, "gaps": fault.gaps,
        "median_ms": round(fault.quantile_ns(0.5) / NS_IN_MS, 3) if fault.gaps else None,
        "p99_ms": round(fault.quantile_ns(0.99) / NS_IN_MS, 3) if fault.gaps else None,
        "worst_ms": round(fault.worst_ns / NS_IN_MS, 3) if fault.gaps else None,
        "worst_seed": fault.worst_seed if fault.gaps else None,
        "dropouts": fault.dropouts, "open_at_end": fault.open,
    }
