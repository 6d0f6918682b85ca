"""From what the boards of many units received to figures. Pure functions: no clock, no processes.

A unit is a shard or a group. Two readings of a board's "off" are kept apart as for a single one (`measure`).
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twinbeat.demo.measure import NS_PER_MS, Change, gap_ms, level_changes, levels_at, overlap_ms, spread, undriven_ms


@dataclass(frozen=True)
class Moments:
    """Of one trial: the fault, when it was healed, when all was as before, in nanoseconds; who was struck, if anyone.

    exclusive  at most one node may drive a unit
    """

    fault_ns: int
    observed_ns: int
    end_ns: int
    victim: str | None
    exclusive: bool = True
    release_ms: float = 0.0


@dataclass(frozen=True)
class UnitFigures:
    """One unit in one trial. Times in milliseconds.

    before       who drove it at the fault
    lost         whether it was the struck node's, and another one had to take it over
    takeover_ms  from the fault to the first other's on; None where there was none
    undriven_ms  of a lost unit: nobody's; None: still so at the end
    disturbed    not lost, and yet somebody who drove it at the fault switched it off before the fault was healed
    overlap_ms   two at once where only one may, at worst, until all was as before
    returned_ms  nobody's on its way back after the healing; None where it did not move then
    """

    before: frozenset[str]
    lost: bool
    takeover_ms: float | None
    undriven_ms: float | None
    disturbed: bool
    overlap_ms: float
    returned_ms: float | None


def evaluate_units(changes: Sequence[Change], units: int, at: Moments) -> list[UnitFigures]:
    """Every unit of one trial. `changes` must reach back to before the fault."""
    mine: list[list[Change]] = [[] for _ in range(units)]
    for change in changes:
        mine[change.unit].append(change)
    return [_unit(found, at) for found in mine]


def _unit(changes: list[Change], at: Moments) -> UnitFigures:
    before = _on(changes, at.fault_ns)
    lost = at.victim in before
    real = level_changes(changes)
    after = [change for change in real if at.fault_ns <= change.at_ns <= at.observed_ns]
    taken = next((change for change in after if change.on and change.node != at.victim), None) if lost else None
    dropped = {change.node for change in after if not change.on}
    at_observed, at_end = _on(changes, at.observed_ns + 1), _on(changes, at.end_ns + 1)
    return UnitFigures(
        before=before,
        lost=lost,
        takeover_ms=(taken.at_ns - at.fault_ns) / NS_PER_MS if taken else None,
        undriven_ms=gap_ms(changes, at.fault_ns, at.observed_ns, at.end_ns),
        disturbed=bool(dropped & (before - {at.victim})),
        overlap_ms=overlap_ms(changes, at.fault_ns, at.end_ns, at.release_ms) if at.exclusive else 0.0,
        returned_ms=undriven_ms(changes, at.observed_ns, at.end_ns) if at_end != at_observed else None,
    )


def _on(changes: Sequence[Change], at_ns: int) -> frozenset[str]:
    return frozenset(node for node, on in levels_at(changes, at_ns).items() if on)


def last_ms(figures: Sequence[UnitFigures]) -> float | None:
    """From the fault until the last of the lost units was driven again; None where one never was, or none was lost."""
    times = [unit.takeover_ms for unit in figures if unit.lost]
    known = [time_ms for time_ms in times if time_ms is not None]
    return max(known) if known and len(known) == len(times) else None


def summary(trials: Sequence[Sequence[UnitFigures]]) -> dict[str, object]:
    """The figures of all trials in the names and shapes of the JSON answer."""
    everything = [unit for trial in trials for unit in trial]
    lost = [unit for unit in everything if unit.lost]
    spreads = {
        "takeover_ms": spread(unit.takeover_ms for unit in lost),
        "gap_ms": spread(unit.undriven_ms for unit in lost),
        "last_ms": spread(last_ms(trial) for trial in trials),
        "kept_gap_ms": spread(unit.undriven_ms for unit in everything if not unit.lost),
        "return_gap_ms": spread(unit.returned_ms for unit in everything),
    }
    return {
        **{name: found.as_dict() if found else None for name, found in spreads.items()},
        "lost_units": len(lost),
        "disturbed_units": sum(unit.disturbed for unit in everything),
        "overlap_ms_max": round(max((unit.overlap_ms for unit in everything), default=0.0), 3),
        "double_driver_trials": sum(any(unit.overlap_ms > 0 for unit in trial) for trial in trials),
        "no_driver_trials": sum(any(unit.undriven_ms is None or (unit.lost and unit.takeover_ms is None and
                                                                 len(unit.before) == 1) for unit in trial)
                                for trial in trials),
    }
