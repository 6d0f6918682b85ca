"""The third voter's protocol: the same bytes on both sides, and nothing that is no answer taken for one."""
from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinbeat_bridge.arbiter import frames, lease
from twinbeat_bridge.protocol import (
    CLOCK_MASK,
    MAX_ASK_BYTES,
    MAX_ROWS,
    MAX_VOTE_BYTES,
    NEVER_MS,
    REFUSALS,
    TOLD_BYTES,
    BodyError,
    Contacts,
    Kind,
    Row,
    Session,
    Told,
    VoteCode,
    Votes,
    voter_text,
)
from twinbeat_core.wire import SerialReader
from twinbeat_core.wire import wrap as core_wrap

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vote_vectors.json").read_text(encoding="utf-8"))
PAIR, LIFE, CLOCK, VOTER, STAMP = 0x1234, 0x51F00001, 500, 0xA0B1C2D3, 1_000_000


def named(kind: str) -> list[Any]:
    return [pytest.param(vector, id=vector["name"]) for vector in VECTORS[kind]]


def session(voter: int | None = VOTER, **over: int) -> Session:
    made = Session(**{"node": 0, "pair_id": PAIR, "incarnation": 7, "grant_ms": 60, **over}, voter=voter)
    made.query(STAMP)
    return made


def vote(*rows: tuple[int, int, int, int, int], **over: int) -> bytes:
    head = {"node": 0, "pair": PAIR, "incarnation": 7, "stamp": STAMP, "life": LIFE, "clock": CLOCK, "voter": VOTER}
    head |= {"heard": 4, **over}
    made = frames.vote_head(frames.VOTE, len(rows), *head.values())
    return bytes(made + b"".join(frames.vote_row(*row) for row in rows))


def echo(body: bytes) -> tuple[int, int]:
    read = frames.read_ask(body)
    return read[5], read[6]


# ---------------------------------------------------------------- both sides, byte for byte
@pytest.mark.parametrize("vector", named("asks"))
def test_asks_are_the_same_on_both_sides(vector: dict[str, Any]) -> None:
    body = bytes.fromhex(vector["hex"])
    rows = [tuple(row) for row in vector["rows"]]
    read = frames.read_ask(body)
    keys = ("kind", "node", "pair", "incarnation", "stamp", "life", "clock", "grant")
    assert read == (*(vector[key] for key in keys), rows)
    made = Session(vector["node"], vector["pair"], vector["incarnation"], None, vector["grant"])
    made.life, made.clock = vector["life"], vector["clock"]
    bodies = {
        Kind.ASK: lambda: made.ask(rows, vector["stamp"]),
        Kind.RETURN: lambda: made.give_back(rows, vector["stamp"]),
        Kind.DEATH: lambda: made.death([group for group, _ in rows]),
        Kind.QUERY: lambda: made.query(vector["stamp"]),
    }
    assert bodies[Kind(vector["kind"])]() == body


@pytest.mark.parametrize("vector", named("votes"))
def test_votes_are_the_same_on_both_sides(vector: dict[str, Any]) -> None:
    body = bytes.fromhex(vector["hex"])
    keys = ("node", "pair", "incarnation", "stamp", "life", "clock", "voter", "heard")
    head = frames.vote_head(frames.VOTE, len(vector["rows"]), *(vector[key] for key in keys))
    assert head + b"".join(frames.vote_row(*row) for row in vector["rows"]) == body
    mine = Session(vector["node"], vector["pair"], vector["incarnation"], vector["voter"], 60)
    mine.query(vector["stamp"])
    rows = tuple(Row(row[0], VoteCode(row[1]), Contacts(row[2]), row[3], row[4]) for row in vector["rows"])
    assert mine.receive(body) == Votes(
        vector["stamp"], rows, vector["heard"], vector["life"], vector["clock"], vector["voter"]
    )
    assert (mine.life, mine.clock) == (vector["life"], vector["clock"])


@pytest.mark.parametrize("vector", named("told"))
def test_what_a_voter_tells_of_itself(vector: dict[str, Any]) -> None:
    body, tail = bytes.fromhex(vector["hex"]), vector["tail"]
    assert struct.pack(frames.TOLD_TAIL, *tail.values()) == body[frames.VOTE_HEAD_BYTES :]
    mine = Session(vector["node"], vector["pair"], vector["incarnation"], vector["voter"], 60)
    mine.query(vector["stamp"])
    told = mine.receive(body)
    assert isinstance(told, Told)
    assert told.firmware == (tail["major"], tail["minor"], tail["patch"])
    assert told.version == f"{tail['major']}.{tail['minor']}.{tail['patch']}"
    for key in ("board", "build", "asks", "promises", "refusals", "noise", "reset_cause", "groups", "stuck"):
        assert getattr(told, key) == tail[key]
    assert told.grant_max_ms == tail["grant_max"]
    for key in ("gap_us", "overlap_us"):
        assert getattr(told, key) == (None if tail[key] == 0xFFFFFFFF else tail[key])
    assert (told.pair_id, told.heard_ms, told.voter) == (vector["pair"], vector["heard"], vector["voter"])


