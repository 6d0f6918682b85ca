"""An output without a device: refuses what real ones refuse, remembers what it was told and when."""
from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import NamedTuple

from twinbeat_core.outputs import FastOutput

from .output import Output, OutputPlace
from .spec import MockSpec

ON = b"\x01"
OFF = b"\x00"
_READ_BYTES = 4096


class Told(NamedTuple):
    """One switching command as it was received: the level that was asked for, not the one of a stuck contact."""

    at_ns: int
    on: bool


def boottime_ns() -> int:
    """The clock of all decisions."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class MockOutput(Output[MockSpec]):
    """The far side of a pipe that the gate writes to.

    What was written is taken out, and stamped with `clock_ns`, whenever `history`, `level` or `read_back` is
    called; who needs prompt stamps waits on `fileno` and then calls `history`.
    """

    kind = "mock"

    def __init__(self, spec: MockSpec, place: OutputPlace, clock_ns: Callable[[], int] = boottime_ns) -> None:
        super().__init__(spec, place)
        self._clock_ns = clock_ns
        self._read_fd = -1
        self._history: list[Told] = []
        self.stuck: bool | None = {"": None, "on": True, "off": False}[spec.stuck]
        """Level at which the contact is welded; None: it follows. May be changed at any time."""

    def fileno(self) -> int:
        """Readable when something new was written."""
        self.require_open()
        return self._read_fd

    def history(self) -> list[Told]:
        """All commands since the driver was made, in order."""
        self._take()
        return list(self._history)

    def level(self) -> bool:
        """The contact: on only after an on command, unless it is stuck."""
        self._take()
        if self.stuck is not None:
            return self.stuck
        return bool(self._history) and self._history[-1].on

    def break_wire(self) -> None:
        """From now on every write of the gate fails with EPIPE."""
        self._take()
        self._shut()

    def _open(self) -> FastOutput:
        if self.spec.fail == "open":
            raise self.error('cannot be opened, as fail = "open" asks: take the key out')
        self._read_fd, write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.spec.fail == "write":
            self._shut()
        return FastOutput(
            name=self.name,
            group=self.place.group,
            kind="bytes",
            fd=write_fd,
            on=ON,
            off=OFF,
            exit=self.spec.exit_level,
        )

    def _close(self) -> None:
        self._take()
        self._shut()

    def _read_back(self) -> bool | None:
        return self.level()

    def _describe(self) -> dict[str, object]:
        return {"stuck": self.stuck, "told": len(self._history)}

    def _take(self) -> None:
        while self._read_fd >= 0:
            try:
                piece = os.read(self._read_fd, _READ_BYTES)
            except BlockingIOError:
                return
            if not piece:
                return
            at_ns = self._clock_ns()
            self._history += [Told(at_ns, byte == ON[0]) for byte in piece]

    def _shut(self) -> None:
        fd, self._read_fd = self._read_fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)
