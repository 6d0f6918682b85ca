"""Relay boards on ptys, one per node and unit, read and time-stamped by one process at SCHED_FIFO.

One process and one wake-up for all, so that the stamps of two boards can be compared: bytes found at one wake-up
carry the stamp taken when it began. Two changes closer together than one wake-up (some tens of microseconds) count as
simultaneous. The boards understand the patterns of a common USB relay board (lcus-1).
"""
from __future__ import annotations

import argparse
import select
import sys
from collections.abc import Iterable
from pathlib import Path

from twinbeat.demo import procs
from twinbeat.demo.helper import Control, Json
from twinbeat.demo.lines import Line
from twinbeat.demo.switchboard import Switchboard

FIFO_PRIORITY = 80
ON = bytes.fromhex("A0 01 01 A2")
OFF = bytes.fromhex("A0 01 00 A1")


class Decoder:
    """Finds the on and off patterns in a byte stream; other bytes are noise and are counted."""

    def __init__(self) -> None:
        self.noise = 0
        self._rest = b""

    def feed(self, data: bytes) -> list[bool]:
        """Levels ordered by these bytes, oldest first."""
        data = self._rest + data
        levels: list[bool] = []
        place = 0
        while len(data) - place >= len(ON):
            piece = data[place:place + len(ON)]
            if piece in (ON, OFF):
                levels.append(piece == ON)
                place += len(ON)
            else:
                self.noise += 1
                place += 1
        self._rest = data[place:]
        return levels


class Boards:
    """Every board: what came in, as events. A node has `units` boards, one for each unit it may drive."""

    def __init__(self, lines: list[Line], units: int, board: Switchboard, control: Control) -> None:
        self.lines = lines
        self.units = units
        self.board = board
        self.control = control
        self.decoders = [Decoder() for _ in lines]
        self._number_of = {line.master: number for number, line in enumerate(lines)}
        self._twins = [[twin for twin in range(number % units, len(lines), units) if twin != number]
                       for number in range(len(lines))]
        self.came: list[tuple[int, int, bytes]] = []

    def wake(self, ready: Iterable[int], at_ns: int) -> None:
        """Reads what came at one wake-up; where a board is switched on, those of the same unit on the other nodes too.

        No more than that: what is decoded here would delay the stamps of what comes meanwhile.
        """
        for master in ready:
            number = self._number_of[master]
            data = self.lines[number].read()
            self._keep(number, data, at_ns)
            if ON in data:
                for twin in self._twins[number]:
                    self._keep(twin, self.lines[twin].read(), at_ns)

    def _keep(self, number: int, data: bytes, at_ns: int) -> None:
        if data and not self.board.is_dark(number // self.units):
            self.came.append((at_ns, number, data))

    def tell(self) -> None:
        """Sends what came as one event."""
        changes = [[at_ns + order, number // self.units, number % self.units, level]
                   for at_ns, number, data in self.came
                   for order, level in enumerate(self.decoders[number].feed(data))]
        self.came.clear()
        if changes:
            self.control.send(changes=changes)

    def handle(self, request: Json) -> Json:
        """{"discard": node}: its boards were replugged. Anything else answers that the reader is alive."""
        if "discard" in request:
            for number in range(request["discard"] * self.units, (request["discard"] + 1) * self.units):
                self.lines[number].discard()
                self.decoders[number] = Decoder()
        return {"at_ns": procs.now_ns(), "noise": [decoder.noise for decoder in self.decoders]}


def serve(lines: list[Line], boards: Boards, control: Control) -> None:
    """Works until the control input ends.

    Edge-triggered: a board that nobody has plugged in says so once, and costs nothing from then on, however many are.
    """
    fifo = procs.prepare_helper(FIFO_PRIORITY)
    with select.epoll() as wakes:
        for line in lines:
            wakes.register(line.master, select.EPOLLIN | select.EPOLLET)
        wakes.register(control.fd, select.EPOLLIN)
        control.send(ready=True, fifo=fifo, ports=[str(line.path) for line in lines])
        while not control.ended:
            found = wakes.poll(0 if boards.came else None, len(lines) + 1)
            at_ns = procs.now_ns()
            ready = [handle for handle, _ in found if handle != control.fd]
            boards.wake(ready, at_ns)
            if not ready:
                boards.tell()
            if len(ready) < len(found):
                boards.tell()
                for request in control.read():
                    control.answer(request, boards.handle)
    for line in lines:
        line.close()


def main() -> int:
    """`python -m twinbeat.demo.relay --board FILE --units N --port PATH --port PATH`, all ports of a node together."""
    parser = argparse.ArgumentParser(prog="twinbeat.demo.relay")
    parser.add_argument("--board", required=True)
    parser.add_argument("--units", type=int, default=1)
    parser.add_argument("--port", action="append", type=Path, required=True)
    options = parser.parse_args()
    lines = [Line(path) for path in options.port]
    control = Control()
    serve(lines, Boards(lines, options.units, Switchboard(options.board), control), control)
    return 0


if __name__ == "__main__":
    sys.exit(main())
