"""The micro:bit's firmware in a real MicroPython 1.9.2 on an emulated board: on its serial line and at its pins."""
from __future__ import annotations

import ast
import json
import random
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from microbit_bus import (
    CALLS,
    GRANT_MS,
    INTERPRETER,
    PAIR,
    READ_BACK,
    RELAY,
    RUNNER,
    TRY_S,
    Gateway,
    both_were_high,
    start,
    wait_edge,
)
from microbit_rig import LIMIT_S, Blob, Microbit, missing

from twinbeat_bridge.arbiter import frames
from twinbeat_bridge.bundle import IDENTITY, Bundle, bundle, microbit_files, microbit_flash, read_sources
from twinbeat_bridge.protocol import Board, Contacts, VoteCode

pytestmark = pytest.mark.skipif(bool(missing(INTERPRETER)), reason=missing(INTERPRETER))

VECTORS = Path(__file__).parent / "lease_vectors.json"
RING = 0x3F000
MARK = 0x5A5A


@pytest.fixture(scope="module")
def made() -> Bundle:
    return bundle("microbit", PAIR)


@pytest.fixture(scope="module")
def shared(made: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Microbit]:
    """One board for tests that leave it as they found it: nobody holds a promise after GRANT_MS."""
    with start(tmp_path_factory.mktemp("mcu"), made) as board:
        yield board


def only_row(votes: Any) -> Any:
    assert len(votes.rows) == 1
    return votes.rows[0]


def test_it_says_what_it_is_and_promises_to_one_side(shared: Microbit, made: Bundle) -> None:
    left, right = Gateway(shared, 0), Gateway(shared, 1)
    told = left.told()
    assert told.life == 1  # one start, that is: all fitted into the heap at once
    assert (told.board, told.build, told.firmware) == (Board.MICROBIT, made.build, made.version)
    assert (told.pair_id, told.groups, told.grant_max_ms) == (PAIR, 1, 2000)
    started = only_row(left.ask(16))
    assert started.code is VoteCode.ABSTAINS or told.clock > 2000
    left.claim(16)
    refused = only_row(right.ask(24))
    assert refused.code is VoteCode.REFUSED
    assert refused.epoch == 16
    assert 0 < refused.ms <= GRANT_MS + 1
    left.give_back(16)
    assert only_row(right.claim(24)).epoch == 24
    right.give_back(24)
    assert right.ask(0).heard_ms < 65535


def test_another_pair_is_told_so(shared: Microbit) -> None:
    stranger = Gateway(shared, 0, pair=PAIR + 1)
    assert stranger.exchange(stranger.session.ask([(0, 16)], 1), TRY_S) is None
    assert stranger.session.seen_pair == PAIR


def test_hundreds_of_frames_need_no_memory(shared: Microbit) -> None:
    left, right = Gateway(shared, 0), Gateway(shared, 1)
    before = left.told()
    epoch = left.ask(0).rows[0].epoch + 8
    took = []
    for number in range(150):
        for gateway in (left, right):
            began = time.monotonic()
            gateway.ask(epoch + gateway.session.node)
            took.append(time.monotonic() - began)
        if number % 50 == 0:
            shared.send(frames.wrap(left.session.ask([(group, 1) for group in range(6)], left.next_stamp())))
    after = left.told()
    print(f"round trip p50 {sorted(took)[len(took) // 2] * 1000:.1f} ms")
    assert after.life == before.life
    assert after.asks - before.asks >= 300
    left.give_back(epoch)


def test_junk_with_interrupts_does_not_stop_it(shared: Microbit) -> None:
    left = Gateway(shared, 0)
    before = left.told()
    junk = random.Random(4).randbytes(3800) + b"\3" * 200
    shared.send(bytes(junk))
    shared.send(b"\1" * 2000 + b"\0")
    after = left.told()
    assert after.life == before.life
    assert after.noise > before.noise
    left.claim(left.ask(0).rows[0].epoch + 8)


