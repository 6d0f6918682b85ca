"""arbiter.py and main.py on a fake board: who is answered what, what is reserved when, and that nothing stops it."""
from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from firmware_rig import LIFE, Bench, FakeBoard, Reset, load, make_ask
from hypothesis import given, settings
from hypothesis import strategies as st

from twinbeat_bridge.arbiter import frames, lease

BOARD_CALLS = ["start", "life", "read", "write", "set_contact", "read_contact", "save", "feed", "led", "idle"]


def test_an_ask_is_answered_to_its_sender() -> None:
    bench = Bench(FakeBoard(groups=2)).abstained()
    body = make_ask(frames.ASK, 0, [(0, 8), (1, 16), (2, 8)], 2**40 + 5, life=LIFE, incarnation=1234,
                    clock=bench.arbiter.leases.clock(bench.board.ticks_ms()))
    [waits] = bench.send(0, body)
    [answer] = bench.send(0, body)
    assert [row.code for row in waits.rows] == [lease.WAITS, lease.WAITS, lease.NO_GROUP]
    assert [(row.group, row.code, row.epoch, row.ms) for row in answer.rows] == [
        (0, lease.PROMISED, 8, 200), (1, lease.PROMISED, 16, 200), (2, lease.NO_GROUP, 0, 0)]
    assert (answer.node, answer.pair, answer.incarnation, answer.stamp) == (0, 7, 1234, 2**40 + 5)
    assert (answer.life, answer.voter) == (LIFE, bench.board.UNIQUE)
    assert bench.answers(1) == []


def test_an_overtaken_ask_is_not_answered() -> None:
    bench = Bench().abstained()
    bench.granted(0, 8)
    clock = bench.arbiter.leases.clock(bench.board.ticks_ms())
    assert bench.send(0, make_ask(frames.ASK, 0, [(0, 8)], bench.stamp, life=LIFE, clock=clock)) == []


