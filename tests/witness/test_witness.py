"""The witness's rule without a network: what is promised, what is refused and counted, what survives a restart."""
from __future__ import annotations

import pytest
from desk_rig import GRANT_MAX_MS, PAIR, Desk
from hypothesis import given, settings
from hypothesis import strategies as st
from witness_rig import KEY, NAME, notice, opened, signed

from twinbeat.config_digest import pair_id_of
from twinbeat_bridge import witness as module
from twinbeat_bridge.protocol import Session, Told, VoteCode, Votes
from twinbeat_bridge.witness import ANSWERS_PER_S, GROUPS_MAX, LINES_PER_MINUTE, RESERVED_EPOCHS, Witness, voter_id

STEPS = ("ask", "claim", "back")


def test_it_promises_to_one_and_refuses_the_other() -> None:
    desk = Desk().listen()
    a, b = desk.session(0), desk.session(1)
    assert desk.ask(a, (0, 8)) == [(VoteCode.PROMISED, 8, 600)]
    desk.now += 100
    assert desk.ask(b, (0, 17)) == [(VoteCode.REFUSED, 8, 501)]
    assert desk.code(a, 0, 8) is VoteCode.PROMISED
    desk.now += 602
    assert desk.ask(b, (0, 17)) == [(VoteCode.PROMISED, 17, 600)]
    assert desk.code(a, 0, 8) is VoteCode.REFUSED


def test_a_promise_is_never_longer_than_its_limit() -> None:
    desk = Desk().listen()
    assert desk.ask(desk.session(0, grant_ms=60000), (0, 8)) == [(VoteCode.PROMISED, 8, GRANT_MAX_MS)]


def test_it_abstains_after_the_start_and_after_every_new_connection() -> None:
    desk = Desk()
    a, b = desk.session(0), desk.session(1)
    assert desk.code(a, 0, 8) is VoteCode.ABSTAINS
    desk.now += GRANT_MAX_MS
    assert desk.ask(a, (0, 8)) == [(VoteCode.ABSTAINS, 0, 1)]
    desk.now += 1
    assert desk.code(a, 0, 8) is VoteCode.PROMISED
    desk.witness.abstain(desk.now)
    assert desk.code(a, 0, 8) is VoteCode.ABSTAINS
    desk.witness.serve("late", KEY, 1)
    desk.listen()
    assert desk.code(b, 0, 17) is VoteCode.PROMISED


def test_it_abstains_as_long_as_an_earlier_starts_promises_may_last() -> None:
    witness = Witness(NAME, 5, GRANT_MAX_MS, 0, earlier_grant_ms=5 * GRANT_MAX_MS)
    assert witness.abstains_until_ms == 5 * GRANT_MAX_MS + 1
    witness.abstain(10)
    assert witness.abstains_until_ms == 10 + 5 * GRANT_MAX_MS + 1


def test_a_pair_that_asks_late_does_not_wait_again() -> None:
    desk = Desk().listen()
    desk.now += 3600 * 1000
    assert desk.code(desk.session(0), 0, 8) is VoteCode.PROMISED


def test_an_ask_without_a_fresh_echo_is_unproven_and_its_repetition_counts() -> None:
    desk = Desk().listen()
    a = desk.session(0)
    answer = desk.raw(a, (0, 8))
    assert answer is not None and answer.rows[0].code is VoteCode.UNPROVEN
    again = a.again(answer)
    assert again is not None
    desk.write()
    repeated = desk.send(a, again)
    assert isinstance(repeated, Votes) and repeated.rows[0].code is VoteCode.PROMISED
    desk.now += 601
    answer = desk.raw(a, (0, 8))
    assert answer is not None and answer.rows[0].code is VoteCode.UNPROVEN


def test_epochs_are_promised_only_once_they_are_on_disk() -> None:
    desk = Desk().listen()
    a = desk.session(0)
    desk.tell(a)
    assert desk.raw(a, (0, 50000)).rows[0].code is VoteCode.WAITS  # type: ignore[union-attr]
    assert desk.witness.to_reserve == {PAIR: 50000 + RESERVED_EPOCHS}
    ceilings, desk.witness.to_reserve = desk.witness.to_reserve, {}
    assert desk.raw(a, (0, 50000)).rows[0].code is VoteCode.WAITS  # type: ignore[union-attr]
    assert desk.witness.to_reserve == {}                            # it is being written already
    desk.witness.not_reserved(ceilings)
    assert desk.raw(a, (0, 50000)).rows[0].code is VoteCode.WAITS  # type: ignore[union-attr]
    assert desk.witness.to_reserve == ceilings                      # tried again after a failed write
    desk.write()
    assert desk.raw(a, (0, 50000)).rows[0].code is VoteCode.PROMISED  # type: ignore[union-attr]


