"""Early warning tried on generated traces: how long before the limit it warns, and how often in vain. Fixed seeds."""
from __future__ import annotations

import random
import time
from typing import Any, NamedTuple

from twinbeat.warning.detector import Detector
from twinbeat.warning.figures import Warned
from twinbeat.warning.traces import EVERY_S, FAULTS, HEALTHY, TABLE, Case, Trace

SEED = 20261123
FULL = (40, 1000.0)
QUICK = (8, 96.0)
"""Traces of each fault; hours of each healthy kind."""


class Told(NamedTuple):
    """A warning that began or became graver."""

    at_s: float
    warned: Warned


def warnings_of(case: Case, trace: Trace) -> list[Told]:
    """What is told along a trace."""
    now = 0.0
    told: list[Told] = []

    def tell(stands: bool, warned: Warned) -> None:
        if stands:
            told.append(Told(now, warned))

    detector = Detector(TABLE.horizon_s, EVERY_S, TABLE.quiet_s, tell)
    for now, value in trace.samples:
        detector.add(case.figure, now, value)
    return told


def source(case: Case, number: int, seed: int = SEED) -> random.Random:
    """The seeded source of one trace."""
    return random.Random(f"{seed} {case.name} {number}")


def percentile(values: list[float], share: float) -> float | None:
    """The value that `share` of the others are below; None of an empty list."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def try_fault(case: Case, count: int, seed: int = SEED) -> dict[str, Any]:
    """Lead times of one kind of fault: to the first warning after it set in, and to the first with a time."""
    leads_s: list[float] = []
    timed_s: list[float] = []
    errors: list[float] = []
    early = 0
    for number in range(count):
        trace = case.make(source(case, number, seed), case.hours * 3600)
        assert trace.limit_s is not None
        told = warnings_of(case, trace)
        early += sum(one.at_s < trace.begun_s for one in told)
        after = [one for one in told if trace.begun_s <= one.at_s < trace.limit_s]
        if after:
            leads_s.append(trace.limit_s - after[0].at_s)
        grave = next((one for one in after if one.warned.matters_in_s is not None), None)
        if grave is not None:
            timed_s.append(trace.limit_s - grave.at_s)
            if grave.warned.kind == "trend":
                assert grave.warned.matters_in_s is not None
                errors.append(grave.warned.matters_in_s / (trace.limit_s - grave.at_s))
    return {
        "name": case.name, "traces": count, "warned": len(leads_s), "before_the_fault": early,
        "lead_s": {"p10": percentile(leads_s, 0.1), "p50": percentile(leads_s, 0.5)},
        "told_to_matter": len(timed_s),
        "told_to_matter_s": {"p10": percentile(timed_s, 0.1), "p50": percentile(timed_s, 0.5)},
        "said_of_true_time": percentile(errors, 0.5) and round(percentile(errors, 0.5) or 0.0, 2),
    }


def try_healthy(case: Case, hours: float, seed: int = SEED) -> dict[str, Any]:
    """Warnings in vain on one kind of healthy trace."""
    count = max(1, round(hours / case.hours))
    told = [one for number in range(count)
            for one in warnings_of(case, case.make(source(case, number, seed), case.hours * 3600))]
    grave = [one for one in told if one.warned.matters_in_s is not None]
    hours = count * case.hours
    return {
        "name": case.name, "hours": hours, "false": len(told), "false_per_1000_h": round(1000 * len(told) / hours, 2),
        "false_to_matter": len(grave), "texts": sorted({one.warned.text for one in told})[:3],
    }


def run(quick: bool = False, seed: int = SEED) -> dict[str, Any]:
    """The whole trial. The same figures every time; `quick` tries fewer traces."""
    count, hours = QUICK if quick else FULL
    return {
        "seed": seed, "quick": quick, "horizon_s": TABLE.horizon_s, "every_s": EVERY_S,
        "faults": [try_fault(case, count, seed) for case in FAULTS],
        "healthy": [try_healthy(case, hours, seed) for case in HEALTHY],
        "cost_us_per_sample": round(cost_us(), 1),
    }


def cost_us() -> float:
    """Processor time for one sample of one figure on this machine, trends included; not seeded, of course."""
    case = FAULTS[0]
    trace = case.make(source(case, 0), case.hours * 3600)
    begun_s = time.process_time()
    warnings_of(case, trace)
    return 1e6 * (time.process_time() - begun_s) / len(trace.samples)


def minutes(seconds: float | None) -> str:
    """For the table."""
    return "-" if seconds is None else f"{seconds / 60:.1f} min"


def as_text(found: dict[str, Any]) -> str:
    """The two tables, in Markdown."""
    lines = [
        "| fault | warned before the limit | first warning before it, p10 / p50 | with a time or as present, p10 / p50 "
        "| said time of the true one, p50 | before the fault began |",
        "|---|---|---|---|---|---|",
    ]
    for row in found["faults"]:
        lead, timed = row["lead_s"], row["told_to_matter_s"]
        share = row["said_of_true_time"]
        lines.append(
            f"| {row['name']} | {row['warned']} of {row['traces']} | {minutes(lead['p10'])} / {minutes(lead['p50'])} | "
            f"{minutes(timed['p10'])} / {minutes(timed['p50'])} | {'-' if share is None else share} | "
            f"{row['before_the_fault']} |"
        )
    lines += ["", "| healthy | hours | warnings in vain | per 1000 h |", "|---|---|---|---|"]
    lines += [f"| {row['name']} | {row['hours']:g} | {row['false']} | {row['false_per_1000_h']:g} |"
              for row in found["healthy"]]
    return "\n".join(lines)