def test_the_clock_of_an_answer_proves_the_next_ask() -> None:
    bench = Bench().abstained()
    assert bench.ask(0, 8, clock=0).code == lease.UNPROVEN
    told = bench.told()
    assert (told.life, told.clock) == (LIFE, (bench.board.now_us - 1000) // 1000)
    assert bench.ask(0, 8, clock=told.clock).code == lease.WAITS


def test_another_pair_is_told_so() -> None:
    bench = Bench().abstained()
    [answer] = bench.send(0, make_ask(frames.ASK, 0, [(0, 8)], 1, life=LIFE, pair=9))
    assert (answer.pair, answer.rows[0].code) == (7, lease.OTHER_PAIR)
    [told] = bench.send(0, make_ask(frames.QUERY, 0, [], 2, pair=9))
    assert (told.kind, told.pair) == (frames.TOLD, 7)
    bench.granted(0, 8)
    assert bench.send(0, make_ask(frames.DEATH, 0, [(0, 0)], 3, pair=9)) == []
    assert bench.send(0, make_ask(frames.RETURN, 0, [(0, 8)], 3, pair=9)) == []
    assert bench.arbiter.leases.holder(bench.board.ticks_ms(), 0) == 0
    assert bench.told(1).heard_ms < 10


def test_a_board_without_pair_serves_any() -> None:
    bench = Bench(pair=0).abstained()
    [told] = bench.send(0, make_ask(frames.QUERY, 0, [], 2, pair=9))
    assert told.pair == 9


def test_each_port_belongs_to_one_side() -> None:
    bench = Bench().abstained()
    clock = bench.arbiter.leases.clock(bench.board.ticks_ms())
    [answer] = bench.send(1, make_ask(frames.ASK, 0, [(0, 8)], 1, life=LIFE, clock=clock))
    assert (answer.node, answer.rows[0].code) == (0, lease.WRONG_SIDE)
    bench.granted(0, 8)
    bench.send(1, make_ask(frames.DEATH, 0, [(0, 0)], 3))
    assert bench.arbiter.leases.holder(bench.board.ticks_ms(), 0) == 0


def test_only_who_belongs_here_counts_as_heard() -> None:
    bench = Bench().abstained()
    bench.send(0, make_ask(frames.ASK, 0, [(0, 8)], 1, pair=9))
    bench.send(1, make_ask(frames.ASK, 0, [(0, 8)], 1))
    assert bench.told(1).heard_ms == 65535
    bench.rounds(30)
    assert bench.told(0).heard_ms == 31


def test_a_shared_bus_serves_every_node() -> None:
    board = FakeBoard()
    board.PORTS, board.SHARED_BUS = 1, True
    bench = Bench(board).abstained()
    assert bench.granted(0, 8).code == lease.PROMISED
    assert bench.ask(1, 17).code == lease.REFUSED
    bench.rounds(201)
    assert bench.granted(5, 21).code == lease.PROMISED
    bench.rounds(5)
    assert [side for _, _, side, on in board.commands if on] == [0]


@pytest.mark.parametrize("node", [8, 15, 255])
def test_a_node_beyond_three_bits_is_noise(node: int) -> None:
    board = FakeBoard()
    board.PORTS, board.SHARED_BUS = 1, True
    bench = Bench(board).abstained()
    assert bench.send(0, make_ask(frames.ASK, node, [(0, 8)], 1, life=LIFE, incarnation=0)) == []
    assert bench.told().tail[10] == 1


def test_return_and_death_end_a_promise() -> None:
    bench = Bench().abstained()
    bench.granted(0, 8)
    assert bench.send(0, make_ask(frames.RETURN, 0, [(0, 8)], 5)) == []
    assert bench.granted(1, 17).code == lease.PROMISED
    assert bench.send(1, make_ask(frames.DEATH, 1, [(0, 0)], 5)) == []
    assert bench.granted(0, 24).code == lease.PROMISED


def test_told_counts() -> None:
    bench = Bench(FakeBoard(groups=2, gated=1), build=0x01020304).abstained()
    bench.ask(0, 8)
    bench.ask(0, 8)
    bench.ask(1, 17)
    bench.send(0, b"\xd1nonsense")
    bench.board.incoming[1] += b"\0\1\2\3\0"
    told = bench.told()
    assert told.tail == (*bench.modules.arbiter.FIRMWARE, 3, 0x01020304, 3, 1, 1, 0xFFFFFFFF, 0xFFFFFFFF, 1, 2, 2,
                         2000, 0)
    assert bench.told().tail[10] == 2
    assert told.heard_ms <= 4
    assert bench.told(1).heard_ms <= 1


def test_the_light_tells_who_is_promised() -> None:
    bench = Bench().abstained()
    bench.granted(0, 8)
    bench.rounds(210)
    bench.granted(1, 17)
    bench.rounds(210)
    assert bench.board.shown == [0, 1, 0, 2, 0]


# ---------------------------------------------------------------- reserved epochs
def test_nothing_is_reserved_before_anybody_asks() -> None:
    bench = Bench().abstained()
    bench.told()
    bench.send(1, make_ask(frames.ASK, 0, [(0, 8)], 1))
    bench.rounds(3000)
    assert bench.board.saved == []


def test_reserved_ahead_while_abstaining() -> None:
    bench = Bench(FakeBoard(ceiling=8192))
    bench.rounds(5)
    assert bench.ask(0, 8200).code == lease.ABSTAINS
    bench.rounds(2)
    assert bench.board.saved == [16384]
    bench.abstained()
    assert bench.ask(0, 8200).code == lease.PROMISED
    assert bench.board.saved == [16384]


def test_a_restart_promises_nothing_below_what_was_reserved() -> None:
    bench = Bench().abstained()
    bench.granted(0, 4000)
    again = Bench(FakeBoard(ceiling=bench.board.ceiling)).abstained()
    row = again.ask(1, 4001)
    assert (row.code, row.epoch) == (lease.REFUSED, 4000 + 8192)


def test_topped_up_in_a_quiet_round_when_three_quarters_are_used() -> None:
    bench = Bench().abstained()
    bench.granted(0, 8)
    [first] = bench.board.saved
    bench.ask(0, first - 2049)
    bench.rounds(1200)
    assert bench.board.saved == [first]
    bench.ask(0, first - 2047)
    assert bench.board.saved == [first]
    bench.rounds(1)
    assert bench.board.saved == [first, first - 2047 + 8192]


def test_flash_is_written_once_a_second_at_most() -> None:
    bench = Bench().abstained()
    for jump in range(1, 400):
        bench.ask(0, jump * 10_000)
        bench.rounds(9)
    assert 3 <= len(bench.board.saved) <= 5


def test_epochs_end_at_32_bits_without_writing_for_ever() -> None:
    bench = Bench().abstained()
    assert bench.granted(0, 0xFFFFFFF8).code == lease.PROMISED
    bench.rounds(5000)
    assert bench.board.saved == [0xFFFFFFFF]


# ---------------------------------------------------------------- what comes in
@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=300), st.binary(max_size=80).map(lambda tail: frames.wrap(
    bytes([frames.VERSION]) + tail))), max_size=8))
