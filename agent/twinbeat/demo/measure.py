"""From what the relay boards received to figures. Pure functions: no clock, no processes.

Two readings of a board's "off" are kept apart on purpose, each the less flattering one for its figure. A gap starts
with the off byte (the contact may let go at once); an overlap lasts until the off byte plus the board's release time
(the contact may hold that long). A board without power is off from that moment for both.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

NS_PER_MS = 1e6


@dataclass(frozen=True)
class Change:
    """One byte pattern received by one board (or its power going): its level from `at_ns` on."""

    at_ns: int
    node: str
    on: bool
    cause: str = "byte"   # "byte" or "power"
    unit: int = 0


@dataclass(frozen=True)
class TrialFigures:
    """What one trial showed. Times in milliseconds; None where there is nothing to measure."""

    driver: str | None         # whose output was on at the fault
    new_driver: str | None     # who was the first other to switch on after it
    driver_off_ms: float | None
    takeover_ms: float | None
    gap_ms: float | None       # None: still undriven at the end
    overlap_ms: float
    no_driver: bool            # nobody drove when the observation ended
    role_changes: int
    dropouts: int


@dataclass(frozen=True)
class Spread:
    """min, median, 99th percentile (nearest rank) and maximum of some samples."""

    min: float
    p50: float
    p99: float
    max: float

    def as_dict(self) -> dict[str, float]:
        """For JSON, rounded to a microsecond."""
        return {name: round(getattr(self, name), 3) for name in ("min", "p50", "p99", "max")}


def spread(samples: Iterable[float | None]) -> Spread | None:
    """Of the samples that are not None; None where no sample exists."""
    known = sorted(sample for sample in samples if sample is not None)
    if not known:
        return None
    middle = len(known) // 2
    p50 = known[middle] if len(known) % 2 else (known[middle - 1] + known[middle]) / 2
    p99 = known[math.ceil(0.99 * len(known)) - 1]
    return Spread(known[0], p50, p99, known[-1])


def levels_at(changes: Sequence[Change], at_ns: int) -> dict[str, bool]:
    """Level of every board seen so far, changes at `at_ns` itself not included."""
    levels: dict[str, bool] = {}
    for change in ordered(changes):
        if change.at_ns >= at_ns:
            break
        levels[change.node] = change.on
    return levels


def ordered(changes: Iterable[Change]) -> list[Change]:
    """By time; of two with one stamp, an off comes first (one wake-up of the reader cannot order them)."""
    return sorted(changes, key=lambda change: (change.at_ns, change.on))


def level_changes(changes: Iterable[Change], start: Mapping[str, bool] | None = None) -> list[Change]:
    """Without the repetitions: only what changed a level. `start` gives the levels before the first change."""
    levels = dict(start or {})
    real: list[Change] = []
    for change in ordered(changes):
        if levels.get(change.node, False) != change.on:
            levels[change.node] = change.on
            real.append(change)
    return real


def intervals_on(changes: Sequence[Change], node: str, end_ns: int, release_ms: float) -> list[tuple[int, int]]:
    """When the board's contact was closed, an off byte taking effect `release_ms` later; open at `end_ns`."""
    release_ns = round(release_ms * NS_PER_MS)
    found: list[tuple[int, int]] = []
    since: int | None = None
    for change in level_changes(change for change in changes if change.node == node):
        if change.on:
            since = change.at_ns
        elif since is not None:
            found.append((since, change.at_ns + (0 if change.cause == "power" else release_ns)))
            since = None
    if since is not None:
        found.append((since, end_ns))
    return found


def overlap_ms(changes: Sequence[Change], from_ns: int, end_ns: int, release_ms: float) -> float:
    """The longest time between `from_ns` and `end_ns` in which two boards were on at once."""
    nodes = sorted({change.node for change in changes})
    worst = 0
    for place, node in enumerate(nodes):
        for other in nodes[place + 1:]:
            for start, end in intervals_on(changes, node, end_ns, release_ms):
                for other_start, other_end in intervals_on(changes, other, end_ns, release_ms):
                    both = min(end, other_end, end_ns) - max(start, other_start, from_ns)
                    worst = max(worst, both)
    return worst / NS_PER_MS


