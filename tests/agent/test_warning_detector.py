"""The detector on its own: trends, shifts, counters, hysteresis, bounds. Virtual time, no I/O."""
from __future__ import annotations

import math
import random
import sys
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinbeat.warning.detector import FIGURES_MAX, Detector
from twinbeat.warning.figures import Figure, Warned
from twinbeat.warning.stats import Cusum, damped_reach, mad, mann_kendall, median, quarters, theil_sen
from twinbeat.warning.trend import BINS, Bins, windows_s

HORIZON_S, EVERY_S, QUIET_S = 3600.0, 5.0, 300.0
HOT = Figure("temperature", "temperature of cpu-thermal", "°C", "level", 80.0, step=2.0)
FREE = Figure("disk", "free space of /", "%", "level", 5.0, step=0.2, falling=True)
LOSS = Figure("loss", "loss on link wan", "%", "noisy", 20.0, step=1.5, own=False)
ERRORS = Figure("errors", "I/O errors of disk sda", "", "count", 3.0)
RECONNECTS = Figure("reconnects", "lost connections", "", "count", 6.0, news=3.0)
POWER = Figure("power", "undervoltage", "", "event", 3.0)
EXT4 = Figure("ext4", "errors noted", "", "level", 1.0)


class Told:
    """A detector with what it told: (second, stands, warning)."""

    def __init__(self, every_s: float = EVERY_S, horizon_s: float = HORIZON_S) -> None:
        self.now_s = 0.0
        self.every_s = every_s
        self.told: list[tuple[float, bool, Warned]] = []
        self.detector = Detector(
            horizon_s, every_s, QUIET_S, lambda stands, warned: self.told.append((self.now_s, stands, warned))
        )

    def feed(self, figure: Figure, values: Iterable[float]) -> Told:
        for value in values:
            self.now_s += self.every_s
            self.detector.add(figure, self.now_s, value)
        return self

    @property
    def standing(self) -> list[Warned]:
        return self.detector.warnings(self.now_s)

    def kinds(self) -> list[tuple[bool, str]]:
        return [(stands, warned.kind) for _at, stands, warned in self.told]


def hold(value: float, seconds: float, every_s: float = EVERY_S) -> list[float]:
    return [value] * round(seconds / every_s)


def rise(begin: float, end: float, seconds: float, every_s: float = EVERY_S) -> list[float]:
    count = round(seconds / every_s)
    return [begin + (end - begin) * number / count for number in range(count)]


# ---------------------------------------------------------------- statistics


def test_robust_statistics_of_known_lists() -> None:
    assert median([3.0, 1.0, 2.0]) == 2.0
    assert median([4.0, 1.0, 2.0, 3.0]) == 2.5
    assert mad([1.0, 2.0, 3.0, 4.0, 100.0], 3.0) == pytest.approx(1.4826)
    line = theil_sen([(0, 0), (1, 2), (2, 4), (3, 60), (4, 8), (5, 10)])
    assert (line.slope, line.level) == (2.0, 10.0)
    assert mann_kendall(15, 6) == pytest.approx(14 / math.sqrt(6 * 5 * 17 / 18))
    assert theil_sen([(1, 5), (1, 7)]).slope == 0.0
    assert quarters([1, 2, 3, 4, 5, 6, 7, 8]) == [1.5, 3.5, 5.5, 7.5]


def test_damped_reach_of_a_line_and_of_a_rise_that_settles() -> None:
    assert damped_reach(2.0, 2.0, 4) == 8.0
    assert damped_reach(2.0, 3.0, 4) == 12.0, "what grows faster is taken as a line"
    assert damped_reach(4.0, 2.0, 1000) == pytest.approx(2.0), "1 - 2^-n: one more step's worth is left"
    assert damped_reach(1.0, -1.0, 4) == 0.0


def test_page_sum_needs_a_shift_that_lasts() -> None:
    burst, shift = Cusum(), Cusum()
    assert [burst.add(value, 0.0, 1.0) for value in (1000.0, 1000.0, 0.0, 0.0, 1000.0)] == [False] * 5
    found = [shift.add(3.0, 0.0, 1.0) for _ in range(6)]
    assert found == [False] * 4 + [True] * 2
    assert [shift.add(0.0, 0.0, 1.0) for _ in range(20)][-1] is False and shift.sum == 0.0
    assert shift.add(1.0, 0.0, 0.0) is False


def test_bins_are_medians_and_begin_anew_after_a_long_gap() -> None:
    bins = Bins(10.0, 4)
    closed = [bins.add(at, value) for at, value in ((0.0, 1.0), (5.0, 3.0), (10.0, 9.0), (15.0, 9.0), (21.0, 0.0))]
    assert [one for one in closed if one] == [(5.0, 2.0), (15.0, 9.0)]
    bins.add(500.0, 1.0)
    assert len(bins.points) == 0


