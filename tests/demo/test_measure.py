"""Figures from hand-made timelines: every count and every edge."""
from __future__ import annotations

from typing import Any

import pytest

from twinbeat.demo.measure import (
    Change,
    Spread,
    evaluate,
    intervals_on,
    level_changes,
    roles,
    spread,
    summary,
    undriven_ms,
)

MS = 1_000_000


def line(*entries: tuple[float, str, int]) -> list[Change]:
    """(milliseconds, node, level) as changes."""
    return [Change(round(at_ms * MS), node, bool(level)) for at_ms, node, level in entries]


def trial(changes: list[Change], fault_ms: float = 100, observed_ms: float = 500, end_ms: float = 1000,
          **options: Any) -> Any:
    """Evaluated with times in milliseconds."""
    return evaluate(changes, round(fault_ms * MS), round(observed_ms * MS), round(end_ms * MS), **options)


def test_a_takeover_is_measured_from_the_fault_and_the_gap_from_the_off_byte() -> None:
    figures = trial(line((0, "a", 1), (100.2, "a", 0), (100.5, "b", 1)))
    assert figures.driver == "a"
    assert figures.new_driver == "b"
    assert figures.driver_off_ms == pytest.approx(0.2)
    assert figures.takeover_ms == pytest.approx(0.5)
    assert figures.gap_ms == pytest.approx(0.3)
    assert figures.overlap_ms == 0
    assert not figures.no_driver
    assert (figures.role_changes, figures.dropouts) == (1, 0)


def test_two_on_at_once_is_an_overlap_of_its_full_length() -> None:
    figures = trial(line((0, "a", 1), (110, "b", 1), (112.5, "a", 0)))
    assert figures.overlap_ms == pytest.approx(2.5)
    assert figures.gap_ms == 0
    assert figures.takeover_ms == pytest.approx(10)


def test_an_overlap_that_never_ends_lasts_until_the_end_of_the_trial() -> None:
    assert trial(line((0, "a", 1), (110, "b", 1)), end_ms=200).overlap_ms == pytest.approx(90)


def test_an_overlap_before_the_fault_belongs_to_no_trial() -> None:
    changes = line((0, "a", 1), (10, "b", 1), (20, "b", 0), (100.1, "a", 0), (100.2, "b", 1))
    assert trial(changes).overlap_ms == 0


def test_release_time_prolongs_the_contact_for_overlap_but_not_the_gap() -> None:
    changes = line((0, "a", 1), (100.2, "a", 0), (101.2, "b", 1))
    figures = trial(changes, release_ms=3)
    assert figures.overlap_ms == pytest.approx(2.0)
    assert figures.gap_ms == pytest.approx(1.0)
    assert trial(changes, release_ms=0.9).overlap_ms == 0


def test_a_board_without_power_is_off_at_once_whatever_its_release_time() -> None:
    changes = [Change(0, "a", True), Change(100 * MS, "a", False, "power"), Change(101 * MS, "b", True)]
    figures = trial(changes, release_ms=12)
    assert figures.overlap_ms == 0
    assert figures.driver_off_ms == 0
    assert figures.gap_ms == pytest.approx(1.0)


def test_a_release_that_reaches_into_the_next_on_of_the_same_board_is_no_overlap() -> None:
    assert trial(line((0, "a", 1), (100.2, "a", 0), (100.4, "a", 1)), release_ms=5).overlap_ms == 0


def test_nobody_on_in_the_end_is_counted_and_gives_no_gap_sample() -> None:
    figures = trial(line((0, "a", 1), (100.2, "a", 0)))
    assert figures.no_driver
    assert figures.gap_ms is None
    assert figures.takeover_ms is None


def test_a_late_return_after_healing_is_a_dropout_with_its_whole_gap() -> None:
    figures = trial(line((0, "a", 1), (100, "a", 0), (700, "a", 1)))
    assert figures.no_driver, "nobody drove while it was observed"
    assert figures.gap_ms == pytest.approx(600)
    assert (figures.role_changes, figures.dropouts) == (0, 1)


def test_what_happens_after_healing_is_a_dropout_and_not_part_of_the_gap() -> None:
    changes = line((0, "a", 1), (100.2, "a", 0), (100.5, "b", 1), (700, "b", 0), (800, "b", 1))
    figures = trial(changes)
    assert figures.gap_ms == pytest.approx(0.3)
    assert (figures.role_changes, figures.dropouts) == (1, 1)


def test_never_on_is_no_driver_from_the_start() -> None:
    figures = trial([])
    assert (figures.driver, figures.new_driver, figures.takeover_ms, figures.gap_ms) == (None, None, None, None)
    assert figures.no_driver
    assert (figures.overlap_ms, figures.role_changes, figures.dropouts) == (0, 0, 0)


