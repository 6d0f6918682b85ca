"""The formulas behind `twinbeat tune`: against trials of the detector they describe, and as bounds."""
from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinbeat.replay.arrivals import Arrival
from twinbeat.replay.measure import above_fastest, measure, merged, percentile, touches, wilson_upper
from twinbeat.replay.quality import (
    FOREVER_MS,
    Delay,
    asks,
    beats,
    cantelli,
    duration_ms,
    recurrence_ms,
    round_trip_loss,
    sorted_delay,
    there_and_back,
    unknown_recurrence_ms,
)

ETA_MS = 10.0


def trial(
    lease_ms: float, loss: float, delay: Callable[[random.Random], float], beats_many: int
) -> tuple[float, float]:
    """Mean time between lapses and their mean length of a holder with heartbeats alone, counted."""
    chance = random.Random(3)
    answers = sorted(
        (number * ETA_MS + delay(chance), number * ETA_MS) for number in range(beats_many) if chance.random() >= loss
    )
    until, lapsed, lost_ms = lease_ms, 0, 0.0
    for at_ms, sent_ms in answers:
        if at_ms > until:
            lapsed += 1
            lost_ms += at_ms - until
        until = max(until, sent_ms + lease_ms, at_ms if at_ms > until else 0.0)
    return beats_many * ETA_MS / max(1, lapsed), lost_ms / max(1, lapsed)


@pytest.mark.parametrize(("lease_ms", "loss"), [(25.0, 0.1), (25.0, 0.3), (36.0, 0.3), (47.0, 0.4)])
def test_mistake_recurrence_is_what_a_trial_shows(lease_ms: float, loss: float) -> None:
    """The paper's E(T_MR), as a lower bound that is near: delays are short against the period here."""

    def tail(x: float) -> float:
        return 1.0 if x < 1 else math.exp(-(x - 1) / 0.8)

    counted, length = trial(lease_ms, loss, lambda chance: 1 + chance.expovariate(1 / 0.8), 400_000)
    computed = recurrence_ms(ETA_MS, beats(ETA_MS, lease_ms), lease_ms, loss, tail)
    assert 0.93 * computed <= counted <= computed / (1 - loss) * 1.15
    assert length <= 1.05 * duration_ms(ETA_MS, lease_ms, loss, tail)


@pytest.mark.parametrize("mean_ms", [0.5, 3.0])
@pytest.mark.parametrize("loss", [0.01, 0.2])
def test_loss_and_variance_alone_give_a_lower_bound(loss: float, mean_ms: float) -> None:
    def tail(x: float) -> float:
        return 1.0 if x < 0 else math.exp(-x / mean_ms)

    for lease_ms in (25.0, 45.0, 95.0):
        known = recurrence_ms(ETA_MS, beats(ETA_MS, lease_ms), lease_ms, loss, tail)
        assert unknown_recurrence_ms(ETA_MS, lease_ms - mean_ms, loss, mean_ms**2) <= known * 1.000001


@given(st.floats(1, 50), st.floats(0.001, 0.5), st.floats(20, 400), st.floats(0.5, 60))
def test_more_time_and_more_asks_make_mistakes_rarer(
    eta_ms: float, loss: float, lease_ms: float, rtt_ms: float
) -> None:
    tail = sorted_delay([0.1, 0.2, 0.4], 0.5).tail()
    plain = recurrence_ms(eta_ms, beats(eta_ms, lease_ms), lease_ms, loss, tail)
    longer = recurrence_ms(eta_ms, beats(eta_ms, lease_ms + eta_ms), lease_ms + eta_ms, loss, tail)
    more = recurrence_ms(eta_ms, asks(eta_ms, rtt_ms, eta_ms / 8, lease_ms), lease_ms, loss, tail)
    assert plain <= longer * 1.000001
    assert plain <= more * 1.000001


@settings(max_examples=100)
@given(st.lists(st.floats(0, 100), min_size=2, max_size=200), st.floats(0, 200))
def test_the_tail_is_never_below_what_was_seen(values: list[float], x: float) -> None:
    delay = sorted_delay(values)
    seen = sum(value > x for value in values) / len(values)
    assert delay.tail()(x) >= min(seen, seen * len(values) / (len(values) + 1))
    assert delay.tail()(x) <= cantelli(*delay.moments, x) + 1e-12


def test_the_tail_falls_on_beyond_the_sample_by_the_bound_alone() -> None:
    tail = sorted_delay([1.0] * 50 + [1.2] * 50).tail()
    assert tail(1.3) == pytest.approx(1 / 101)
    assert tail(50.0) == pytest.approx(0.01 / 49 ** 2, rel=0.2)


