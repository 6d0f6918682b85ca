"""Real processes, pipes and ptys for the tests; every wait is bounded and waits for something."""
from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from twinbeat_core.errors import FrameError
from twinbeat_core.frames import Frame
from twinbeat_core.wire import SerialReader, decode

HERE = Path(__file__).parent
KEY = bytes(range(16))
PATIENCE_S = 20.0        # the machine may stall; a test that passes does not wait this long


def now_ns() -> int:
    """The clock of stamps and decisions."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Child:
    """A node process with its lines."""

    def __init__(self, pass_fds: list[int], **parameters: Any) -> None:
        p: dict[str, Any] = {
            "node": 0, "links": ["LINK_SERIAL"], "period_ms": 20, "check_ms": 15, "release_ms": 0, "groups": 1,
            "drift_ppm": 1000, "pair_id": 7,
            "fifo": False, "zombie_ms": 0, "record_bytes": 1 << 20, "outputs": [], "serial": {}, "udp": {},
            "incarnation": 1000 + parameters.get("node", 0),
        }
        p.update(parameters)
        self.seen: list[dict[str, Any]] = []
        self.rest = b""
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "node_process.py"), json.dumps(p)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, pass_fds=pass_fds, start_new_session=True,
        )
        self.started = self.wait("Started")
        self.gate_pid: int = self.started["gate"]

    @property
    def pid(self) -> int:
        """Of the worker."""
        return self.process.pid

    def _read(self, until: float) -> bool:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, until - time.monotonic()))
        data = os.read(self.process.stdout.fileno(), 65536) if ready else b""
        *lines, self.rest = (self.rest + data).split(b"\n")
        self.seen += [json.loads(line) for line in lines]
        return bool(data)

    def wait(self, kind: str, match: Callable[[dict[str, Any]], bool] = lambda line: True) -> dict[str, Any]:
        """The next line of this type that matches; what came before it is forgotten."""
        until = time.monotonic() + PATIENCE_S
        while True:
            for index, line in enumerate(self.seen):
                if line["type"] == kind and match(line):
                    del self.seen[: index + 1]
                    return line
            if not self._read(until):
                raise AssertionError(f"no {kind} within {PATIENCE_S} s or the process ended; seen: {self.seen[-8:]}")

    def wait_state(self, new: int) -> dict[str, Any]:
        """Until the group has entered this State."""
        return self.wait("Reported", lambda line: line["code"] == "RP_STATE" and line["value"] == new)

    def tell(self, **line: Any) -> None:
        """Send a command."""
        assert self.process.stdin is not None
        self.process.stdin.write((json.dumps(line) + "\n").encode())
        self.process.stdin.flush()

    def ask(self, kind: str, **line: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self.tell(**line)
        return self.wait(kind)

    def kill(self) -> None:
        """SIGKILL, and the stamp before it."""
        self.process.kill()

    def close(self) -> None:
        """End the worker; the gate ends with it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)
        self.process.kill()
        self.process.wait(PATIENCE_S)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        assert wait_gone(self.gate_pid), "the gate outlived its agent"


def wait_gone(pid: int) -> bool:
    """Has the process ended (a zombie counts)?"""
    until = time.monotonic() + PATIENCE_S
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], until - time.monotonic())[0])
    finally:
        os.close(fd)


def alive(pid: int) -> bool:
    """Does the process run (not a zombie)?"""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def in_system_call(pid: int, name: str) -> bool:
    """Does the process's main thread wait in this system call at this moment?"""
    wanted = {"poll": {7, 271, 73}}[name]        # x86-64 poll and ppoll; ppoll elsewhere
    try:
        first = Path(f"/proc/{pid}/syscall").read_text().split()[0]
    except OSError:
        return False
    return first.isdigit() and int(first) in wanted


class Relay:
    """The reading end of an output: bytes with stamps."""

    def __init__(self, size: int | None = None) -> None:
        self.fd, self.write_fd = os.pipe()
        self.history: list[tuple[int, int]] = []

    def hand_over(self) -> None:
        """Close our copy of the writing end: from now on only the gate has it."""
        os.close(self.write_fd)

    def read(self, timeout_s: float) -> bytes:
        """Whatever comes next within the time, stamped; empty: nothing."""
        if not select.select([self.fd], [], [], timeout_s)[0]:
            return b""
        data = os.read(self.fd, 4096)
        self.history += [(now_ns(), byte) for byte in data]
        return data

    def wait(self, byte: int) -> int:
        """Until the byte arrives; its stamp."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            mark = len(self.history)
            if not self.read(until - time.monotonic()):
                break
            for at_ns, got in self.history[mark:]:
                if got == byte:
                    return at_ns
        raise AssertionError(f"output byte {byte:#x} did not come; seen {self.history[-8:]}")

    def drain_to_end(self) -> bytes:
        """All bytes until every writer has gone."""
        out = b""
        until = time.monotonic() + PATIENCE_S
        while select.select([self.fd], [], [], max(0.0, until - time.monotonic()))[0]:
            data = os.read(self.fd, 4096)
            if not data:
                return out
            out += data
        raise AssertionError("somebody still holds the output")


class Line:
    """The far end of a serial line: a pty's master, read as frames."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        self.path = os.ttyname(self.slave)
        self.reader = SerialReader()
        self.frames: list[Frame] = []

    def hand_over(self) -> None:
        """Close our copy of the near end."""
        os.close(self.slave)

    def pump(self, timeout_s: float) -> bool:
        """Read once; False when nothing came or the near end is closed."""
        if not select.select([self.master], [], [], timeout_s)[0]:
            return False
        try:
            data = os.read(self.master, 4096)
        except OSError:
            return False
        for bare in self.reader.feed(data):
            with contextlib.suppress(FrameError):
                self.frames.append(decode(bare, KEY, 7))
        return bool(data)

    def wait_frame(self, match: Callable[[Frame], bool]) -> Frame:
        """The first frame that matches."""
        until = time.monotonic() + PATIENCE_S
        done = 0
        while time.monotonic() < until:
            for frame in self.frames[done:]:
                if match(frame):
                    return frame
            done = len(self.frames)
            if not self.pump(until - time.monotonic()) and not alive(os.getpid()):
                break
        raise AssertionError(f"no such frame; last: {self.frames[-3:]}")


@contextlib.contextmanager
def lone_node(**parameters: Any) -> Iterator[tuple[Child, Relay, Line]]:
    """A node without a peer: one output pipe, one serial line whose far end the test holds."""
    relay, line = Relay(), Line()
    outputs = [{"fd": relay.write_fd}, *parameters.pop("more_outputs", [])]
    fds = [relay.write_fd, line.slave, *parameters.pop("more_fds", [])]
    child = Child(fds, outputs=outputs, serial={"0": line.slave}, **parameters)
    relay.hand_over()
    line.hand_over()
    try:
        yield child, relay, line
    finally:
        child.close()
        os.close(relay.fd)
        os.close(line.master)
