"""Trends of one figure on several time scales, extrapolated to its limit. Times are seconds; memory is bounded."""
from __future__ import annotations

import itertools
from collections import deque
from typing import NamedTuple

from twinbeat.warning.stats import damped_reach, median, quarters, theil_sen

BINS = 30
"""Points of a window; each is the median of what came in its bin."""
BIN_SAMPLES_MAX = 128
SHORTEST_S = 300.0
REACH = 2.0
"""So many windows ahead a trend is believed, and no further."""
Z_LEAST = 3.3
"""Of Mann and Kendall's test: one in two thousand where there is no trend and samples are independent."""
GAP_BINS = 8.0
"""After so long without samples a window begins anew."""
FASTEST = 0.8
"""Of the newest quarter's slope counts so much where it is steeper than the whole window's."""
STEADY = 0.2
"""From quarter to quarter a trend rises each time, by at least this share of its largest rise: a step is no trend."""


class Seen(NamedTuple):
    """A trend towards the bad side: slope in units a second, more is worse; seconds to the limit; where it is."""

    slope: float
    limit_in_s: float
    level: float


def windows_s(horizon_s: float, every_s: float) -> list[float]:
    """Lengths of the windows, shortest first: half the horizon, a quarter, a twelfth and on in sixths."""
    wanted = [horizon_s / 2, horizon_s / 4, horizon_s / 12]
    while wanted[-1] > 6 * SHORTEST_S:
        wanted.append(wanted[-1] / 6)
    floor_s = max(BINS * every_s, min(SHORTEST_S, horizon_s / 2))
    return sorted(width for width in wanted if width >= floor_s) or [BINS * every_s]


class Bins:
    """Medians over bins of equal length, newest last."""

    def __init__(self, bin_s: float, count: int) -> None:
        self.bin_s = bin_s
        self.points: deque[tuple[float, float]] = deque(maxlen=count)
        self._open: list[float] = []
        self._begun_s = 0.0

    def add(self, at_s: float, value: float) -> tuple[float, float] | None:
        """Take a sample; the bin that it closed (middle, median), if it closed one."""
        closed = None
        if self._open and at_s >= self._begun_s + self.bin_s:
            closed = (self._begun_s + self.bin_s / 2, median(self._open))
            self.points.append(closed)
            self._open = []
        if not self._open:
            late_s = at_s - self._begun_s
            if self.points and late_s > GAP_BINS * self.bin_s:
                self.points.clear()
            fits = self.points and late_s < 2 * self.bin_s
            self._begun_s = self._begun_s + self.bin_s if fits else at_s
        if len(self._open) < BIN_SAMPLES_MAX:
            self._open.append(value)
        return closed

    @property
    def full(self) -> bool:
        """Whether there are as many as there can be."""
        return len(self.points) == self.points.maxlen


class Scale:
    """One window: when it is full, what it says of the way to a limit. Values are such that more is worse."""

    def __init__(self, window_s: float, hold: int) -> None:
        self.window_s = window_s
        self._hold = hold
        self.bins = Bins(window_s / BINS, BINS)
        self._held = 0

    def look(self, limit: float, step: float, reach: float) -> Seen | None:
        """A trend that reaches `limit` within `reach` windows, seen `hold` times in a row; None: there is none."""
        seen = self._look(limit, step, reach) if self.bins.full else None
        self._held = self._held + 1 if seen is not None else 0
        return seen if self._held >= self._hold else None

    def _look(self, limit: float, step: float, reach: float) -> Seen | None:
        parts = quarters([value for _at, value in self.bins.points])
        rises = [new - old for old, new in itertools.pairwise(parts)]
        if parts[-1] - parts[0] < step or min(rises) <= STEADY * max(rises):
            return None
        line = theil_sen(tuple(self.bins.points))
        if line.z < Z_LEAST or line.slope <= 0:
            return None
        level = max(line.level, parts[-1])
        ahead = damped_reach(rises[-2], rises[-1], reach * 4)
        if level + min(ahead, line.slope * reach * self.window_s) < limit:
            return None
        slope = max(line.slope, FASTEST * rises[-1] * 4 / self.window_s)
        return Seen(slope, max(0.0, (limit - level) / slope), level)


class Trend:
    """All scales of one figure; a longer one is fed with the medians of the shorter. `hold`: bins in a row."""

    def __init__(self, horizon_s: float, every_s: float, hold: int) -> None:
        self.scales = [Scale(width, hold) for width in windows_s(horizon_s, every_s)]
        self._found: list[Seen | None] = [None] * len(self.scales)

    def add(self, at_s: float, value: float, limit: float, step: float, wider: float) -> bool:
        """Take a sample (more is worse); True when there is a new verdict. `wider` stretches the reach."""
        sample = (at_s, value)
        for number, scale in enumerate(self.scales):
            closed = scale.bins.add(*sample)
            if closed is None:
                return number > 0
            self._found[number] = scale.look(limit, step, REACH * wider)
            sample = closed
        return True

    @property
    def seen(self) -> Seen | None:
        """The nearest moment at which some scale sees the limit reached."""
        return min((one for one in self._found if one is not None), key=lambda one: one.limit_in_s, default=None)
