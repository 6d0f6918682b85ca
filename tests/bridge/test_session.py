"""A voter asked over a serial line: bounded waits, and what is said where something else answers."""
from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from board_rig import FakeVoter, Pump, answers, told, voted

from twinbeat.serial_port import open_serial
from twinbeat_bridge import session as module
from twinbeat_bridge.arbiter import frames
from twinbeat_bridge.protocol import Session, Told, VoteCode, Votes
from twinbeat_bridge.session import ArbiterError, SerialSession, what_is_there
from twinbeat_core.frames import Frame
from twinbeat_core.wire import encode, wrap

PAIR, VOTER = 0x1234, 0xA0B1C2D3
HEARTBEAT = bytes((0x11, 0x10)) + bytes(40)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LISTEN_S", 0.05)


@pytest.fixture
def line() -> Iterator[tuple[SerialSession, socket.socket]]:
    """A session, and the far end of its line, where nobody answers."""
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    with near, far:
        yield SerialSession(near.fileno(), Session(0, PAIR, 7, VOTER, 60), "/dev/ttyX"), far


def on_voter(voter: FakeVoter, *, any_pair: bool = False, insist: int | None = VOTER) -> SerialSession:
    """A session on the voter's line, which closes it."""
    fd = open_serial(voter.path, 921600)
    voter.closes.append(fd)
    return SerialSession(fd, Session(0, PAIR, 7, insist, 60), voter.path, any_pair=any_pair)


def fault(serial: SerialSession) -> str:
    with pytest.raises(ArbiterError) as caught:
        serial.query(tries=1)
    assert caught.value.exit_code == 5
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------- answers
def test_query_and_ask() -> None:
    with FakeVoter(answers) as voter:
        serial = on_voter(voter)
        found = serial.query()
        assert isinstance(found.answer, Told)
        assert found.answer.voter == VOTER
        assert 0 < found.ms < 10_000
        votes = serial.ask([(0, 8), (3, 0)]).answer
        assert isinstance(votes, Votes)
        assert [(row.group, row.code) for row in votes.rows] == [(0, VoteCode.REFUSED), (3, VoteCode.REFUSED)]
        assert [ask[8] for ask in voter.heard] == [[], [(0, 8), (3, 0)]]
        stamps = [ask[4] for ask in voter.heard]
        assert stamps == sorted(set(stamps))
        assert voter.heard[1][5:7] == (5, 100), "the ask echoes the answer before it"


def test_an_unproven_ask_is_repeated_at_once() -> None:
    codes = iter([VoteCode.UNPROVEN, VoteCode.PROMISED])
    with FakeVoter(lambda ask: voted(ask, next(codes), ms=60)) as voter:
        votes = on_voter(voter).ask([(0, 8)]).answer
        assert isinstance(votes, Votes)
        assert votes.rows[0].code is VoteCode.PROMISED
        first, second = voter.heard
        assert first[4] == second[4], "the same stamp"
        assert (first[5], second[5]) == (0, 5), "a new echo"


def test_a_lost_answer_is_asked_for_again() -> None:
    lost = iter([True, False])
    with FakeVoter(lambda ask: b"" if next(lost) else answers(ask)) as voter:
        assert isinstance(on_voter(voter).query().answer, Told)
        assert len(voter.heard) == 2


def test_answers_to_others_and_noise_before_the_answer_are_passed_over() -> None:
    def noisy(ask: Any) -> bytes:
        other = (*ask[:3], ask[3] + 1, *ask[4:])
        return b"\x00\x03\x07noise\x00" + told(other) + answers(ask)

    with FakeVoter(noisy) as voter:
        serial = on_voter(voter)
        assert isinstance(serial.query().answer, Told)
        assert serial.session.refused["other_incarnation"] == 1


def test_a_return_waits_for_nothing() -> None:
    with FakeVoter(lambda ask: b"" if ask[0] == frames.RETURN else answers(ask)) as voter:
        serial = on_voter(voter)
        serial.give_back([(0, 8)])
        serial.query()
        assert [ask[0] for ask in voter.heard] == [frames.RETURN, frames.QUERY]