@pytest.mark.parametrize(
    ("horizon_s", "every_s", "expected"),
    [
        (3600, 5, [300, 900, 1800]),
        (60, 1, [30]),
        (3600, 60, [1800]),
        (86400, 5, [1200, 7200, 21600, 43200]),
    ],
)
def test_windows_follow_the_horizon(horizon_s: float, every_s: float, expected: list[float]) -> None:
    assert windows_s(horizon_s, every_s) == expected


# ---------------------------------------------------------------- trends and limits


def test_a_ramp_is_told_with_figure_trend_limit_and_time() -> None:
    run = Told().feed(HOT, hold(50, 1800)).feed(HOT, rise(50, 70, 3600))
    (warned,) = run.standing
    assert warned.kind == "trend"
    assert (warned.figure, warned.unit, warned.limit) == ("temperature", "°C", 80.0)
    assert warned.trend_per_hour == pytest.approx(20, rel=0.05)
    assert warned.matters_in_s == pytest.approx(1800, rel=0.1)
    assert warned.text == "temperature of cpu-thermal 69.9 °C, rising by 20 °C an hour: matters in 31 min, at 80 °C"
    assert run.told[0][0] < 1800 + 3600 and run.told[0][1]


def test_falling_figures_are_told_downwards() -> None:
    run = Told().feed(FREE, hold(20, 1800)).feed(FREE, rise(20, 10, 3600))
    (warned,) = run.standing
    assert warned.trend_per_hour == pytest.approx(-10, rel=0.05)
    assert "falling by 10 % an hour" in warned.text
    assert warned.matters_in_s == pytest.approx(1800, rel=0.1)


def test_a_warning_becomes_graver_at_the_limit_and_ends_after_quiet() -> None:
    run = Told().feed(HOT, hold(50, 1800)).feed(HOT, rise(50, 85, 3600)).feed(HOT, hold(85, 600))
    assert run.kinds() == [(True, "trend"), (True, "limit")]
    assert run.standing[0].matters_in_s == 0.0
    assert "it matters now" in run.standing[0].text
    run.feed(HOT, hold(60, QUIET_S / 2))
    (warned,) = run.standing
    assert warned.text == "temperature of cpu-thermal 60 °C, 85 °C until 2 min ago: it matters from 80 °C on"
    run.feed(HOT, hold(60, QUIET_S))
    assert run.standing == []
    assert run.kinds()[-1][0] is False


def test_a_step_a_settling_rise_and_a_night_are_no_trends() -> None:
    settling = [50 + 20 * (1 - math.exp(-at / 400)) for at in range(0, 7200, 5)]
    night = [50 + 15 * math.sin(2 * math.pi * at / 86400) for at in range(0, 2 * 86400, 5)]
    for values in (hold(50, 1800) + hold(74, 3600), hold(50, 1800) + settling, night):
        run = Told().feed(HOT, values)
        assert run.told == []


def test_near_the_limit_is_told_without_a_time() -> None:
    run = Told().feed(HOT, hold(60, 600)).feed(HOT, hold(78.5, 60))
    (warned,) = run.standing
    assert (warned.kind, warned.matters_in_s) == ("near", None)


def test_one_wild_sample_is_nothing() -> None:
    run = Told().feed(HOT, hold(50, 600)).feed(HOT, [150.0]).feed(HOT, hold(50, 600))
    assert run.told == []


def test_loss_that_shifts_is_told_before_it_matters_and_becomes_usual() -> None:
    chance = random.Random(1)
    run = Told().feed(LOSS, [max(0.0, chance.gauss(0.5, 0.4)) for _ in range(1440)])
    run.feed(LOSS, [chance.gauss(8, 1) for _ in range(240)])
    assert [warned.kind for warned in run.standing] == ["shift"]
    assert run.standing[0].matters_in_s is None
    assert "is usual" in run.standing[0].text
    run.feed(LOSS, [chance.gauss(8, 1) for _ in range(3600)])
    assert run.standing == [], "after hours that is what is usual"


def test_bursts_of_loss_are_nothing() -> None:
    values = [60.0 if number % 60 < 2 else 0.0 for number in range(10_000)]
    assert Told().feed(LOSS, values).told == []


# ---------------------------------------------------------------- counters and events


def test_a_counter_is_told_when_it_grows_and_not_for_what_it_was() -> None:
    run = Told().feed(ERRORS, [17.0] * 20)
    assert run.told == []
    run.feed(ERRORS, [18.0])
    assert run.standing[0].matters_in_s is None
    run.feed(ERRORS, [18.0, 20.0])
    assert (run.standing[0].value, run.standing[0].matters_in_s) == (3.0, 0.0)
    assert len(run.told) == 2
    run.feed(ERRORS, [20.0] * 61)
    assert run.standing == []
    run.feed(ERRORS, [0.0, 0.0])
    assert run.standing == [], "a counter that began anew is no fault"


def test_a_few_reconnects_are_no_news() -> None:
    run = Told().feed(RECONNECTS, [0.0, 1.0, 1.0, 2.0, 2.0])
    assert run.told == []
    run.feed(RECONNECTS, [3.0])
    assert [warned.kind for warned in run.standing] == ["count"]


