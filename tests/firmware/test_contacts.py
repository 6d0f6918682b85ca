"""Contacts in virtual time: one side at most, break before make, both kinds of stuck contact, what is measured."""
from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from firmware_rig import Bench, FakeBoard
from hypothesis import given, settings
from hypothesis import strategies as st

GATED, OWN_CLOSED, OTHER_CLOSED, OWN_STUCK, OTHER_STUCK, BLIND = 1, 2, 4, 8, 16, 32
PROMISED, REFUSED = 1, 2
GAP, OVERLAP, STUCK = 8, 9, 14


def closed_sides(moves: Sequence[tuple[int, int, int, bool]], group: int = 0) -> list[set[int]]:
    """Which contacts of a group were closed after each of its moves."""
    now: set[int] = set()
    found = []
    for _, where, side, closed in moves:
        if where == group:
            now = now | {side} if closed else now - {side}
            found.append(now)
    return found


def hold(bench: Bench, node: int, epoch: int, ms: int, grant: int = 60) -> list[int]:
    """Renew every 20 ms for so long; the contacts bytes of the answers."""
    return [_renewed(bench, node, epoch, grant) for _ in range(ms // 20)]


def _renewed(bench: Bench, node: int, epoch: int, grant: int) -> int:
    row = bench.granted(node, epoch, grant=grant)
    bench.rounds(19)
    return row.contacts


def test_nothing_closes_before_a_promise() -> None:
    bench = Bench()
    bench.ask(0, 8)
    bench.rounds(1900)
    assert bench.board.commands == []
    bench.abstained().rounds(5000)
    assert bench.board.commands == []


def test_the_holders_contact_closes_and_opens_when_the_promise_runs_out() -> None:
    bench = Bench().abstained()
    assert bench.granted(0, 8).code == PROMISED
    assert bench.board.commands == [(bench.board.now_us - 1000, 0, 0, True)]
    at_us = bench.board.commands[0][0]
    bench.rounds(400)
    assert bench.board.commands[1:] == [(at_us + 201_000, 0, 0, False)]
    assert closed_sides(bench.board.moves) == [{0}, set()]


def test_the_other_side_closes_only_after_the_first_reads_open() -> None:
    bench = Bench().abstained()
    bench.board.release_us = 8500
    hold(bench, 0, 8, 100)
    bench.rounds(70)
    bench.board.moves.clear()
    hold(bench, 0, 16, 100)
    bench.send(0, _return(0, 16))
    bench.granted(1, 25)
    bench.rounds(30)
    assert [(side, on) for _, _, side, on in bench.board.commands[-3:]] == [(0, True), (0, False), (1, True)]
    opened_us = next(us for us, _, side, closed in bench.board.moves if side == 0 and not closed)
    assert bench.board.commands[-1][0] >= opened_us
    assert closed_sides(bench.board.moves) == [{0}, set(), {1}]


def test_without_read_back_it_waits_for_the_whole_release() -> None:
    bench = Bench()
    bench.board.blind = True
    bench.abstained()
    assert hold(bench, 0, 8, 60)[-1] == GATED | BLIND | OWN_CLOSED
    bench.send(0, _return(0, 8))
    off_us = bench.board.commands[-1][0]
    bench.granted(1, 17)
    bench.rounds(30)
    assert bench.board.commands[-1][2:] == (1, True)
    assert bench.board.commands[-1][0] - off_us == (bench.board.BREAK_MS + 1) * 1000


def test_a_contact_on_its_way_is_waited_for() -> None:
    """It reads open when it is commanded open again, and may touch all the same."""
    bench = Bench().abstained()
    bench.board.make_us = 6000
    bench.granted(0, 8)
    bench.send(0, _return(0, 8))
    off_us = bench.board.commands[-1][0]
    assert bench.board.commands[-1][2:] == (0, False)
    bench.granted(1, 17)
    bench.rounds(30)
    assert bench.board.commands[-1][0] - off_us == (bench.board.BREAK_MS + 1) * 1000


def test_an_earlier_lifes_contact_is_waited_for() -> None:
    """Where nothing is abstained from (a board with a slow relay), BREAK_MS from the start on still holds."""
    board = FakeBoard()
    board.BREAK_MS = 3000
    bench = Bench(board).abstained()
    bench.granted(0, 8, grant=1500)
    assert board.commands == []
    bench.rounds(1100)
    assert board.commands[0][0] == 5_000_000 + 3_001_000


def test_a_contact_that_stays_closed_leaves_the_group_to_its_side() -> None:
    bench = Bench().abstained()
    hold(bench, 0, 8, 60)
    bench.board.relays[0][0].stuck = "welded"
    bench.rounds(100)
    assert bench.board.commands[-1][2:] == (0, False)
    row = bench.ask(1, 17)
    assert (row.code, row.ms) == (REFUSED, 2000)
    assert row.contacts == GATED | OTHER_CLOSED | OTHER_STUCK
    assert bench.told().tail[STUCK] == 1
    assert bench.board.shown[-1] == 4
    assert hold(bench, 0, 24, 100)[-1] == GATED | OWN_CLOSED | OWN_STUCK
    bench.rounds(70)
    assert all(side == 0 for _, _, side, _ in bench.board.commands)
    bench.board.heal(0, 0)
    bench.rounds(5)
    assert bench.granted(1, 33).code == PROMISED
    bench.rounds(5)
    assert bench.ask(1, 33).contacts == GATED | OWN_CLOSED
    assert closed_sides(bench.board.moves)[-1] == {1}


def test_a_contact_that_welds_at_the_changeover_stops_it() -> None:
    """The other was promised while the contact seemed to release: it never closes, and its promise is not renewed."""
    bench = Bench().abstained()
    hold(bench, 0, 8, 60)
    bench.board.relays[0][0].stuck = "welded"
    bench.send(0, _return(0, 8))
    assert bench.granted(1, 17).code == PROMISED
    bench.rounds(30)
    assert bench.ask(1, 17).code == REFUSED
    bench.rounds(300)
    assert all(side == 0 for _, _, side, _ in bench.board.commands)
    assert bench.granted(0, 24).code == PROMISED


def test_two_contacts_that_stay_closed_leave_nobody() -> None:
    bench = Bench()
    for relay in bench.board.relays[0]:
        relay.stuck = "closed"
    bench.abstained()
    assert [bench.ask(node, 8 + node).code for node in (0, 1)] == [REFUSED, REFUSED]
    assert bench.told().tail[STUCK] == 3
    assert bench.board.commands == []


def test_a_contact_that_does_not_close_is_reported_and_tried_once_a_second() -> None:
    bench = Bench().abstained()
    bench.board.relays[0][1].stuck = "open"
    begun_us = bench.board.now_us
    assert hold(bench, 1, 9, 10_000)[-1] == GATED | OWN_STUCK
    tries = [us - begun_us for us, _, side, on in bench.board.commands if side == 1 and on]
    assert 9 <= len(tries) <= 11
    assert min(later - earlier for earlier, later in pairwise(tries)) >= 1_000_000
    assert bench.told(1).tail[STUCK] == 2
    bench.board.heal(0, 1)
    hold(bench, 1, 9, 1100)
    assert bench.ask(1, 9).contacts == GATED | OWN_CLOSED
    assert bench.told(1).tail[STUCK] == 0


def test_a_contact_that_reads_closed_opens_the_other_one() -> None:
    """A broken read-back wire reads closed: two closed contacts are not let be."""
    bench = Bench().abstained()
    hold(bench, 0, 8, 60)
    bench.board.relays[0][1].stuck = "closed"
    hold(bench, 0, 8, 60)
    assert bench.board.commands[-1][2:] == (0, False)
    assert bench.ask(0, 8).code == REFUSED
    assert bench.told().tail[OVERLAP] >= 5_000
    assert hold(bench, 1, 17, 100)[-1] == GATED | OWN_CLOSED | OWN_STUCK


def test_gap_and_overlap_of_the_last_changeover() -> None:
    bench = Bench().abstained()
    assert bench.told().tail[GAP:OVERLAP + 1] == (0xFFFFFFFF, 0xFFFFFFFF)
    hold(bench, 0, 8, 60)
    bench.rounds(100)
    assert bench.told().tail[GAP] == 0xFFFFFFFF
    hold(bench, 0, 16, 60)
    bench.send(0, _return(0, 16))
    bench.granted(1, 25)
    bench.rounds(30)
    gap_us, overlap_us = bench.told().tail[GAP:OVERLAP + 1]
    moved = {(side, closed): us for us, _, side, closed in bench.board.moves}
    assert (gap_us, overlap_us) == (moved[1, True] - moved[0, False], 0)
    assert 3_000 <= gap_us <= 5_000


def test_a_long_gap_is_measured_beyond_the_wrap() -> None:
    bench = Bench().abstained()
    hold(bench, 0, 8, 60)
    bench.rounds(100)
    bench.board.now_us += 3_000_000_000
    bench.granted(1, 17)
    bench.rounds(10)
    assert 3_000_000_000 <= bench.told().tail[GAP] <= 3_001_000_000


def test_groups_have_their_own_contacts() -> None:
    bench = Bench(FakeBoard(groups=3, gated=2)).abstained()
    bench.granted(0, 8, 0)
    bench.granted(1, 9, 1)
    bench.rounds(5)
    rows = [bench.ask(node, 8 + node, group) for node, group in ((0, 0), (1, 1), (1, 2))]
    assert [row.contacts for row in rows] == [GATED | OWN_CLOSED, GATED | OWN_CLOSED, 0]
    assert bench.board.shown[-1] == 3
    bench.board.relays[1][0].stuck = "closed"
    bench.rounds(30)
    assert bench.told().tail[STUCK] == 1 << 2


def _return(node: int, epoch: int) -> bytes:
    from firmware_rig import make_ask

    return make_ask(2, node, [(0, epoch)], 1)


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "ask", "return", "welded", "open", "heal", "wait"]),
        st.integers(0, 1), st.integers(0, 40), st.integers(1, 80),
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 9000), st.integers(0, 9000), st.booleans(), ACTIONS)
def test_never_two_closed_whatever_is_asked(make_us: int, release_us: int, blind: bool, actions: list[Any]) -> None:
    bench = Bench()
    board = bench.board
    board.make_us, board.release_us, board.blind = make_us, release_us, blind
    bench.abstained()
    for kind, node, epoch, ms in actions:
        if kind == "ask":
            bench.granted(node, max(1, epoch), grant=5 * ms)
        elif kind == "return":
            bench.send(node, _return(node, epoch))
        elif kind == "heal":
            board.heal(0, node)
        elif kind != "wait" and not (blind and kind == "welded"):
            board.relays[0][node].stuck = kind
        bench.rounds(ms)
    assert {0, 1} not in closed_sides(board.moves)


@pytest.mark.parametrize("blind", [False, True])
def test_the_rig_sees_two_closed(blind: bool) -> None:
    """The property above must not hold by itself: with a release longer than the board admits, two close."""
    bench = Bench()
    bench.board.blind = blind
    bench.abstained()
    hold(bench, 0, 8, 60)
    bench.board.release_us = 40_000
    bench.send(0, _return(0, 8))
    bench.granted(1, 17)
    bench.rounds(60)
    assert ({0, 1} in closed_sides(bench.board.moves)) is blind
