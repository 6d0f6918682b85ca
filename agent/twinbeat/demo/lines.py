"""Pseudo-terminals as cables: the rig keeps the master, an agent opens the other end by its path."""
from __future__ import annotations

import contextlib
import os
import pty
import select
import termios
import tty
from collections.abc import Iterable
from pathlib import Path

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


def wait(lines: list[Line], others: Iterable[int], timeout_s: float | None) -> list[int]:
    """Descriptors that can be read: masters of lines that are plugged in, and `others`."""
    for line in lines:
        if line.unplugged:
            line.look()
    plugged = [line.master for line in lines if not line.unplugged]
    if len(plugged) < len(lines):
        timeout_s = UNPLUGGED_POLL_S if timeout_s is None else min(timeout_s, UNPLUGGED_POLL_S)
    readable, _, _ = select.select([*plugged, *others], [], [], timeout_s)
    return readable
