"""From samples to warnings. Pure: times come with the samples, nothing is read, nothing is waited for.

Every figure is watched by itself, with what suits its kind:

level, noisy  the limit itself (the median of the newest samples), near the limit, and a trend that reaches it within
              the horizon (`trend.py`)
noisy         also a shift above what is usual: Page's sum over medians of a minute, against median and MAD of the
              last two hours
count         every increase of a counter that only faults raise
event         each occurrence, and too many in an hour

A warning begins when it was seen twice in a row (counts and events: once) and ends after `quiet_s` seconds in which it
was not.
"""
from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from twinbeat.warning.figures import Figure, Warned
from twinbeat.warning.stats import Cusum, mad, median
from twinbeat.warning.trend import Bins, Trend
from twinbeat.warning.words import quiet_sentence, sentence

FIGURES_MAX = 128
NEWEST_S = {"level": 15.0, "noisy": 120.0}
NEWEST_SAMPLES = (3, 128)
"""The samples of so many seconds make the present level, but at least 3 and at most 128."""
HOLD = {"level": 5, "noisy": 1}
"""A trend must be seen in so many bins in a row: in a steady figure two steps one after the other look like one."""
RAISE = 2
WIDER = 1.5
"""A warning that stands is held by a trend that reaches so much further."""
HOUR_S = 3600.0
EVENTS_KEPT = 256
SHIFT_BIN_S = 60.0
USUAL_BINS = 120
USUAL_LEAST = 30
USUAL_LAG = 10
"""The newest minutes are not yet part of what is usual."""
SHIFT_SHARE = 0.25
"""Of the way from what is usual to the limit: a shift that covers less is of no interest."""
SIGMA_SHARE = 1 / 20
"""The least spread that is taken for usual, as a share of the limit."""
SILENT_SAMPLES = 12
"""A figure that brought no sample for so long is forgotten."""


@dataclass(frozen=True)
class Case:
    """What speaks for a warning at this moment."""

    kind: str
    value: float
    trend_per_hour: float | None = None
    matters_in_s: float | None = None
    usual: float = 0.0


class Usual:
    """What a noisy figure usually is, and whether it has left that. Accepts a new level after about two hours."""

    def __init__(self, every_s: float) -> None:
        self._minutes = Bins(max(SHIFT_BIN_S, 4 * every_s), USUAL_BINS + USUAL_LAG)
        self._cusum = Cusum()
        self.centre = 0.0
        self.shifted = False

    def add(self, at_s: float, value: float, limit: float) -> bool:
        """Take a sample (more is worse); True when there is a new verdict."""
        closed = self._minutes.add(at_s, value)
        if closed is None:
            return False
        old = [one for _at, one in list(self._minutes.points)[:-USUAL_LAG]]
        if len(old) < USUAL_LEAST:
            return False
        self.centre = median(old)
        sigma = max(mad(old, self.centre), SIGMA_SHARE * abs(limit))
        alarm = self._cusum.add(closed[1], self.centre, sigma)
        self.shifted = alarm and closed[1] > self.centre + max(2 * sigma, SHIFT_SHARE * (limit - self.centre))
        return True


