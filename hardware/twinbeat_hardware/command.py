"""One command with a deadline: run, watched, ended with everything it started, and reported as a value.

The process leads a session of its own, so that its children can be reached by one signal. Its end is seen
through a pidfd, which does not reap it: as long as the leader is not reaped its number cannot be given to a
stranger, and the group can be killed without doubt about whom it hits.
"""
from __future__ import annotations

import contextlib
import enum
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

KILL_GRACE_MS = 300.0
"""Time between the polite and the final signal."""
KILL_WAIT_MS = 1000.0
"""Longest wait for a killed process to be gone; one stuck in the kernel is left behind and reported."""
STDERR_BYTES_MAX = 4096
STDERR_LINES_MAX = 5
_READ_BYTES = 65536
_NS_PER_MS = 1_000_000


class Outcome(enum.Enum):
    """How a command ended."""

    OK = "ok"
    FAILED = "failed"
    TIMED_OUT = "timed-out"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class CommandResult:
    """What became of a command.

    returncode  its exit status, negative: the signal that ended it, None: never started or not gone
    ran_ms      from the start to the end that was seen
    stderr      its last lines on standard error
    """

    outcome: Outcome
    argv: tuple[str, ...]
    returncode: int | None
    ran_ms: float
    stderr: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """The command did what it was asked to."""
        return self.outcome is Outcome.OK

    def __str__(self) -> str:
        program = self.argv[0]
        said = f': {" | ".join(self.stderr)}' if self.stderr else ""
        if self.outcome is Outcome.OK:
            return f"{program} finished after {self.ran_ms:.0f} ms"
        if self.ran_ms == 0.0 and self.returncode is None:
            return f"{program} was not started{said}"
        if self.outcome is Outcome.FAILED:
            return f"{program} failed with {_status(self.returncode)} after {self.ran_ms:.0f} ms{said}"
        gone = "" if self.returncode is not None else "; it is stuck in the kernel and still there"
        why = "ran past its deadline and was ended" if self.outcome is Outcome.TIMED_OUT else "was called off"
        return f"{program} {why} after {self.ran_ms:.0f} ms{gone}{said}"


class CallOff:
    """A way to end commands before their deadline: set from any thread, seen by whichever command runs under it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.is_set = False

    def set(self) -> None:
        """Ends what runs now and keeps the rest from starting. Closed: no effect."""
        with self._lock:
            self.is_set = True
            if self._fd >= 0:
                os.eventfd_write(self._fd, 1)

    def fileno(self) -> int:
        """Readable once set."""
        return self._fd

    def close(self) -> None:
        """Frees the descriptor, after the last command has ended."""
        with self._lock:
            fd, self._fd = self._fd, -1
            if fd >= 0:
                os.close(fd)


def run_command(
    argv: Sequence[str], env: Mapping[str, str], deadline_ms: float, call_off: CallOff | None = None
) -> CommandResult:
    """Runs a program to its end, its deadline or its calling off, whichever is first. Never raises for what it does."""
    began_ns = _now_ns()
    argv = tuple(argv)
    if call_off is not None and call_off.is_set:
        return CommandResult(Outcome.CANCELLED, argv, None, 0.0, ("called off before",))
    try:
        process = subprocess.Popen(
            argv,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as problem:
        return CommandResult(Outcome.FAILED, argv, None, 0.0, (str(problem),))
    try:
        watch = _Watch(process)
    except OSError as problem:  # out of descriptors: a command that cannot be watched must not run
        os.killpg(process.pid, signal.SIGKILL)
        return CommandResult(Outcome.FAILED, argv, None, 0.0, (f"cannot be watched: {problem}",))
    try:
        until_ns = began_ns + int(deadline_ms * _NS_PER_MS)
        ended = watch.wait(until_ns, -1 if call_off is None else call_off.fileno())
        called_off = not ended and call_off is not None and call_off.is_set
        if not ended:
            watch.end_group()
        returncode = watch.reap()
    finally:
        watch.close()
    if ended:
        outcome = Outcome.OK if returncode == 0 else Outcome.FAILED
    else:
        outcome = Outcome.CANCELLED if called_off else Outcome.TIMED_OUT
    ran_ms = (_now_ns() - began_ns) / _NS_PER_MS
    return CommandResult(outcome, argv, returncode, ran_ms, watch.last_lines())


class _Watch:
    """A started process, its end and what it says."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        self.process = process
        self.stderr = process.stderr
        self.said = b""
        self.pid_fd = os.pidfd_open(process.pid)
        os.set_blocking(self.stderr.fileno(), False)

    def wait(self, until_ns: int, wake_fd: int = -1) -> bool:
        """True: the process has ended. False: the moment came or `wake_fd` woke. Reads along what it says."""
        poll = select.poll()
        poll.register(self.pid_fd, select.POLLIN)
        poll.register(self.stderr.fileno(), select.POLLIN)
        if wake_fd >= 0:
            poll.register(wake_fd, select.POLLIN)
        while True:
            left_ms = (until_ns - _now_ns()) / _NS_PER_MS
            ready = dict(poll.poll(max(0.0, left_ms)))
            if self.stderr.fileno() in ready and not self._read():
                poll.unregister(self.stderr.fileno())
            if self.pid_fd in ready:
                return True
            if wake_fd in ready or left_ms <= 0:
                return False

    def end_group(self) -> None:
        """Ends the process and all it started: asks first, then kills, and kills what is left in any case."""
        self._signal(signal.SIGTERM)
        self.wait(_now_ns() + int(KILL_GRACE_MS * _NS_PER_MS))
        self._signal(signal.SIGKILL)
        self.wait(_now_ns() + int(KILL_WAIT_MS * _NS_PER_MS))

    def reap(self) -> int | None:
        """The exit status; None when the process is still there."""
        self._read()
        return self.process.poll()

    def close(self) -> None:
        """Frees the descriptors."""
        os.close(self.pid_fd)
        self.stderr.close()

    def last_lines(self) -> tuple[str, ...]:
        """The end of what was said, readable."""
        text = self.said[-STDERR_BYTES_MAX:].decode("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return tuple(lines[-STDERR_LINES_MAX:])

    def _read(self) -> bool:
        """Takes one piece of standard error; False at its end. One piece only: the deadline goes before the reading."""
        try:
            piece = os.read(self.stderr.fileno(), _READ_BYTES)
        except BlockingIOError:
            return True
        self.said = (self.said + piece)[-STDERR_BYTES_MAX:]
        return bool(piece)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):  # the group is gone already
            os.killpg(self.process.pid, number)


def _status(returncode: int | None) -> str:
    if returncode is not None and returncode < 0:
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(-returncode).name}"
    return f"exit status {returncode}"


def _now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