@pytest.mark.parametrize("kind", ["asks", "votes", "told"])
def test_the_wire_is_the_same_on_both_sides(kind: str) -> None:
    reader, core_reader = frames.Reader(), SerialReader()
    for vector in VECTORS[kind]:
        body, wire = bytes.fromhex(vector["hex"]), bytes.fromhex(vector["wire"])
        assert frames.wrap(body) == core_wrap(body) == wire, vector["name"]
        assert reader.feed(wire) == core_reader.feed(wire) == [body], vector["name"]
    assert reader.noise == core_reader.noise == 0


@pytest.mark.parametrize("vector", named("bad_asks"))
def test_a_voter_takes_no_bad_ask(vector: dict[str, Any]) -> None:
    assert frames.read_ask(bytes.fromhex(vector["hex"])) is None


@pytest.mark.parametrize("vector", named("bad_answers"))
def test_a_gateway_takes_no_bad_answer(vector: dict[str, Any]) -> None:
    mine = session()
    assert mine.receive(bytes.fromhex(vector["hex"])) is None
    assert mine.refused == {**dict.fromkeys(REFUSALS, 0), vector["reason"]: 1}
    assert (mine.life, mine.clock) == (0, 0), "nothing of it is echoed"


def test_both_sides_name_the_same_numbers() -> None:
    for name in ("ASK", "RETURN", "DEATH", "QUERY", "VOTE", "TOLD"):
        assert getattr(frames, name) == Kind[name]
    for code in VoteCode:
        assert getattr(lease, code.name) == code
    assert (frames.MAX_ROWS, lease.CLOCK_MASK) == (MAX_ROWS, CLOCK_MASK)
    assert frames.ASK_HEAD_BYTES + 16 * frames.ASK_ROW_BYTES == MAX_ASK_BYTES
    assert frames.MAX_BODY == MAX_VOTE_BYTES
    assert frames.VOTE_HEAD_BYTES + frames.TOLD_TAIL_BYTES == TOLD_BYTES


# ---------------------------------------------------------------- the echo
def test_asks_carry_the_newest_echo() -> None:
    mine = session()
    assert echo(mine.ask([(0, 8)], STAMP + 1)) == (0, 0)
    assert mine.receive(vote((0, 1, 0, 8, 60), clock=500)) is not None
    assert echo(mine.ask([(0, 8)], STAMP + 2)) == (LIFE, 500)
    assert mine.receive(vote((0, 1, 0, 8, 60), clock=480)) is not None
    assert echo(mine.query(STAMP + 3)) == (LIFE, 500), "an answer overtaken on the way makes no echo older"
    assert mine.receive(vote((0, 1, 0, 8, 60), clock=520)) is not None
    assert echo(mine.give_back([(0, 8)], STAMP + 4)) == (LIFE, 520)
    assert echo(mine.death([0])) == (LIFE, 520)


def test_the_clock_of_thirty_bits_wraps() -> None:
    mine = session()
    assert mine.receive(vote(clock=CLOCK_MASK)) is not None
    assert mine.receive(vote(clock=3)) is not None
    assert mine.clock == 3


def test_a_new_life_is_echoed_whatever_its_clock() -> None:
    mine = session()
    assert mine.receive(vote(clock=90_000)) is not None
    assert mine.receive(vote(life=LIFE + 1, clock=5)) is not None
    assert (mine.life, mine.clock) == (LIFE + 1, 5)


# ---------------------------------------------------------------- asking again
def test_an_unproven_ask_is_repeated_once_with_the_new_echo() -> None:
    mine = session()
    first = mine.ask([(0, 8), (1, 16)], STAMP)
    votes = mine.receive(vote((0, 4, 0, 0, 0), (1, 4, 0, 0, 0)))
    assert isinstance(votes, Votes)
    second = mine.again(votes)
    assert second is not None
    before, after = frames.read_ask(first), frames.read_ask(second)
    assert (before[4], before[8]) == (after[4], after[8]), "same stamp, same rows"
    assert echo(second) == (LIFE, CLOCK)
    assert mine.again(votes) is None, "once for each stamp"
    assert mine.again(votes._replace(clock=CLOCK + 1)) is None


def test_only_the_rows_that_were_unproven_are_repeated() -> None:
    mine = session()
    mine.ask([(0, 8), (1, 16), (2, 24)], STAMP)
    votes = mine.receive(vote((0, 1, 0, 8, 60), (1, 4, 0, 0, 0), (2, 2, 0, 8, 0), (9, 4, 0, 0, 0)))
    assert isinstance(votes, Votes)
    again = mine.again(votes)
    assert again is not None
    assert frames.read_ask(again)[8] == [(1, 16)]