def test_events_count_within_the_hour() -> None:
    run = Told().feed(POWER, [1.0])
    assert (run.standing[0].kind, run.standing[0].matters_in_s) == ("event", None)
    run.feed(POWER, hold(0, 4000)).feed(POWER, [1.0, 1.0])
    assert run.standing[0].value == 2.0, "the first is more than an hour ago"
    run.feed(POWER, [1.0])
    assert run.standing[0].matters_in_s == 0.0


def test_errors_that_a_file_system_has_noted_stand_as_long_as_they_are_there() -> None:
    run = Told().feed(EXT4, hold(2, 7200))
    assert [warned.kind for warned in run.standing] == ["limit"]
    assert Told().feed(EXT4, hold(0, 7200)).told == []


# ---------------------------------------------------------------- bounds


def test_figures_are_bounded_and_silent_ones_forgotten() -> None:
    run = Told()
    for number in range(FIGURES_MAX + 5):
        run.detector.add(Figure(f"f{number}", "f", "", "level", 1.0), 1.0, 0.0)
    assert (len(run.detector.figures()), run.detector.refused) == (FIGURES_MAX, 5)
    run.detector.forget_silent(1.0 + QUIET_S + 1)
    assert run.detector.figures() == []


def test_a_figure_that_falls_silent_ends_its_warning() -> None:
    run = Told().feed(HOT, hold(90, 60))
    assert run.standing
    run.detector.forget_silent(run.now_s + QUIET_S + 1)
    assert run.kinds()[-1][0] is False and run.detector.warnings(run.now_s) == []


def deep_size(found: object, seen: set[int]) -> int:
    """Bytes of an object with what it holds."""
    if id(found) in seen:
        return 0
    seen.add(id(found))
    size = sys.getsizeof(found)
    if isinstance(found, dict):
        return size + sum(deep_size(item, seen) for pair in found.items() for item in pair)
    if hasattr(found, "__dict__"):
        size += deep_size(vars(found), seen)
    if isinstance(found, Iterable) and not isinstance(found, str):
        size += sum(deep_size(item, seen) for item in found)
    return size


def test_memory_does_not_grow() -> None:
    sizes = []
    for hours in (6, 24):
        chance = random.Random(hours)
        run = Told().feed(LOSS, [chance.uniform(0, 8) for _ in range(hours * 720)])
        run.told.clear()
        sizes.append(deep_size(run.detector._watches, set()))
    assert sizes[1] < 1.1 * sizes[0] < 100_000


finite = st.floats(-1e9, 1e9) | st.sampled_from([0.0, math.inf, -math.inf, math.nan])
figure = st.sampled_from([HOT, FREE, LOSS, ERRORS, POWER, EXT4])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(figure, st.floats(-100, 1000), finite), max_size=200), st.floats(1, 60))
def test_whatever_comes_nothing_is_raised_and_all_is_bounded(
    samples: list[tuple[Figure, float, float]], every_s: float
) -> None:
    run = Told(every_s)
    at_s = 0.0
    for one, step_s, value in samples:
        at_s += step_s
        run.now_s = at_s
        run.detector.add(one, at_s, value)
        for warned in run.detector.warnings(at_s):
            assert warned.matters_in_s is None or warned.matters_in_s >= 0
            assert warned.text and warned.as_dict()["figure"] == warned.figure
    for watch in run.detector._watches.values():
        assert len(watch._events) <= 256 and len(watch._newest) <= 128
        scales = watch._trend.scales if watch._trend else []
        assert all(len(scale.bins.points) <= BINS for scale in scales)
    stands: dict[str, bool] = {}
    for _at, stands_now, warned in run.told:
        assert stands_now or stands.get(warned.figure), "nothing ends that did not begin"
        stands[warned.figure] = stands_now


@settings(max_examples=25, deadline=None)
@given(
    start=st.floats(20, 60), hours=st.floats(0.75, 6), before_s=st.floats(0, 4000), noise=st.floats(0, 0.5),
    falling=st.booleans(), seed=st.integers(0, 1000),
)
def test_every_steady_ramp_is_warned_of_before_its_limit(
    start: float, hours: float, before_s: float, noise: float, falling: bool, seed: int
) -> None:
    """Longer than the longest window: half an hour of an hour's horizon."""
    chance = random.Random(seed)
    clean = hold(start, before_s) + rise(start, 80.0, hours * 3600)
    values = [value + chance.gauss(0, noise) for value in clean]
    one = Figure("f", "f", "", "level", -80.0 if falling else 80.0, step=2.0, falling=falling)
    run = Told().feed(one, [-value for value in values] if falling else values)
    begun = [(at, warned) for at, stands, warned in run.told if stands]
    assert begun, "never warned"
    assert begun[0][0] > before_s, "warned before anything was wrong"
    assert run.now_s - begun[0][0] > 60, "no lead"