def test_the_first_message_reserves_and_an_ask_while_it_abstains_says_how_much() -> None:
    desk = Desk()
    a = desk.session(0)
    desk.tell(a)
    assert desk.witness.pairs[PAIR].leases.ceiling == RESERVED_EPOCHS
    assert desk.code(a, 0, 100_000) is VoteCode.ABSTAINS
    desk.listen()
    desk.tell(a)
    assert desk.raw(a, (0, 100_000)).rows[0].code is VoteCode.PROMISED  # type: ignore[union-attr]


def test_reservations_are_renewed_before_they_are_used_up() -> None:
    desk = Desk().listen()
    a = desk.session(0)
    desk.code(a, 0, 8)
    desk.tell(a)
    desk.raw(a, (0, RESERVED_EPOCHS // 2 + 16))
    assert desk.witness.to_reserve == {PAIR: RESERVED_EPOCHS // 2 + 16 + RESERVED_EPOCHS}


def test_after_a_restart_the_reservation_is_the_floor_of_every_group() -> None:
    desk = Desk(reserved=9000, life=0x20001).listen()
    a = desk.session(0)
    for group in (0, 5):
        assert desk.ask(a, (group, 9000)) == [(VoteCode.REFUSED, 9000, 0)]
        assert desk.code(a, group, 9008) is VoteCode.PROMISED


def test_a_new_life_of_the_witness_believes_no_echo_of_the_old() -> None:
    old, a = Desk(life=0x10001).listen(), Desk().session(0)
    old.code(a, 0, 8)
    new = Desk(life=0x20002).listen()
    new.stamp = old.stamp
    answer = new.raw(a, (0, 16))
    assert answer is not None and answer.rows[0].code is VoteCode.UNPROVEN


def test_a_returned_promise_is_free_for_the_other() -> None:
    desk = Desk().listen()
    a, b = desk.session(0), desk.session(1)
    desk.code(a, 0, 8)
    assert desk.send(a, a.give_back([(0, 8)], 999)) is None
    assert desk.code(b, 0, 17) is VoteCode.PROMISED
    assert desk.witness.counts["returns"] == 1


def test_groups_are_apart_and_bounded() -> None:
    desk = Desk().listen()
    a, b = desk.session(0), desk.session(1)
    rows = [(0, 8), (GROUPS_MAX - 1, 8), (GROUPS_MAX, 8), (255, 8)]
    codes = [code for code, _, _ in desk.ask(a, *rows)]
    assert codes == [VoteCode.PROMISED, VoteCode.PROMISED, VoteCode.NO_GROUP, VoteCode.NO_GROUP]
    assert desk.code(b, 1, 17) is VoteCode.PROMISED
    assert desk.code(b, GROUPS_MAX - 1, 17) is VoteCode.REFUSED
    assert len(desk.witness.pairs[PAIR].leases.group) == GROUPS_MAX


def test_pairs_are_apart() -> None:
    desk = Desk().listen()
    other = bytes(16)
    desk.witness.serve("fan-1", other, pair_id_of("fan-1"))
    a, b = desk.session(0), Session(1, pair_id_of("fan-1"), 7, voter_id(NAME), 600)
    desk.code(a, 0, 8)
    answered = desk.witness.handle("fan-1", signed(other, b.query(1)), desk.now)
    assert answered is not None and isinstance(b.receive(opened(other, answered[1])), Told)
    desk.write()
    answered = desk.witness.handle("fan-1", signed(other, b.ask([(0, 9)], 2)), desk.now)
    assert answered is not None
    answer = b.receive(opened(other, answered[1]))
    assert isinstance(answer, Votes) and answer.rows[0].code is VoteCode.PROMISED
    assert desk.witness.handle("fan-1", signed(KEY, a.query(5)), desk.now) is None
    assert desk.witness.refused["tag"] == 1


@pytest.mark.parametrize(
    ("reason", "payload"),
    [
        ("tag", signed(bytes(16), Desk().session(0).query(1))),
        ("form", b""),
        ("form", b"\xd1"),
        ("form", signed(KEY, b"\xd1" + bytes(24))),
        ("form", signed(KEY, b"\xd1\x07" + bytes(24))),
        ("form", signed(KEY, b"\xd1\x00" + bytes(24))),
        ("form", signed(KEY, Session(15, 1, 7, None, 600).query(1))),
        ("form", signed(KEY, b"\xd1" + bytes(2000))),
        ("own_death", signed(KEY, Desk().session(0).death([0]))),
        ("version", signed(KEY, b"\x33" + notice(KEY, PAIR, 0, 7, [True])[1:-8])),
        ("other_pair", notice(KEY, "other", 0, 7, [True])),
        ("tag", notice(bytes(16), PAIR, 0, 7, [True])),
        ("form", b"\x11"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[:2].hex(),
)
def test_what_is_no_ask_is_counted_by_its_reason_and_said_once(reason: str, payload: bytes) -> None:
    desk = Desk().listen()
    for _ in range(3):
        assert desk.witness.handle(PAIR, payload, desk.now) is None
    assert {name: count for name, count in desk.witness.refused.items() if count} == {reason: 3}
    assert desk.said == [f'pair "{PAIR}" {module.REASONS[reason]}']
    desk.now += module.TOLD_AGAIN_MS
    desk.witness.handle(PAIR, payload, desk.now)
    assert len(desk.said) == 2


def test_unknown_pairs_are_remembered_for_a_look_at_the_keys_and_do_not_fill_the_log() -> None:
    desk = Desk()
    for number in range(1000):
        assert desk.witness.handle(f"p-{number}", b"x", desk.now) is None
    assert len(desk.witness.wanted) == module.WANTED_MAX
    assert len(desk.said) == LINES_PER_MINUTE
    assert desk.witness.refused["unknown_pair"] == 1000


def test_another_pairs_number_is_answered_with_ours() -> None:
    desk = Desk().listen()
    a = Session(0, pair_id_of(PAIR) ^ 1, 7, voter_id(NAME), 600)
    answered = desk.witness.handle(PAIR, signed(KEY, a.ask([(0, 8)], 1)), desk.now)
    assert answered is not None
    assert a.receive(opened(KEY, answered[1])) is None
    assert a.refused["other_pair"] == 1 and a.seen_pair == pair_id_of(PAIR)
    assert desk.witness.refused["other_pair"] == 1


def test_a_recorded_ask_renews_nothing() -> None:
    desk = Desk().listen()
    a = desk.session(0)
    desk.tell(a)
    first = signed(KEY, a.ask([(0, 8)], 100))
    second = signed(KEY, a.ask([(0, 8)], 200))
    assert desk.witness.handle(PAIR, first, desk.now) is not None
    desk.now += 50
    assert desk.witness.handle(PAIR, second, desk.now) is not None
    until = desk.witness.pairs[PAIR].leases.group[0].until
    desk.now += 50
    for recorded in (first, second):
        assert desk.witness.handle(PAIR, recorded, desk.now) is None
    assert desk.witness.refused["replay"] == 2
    assert desk.witness.pairs[PAIR].leases.group[0].until == until


def test_a_signed_notice_ends_that_lifes_promises_and_only_those() -> None:
    desk = Desk().listen()
    a, b = desk.session(0, incarnation=7), desk.session(1)
    desk.ask(a, (0, 8), (1, 8))
    assert desk.witness.handle(PAIR, notice(KEY, PAIR, 0, 6, [True, True]), desk.now) is None
    assert desk.code(b, 0, 17) is VoteCode.REFUSED
    assert desk.witness.handle(PAIR, notice(KEY, PAIR, 0, 7, [True, False]), desk.now) is None
    assert desk.code(b, 0, 17) is VoteCode.PROMISED
    assert desk.code(b, 1, 17) is VoteCode.REFUSED
    desk.witness.handle(PAIR, notice(KEY, PAIR, 0, 7, [True, True]), desk.now)
    assert desk.code(b, 1, 17) is VoteCode.PROMISED
    assert desk.witness.counts["deaths"] == 3


def test_a_dead_life_gets_no_promise_and_its_successor_does() -> None:
    desk = Desk().listen()
    a = desk.session(0, incarnation=7)
    desk.tell(a)
    desk.witness.handle(PAIR, notice(KEY, PAIR, 0, 7, [True]), desk.now)
    assert desk.raw(a, (0, 8)) is None
    assert desk.witness.refused["dead_life"] == 1
    assert desk.code(desk.session(0, incarnation=8), 0, 16) is VoteCode.PROMISED


def test_a_heartbeat_is_no_notice() -> None:
    desk = Desk().listen()
    desk.code(desk.session(0), 0, 8)
    frame = bytearray(notice(KEY, PAIR, 0, 7, [True])[:-8])
    frame[1] &= 0xF0
    assert desk.witness.handle(PAIR, signed(KEY, bytes(frame)), desk.now) is None
    assert desk.witness.refused["form"] == 1
    assert desk.code(desk.session(1), 0, 17) is VoteCode.REFUSED


def test_one_pair_cannot_take_the_answers_of_the_others() -> None:
    desk = Desk().listen()
    a = desk.session(0)
    answers = [desk.raw(a, (0, 0)) for _ in range(ANSWERS_PER_S + 10)]
    assert [answer is not None for answer in answers] == [True] * ANSWERS_PER_S + [False] * 10
    assert desk.witness.refused["rate"] == 10
    desk.now += 1000
    assert desk.raw(a, (0, 0)) is not None


def test_a_stranger_cannot_use_up_a_pairs_answers() -> None:
    desk = Desk().listen()
    for _ in range(2 * ANSWERS_PER_S):
        desk.witness.handle(PAIR, signed(bytes(16), desk.session(0).query(1)), desk.now)
    assert desk.raw(desk.session(0), (0, 0)) is not None


def test_it_tells_who_it_is_and_how_long_ago_the_other_was_heard() -> None:
    desk = Desk().listen()
    a, b = desk.session(0), desk.session(1)
    told = desk.tell(a)
    assert (told.version, told.board, told.groups, told.grant_max_ms) == ("0.1.2", 4, GROUPS_MAX, GRANT_MAX_MS)
    assert (told.voter, told.gap_us, told.overlap_us, told.heard_ms) == (voter_id(NAME), None, None, 65535)
    desk.now += 40
    assert desk.tell(b).heard_ms == 40
    desk.code(a, 0, 8)
    told = desk.tell(b)
    assert (told.asks, told.promises, told.refusals) == (1, 1, 0)


def test_a_pair_that_parts_and_comes_back_finds_its_promises_kept() -> None:
    desk = Desk().listen()
    a, b = desk.session(0), desk.session(1)
    desk.code(a, 0, 8)
    desk.witness.part(PAIR)
    assert desk.witness.handle(PAIR, signed(KEY, a.query(9)), desk.now) is None
    desk.witness.serve(PAIR, KEY, pair_id_of(PAIR))
    assert desk.code(b, 0, 17) is VoteCode.REFUSED
    desk.witness.part(PAIR)
    desk.witness.abstain(desk.now)
    desk.witness.serve(PAIR, KEY, pair_id_of(PAIR))
    assert desk.code(b, 0, 17) is VoteCode.ABSTAINS


def test_there_is_a_limit_of_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAIRS_MAX", 2)
    desk = Desk()
    assert desk.witness.serve("two", bytes(16), 2)
    assert not desk.witness.serve("three", bytes(16), 3)
    assert desk.witness.serve("two", KEY, 2)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_break_it(data: bytes, tagged: bool) -> None:
    desk = Desk().listen()
    body = b"\xd1" + data if tagged else data
    desk.witness.handle(PAIR, signed(KEY, body) if tagged else body, desk.now)
    assert desk.code(desk.session(0), 0, 8) in (VoteCode.PROMISED, VoteCode.REFUSED)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 700), st.sampled_from(STEPS)), max_size=40))
def test_never_two_at_once(steps: list[tuple[int, int, str]]) -> None:
    """Each holder counts from its ask, so what it believes ends no later than what the witness keeps."""
    desk = Desk().listen()
    sessions = [desk.session(0), desk.session(1)]
    until, epoch = [0, 0], [0, 0]
    for node, wait, what in steps:
        desk.now += wait
        session = sessions[node]
        desk.tell(session)
        if what == "back":
            desk.stamp += 1
            desk.send(session, session.give_back([(0, epoch[node])], desk.stamp))
            until[node] = 0
            continue
        if what == "claim" or until[node] <= desk.now:
            epoch[node] = (max(epoch) // 8 + 1) * 8 + node
        asked_at = desk.now
        [(code, _, ms)] = desk.ask(session, (0, epoch[node]))
        if code is VoteCode.PROMISED:
            until[node] = asked_at + ms
        assert not (until[0] > desk.now and until[1] > desk.now)
