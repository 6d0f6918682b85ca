"""What the runs of a campaign come down to: counts, worst gaps, histograms, the first violations. Size does not grow
with the number of runs, and tallies can be put together in any order with the same result."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from twinbeat.sim.chance import Schedule
from twinbeat.sim.chance_draw import CIRCUMSTANCES
from twinbeat.sim.spec import ALL, Gap, RunResult, Violation

FIRST_KEPT = 8
FINE_BITS = 6
"""A bucket of a histogram is 1/64 of its power of two wide: a figure from it is at most 1.6 % too high."""


class Failure(NamedTuple):
    """The first violation of one rule in one run."""

    seed: int
    world: str
    violation: Violation


def bucket_of(length_ns: int) -> int:
    """The bucket of a histogram with a width of 1/64 of its power of two; exact up to 127 ns."""
    shift = max(0, length_ns.bit_length() - 1 - FINE_BITS)
    return (shift << FINE_BITS) + (length_ns >> shift)


def bucket_end(bucket: int) -> int:
    """The longest length of a bucket."""
    shift = max(0, (bucket >> FINE_BITS) - 1)
    return ((bucket - (shift << FINE_BITS) + 1) << shift) - 1


@dataclass(slots=True)
class FaultTally:
    """One kind of fault in one world and circumstance: how often it came, and the times without a driver after it.

    `dropouts` are gaps after which the same node drove again, `open` those that lasted until the end of the run.
    """

    faults: int = 0
    gaps: int = 0
    dropouts: int = 0
    open: int = 0
    worst_ns: int = 0
    worst_seed: int = -1
    buckets: dict[int, int] = field(default_factory=dict)

    def add(self, gap: Gap, seed: int) -> None:
        """One time without a driver."""
        self.gaps += 1
        if gap.after == ALL:
            self.open += 1
        elif gap.after == gap.before:
            self.dropouts += 1
        bucket = bucket_of(gap.length_ns)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1
        self._worst(gap.length_ns, seed)

    def _worst(self, length_ns: int, seed: int) -> None:
        if length_ns > self.worst_ns or (length_ns == self.worst_ns and not -1 < self.worst_seed <= seed):
            self.worst_ns, self.worst_seed = length_ns, seed

    def merge(self, other: FaultTally) -> None:
        """Add what another worker counted."""
        self.faults += other.faults
        self.gaps += other.gaps
        self.dropouts += other.dropouts
        self.open += other.open
        if other.worst_seed >= 0:
            self._worst(other.worst_ns, other.worst_seed)
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count

    def quantile_ns(self, share: float) -> int:
        """The length that `share` (0..1) of the gaps do not exceed, from the histogram but never above the worst."""
        left = max(1, round(share * self.gaps))
        for bucket in sorted(self.buckets):
            left -= self.buckets[bucket]
            if left <= 0:
                return min(bucket_end(bucket), self.worst_ns)
        return self.worst_ns


@dataclass(slots=True)
class WorldTally:
    """How much one world was run; `worst_settled_ns` is the longest settling after everything was healed."""

    runs: int = 0
    steps: int = 0
    simulated_ns: int = 0
    worst_settled_ns: int = 0

    def merge(self, other: WorldTally) -> None:
        """Add what another worker counted."""
        self.runs += other.runs
        self.steps += other.steps
        self.simulated_ns += other.simulated_ns
        self.worst_settled_ns = max(self.worst_settled_ns, other.worst_settled_ns)


@dataclass(slots=True)
class Tally:
    """A campaign, or the part of it that one worker has run."""

    worlds: dict[str, WorldTally] = field(default_factory=dict)
    faults: dict[tuple[str, str, int], FaultTally] = field(default_factory=dict)
    violations: dict[tuple[str, int], int] = field(default_factory=dict)
    excused: dict[tuple[str, int, int], int] = field(default_factory=dict)
    first: dict[tuple[str, int], list[Failure]] = field(default_factory=dict)

    @property
    def runs(self) -> int:
        """How many runs there were."""
        return sum(world.runs for world in self.worlds.values())

    @property
    def failing(self) -> int:
        """Violations of what is promised."""
        return sum(self.violations.values())

    def add(self, world: str, seed: int, schedule: Schedule, result: RunResult) -> None:
        """One run."""
        counts = self.worlds.setdefault(world, WorldTally())
        counts.runs += 1
        counts.steps += result.steps
        counts.simulated_ns += result.end_ns
        counts.worst_settled_ns = max(counts.worst_settled_ns, result.settled_ns)
        names, circumstances = schedule.faults, schedule.circumstances
        for number, begins in enumerate(schedule.begins):
            if begins:
                self._fault(world, names[number], circumstances[number]).faults += 1
        for gap in result.gaps:
            number = max(0, gap.action)
            name = names[number] if gap.before != ALL else "start"
            self._fault(world, name, circumstances[number]).add(gap, seed)
        if result.violations:
            self._broken(world, seed, result.violations)
        for found in result.excused:
            key = (world, int(found.rule), int(found.excuse))
            self.excused[key] = self.excused.get(key, 0) + 1

    def _fault(self, world: str, name: str, circumstance: int) -> FaultTally:
        key = (world, name, circumstance)
        found = self.faults.get(key)
        if found is None:
            found = self.faults[key] = FaultTally()
        return found

    def _broken(self, world: str, seed: int, violations: list[Violation]) -> None:
        for found in violations:
            key = (world, int(found.rule))
            self.violations[key] = self.violations.get(key, 0) + 1
            kept = self.first.setdefault(key, [])
            if all(failure.seed != seed for failure in kept):
                kept.append(Failure(seed, world, found))
                kept.sort()
                del kept[FIRST_KEPT:]

    def merge(self, other: Tally) -> None:
        """Add what another worker has run."""
        for world, counts in other.worlds.items():
            self.worlds.setdefault(world, WorldTally()).merge(counts)
        for key, fault in other.faults.items():
            self._fault(*key).merge(fault)
        for broken, count in other.violations.items():
            self.violations[broken] = self.violations.get(broken, 0) + count
        for reason, count in other.excused.items():
            self.excused[reason] = self.excused.get(reason, 0) + count
        for rule, failures in other.first.items():
            self.first[rule] = sorted({*self.first.get(rule, []), *failures})[:FIRST_KEPT]

    def failures(self) -> list[Failure]:
        """The first failing runs, at most a few for each rule and world, in the order of their seeds."""
        return sorted(failure for kept in self.first.values() for failure in kept)

    def longest(self) -> tuple[int, str] | None:
        """Seed and world of the longest gap that a lone fault left where a driver is promised, else of any."""
        for circumstance in range(len(CIRCUMSTANCES)):
            found = [(-fault.worst_ns, fault.worst_seed, world) for (world, _, how), fault in self.faults.items()
                     if how == circumstance and fault.worst_seed >= 0]
            if found:
                _, seed, world = min(found)
                return seed, world
        return None
