"""Pseudo-terminals as cables: the rig keeps the master, an agent opens the other end by its path.

`serve` is the main loop of the processes that hold such lines.
"""
from __future__ import annotations

import contextlib
import os
import pty
import select
import socket
import termios
import tty
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from twinbeat.demo import procs
from twinbeat.demo.helper import Control, Json

READ_SIZE = 4096
UNPLUGGED_POLL_S = 0.005   # how soon an agent that opens its end is noticed; what it writes meanwhile waits


class Line:
    """One pty with a stable path.

    The rig does not hold the far end open: an agent refuses a port that somebody else has open. While nobody has it
    open the line is `unplugged`; the master of such a pty is always readable and says EIO, so it must not be waited on.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.master, far_end = pty.openpty()
        tty.setraw(far_end)
        os.set_blocking(self.master, False)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        path.symlink_to(os.ttyname(far_end))
        os.close(far_end)
        self.unplugged = True

    @property
    def masters(self) -> list[int]:
        """What to wait on while it is plugged in."""
        return [self.master]

    def read(self) -> bytes:
        """What the agent wrote; empty when nothing is there."""
        try:
            return os.read(self.master, READ_SIZE)
        except BlockingIOError:
            return b""
        except OSError:
            self.unplugged = True
            return b""

    def write(self, data: bytes) -> int:
        """Towards the agent; returns how many bytes fit. What does not fit is lost, as on a real receiver."""
        if self.unplugged:
            self.look()
        if self.unplugged:
            return 0
        try:
            return os.write(self.master, data)
        except BlockingIOError:
            return 0

    def look(self) -> None:
        """Notices an agent that has opened its end."""
        poll = select.poll()
        poll.register(self.master, select.POLLIN)
        self.unplugged = any(events & select.POLLHUP for _, events in poll.poll(0))

    def discard(self) -> None:
        """Throws away what lies in both directions: a port that was closed keeps nothing for who opens it next."""
        far_end = os.open(self.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            termios.tcflush(far_end, termios.TCIOFLUSH)
            while self.read():
                pass
        finally:
            os.close(far_end)

    def close(self) -> None:
        """Gives the pty back."""
        with contextlib.suppress(OSError):
            os.close(self.master)
        with contextlib.suppress(OSError):
            self.path.unlink()


class Socket:
    """A unix socket that stands for the far end of a cable: whoever connects has plugged it in, the newest counts.

    For a process that emulates a board. A pty there would add two more hops through a kernel worker of ordinary
    priority, which a busy machine holds up; a cable does not feel that.
    """

    unplugged = False

    def __init__(self, path: Path) -> None:
        self.path = path
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.setblocking(False)
        self._listener.bind(str(path))
        self._listener.listen()
        self._plugged: socket.socket | None = None

    @property
    def masters(self) -> list[int]:
        """What to wait on."""
        return [self._listener.fileno(), *([self._plugged.fileno()] if self._plugged is not None else [])]

    def read(self) -> bytes:
        """What came; empty when nothing is there."""
        with contextlib.suppress(BlockingIOError):
            fresh = self._listener.accept()[0]
            self._unplug()
            fresh.setblocking(False)
            self._plugged = fresh
        if self._plugged is None:
            return b""
        try:
            data = self._plugged.recv(READ_SIZE)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self._unplug()
        return data

    def write(self, data: bytes) -> int:
        """Returns how many bytes fit; the rest is lost."""
        if self._plugged is None:
            return 0
        try:
            return self._plugged.send(data)
        except OSError:
            return 0

    def look(self) -> None:
        """A socket tells by itself."""

    def discard(self) -> None:
        """Throws away what has come."""
        while self.read():
            pass

    def close(self) -> None:
        """Gives the socket back."""
        self._unplug()
        self._listener.close()
        self.path.unlink(missing_ok=True)

    def _unplug(self) -> None:
        if self._plugged is not None:
            self._plugged.close()
            self._plugged = None


End = Line | Socket


def wait(lines: Sequence[End], others: Iterable[int], timeout_s: float | None) -> list[int]:
    """Descriptors that can be read: masters of lines that are plugged in, and `others`."""
    for line in lines:
        if line.unplugged:
            line.look()
    plugged = [master for line in lines if not line.unplugged for master in line.masters]
    if any(line.unplugged for line in lines):
        timeout_s = UNPLUGGED_POLL_S if timeout_s is None else min(timeout_s, UNPLUGGED_POLL_S)
    readable, _, _ = select.select([*plugged, *others], [], [], timeout_s)
    return readable


class Part(Protocol):
    """What a process does with its lines."""

    def wake(self, ready: list[int], at_ns: int) -> None:
        """Something came on these masters; `at_ns` is when the process woke for it."""

    def due_s(self) -> float | None:
        """Does what is due; seconds until there is more to do, None: nothing before somebody writes."""

    def handle(self, request: Json) -> Json:
        """One request of the parent."""


def serve(lines: Sequence[End], part: Part, control: Control, priority: int) -> None:
    """Says that it is ready, works until the control input ends, and gives the lines back."""
    fifo = procs.prepare_helper(priority)
    control.send(ready=True, fifo=fifo, ports=[str(line.path) for line in lines])
    try:
        while not control.ended:
            readable = wait(lines, [control.fd], part.due_s())
            at_ns = procs.now_ns()
            ready = [handle for handle in readable if handle != control.fd]
            if ready:
                part.wake(ready, at_ns)
            if control.fd in readable:
                for request in control.read():
                    control.answer(request, part.handle)
    finally:
        for line in lines:
            line.close()
