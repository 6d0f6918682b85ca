"""The contact log of an emulated arbiter: who drives where the arbiter gates the outputs, by the arbiter's own clock.

One line for each contact that has closed or opened: "<monotonic us> <group> <side> <0|1>". It comes through a pipe,
whose end is the end of the arbiter's process: without supply its contacts open.
"""
from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from twinbeat.demo import procs
from twinbeat.demo.measure import Change

GROUP = 0     # of the demo's one group


def boottime_offset_ns() -> int:
    """What CLOCK_BOOTTIME is ahead of CLOCK_MONOTONIC: the time this machine slept."""
    before_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    boottime_ns = procs.now_ns()
    return boottime_ns - (before_ns + time.clock_gettime_ns(time.CLOCK_MONOTONIC)) // 2


class ContactLog:
    """Turns the lines of one arbiter process into changes. `sides`: the node of each side."""

    def __init__(self, sides: list[str], offset_ns: int) -> None:
        self.sides = sides
        self.closed: set[str] = set()
        self.noise = 0
        self._offset_ns = offset_ns
        self._rest = b""

    def feed(self, data: bytes) -> list[Change]:
        """What these bytes say of the demo's group; a line that makes no sense is counted."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        changes = []
        for line in lines:
            try:
                at_us, group, side, closed = map(int, line.split())
                change = Change(at_us * 1000 + self._offset_ns, self.sides[side], bool(closed))
            except (ValueError, IndexError):
                self.noise += 1
                continue
            if group == GROUP:
                changes.append(change)
                (self.closed.add if change.on else self.closed.discard)(change.node)
        return changes

    def end(self, at_ns: int) -> list[Change]:
        """The process is gone, and with it the supply of its relays: what was closed opens."""
        ended = [Change(at_ns, node, False, "power") for node in sorted(self.closed)]
        self.closed.clear()
        return ended


class LogReader:
    """Reads one process's log in a thread, to its end. `write_fd` is for that process."""

    def __init__(self, sides: list[str], add: Callable[[Change], None]) -> None:
        self.log = ContactLog(sides, boottime_offset_ns())
        self._add = add
        self._read_fd, self.write_fd = os.pipe()
        self._thread = threading.Thread(target=self._read, name="contacts", daemon=True)

    def start(self) -> None:
        """Call when the process has been started: it alone holds the writing end from now on."""
        os.close(self.write_fd)
        self._thread.start()

    def join(self) -> None:
        """After the end of the process: until everything it wrote has been added."""
        self._thread.join(5.0)

    def _read(self) -> None:
        while data := os.read(self._read_fd, 65536):
            for change in self.log.feed(data):
                self._add(change)
        os.close(self._read_fd)
        for change in self.log.end(procs.now_ns()):
            self._add(change)
