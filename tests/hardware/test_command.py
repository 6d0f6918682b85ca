"""One command: how it ends, what is reported, and that nothing it started outlives its deadline."""
from __future__ import annotations

import os
import select
import threading
from pathlib import Path

import pytest
from hardware_benches import WAIT_S, script

from twinbeat_hardware.command import STDERR_BYTES_MAX, CallOff, CommandResult, Outcome, run_command

FOREVER = "tail -f /dev/null"
SOON_MS = 200.0
STARTED_MS = 1500.0
"""Ample for a shell to have begun its work on a busy machine."""
LATE_MS = WAIT_S * 1000.0


def run(path: Path, deadline_ms: float = LATE_MS, call_off: CallOff | None = None) -> CommandResult:
    return run_command((str(path),), dict(os.environ), deadline_ms, call_off)


def wait_gone(pid: int) -> bool:
    """True once the process has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    gone = bool(poll.poll(LATE_MS))
    os.close(fd)
    return gone


def test_success_says_so(tmp_path: Path) -> None:
    result = run(script(tmp_path / "x", "echo to nobody"))
    assert (result.outcome, result.returncode, result.stderr, result.ok) == (Outcome.OK, 0, (), True)
    assert "finished after" in str(result)


def test_failure_carries_status_and_last_lines(tmp_path: Path) -> None:
    body = "for n in 1 2 3 4 5 6 7; do echo line $n >&2; done; echo >&2; exit 9"
    result = run(script(tmp_path / "x", body))
    assert (result.outcome, result.returncode) == (Outcome.FAILED, 9)
    assert result.stderr == ("line 3", "line 4", "line 5", "line 6", "line 7")
    assert "failed with exit status 9" in str(result) and "line 6 | line 7" in str(result)


def test_a_command_ended_by_a_signal_names_it(tmp_path: Path) -> None:
    result = run(script(tmp_path / "x", "kill -SEGV $$"))
    assert (result.outcome, result.returncode) == (Outcome.FAILED, -11)
    assert "failed with signal SIGSEGV" in str(result)


@pytest.mark.parametrize("mode", [0o644, 0o755])
def test_a_command_that_cannot_be_started_fails(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\x7fELF nonsense")
    path.chmod(mode)
    for result in (run(path), run(tmp_path / "nothing")):
        assert (result.outcome, result.returncode) == (Outcome.FAILED, None)
        assert "was not started" in str(result)


def test_a_hang_is_ended_with_all_it_started(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    body = f"echo waiting for the valve >&2; {FOREVER} & echo $! > {pid_file}; wait"
    result = run(script(tmp_path / "x", body), STARTED_MS)
    assert (result.outcome, result.returncode) == (Outcome.TIMED_OUT, -15)
    assert result.ran_ms >= STARTED_MS
    assert "ran past its deadline and was ended" in str(result) and "waiting for the valve" in str(result)
    assert wait_gone(int(pid_file.read_text()))


def test_a_hang_that_ignores_the_polite_signal_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    body = f"trap '' TERM; {FOREVER} & echo $! > {pid_file}; wait; wait"
    result = run(script(tmp_path / "x", body), STARTED_MS)
    assert (result.outcome, result.returncode) == (Outcome.TIMED_OUT, -9)
    assert wait_gone(int(pid_file.read_text()))


def test_a_child_that_ignores_the_polite_signal_dies_with_its_obedient_parent(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    body = f"(trap '' TERM; exec {FOREVER}) & echo $! > {pid_file}; wait"
    result = run(script(tmp_path / "x", body), STARTED_MS)
    assert result.outcome is Outcome.TIMED_OUT
    assert wait_gone(int(pid_file.read_text()))


def test_a_running_command_can_be_called_off(tmp_path: Path) -> None:
    started = tmp_path / "started"
    os.mkfifo(started)
    call_off = CallOff()

    def call_off_once_started() -> None:
        started.read_text()
        call_off.set()

    caller = threading.Thread(target=call_off_once_started)
    caller.start()
    result = run(script(tmp_path / "x", f"echo > {started}; {FOREVER}"), LATE_MS, call_off)
    caller.join(WAIT_S)
    assert result.outcome is Outcome.CANCELLED
    assert result.ran_ms < LATE_MS
    assert "was called off" in str(result)
    assert run(tmp_path / "nothing", LATE_MS, call_off).outcome is Outcome.CANCELLED
    call_off.close()
    call_off.set()
    call_off.close()


def test_a_flood_of_words_is_read_along_and_only_its_end_kept(tmp_path: Path) -> None:
    result = run(script(tmp_path / "x", "head -c 3000000 /dev/zero | tr '\\0' x >&2; echo end >&2"))
    assert result.ok
    assert result.stderr[-1].endswith("end") and sum(map(len, result.stderr)) <= STDERR_BYTES_MAX


def test_an_endless_flood_does_not_hide_the_deadline(tmp_path: Path) -> None:
    assert run(script(tmp_path / "x", "yes >&2"), SOON_MS).outcome is Outcome.TIMED_OUT


def test_what_was_left_in_the_background_does_not_hold_up_the_end(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    result = run(script(tmp_path / "x", f"{FOREVER} & echo $! > {pid_file}"))
    assert result.ok
    pid = int(pid_file.read_text())
    os.kill(pid, 0)  # it was left on purpose, and lives
    os.kill(pid, 9)


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    run(script(tmp_path / "x", FOREVER), 20.0)
    run(tmp_path / "nothing")
    assert len(os.listdir("/proc/self/fd")) == len(before)