def test_in_silence_the_promise_runs_out(shared: Microbit) -> None:
    left, right = Gateway(shared, 0), Gateway(shared, 1)
    wait_edge(shared, RELAY[0], False, 0, 1.0)
    epoch = left.ask(0).rows[0].epoch + 8
    seen = len(shared.edges)
    left.claim(epoch)
    assert wait_edge(shared, RELAY[0], True, seen)
    shared.set_input(READ_BACK[0], True)
    asked = time.monotonic()
    left.ask(epoch)
    opened = wait_edge(shared, RELAY[0], False, seen)
    shared.set_input(READ_BACK[0], False)
    assert opened
    late_ms = (opened.at_s - asked) * 1000 - GRANT_MS
    print(f"the contact opened {late_ms:.1f} ms after the promise's length, counted from before the ask was sent")
    assert -5 < late_ms < 1500
    right.claim(epoch + 1)


def test_the_vectors(tmp_path: Path) -> None:
    """The lease core as it lies in flash, in the interpreter that runs it."""
    sources = {"lease.py": read_sources("microbit")["lease.py"], "board.py": "", "main.py": RUNNER}
    flash = microbit_flash(microbit_files(sources, {}))
    wrong = []
    with Microbit(tmp_path, INTERPRETER, [Blob(*part) for part in flash if part[1]]) as board:

        def call(name: str, words: list[int]) -> Any:
            again = name == "Leases"  # what is sent before the program listens is lost
            for _ in range(20 if again else 1):
                board.take()
                board.send(" ".join(map(str, [CALLS.index(name), *words])).encode() + b"\n")
                limit_s = TRY_S if again else LIMIT_S
                if board.wait_for(lambda: b"=" in board.line and board.line.endswith(b"\n"), limit_s):
                    return ast.literal_eval(board.take().decode().split("=")[1].strip())
            raise TimeoutError(f"no answer to {name} {words}")

        for vector in json.loads(VECTORS.read_text(encoding="utf-8")):
            call("Leases", vector["leases"])
            for number, (name, *rest) in enumerate(vector["steps"]):
                silent = name in ("set", "only")
                assert name != "set" or rest[0] == "ceiling"
                found = call(name, [word for word in (rest if silent else rest[:-1]) if word != "ceiling"])
                if not silent and json.loads(json.dumps(found)) != rest[-1]:
                    wrong.append(f"{vector['name']}, step {number}: {found}")
    assert wrong == []


def test_a_reset_opens_the_contact_and_keeps_the_floor(made: Bundle, tmp_path: Path) -> None:
    with start(tmp_path, made) as board:
        left, right = Gateway(board, 0), Gateway(board, 1)
        seen = len(board.edges)
        left.claim(16)
        assert wait_edge(board, RELAY[0], True, seen)
        before = left.told()
        board.reset()
        after = left.told()
        assert after.life != before.life
        assert not board.pin(RELAY[0])
        assert not board.pin(RELAY[1])
        for pin in READ_BACK:
            board.set_input(pin, False)
        abstained = only_row(right.ask(24))
        assert abstained.code is VoteCode.ABSTAINS
        assert abstained.ms <= 2001
        floor = abstained.epoch
        assert floor >= 8192
        # On a busy machine an echo may be older than the promise asked for when it arrives; it is asked again.
        while (row := only_row(right.ask(24))).code in (VoteCode.ABSTAINS, VoteCode.UNPROVEN):
            assert row.ms <= 2001
        assert (row.code, row.epoch) == (VoteCode.REFUSED, floor)
        assert only_row(right.claim(floor + 1)).epoch == floor + 1


def test_never_both_pins_whoever_claims(made: Bundle, tmp_path: Path) -> None:
    with start(tmp_path, made) as board:
        gateways = Gateway(board, 0), Gateway(board, 1)
        epoch = 16
        holder: int | None = None
        for turn in range(6):
            side = turn % 2
            seen = len(board.edges)
            if holder is not None:
                gateways[holder].give_back(epoch)
                assert wait_edge(board, RELAY[holder], False, seen)
            epoch += 8
            gateways[side].claim(epoch)
            if holder is not None:
                # The other relay hangs a little: until its read-back shows open, this side stays open.
                assert not any(edge.pin == RELAY[side] and edge.high for edge in board.edges[seen:])
                released = time.monotonic()
                board.set_input(READ_BACK[holder], False)
            closed = wait_edge(board, RELAY[side], True, seen, GRANT_MS / 2000)
            while not closed:
                gateways[side].claim(epoch)
                closed = wait_edge(board, RELAY[side], True, seen, GRANT_MS / 2000)
            assert holder is None or closed.at_s >= released
            board.set_input(READ_BACK[side], True)
            holder = side
        told = gateways[0].told()
        assert told.overlap_us == 0
        assert told.gap_us is not None
        assert not both_were_high(board.edges)


