"""boards/unix.py with the real firmware over ptys, under MicroPython and CPython."""
from __future__ import annotations

import os
import random
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from firmware_rig import NO_MICROPYTHON, command_of, interpreters, make_ask, read_answer, run
from unix_rig import LAUNCHER, LIMIT_S, UnixArbiter

from twinbeat_bridge.arbiter import frames, lease

BLOCK = 8192                  # arbiter.py's, which only a board can import

@pytest.fixture(params=interpreters())
def interpreter(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if not command_of(name):
        pytest.skip(NO_MICROPYTHON)
    return name


@pytest.fixture
def arbiter(interpreter: str, tmp_path: Path) -> Iterator[UnixArbiter]:
    with UnixArbiter(interpreter, tmp_path) as running:
        yield running


def test_abstains_then_promises(arbiter: UnixArbiter) -> None:
    first = arbiter.ask(0, 8)
    assert (first.rows[0].code, first.voter, first.pair) == (lease.ABSTAINS, 0xA5B17E50, 7)
    assert arbiter.moves() == []
    answer = arbiter.promised(0, 8)
    assert (answer.rows[0].epoch, answer.rows[0].ms) == (8, 200)
    told = arbiter.query()
    assert told.tail[3] == 3
    assert told.tail[6] == 1


def test_the_contact_follows_the_promise(arbiter: UnixArbiter) -> None:
    arbiter.promised(0, 8)
    _until(arbiter, lambda: len(arbiter.moves()) == 2)
    closed, opened = arbiter.moves()
    assert [closed[1:], opened[1:]] == [(0, 0, 1), (0, 0, 0)]
    assert opened[0] - closed[0] >= 195_000


def test_two_sides_in_turn_are_never_both_closed(arbiter: UnixArbiter) -> None:
    """Twelve changeovers, some by a return and some by the end of a promise."""
    epoch = 8
    for turn in range(12):
        node = turn % 2
        arbiter.promised(node, epoch, grant=60)
        _until(arbiter, partial(_last_moved, arbiter, (node, 1)), node, epoch)
        if turn % 3:
            arbiter.give_back(node, epoch)
        epoch += 8
    closed: set[int] = set()
    for _, _, side, on in arbiter.moves():
        closed = closed | {side} if on else closed - {side}
        assert closed != {0, 1}
    assert {entry[2] for entry in arbiter.moves()} == {0, 1}
    told = arbiter.query()
    assert told.tail[8] < 5_000_000
    assert told.tail[9] == 0


def test_a_pty_that_went_away_is_not_opened_again(interpreter: str, tmp_path: Path) -> None:
    """Its number is given to the next pty that anybody opens."""
    running = UnixArbiter(interpreter, tmp_path)
    with running:
        assert running.process is not None
        for side in running.sides:
            side.close()
        assert running.process.wait(timeout=LIMIT_S) == 4
        running.sides.clear()


def _last_moved(arbiter: UnixArbiter, move: tuple[int, int]) -> bool:
    return arbiter.moves()[-1:] != [] and arbiter.moves()[-1][2:] == move


def _until(arbiter: UnixArbiter, seen: Callable[[], bool], node: int | None = None, epoch: int = 0) -> None:
    """Waits for what is to be seen in the log; renews meanwhile, if so told."""
    until_s = time.monotonic() + LIMIT_S
    while not seen():
        assert time.monotonic() < until_s, arbiter.moves()
        if node is not None:
            arbiter.ask(node, epoch, grant=60)
        arbiter.sides[0].answer(0.01)


def test_junk_does_not_stop_it(arbiter: UnixArbiter) -> None:
    noise = random.Random(5)
    for _ in range(20):
        for side in arbiter.sides:
            side.send(noise.randbytes(500) + b"\3\3\x04\x1b" * 10)
        arbiter.sides[0].answer(0.01)
    arbiter.sides[0].send(b"\0")
    assert arbiter.query().tail[10] >= 10
    assert arbiter.promised(0, 8).rows[0].code == lease.PROMISED


def test_a_restart_abstains_and_keeps_the_floor(arbiter: UnixArbiter) -> None:
    arbiter.promised(0, 8)
    life = arbiter.life
    arbiter.kill()
    arbiter.start()
    assert arbiter.life not in (0, life)
    row = arbiter.ask(0, 16).rows[0]
    # The block was reserved in the silence before the first ask, or for that ask.
    assert row.code == lease.ABSTAINS and row.epoch in (BLOCK, 8 + BLOCK)
    assert arbiter.ask(0, 16, life=life).rows[0].code == lease.ABSTAINS
    assert arbiter.promised(1, row.epoch + 1).rows[0].code == lease.PROMISED
    assert arbiter.ask(1, row.epoch + 9, life=life).rows[0].code == lease.UNPROVEN


def test_a_stopped_arbiter_goes_on_where_time_is(arbiter: UnixArbiter) -> None:
    """While it stands still its contact stays; afterwards what has run out has run out."""
    arbiter.promised(0, 8)
    _until(arbiter, lambda: len(arbiter.moves()) >= 1, 0, 8)
    assert arbiter.process is not None
    arbiter.process.send_signal(signal.SIGSTOP)
    assert arbiter.sides[0].answer(0.5) is None
    arbiter.process.send_signal(signal.SIGCONT)
    assert arbiter.promised(1, 17).rows[0].code == lease.PROMISED
    _until(arbiter, lambda: len(arbiter.moves()) >= 3, 1, 17)
    assert [entry[1:] for entry in arbiter.moves()] == [(0, 0, 1), (0, 0, 0), (0, 1, 1)]


def test_a_welded_contact(arbiter: UnixArbiter) -> None:
    arbiter.promised(0, 8)
    _until(arbiter, lambda: len(arbiter.moves()) >= 1, 0, 8)
    arbiter.control.write_text("0 0 welded\n", encoding="utf-8")
    until_s = time.monotonic() + LIMIT_S
    while not arbiter.query().tail[14] & 1:      # found once the promise has run out
        assert time.monotonic() < until_s
    row = arbiter.ask(1, 17).rows[0]
    assert (row.code, row.contacts) == (lease.REFUSED, 1 | 4 | 16)
    arbiter.control.unlink()
    assert arbiter.promised(1, 25).rows[0].code == lease.PROMISED
    _until(arbiter, lambda: len(arbiter.moves()) >= 3, 1, 25)
    assert [entry[1:] for entry in arbiter.moves()] == [(0, 0, 1), (0, 0, 0), (0, 1, 1)]


def test_quiet_it_waits_without_a_busy_loop(arbiter: UnixArbiter) -> None:
    """A busy loop takes a whole core; the bound has room for a slow machine. Measured: about half a percent."""
    assert arbiter.process is not None
    spent_s, begun_s = _cpu_s(arbiter.process.pid), time.monotonic()
    assert arbiter.sides[0].answer(2.0) is None
    assert (_cpu_s(arbiter.process.pid) - spent_s) / (time.monotonic() - begun_s) < 0.1


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_unix_sockets_that_come_late_and_go(interpreter: str, tmp_path: Path) -> None:
    """Side 0 is a socket nobody listens at yet; it is found, and found again after the other end closed."""
    path = str(tmp_path / "line")
    words = [str(LAUNCHER), "--side0", path, "--side1", "/nowhere", "--state", str(tmp_path)]
    process = subprocess.Popen([*command_of(interpreter), *words])
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            listener.settimeout(LIMIT_S)
            for _ in range(2):
                line, _ = listener.accept()
                with line:
                    line.sendall(frames.wrap(make_ask(frames.QUERY, 0, [], 1)))
                    assert select.select([line], [], [], LIMIT_S)[0]
                    [body] = frames.Reader().feed(line.recv(4096))
                    assert read_answer(body).tail[12] == 1
    finally:
        process.kill()
        process.wait(timeout=LIMIT_S)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--side0", "/dev/null"], "--side1 is missing"),
        (["--side0", "a", "--side1", "b", "--pair", "x"], "--pair x is not a number"),
        (["--side0", "a", "--side1", "b", "--groups", "99"], "--groups 99 is not between 1 and 16"),
        (["--side0", "a", "--side1", "b", "--gated", "2"], "--gated 2 is not between 0 and 1"),
        (["--what"], "cannot read '--what'"),
    ],
)
def test_wrong_options_are_named(interpreter: str, words: list[str], said: str) -> None:
    done = run(interpreter, LAUNCHER, *words)
    assert done.returncode == 2
    assert said in done.stderr


def test_an_error_ends_it_with_code_3(interpreter: str, tmp_path: Path) -> None:
    """The state folder does not exist, so the first write to it fails."""
    done = run(interpreter, LAUNCHER, "--side0", "/nowhere", "--side1", "/nowhere", "--state", tmp_path / "none")
    assert done.returncode == 3
    assert "Traceback" in done.stderr