def test_nothing_happened_is_a_gap_of_zero_and_no_takeover() -> None:
    figures = trial(line((0, "a", 1)))
    assert figures.gap_ms == 0
    assert figures.takeover_ms is None
    assert not figures.no_driver


def test_an_off_at_the_very_stamp_of_the_fault_counts_as_after_it() -> None:
    figures = trial(line((0, "a", 1), (100, "a", 0), (130, "b", 1)))
    assert figures.driver == "a"
    assert figures.gap_ms == pytest.approx(30)


def test_off_and_on_of_one_wake_up_are_neither_gap_nor_overlap() -> None:
    figures = trial(line((0, "a", 1), (100.3, "b", 1), (100.3, "a", 0)))
    assert (figures.gap_ms, figures.overlap_ms) == (0, 0)


def test_a_takeover_after_the_observation_is_none() -> None:
    figures = trial(line((0, "a", 1), (100.2, "a", 0), (600, "b", 1)))
    assert figures.takeover_ms is None
    assert figures.no_driver
    assert figures.role_changes == 1


def test_two_drivers_at_the_fault_name_no_driver() -> None:
    assert trial(line((0, "a", 1), (1, "b", 1))).driver is None


def test_several_gaps_add_up() -> None:
    changes = line((0, "a", 1), (10, "a", 0), (12, "a", 1), (20, "a", 0), (25, "b", 1), (30, "b", 0))
    assert undriven_ms(changes, 0, 35 * MS) == pytest.approx(2 + 5 + 5)


def test_a_gap_that_began_before_counts_from_the_start_of_the_window() -> None:
    assert undriven_ms(line((0, "a", 1), (5, "a", 0), (20, "a", 1)), 10 * MS, 30 * MS) == pytest.approx(10)


def test_repeated_levels_change_nothing() -> None:
    changes = line((0, "a", 0), (1, "a", 1), (2, "a", 1), (3, "b", 0), (4, "a", 0), (5, "a", 0))
    assert [(change.at_ns // MS, change.on) for change in level_changes(changes)] == [(1, True), (4, False)]
    assert intervals_on(changes, "a", 9 * MS, 0.0) == [(1 * MS, 4 * MS)]
    assert intervals_on(changes, "b", 9 * MS, 0.0) == []


def test_role_changes_and_dropouts_are_told_apart() -> None:
    changes = line((0, "a", 1), (10, "a", 0), (11, "a", 1), (20, "a", 0), (21, "b", 1), (30, "a", 1), (31, "b", 0))
    assert roles(changes, 0, 100 * MS) == (2, 1)
    assert roles(changes, 15 * MS, 100 * MS) == (2, 0)
    assert roles(changes, 0, 15 * MS) == (0, 1)


def test_order_of_arrival_does_not_matter() -> None:
    changes = line((0, "a", 1), (100.2, "a", 0), (100.5, "b", 1))
    assert trial(list(reversed(changes))) == trial(changes)


@pytest.mark.parametrize(("samples", "expected"), [
    ([], None),
    ([None, None], None),
    ([3.0], Spread(3, 3, 3, 3)),
    ([None, 1.0, 2.0], Spread(1, 1.5, 2, 2)),
    ([4.0, 1.0, 3.0], Spread(1, 3, 4, 4)),
    ([float(number) for number in range(1, 101)], Spread(1, 50.5, 99, 100)),
    ([float(number) for number in range(1, 202)], Spread(1, 101, 199, 201)),
])
def test_spread(samples: list[float | None], expected: Spread | None) -> None:
    assert spread(samples) == expected


def test_summary_counts_trials_not_events() -> None:
    good = trial(line((0, "a", 1), (100.2, "a", 0), (100.5, "b", 1)))
    double = trial(line((0, "a", 1), (110, "b", 1), (112, "a", 0)))
    nobody = trial(line((0, "a", 1), (100.2, "a", 0)))
    figures = summary([good, double, nobody])
    assert figures["double_driver_trials"] == 1
    assert figures["no_driver_trials"] == 1
    assert figures["role_changes"] == 2
    assert figures["overlap_ms_max"] == pytest.approx(2.0)
    assert figures["takeover_ms"] == {"min": 0.5, "p50": 5.25, "p99": 10.0, "max": 10.0}
    assert figures["gap_ms"] == {"min": 0.0, "p50": 0.15, "p99": 0.3, "max": 0.3}


def test_summary_of_nothing_has_nulls() -> None:
    figures = summary([])
    assert figures["takeover_ms"] is None
    assert figures["gap_ms"] is None
    assert figures["overlap_ms_max"] is None
