"""The statistics of early warning: robust, of bounded cost, on short lists. No clock, no I/O.

median, mad         location and spread that a few wild samples do not move
theil_sen           slope: the median of all pairwise slopes (Theil 1950, Sen 1968); 29 % of wild points do no harm
mann_kendall        whether there is a trend at all, by the signs of all pairs (Mann 1945, Kendall 1975)
damped_reach        how far a rise goes that slows down: the damped trend (Gardner and McKenzie 1985), with the
                    damping from three means (Aitken 1926), exact for a rise that settles exponentially
Cusum               whether the level has shifted: Page's cumulative sum (1954), one-sided, winsorised
"""
from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

MAD_TO_SIGMA = 1.4826
FLAT = 1e-12
SLOWING = 0.7
"""Below this share of the step before, a slowing rise is believed in full; above it only by half (the square root)."""


def median(values: Sequence[float]) -> float:
    """The middle of a list that is not empty."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else 0.5 * (ordered[middle - 1] + ordered[middle])


def mad(values: Sequence[float], centre: float) -> float:
    """The median distance from `centre`, as the sigma of a normal distribution with that median distance."""
    return MAD_TO_SIGMA * median([abs(value - centre) for value in values])


class Line(NamedTuple):
    """A robust line: slope a second, level at the newest point, and Mann and Kendall's z of "there is a trend"."""

    slope: float
    level: float
    z: float


def theil_sen(points: Sequence[tuple[float, float]]) -> Line:
    """The line through (seconds, value) points in order of time, at least two of them at different times."""
    slopes: list[float] = []
    signs = 0
    for number, (t1, y1) in enumerate(points):
        for t2, y2 in points[number + 1 :]:
            if t2 > t1:
                slopes.append((y2 - y1) / (t2 - t1))
                signs += (y2 > y1) - (y2 < y1)
    if not slopes:
        return Line(0.0, points[-1][1], 0.0)
    slope, end = median(slopes), points[-1][0]
    return Line(slope, median([y - slope * (t - end) for t, y in points]), mann_kendall(signs, len(points)))


def mann_kendall(signs: int, count: int) -> float:
    """z of the sum of signs of all pairs of `count` points: normal where there is no trend."""
    sigma = math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    return (signs - (signs > 0) + (signs < 0)) / sigma if sigma else 0.0


def quarters(values: Sequence[float]) -> list[float]:
    """The medians of the four quarters of a list of at least four."""
    edges = [len(values) * number // 4 for number in range(5)]
    return [median(values[begin:end]) for begin, end in itertools.pairwise(edges)]


def damped_reach(first: float, second: float, steps: float) -> float:
    """How much further a rise goes in `steps` more steps, when it rose by `first` and then by `second` a step.

    A rise that does not slow down goes on as it is; one that does loses the same share with every step. A slight
    slowing counts by half only: noise in two differences would else end every rise.
    """
    if second <= FLAT or first <= FLAT:
        return 0.0
    share = min(1.0, second / first)
    share = math.sqrt(share) if share > SLOWING else share
    if share >= 1.0 - 1e-9:
        return second * steps
    return second * share * (1.0 - math.pow(share, steps)) / (1.0 - share)


class Cusum:
    """Page's one-sided sum of what is above the reference by more than `allowed` sigmas.

    One sample counts at most `most` sigmas, so that a burst is no shift however high it is.
    """

    def __init__(self, allowed: float = 1.0, alarm: float = 8.0, most: float = 3.0) -> None:
        self.sum = 0.0
        self._allowed = allowed
        self._alarm = alarm
        self._most = most

    def add(self, value: float, centre: float, sigma: float) -> bool:
        """Take a sample; True while the sum says that the level has shifted."""
        z = min(self._most, (value - centre) / sigma) if sigma > 0 else 0.0
        self.sum = min(2 * self._alarm, max(0.0, self.sum + z - self._allowed))
        return self.sum > self._alarm