def undriven_ms(changes: Sequence[Change], from_ns: int, end_ns: int) -> float:
    """All time between `from_ns` and `end_ns` in which no board was on, an off byte counting at once."""
    levels = levels_at(changes, from_ns)
    total, since = 0, from_ns
    for change in ordered(changes):
        if change.at_ns < from_ns:
            continue
        at_ns = min(change.at_ns, end_ns)
        if not any(levels.values()):
            total += at_ns - since
        since = at_ns
        levels[change.node] = change.on
    if not any(levels.values()):
        total += max(0, end_ns - since)
    return total / NS_PER_MS


def gap_ms(changes: Sequence[Change], fault_ns: int, observed_ns: int, end_ns: int) -> float | None:
    """Undriven time from the fault on; None when it had not ended at `end_ns`."""
    until_ns = observed_ns
    if not any(levels_at(changes, observed_ns + 1).values()):
        closing = [change.at_ns for change in ordered(changes) if change.on and observed_ns < change.at_ns <= end_ns]
        if not closing:
            return None
        until_ns = closing[0]
    return undriven_ms(changes, fault_ns, until_ns)


def roles(changes: Sequence[Change], from_ns: int, end_ns: int) -> tuple[int, int]:
    """(role changes, dropouts) in [from_ns, end_ns]: an on of another board than the last one, of the same one."""
    role_changes = dropouts = 0
    last: str | None = None
    for change in level_changes(changes):
        if change.at_ns > end_ns:
            break
        if not change.on:
            continue
        if change.at_ns >= from_ns and last is not None:
            if change.node == last:
                dropouts += 1
            else:
                role_changes += 1
        last = change.node
    return role_changes, dropouts


def evaluate(changes: Sequence[Change], fault_ns: int, observed_ns: int, end_ns: int,
             release_ms: float = 0.0) -> TrialFigures:
    """One trial: fault at `fault_ns`, left alone until `observed_ns`, healed and steady again at `end_ns`.

    `changes` must reach back to before the fault, or nothing is known of who drove.
    Takeover and gap are looked for until `observed_ns`; a gap that is open then is counted to its end, if it has one
    before `end_ns`. Overlap, role changes and dropouts count until `end_ns`.
    """
    before = levels_at(changes, fault_ns)
    driving = [node for node, on in before.items() if on]
    driver = driving[0] if len(driving) == 1 else None
    after = [change for change in level_changes(changes) if fault_ns <= change.at_ns <= observed_ns]
    off = next((change for change in after if change.node == driver and not change.on), None)
    taken = next((change for change in after if change.node != driver and change.on), None)
    at_observed = any(levels_at(changes, observed_ns + 1).values())
    role_changes, dropouts = roles(changes, fault_ns, end_ns)
    return TrialFigures(
        driver=driver,
        new_driver=taken.node if taken else None,
        driver_off_ms=(off.at_ns - fault_ns) / NS_PER_MS if off else None,
        takeover_ms=(taken.at_ns - fault_ns) / NS_PER_MS if taken else None,
        gap_ms=gap_ms(changes, fault_ns, observed_ns, end_ns),
        overlap_ms=overlap_ms(changes, fault_ns, end_ns, release_ms),
        no_driver=not at_observed,
        role_changes=role_changes,
        dropouts=dropouts,
    )


def summary(trials: Sequence[TrialFigures]) -> dict[str, object]:
    """The figures of all trials in the names and shapes of the JSON answer."""
    takeover = spread(trial.takeover_ms for trial in trials)
    gap = spread(trial.gap_ms for trial in trials)
    return {
        "takeover_ms": takeover.as_dict() if takeover else None,
        "gap_ms": gap.as_dict() if gap else None,
        "overlap_ms_max": round(max(trial.overlap_ms for trial in trials), 3) if trials else None,
        "double_driver_trials": sum(trial.overlap_ms > 0 for trial in trials),
        "no_driver_trials": sum(trial.no_driver for trial in trials),
        "role_changes": sum(trial.role_changes for trial in trials),
        "dropouts": sum(trial.dropouts for trial in trials),
    }