@given(st.integers(0, 1000), st.floats(0.1, 5), st.floats(0.1, 5))
def test_a_round_trip_is_bounded_by_its_halves(seed: int, there_ms: float, back_ms: float) -> None:
    chance = random.Random(seed)
    there = [chance.expovariate(1 / there_ms) for _ in range(200)]
    back = [chance.expovariate(1 / back_ms) for _ in range(200)]
    tail = there_and_back(Delay(tuple(sorted(there)), 0.5), Delay(tuple(sorted(back)), 0.5))
    for x in (1.0, 3.0, 8.0, 20.0):
        seen = sum(one + other + 1 > x for one, other in zip(there, back, strict=True)) / 200
        assert tail(x) >= seen - 0.02


def test_no_loss_and_no_delay_means_no_mistakes() -> None:
    assert unknown_recurrence_ms(10, 50, 0.0, 0.0) == FOREVER_MS
    assert recurrence_ms(10, beats(10, 50), 50, 0.0, lambda _x: 0.0) == FOREVER_MS
    assert duration_ms(10, 50, 1.0, lambda _x: 0.0) == FOREVER_MS


def test_a_round_trip_is_lost_with_either_frame() -> None:
    assert round_trip_loss(0.1, 0.2) == pytest.approx(1 - 0.9 * 0.8)


@given(st.integers(0, 300), st.integers(1, 3000))
def test_the_upper_end_of_a_share_is_above_it(hits: int, total: int) -> None:
    hits = min(hits, total)
    assert hits / total < wilson_upper(hits, total) <= 1.0 or hits == total
    assert wilson_upper(hits, total) >= wilson_upper(hits, total + 50) or hits == total


def test_an_unseen_loss_is_bounded_by_the_number_of_frames() -> None:
    assert wilson_upper(0, 3000) == pytest.approx(2.7 / 3000, rel=0.01)
    assert wilson_upper(0, 0) == 1.0


# ---------------------------------------------------------------- arrivals
def arrivals(delays_ms: list[float], drift: float = 0.0, first_seq: int = 0) -> list[Arrival]:
    """Frames every 10 ms with these delays; the receiver's clock is an hour ahead and runs fast by `drift`."""
    found = []
    for number, delay_ms in enumerate(delays_ms):
        sent_ms = 10.0 * number
        rx_ms = 3.6e6 + (sent_ms + delay_ms) * (1 + drift)
        found.append(Arrival(int(rx_ms * 1e6), int(sent_ms * 1000), (first_seq + number) % 256))
    return found


@given(st.lists(st.floats(0, 3), min_size=200, max_size=300), st.floats(-1e-3, 1e-3))
def test_delays_are_found_under_any_drift(delays_ms: list[float], drift: float) -> None:
    delays_ms[5], delays_ms[-5] = 0.0, 0.0        # the fastest frame passes near either end
    for number in range(0, len(delays_ms), 20):
        delays_ms[number] = 0.0
    measured = above_fastest(arrivals(delays_ms, drift))
    assert max(abs(one - other) for one, other in zip(measured, delays_ms, strict=True)) < 0.05


def test_a_long_stall_does_not_bend_the_line() -> None:
    delays_ms = [0.2] * 200 + [500.0 - number for number in range(300)] + [0.2] * 200
    measured = above_fastest(arrivals(delays_ms, 200e-6))
    assert max(measured[:200] + measured[-200:]) < 0.2


def test_numbers_wrap_and_overtaken_frames_are_not_lost() -> None:
    frames = arrivals([0.2] * 600, first_seq=250)
    swapped = [frame if number != 300 else frame._replace(rx_ns=frame.rx_ns + 15_000_000)
               for number, frame in enumerate(frames)]
    assert measure([frames], [], 10**9).lost == 0
    found = measure([swapped], [], 10**9)
    assert (found.lost, found.reordered, found.got) == (0, 1, 600)


def test_lost_frames_are_counted_with_their_runs() -> None:
    frames = [frame for number, frame in enumerate(arrivals([0.2] * 1000)) if number % 100 not in (50, 51, 80)]
    found = measure([frames], [], 10**9)
    assert (found.lost, found.losses, found.burst) == (30, 20, 2)
    assert found.window_loss == pytest.approx(2 / 18, rel=0.6)
    assert percentile(found.gaps, 1.0) == pytest.approx(30, abs=0.1)


def test_late_spans_are_joined_and_found() -> None:
    spans = merged([(50, 60), (10, 20), (15, 30)])
    assert spans == [(10, 30), (50, 60)]
    found = [touches(spans, begin, end) for begin, end in ((0, 9), (0, 10), (31, 49), (30, 40), (61, 99), (0, 99))]
    assert found == [False, True, False, True, False, True]