class Watch:
    """One figure: its samples, and the warning about it."""

    def __init__(self, figure: Figure, horizon_s: float, every_s: float, quiet_s: float) -> None:
        self.figure = figure
        self.newest_s = -math.inf
        self.value = 0.0
        self._horizon_s = horizon_s
        self._quiet_s = quiet_s
        self._newest: deque[float] = deque(maxlen=newest_samples(figure, every_s))
        self._trend = Trend(horizon_s, every_s, HOLD[figure.kind]) if figure.steady else None
        self._usual = Usual(every_s) if figure.kind == "noisy" else None
        self._events: deque[tuple[float, float]] = deque(maxlen=EVENTS_KEPT)
        self._counted: float | None = None
        self._run = 0
        self._case: Case | None = None
        self._current = False
        self._seen_s = 0.0
        self.since_s: float | None = None
        self.told = 0

    # ------------------------------------------------------------ samples

    def add(self, at_s: float, value: float) -> None:
        """Take a sample. What is no number, or older than the last, is passed over."""
        if not (math.isfinite(value) and math.isfinite(at_s)) or at_s <= self.newest_s:
            return
        self.newest_s = at_s
        if self._trend is None:
            self._occur(at_s, value)
        else:
            self._level(at_s, value)

    def _level(self, at_s: float, value: float) -> None:
        assert self._trend is not None
        figure, sign = self.figure, self.figure.sign
        self._newest.append(value)
        self.value = median(list(self._newest))
        limit = sign * figure.limit
        fresh = self._trend.add(at_s, sign * value, limit, figure.step, WIDER if self.since_s is not None else 1.0)
        if self._usual is not None:
            fresh = self._usual.add(at_s, sign * value, limit) or fresh
        near = sign * self.value >= limit - figure.step and len(self._newest) == self._newest.maxlen
        if fresh or near or self._case is not None:
            self._judge(at_s, self._steady_case(near), counts=fresh or near)

    def _steady_case(self, near: bool) -> Case | None:
        assert self._trend is not None
        sign, seen = self.figure.sign, self._trend.seen
        if seen is not None and self.figure.kind == "level" and sign * self.value < seen.level - self.figure.step:
            seen = None                      # it has turned since; a noisy figure's level lags too far to tell
        slope = None if seen is None else sign * seen.slope * HOUR_S
        if near and sign * self.value >= sign * self.figure.limit:
            return Case("limit", self.value, slope, 0.0)
        if seen is not None:
            return Case("trend", self.value, slope, seen.limit_in_s)
        if near:
            return Case("near", self.value)
        if self._usual is not None and self._usual.shifted:
            return Case("shift", self.value, usual=self._usual.centre)
        return None

    def _occur(self, at_s: float, value: float) -> None:
        """A counter's new value, or how often something happened since the sample before."""
        if self.figure.kind == "count":
            before = value if self._counted is None else self._counted
            self._counted = value
            happened = max(0.0, value - before)
        else:
            happened = value
        if happened > 0:
            self._events.append((at_s, happened))
        while self._events and self._events[0][0] < at_s - HOUR_S:
            self._events.popleft()
        self.value = sum(count for _at, count in self._events)
        case = None
        if happened > 0 and self.value >= self.figure.news:
            grave = self.value >= self.figure.limit
            case = Case(self.figure.kind, self.value, None, 0.0 if grave else None)
        self._judge(at_s, case, counts=True, at_once=True)

    # ------------------------------------------------------------ the warning

    def _judge(self, at_s: float, case: Case | None, *, counts: bool, at_once: bool = False) -> None:
        """Begin, renew or end the warning."""
        self._current = case is not None
        if case is not None:
            self._run += counts
            if self.since_s is not None or at_once or self._run >= RAISE:
                self._case, self._seen_s = case, at_s
                self.since_s = at_s if self.since_s is None else self.since_s
            return
        self._run = 0
        if self.since_s is not None and at_s - self._seen_s >= self._quiet_s:
            self.since_s, self._case, self.told = None, None, 0

    def warned(self, now_s: float) -> Warned | None:
        """The warning as it stands."""
        case, figure = self._case, self.figure
        if case is None or self.since_s is None:
            return None
        matters = case.matters_in_s
        if matters is not None and case.kind == "trend":
            matters = max(0.0, matters - (self.newest_s - self._seen_s))
        return Warned(
            figure=figure.key,
            kind=case.kind,
            unit=figure.unit,
            value=self.value,
            limit=figure.limit,
            trend_per_hour=case.trend_per_hour,
            matters_in_s=matters,
            text=self._text(case, matters),
            since_s=max(0.0, now_s - self.since_s),
            own=figure.own,
        )


    def _text(self, case: Case, matters_in_s: float | None) -> str:
        if self._current or not self.figure.steady:
            return sentence(self.figure, case.kind, self.value, case.trend_per_hour, matters_in_s, case.usual)
        return quiet_sentence(self.figure, self.value, case.value, self.newest_s - self._seen_s)


def newest_samples(figure: Figure, every_s: float) -> int:
    """How many samples make the present level."""
    least, most = NEWEST_SAMPLES
    return min(most, max(least, math.ceil(NEWEST_S[figure.kind] / every_s))) if figure.steady else 1


class Detector:
    """All figures of a node. `tell(stands, warned)`: a warning began or became graver (True), or ended (False)."""

    def __init__(
        self, horizon_s: float, every_s: float, quiet_s: float, tell: Callable[[bool, Warned], None] | None = None
    ) -> None:
        self.refused = 0
        self._horizon_s = horizon_s
        self._every_s = every_s
        self._quiet_s = quiet_s
        self._tell = tell
        self._watches: dict[str, Watch] = {}

    def add(self, figure: Figure, at_s: float, value: float) -> None:
        """Take a sample of a figure; one more figure than FIGURES_MAX is counted and passed over."""
        watch = self._watches.get(figure.key)
        if watch is None:
            if len(self._watches) >= FIGURES_MAX:
                self.refused += 1
                return
            watch = Watch(figure, self._horizon_s, self._every_s, self._quiet_s)
            self._watches[figure.key] = watch
        before = watch.warned(at_s)
        watch.add(at_s, value)
        after = watch.warned(at_s)
        if after is not None and after.rank > watch.told:
            watch.told = after.rank
            self._say(True, after)
        elif before is not None and after is None:
            self._say(False, before)

    def forget_silent(self, now_s: float) -> None:
        """Drop figures that bring no samples any more: what they warned of is no longer known."""
        for key, watch in list(self._watches.items()):
            if now_s - watch.newest_s > max(SILENT_SAMPLES * self._every_s, self._quiet_s):
                last = watch.warned(now_s)
                del self._watches[key]
                if last is not None:
                    self._say(False, last)

    def warnings(self, now_s: float) -> list[Warned]:
        """All that stand: what matters soonest first, then the oldest."""
        found = [warned for warned in (watch.warned(now_s) for watch in self._watches.values()) if warned is not None]
        return sorted(found, key=lambda one: (math.inf if one.matters_in_s is None else one.matters_in_s, -one.since_s))

    def figures(self) -> list[tuple[Figure, float, float]]:
        """(figure, present level, time of its newest sample) of all that are watched."""
        return [(watch.figure, watch.value, watch.newest_s) for watch in self._watches.values()]

    def _say(self, stands: bool, warned: Warned) -> None:
        if self._tell is not None:
            self._tell(stands, warned)