def test_no_bytes_stop_it(pieces: list[bytes]) -> None:
    """After any junk (bodies with a good checksum too) an ask is answered, and no more than a frame is kept."""
    bench = Bench().abstained()
    for piece in pieces:
        bench.board.incoming[0] += piece
        bench.rounds(2)
        assert all(len(reader._left) <= reader.longest for reader in bench.arbiter.readers)
    bench.board.incoming[0] += b"\0"
    bench.rounds(2)
    bench.answers(0)
    assert bench.told().kind == frames.TOLD


def test_a_flood_is_worked_off_round_by_round() -> None:
    bench = Bench().abstained()
    bench.board.incoming[0] = frames.wrap(make_ask(frames.QUERY, 0, [], 1)) * 100
    bench.rounds(1)
    assert len(bench.answers(0)) <= 8
    assert bench.granted(1, 17).code == lease.PROMISED


# ---------------------------------------------------------------- main.py
class Console(ModuleType):
    """`micropython` as main.py needs it."""

    def __init__(self) -> None:
        super().__init__("micropython")
        self.interrupt: list[int] = []

    def kbd_intr(self, char: int) -> None:
        self.interrupt.append(char)


class Ended(Exception):
    """Stands for any error in the firmware."""


def _run_main(board: FakeBoard) -> tuple[Any, Console]:
    console = Console()
    with pytest.raises(Reset) as caught:
        load("main", board=board, micropython=console)
    return caught.value.args[0], console


def _promising(board: FakeBoard, rounds: int, node: int = 0) -> None:
    """One gateway asks from the second second on; `idle` ends the loop after so many rounds."""
    board.spent = 0  # type: ignore[attr-defined]

    def idle() -> None:
        board._call("idle")
        board.now_us += 1000
        board.spent += 1  # type: ignore[attr-defined]
        if board.spent % 20 == 0 and board.now_us > 7_010_000:  # type: ignore[attr-defined]
            board.incoming[node] += frames.wrap(make_ask(
                frames.ASK, node, [(0, 8)], board.now_us, life=LIFE, clock=board.ticks_ms()))
        if board.spent == rounds:  # type: ignore[attr-defined]
            raise Ended("as if memory ran out")

    board.idle = idle  # type: ignore[method-assign]


@pytest.mark.parametrize("node", [0, 1])
def test_main_runs_until_an_error_and_opens_the_contacts_before_the_reset(node: int) -> None:
    board = FakeBoard()
    _promising(board, 2200, node)
    error, console = _run_main(board)
    assert isinstance(error, Ended)
    assert console.interrupt == [-1]
    assert board.fed == 2200
    assert [entry[2:] for entry in board.commands] == [(node, True), (node, False)]
    assert board.calls[-1] == "reset"


@pytest.mark.parametrize("error", [Ended("a"), MemoryError(), OSError(5), KeyboardInterrupt(), SystemExit()])
@pytest.mark.parametrize("call", BOARD_CALLS)
def test_an_error_in_the_board_ends_in_a_reset(call: str, error: BaseException) -> None:
    board = FakeBoard()
    _promising(board, 2200)
    board.fail[call] = error
    assert _run_main(board)[0] is error
    assert board.calls[-1] == "reset"
    assert not any(relay.on for relay in board.relays[0])


def test_the_reset_comes_even_if_the_contacts_cannot_be_reached() -> None:
    board = FakeBoard()
    board.fail = {"read": Ended("first"), "set_contact": Ended("second")}
    assert _run_main(board)[0].args == ("first",)