def test_any_pair_takes_over_the_voters_own() -> None:
    with FakeVoter(lambda ask: answers(ask, pair=77)) as voter:
        serial = on_voter(voter, any_pair=True, insist=None)
        found = serial.query().answer
        assert isinstance(found, Told)
        assert (found.pair_id, serial.session.pair_id) == (77, 77)


# ---------------------------------------------------------------- what else is there
def test_another_pairs_arbiter() -> None:
    with FakeVoter(lambda ask: told(ask, pair=77)) as voter:
        text = fault(on_voter(voter))
    assert "this arbiter serves another pair (number 77, this one has 4660): it is the board a0b1c2d3" in text


def test_another_arbiter() -> None:
    with FakeVoter(lambda ask: told(ask, voter=0xFF)) as voter:
        text = fault(on_voter(voter))
    assert "another arbiter answers: its id is 000000ff, the configuration says a0b1c2d3" in text


def test_silence(line: tuple[SerialSession, socket.socket]) -> None:
    assert fault(line[0]).startswith("/dev/ttyX: nothing answers: is the board powered")


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (b"\r\n>>> \r\n>>> ", "a MicroPython board without the arbiter's firmware answers"),
        (b"MicroPython v1.28.0 on 2026-04-01; Raspberry Pi Pico with RP2040\r\n", "a MicroPython board without"),
        (b'Traceback (most recent call last):\r\n  File "main.py", line 3', "a MicroPython board without"),
        (wrap(HEARTBEAT), "a gateway's heartbeats come: the crosslink cable is in this port; exchange the two cables"),
        (wrap(Session(1, PAIR, 9, None, 60).ask([(0, 8)], 5)), "the other gateway is on this line, not the arbiter"),
        (told((4, 1, PAIR, 9, 5, 0, 0, 0, [])), "an arbiter answers somebody else: another program or gateway uses"),
        (wrap(b"\xd2" + bytes(40)), "frames of another version (0xd2) come: firmware and program do not fit together"),
        (b"$GPRMC,123519,A,4807.038,N,01131.000,E*6A\r\n", 'another device answers, and says "$GPRMC,123519,A,'),
        (bytes((0x80, 0xF8, 0x00, 0xFE, 0x1C)) * 8, "40 bytes of noise came (such as 80 f8 00 fe 1c 80 f8 00): the"),
    ],
    ids=["prompt", "banner", "traceback", "heartbeat", "gateway", "bus", "version", "text", "noise"],
)
def test_something_else_is_named(line: tuple[SerialSession, socket.socket], said: bytes, text: str) -> None:
    serial, far = line
    far.send(said)
    assert text in fault(serial)


def test_a_real_heartbeat_is_known() -> None:
    frame = encode(Frame(pair_id=PAIR, source=1, incarnation=3, stamp=9), bytes(16))
    assert "a gateway's heartbeats come" in what_is_there(wrap(frame), [frame])


def test_a_prompt_shows_itself_only_when_it_is_asked() -> None:
    """A REPL echoes what it gets, and prompts after a line's end."""
    near, far = socket.socketpair()
    near.setblocking(False)
    pump = Pump({far.fileno(): far.fileno()}, lambda data: b"\r\n>>> " if b"\r" in data else b"")
    with near, far:
        text = fault(SerialSession(near.fileno(), Session(0, PAIR, 7, None, 60), "/dev/ttyX"))
        pump.stop()
    assert "a MicroPython board without the arbiter's firmware answers" in text


def test_joined_wires() -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    pump = Pump({far.fileno(): far.fileno()})
    with near, far:
        text = fault(SerialSession(near.fileno(), Session(0, PAIR, 7, None, 60), "/dev/ttyX"))
        pump.stop()
    assert "what is sent comes back: TX and RX of this port are joined" in text


def test_a_port_that_goes_away(line: tuple[SerialSession, socket.socket]) -> None:
    serial, far = line
    far.close()
    text = fault(serial)
    assert text.startswith("/dev/ttyX: the port went away (")
    assert text.endswith("is the adapter or the board still plugged in?")


def test_a_line_that_takes_nothing(line: tuple[SerialSession, socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes) -> int:
        raise BlockingIOError

    monkeypatch.setattr(module, "ANSWER_S", 0.01)
    monkeypatch.setattr(os, "write", full)
    assert "the line takes no more bytes" in fault(line[0])