def test_a_welded_contact_keeps_the_other_side_open(made: Bundle, tmp_path: Path) -> None:
    with start(tmp_path, made) as board:
        left, right = Gateway(board, 0), Gateway(board, 1)
        seen = len(board.edges)
        left.claim(16)
        assert wait_edge(board, RELAY[0], True, seen)
        board.set_input(READ_BACK[0], True)
        assert wait_edge(board, RELAY[0], False, seen)  # in silence; the contact does not follow
        until = time.monotonic() + LIMIT_S
        while Contacts.OTHER_STUCK not in only_row(right.ask(24)).contacts and time.monotonic() < until:
            pass
        for _ in range(20):
            row = only_row(right.ask(32))
            assert row.code is VoteCode.REFUSED
            assert row.contacts == Contacts.GATED | Contacts.OTHER_STUCK | Contacts.OTHER_CLOSED
        assert left.told().stuck == 1
        assert not any(edge.pin == RELAY[1] and edge.high for edge in board.edges)
        assert only_row(left.claim(40)).epoch == 40
        board.set_input(READ_BACK[0], False)


def test_a_contact_that_does_not_close_is_reported(made: Bundle, tmp_path: Path) -> None:
    with start(tmp_path, made) as board:
        left = Gateway(board, 0, grant_ms=2000)
        seen = len(board.edges)
        left.claim(16)
        assert wait_edge(board, RELAY[0], True, seen)
        opened = wait_edge(board, RELAY[0], False, seen)
        assert opened
        row = only_row(left.ask(16))
        assert row.code is VoteCode.PROMISED
        assert row.contacts & (Contacts.OWN_CLOSED | Contacts.OWN_STUCK) == Contacts.OWN_STUCK


def test_without_read_back_and_after_twelve_days(tmp_path: Path) -> None:
    """The interpreter's ms have wrapped: times are long integers, which live in the heap."""
    sources = read_sources("microbit")
    assert "_wraps = 0\n" in sources["board.py"]
    sources["board.py"] = sources["board.py"].replace("_wraps = 0\n", "_wraps = 0x40000000\n")
    files = microbit_files(sources, {"READ_BACK": False}) | {IDENTITY: struct.pack("<II", PAIR, 1)}
    with start(tmp_path, Bundle(files, 1, (0, 0, 0))) as board:
        left, right = Gateway(board, 0), Gateway(board, 1)
        seen = len(board.edges)
        row = only_row(left.claim(16))
        assert Contacts.NO_READBACK in row.contacts
        life = left.told().life
        for _ in range(100):
            left.ask(16)
            right.ask(24)
        assert wait_edge(board, RELAY[0], True, seen)
        assert wait_edge(board, RELAY[0], False, seen)
        right.claim(24)
        assert wait_edge(board, RELAY[1], True, seen)
        assert right.told().life == life
        assert not both_were_high(board.edges)


def test_the_newest_whole_reservation_counts(made: Bundle, tmp_path: Path) -> None:
    entries = [(number, 8192 + number, number ^ (8192 + number) ^ MARK, 0xFFFFFFFF) for number in range(1, 64)]
    entries.append((64, 0xFFFFFFF0, 0xFFFFFFFF, 0xFFFFFFFF))  # power went while it was written
    ring = b"".join(struct.pack("<4I", *entry) for entry in entries)
    parts = [Blob(*part) for part in microbit_flash(made.files)]
    with Microbit(tmp_path, INTERPRETER, [*parts, Blob(RING, ring)]) as board:
        left = Gateway(board, 0)
        assert left.told().life == 65  # the spoilt place was tried and found spoilt
        assert only_row(left.ask(16)).epoch == 8192 + 63
        assert [board.word(RING + 64 * 16 + at) for at in (0, 4)] == [65, 8192 + 63]
