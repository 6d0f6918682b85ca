"""Two relay boards on ptys, one per node, read and time-stamped by one process at SCHED_FIFO.

One process and one wake-up for both, so that the stamps of the two boards can be compared: bytes found at one wake-up
carry the stamp taken when it began. Two changes closer together than one wake-up (some tens of microseconds) count as
simultaneous. The boards understand the patterns of a common USB relay board (lcus-1).
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from twinbeat.demo import procs
from twinbeat.demo.helper import Control, Json
from twinbeat.demo.lines import Line, serve
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
    """Both boards: what came in, as events."""

    def __init__(self, lines: list[Line], board: Switchboard, control: Control) -> None:
        self.lines = lines
        self.board = board
        self.control = control
        self.decoders = [Decoder() for _ in lines]

    def wake(self, _ready: list[int], at_ns: int) -> None:
        """Reads both boards at one wake-up, whichever of them had something."""
        for node, line in enumerate(self.lines):
            data = line.read()
            if not data or self.board.is_dark(node):
                continue
            for order, level in enumerate(self.decoders[node].feed(data)):
                self.control.send(at_ns=at_ns + order, node=node, on=level)

    def due_s(self) -> float | None:
        """Boards do nothing by themselves."""
        return None

    def handle(self, request: Json) -> Json:
        """{"discard": node}: the board was replugged. Anything else answers that the reader is alive."""
        if "discard" in request:
            node = request["discard"]
            self.lines[node].discard()
            self.decoders[node] = Decoder()
        return {"at_ns": procs.now_ns(), "noise": [decoder.noise for decoder in self.decoders]}


def main() -> int:
    """`python -m twinbeat.demo.relay --board FILE --port PATH --port PATH`."""
    parser = argparse.ArgumentParser(prog="twinbeat.demo.relay")
    parser.add_argument("--board", required=True)
    parser.add_argument("--port", action="append", type=Path, required=True)
    options = parser.parse_args()
    lines = [Line(path) for path in options.port]
    control = Control()
    serve(lines, Boards(lines, Switchboard(options.board), control), control, FIFO_PRIORITY)
    return 0


if __name__ == "__main__":
    sys.exit(main())