def test_nothing_is_repeated_for_a_stamp_that_was_no_ask_or_is_long_gone() -> None:
    mine = session()
    votes = mine.receive(vote((0, 4, 0, 0, 0)))
    assert isinstance(votes, Votes)
    assert mine.again(votes) is None
    mine.ask([(0, 8)], STAMP)
    for later in range(1, 9):
        mine.ask([(0, 8)], STAMP + later)
    assert mine.again(votes) is None
    assert mine.again(votes._replace(stamp=STAMP + 1)) is not None


# ---------------------------------------------------------------- who answers
def test_the_first_voter_that_answers_is_kept_where_none_was_named() -> None:
    mine = session(voter=None)
    assert mine.receive(vote()) is not None
    assert mine.voter == VOTER
    assert mine.receive(vote(voter=VOTER + 1)) is None
    assert mine.refused["other_voter"] == 1
    assert mine.seen_voter == VOTER + 1
    assert voter_text(VOTER) == "a0b1c2d3"


def test_another_pairs_voter_is_not_kept_but_remembered() -> None:
    mine = session(voter=None)
    assert mine.receive(vote((0, 5, 0, 0, 0), pair=77)) is None
    assert (mine.voter, mine.seen_pair, mine.seen_voter) == (None, 77, VOTER)


@pytest.mark.parametrize(
    "wrong",
    [{"pair": PAIR ^ 1}, {"node": 1}, {"incarnation": 8}, {"voter": 5}, {"stamp": STAMP + 1}, {"life": 0}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_wrong_head_is_refused_whatever_its_rows_say(wrong: dict[str, int]) -> None:
    mine = session()
    assert mine.receive(vote((0, 1, 0, 8, 60), **wrong)) is None
    assert sum(mine.refused.values()) == 1
    assert mine.life == 0


def test_never_heard_is_told_apart() -> None:
    votes = session().receive(vote(heard=NEVER_MS))
    assert votes is not None
    assert votes.heard_ms == NEVER_MS


# ---------------------------------------------------------------- hostile bytes
@given(st.binary(max_size=MAX_VOTE_BYTES + 40))
def test_hostile_bytes_are_never_an_answer_of_this_session(body: bytes) -> None:
    mine = session()
    answer = mine.receive(body)
    assert (answer is None) == (sum(mine.refused.values()) == 1)
    if answer is not None:  # 14 bytes of head would have to be guessed right
        assert (answer.voter, mine.voter) == (VOTER, VOTER)


@given(st.data(), st.sampled_from([vector["hex"] for vector in VECTORS["votes"] + VECTORS["told"]]))
def test_a_damaged_answer_is_refused_or_keeps_to_its_form(data: st.DataObject, vector: str) -> None:
    body = bytearray.fromhex(vector)
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    mine = Session(body[2], body[4] | body[5] << 8, int.from_bytes(body[6:10], "little"), None, 60)
    mine.query((1 << 48) - 1)
    answer = mine.receive(bytes(body))
    if isinstance(answer, Votes):
        assert len(answer.rows) == body[3] <= MAX_ROWS
        assert all(row.code in VoteCode and row.contacts <= 63 for row in answer.rows)
    elif answer is None:
        assert sum(mine.refused.values()) == 1


@given(
    st.integers(0, 255),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, (1 << 48) - 1),
    st.integers(1, 0xFFFF),
    st.lists(st.tuples(st.integers(0, 255), st.integers(0, 0xFFFFFFFF)), max_size=MAX_ROWS),
)
def test_any_ask_is_read_as_it_was_meant(
    node: int, pair: int, incarnation: int, stamp: int, grant: int, rows: list[tuple[int, int]]
) -> None:
    body = Session(node, pair, incarnation, None, grant).ask(rows, stamp)
    assert frames.read_ask(body) == (frames.ASK, node, pair, incarnation, stamp, 0, 0, grant, rows)
    assert frames.Reader().feed(frames.wrap(body)) == SerialReader().feed(core_wrap(body)) == [body]


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: Session(256, 0, 0, None, 60), "node"),
        (lambda: Session(0, 65536, 0, None, 60), "pair_id"),
        (lambda: Session(0, 0, -1, None, 60), "incarnation"),
        (lambda: Session(0, 0, 0, 1 << 32, 60), "voter"),
        (lambda: Session(0, 0, 0, None, 65536), "grant_ms"),
        (lambda: session().ask([(0, 1)], 1 << 48), "stamp"),
        (lambda: session().ask([(256, 1)], STAMP), "group"),
        (lambda: session().ask([(0, 1 << 32)], STAMP), "epoch"),
        (lambda: session().ask([(0, 1)] * 17, STAMP), "17 groups"),
    ],
)
def test_numbers_that_do_not_fit_are_refused_by_name(call: Any, name: str) -> None:
    with pytest.raises(BodyError, match=name):
        call()
