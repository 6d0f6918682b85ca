"""One check in virtual time: rise and fall, deadlines, hangs, flapping."""
from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from twinbeat.health.state import MINUTE_NS, Change, CheckState, Rules

MS = 10**6
RULES = Rules(every_ns=1000 * MS, deadline_ns=400 * MS, rise=2, fall=3, flaps_per_min=3)
F, OK, FLAP = Change.FAILED, Change.OK, Change.FLAPPING


def play(
    state: CheckState, results: list[bool | None], at_ns: int = 0, step_ns: int = 1000 * MS
) -> list[Change | None]:
    """One look for each result, answered at once."""
    found = []
    for number, ok in enumerate(results):
        now_ns = at_ns + number * step_ns
        assert state.due(now_ns)
        found.append(state.answer(state.start(now_ns), ok, now_ns))
    return found


def test_it_takes_fall_bad_and_rise_good_results_in_a_row() -> None:
    state = CheckState(RULES, 0, 0)
    assert state.good and not state.known
    assert play(state, [False, False, True, False, False, False]) == [None] * 5 + [F]
    assert not state.good and state.since_ns == 5000 * MS
    assert play(state, [True, False, True, True], 6000 * MS) == [None, None, None, OK]
    assert state.good and state.since_ns == 9000 * MS


def test_a_result_that_says_nothing_counts_neither_way() -> None:
    state = CheckState(RULES, 0, 0)
    assert play(state, [False, None, False, None, False]) == [None] * 4 + [F]


def test_before_the_first_result_it_is_good_or_as_configured() -> None:
    state = CheckState(RULES._replace(bad_start=True), 0, 0)
    assert not state.good
    assert play(state, [True, True]) == [None, OK]


@settings(max_examples=300)
@given(
    rise=st.integers(1, 4), fall=st.integers(1, 4), bad_start=st.booleans(),
    results=st.lists(st.booleans(), max_size=60),
)  # fmt: skip
def test_the_state_is_that_of_the_last_full_run(rise: int, fall: int, bad_start: bool, results: list[bool]) -> None:
    """Against the plain meaning of rise and fall: the newest run that was long enough decides."""
    state = CheckState(RULES._replace(rise=rise, fall=fall, bad_start=bad_start, flaps_per_min=60), 0, 0)
    expected = not bad_start
    for count, _ in enumerate(results, start=1):
        play(state, [results[count - 1]], (count - 1) * 1000 * MS)
        seen = results[:count]
        if len(seen) >= rise and all(seen[-rise:]):
            expected = True
        elif len(seen) >= fall and not any(seen[-fall:]):
            expected = False
        assert state.good is expected


def test_a_look_over_its_deadline_counts_once_per_interval_and_is_never_begun_twice() -> None:
    state = CheckState(RULES, 0, 0)
    token = state.start(0)
    assert state.due_ns == 400 * MS
    assert state.overdue(399 * MS) is None and not state.hung
    assert state.overdue(400 * MS) is None and state.hung
    assert not state.due(5000 * MS)
    assert state.overdue(401 * MS) is None                      # counted already for this interval
    assert [state.overdue(at * MS) for at in (1400, 2400, 3400)] == [None, F, None]
    assert state.hangs == 1
    assert state.answer(token, True, 4000 * MS) is None         # too late to count
    assert not state.hung and not state.good
    assert state.due(4000 * MS)
    assert play(state, [True, True], 4000 * MS) == [None, OK]


def test_an_answer_of_an_older_look_does_not_count() -> None:
    state = CheckState(RULES._replace(fall=1), 0, 0)
    old = state.start(0)
    state.answer(old, True, 0)
    state.start(1000 * MS)
    assert state.answer(old, False, 1000 * MS) is None
    assert state.running and state.good


def test_missed_looks_are_not_made_up_for() -> None:
    state = CheckState(RULES, 0, 0)
    state.answer(state.start(0), True, 0)
    state.answer(state.start(7300 * MS), True, 7300 * MS)
    assert state.due_ns == 8000 * MS


def test_the_process_s_own_stall_is_no_hang() -> None:
    state = CheckState(RULES._replace(fall=1), 0, 0)
    state.start(0)
    state.excuse(5000 * MS)
    assert state.overdue(5399 * MS) is None and not state.hung
    state.excuse(5399 * MS)                                     # once for each look
    assert state.overdue(5400 * MS) is F


def test_one_that_flaps_stays_failed_until_it_was_quiet() -> None:
    state = CheckState(RULES._replace(rise=1, fall=1), 0, 0)
    assert play(state, [False, True] * 4) == [F, OK, F, OK, F, OK, FLAP, None]
    assert play(state, [False, True] * 100, 8000 * MS) == [None] * 200
    assert state.flapping and not state.good
    last_bad_ns = (8 + 198) * 1000 * MS
    quiet = play(state, [True] * 61, 208_000 * MS)
    assert quiet.index(OK) == (last_bad_ns + MINUTE_NS - 208_000 * MS) // (1000 * MS)
    assert state.good and not state.flapping
    assert quiet.count(None) == 60


def test_as_many_failures_as_allowed_are_no_flapping() -> None:
    state = CheckState(RULES._replace(rise=1, fall=1), 0, 0)
    slow = play(state, [False, True] * 20, step_ns=10_000 * MS)
    assert slow == [F, OK] * 20


@settings(max_examples=100)
@given(results=st.lists(st.booleans(), min_size=1, max_size=300), flaps=st.integers(1, 5))
def test_never_more_changes_a_minute_than_allowed(results: list[bool], flaps: int) -> None:
    state = CheckState(RULES._replace(rise=1, fall=1, flaps_per_min=flaps), 0, 0)
    changes = play(state, list(results))
    failures = [number for number, change in enumerate(changes) if change in (F, FLAP)]
    for number in failures:
        assert len([other for other in failures if 0 <= other - number < 60]) <= flaps + 1
