"""Serial cables: two ptys each and what can go wrong between them; those between the agents, or those to an arbiter.

A process of its own, at SCHED_FIFO where that is permitted, since a cable does not feel how busy a computer is. Each
direction is a lane. A lane cuts, drops whole frames at random, corrupts frames at random and delays. Frames are what
stands between zero bytes; anything else is passed as it comes. It has no baud rate.
"""
from __future__ import annotations

import argparse
import random
import sys
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from twinbeat.demo import procs
from twinbeat.demo.helper import Control, Json
from twinbeat.demo.lines import End, Line, Socket, serve
from twinbeat.demo.switchboard import Switchboard

FIFO_PRIORITY = 70
CORRUPT_WITHIN = 24     # a damaged byte lies among the first so many of its frame; the shortest frame is longer


class Lane:
    """One direction: bytes in, the bytes that arrive out. Deterministic for a seed and a sequence of bytes."""

    def __init__(self, seed: int | str) -> None:
        self.loss = 0.0            # share of frames lost, 0..1
        self.corrupt = 0.0         # share of frames with one damaged byte, 0..1
        self.delay_ns = 0
        self.waiting: deque[tuple[int, bytes]] = deque()
        self.stats = {"frames": 0, "dropped": 0, "corrupted": 0, "bytes_in": 0, "bytes_out": 0,
                      "bytes_cut": 0, "bytes_overrun": 0}
        self._random = random.Random(seed)
        self._in_frame = False
        self._dropping = False
        self._corrupt_in = -1      # bytes until the damaged one, -1: none in this frame

    def set(self, loss: float | None = None, corrupt: float | None = None, delay_ms: float | None = None) -> None:
        """Changes what is given; shares 0..1, delay in milliseconds. ValueError outside of that."""
        for name, share in (("loss", loss), ("corrupt", corrupt)):
            if share is not None:
                if not 0 <= share <= 1:
                    raise ValueError(f"{name} is a share between 0 and 1, not {share}")
                setattr(self, name, share)
        if delay_ms is not None:
            if not 0 <= delay_ms <= 60_000:
                raise ValueError(f"delay_ms is between 0 and 60000, not {delay_ms}")
            self.delay_ns = round(delay_ms * 1e6)

    def cut(self, data: bytes) -> None:
        """These bytes met a cut. The frame they belonged to is over."""
        self.stats["bytes_in"] += len(data)
        self.stats["bytes_cut"] += len(data)
        self._in_frame = self._dropping = False
        self._corrupt_in = -1

    def passes(self, data: bytes) -> bytes:
        """What is left of these bytes."""
        self.stats["bytes_in"] += len(data)
        out = bytearray()
        place = 0
        while place < len(data):
            if data[place] == 0:
                self._in_frame = self._dropping = False
                out.append(0)
                place += 1
                continue
            end = data.find(0, place)
            end = len(data) if end < 0 else end
            if not self._in_frame:
                self._begin_frame()
            self._frame_part(data[place:end], out)
            place = end
        return bytes(out)

    def _begin_frame(self) -> None:
        self._in_frame = True
        self.stats["frames"] += 1
        self._dropping = self.loss > 0 and self._random.random() < self.loss
        self._corrupt_in = -1
        if self._dropping:
            self.stats["dropped"] += 1
        elif self.corrupt > 0 and self._random.random() < self.corrupt:
            self.stats["corrupted"] += 1
            self._corrupt_in = self._random.randrange(CORRUPT_WITHIN)

    def _frame_part(self, part: bytes, out: bytearray) -> None:
        if self._dropping:
            return
        if 0 <= self._corrupt_in < len(part):
            damaged = bytearray(part)
            damaged[self._corrupt_in] ^= self._random.randrange(1, 256)
            part = bytes(damaged)
            self._corrupt_in = -1
        elif self._corrupt_in >= 0:
            self._corrupt_in -= len(part)
        out += part


class Wire:
    """Both ends and both lanes; `lanes[n]` carries what end n sends while not `silent(n)`."""

    def __init__(self, lines: Sequence[End], silent: Callable[[int], bool], seed: str) -> None:
        self.lines = lines
        self.silent = silent
        self.lanes = [Lane(f"{seed}/{source}") for source in range(2)]

    def received(self, source: int) -> None:
        """End `source` wrote something: pass it on."""
        data = self.lines[source].read()
        lane = self.lanes[source]
        if self.silent(source):
            lane.cut(data)
            return
        data = lane.passes(data)
        if not data:
            return
        if lane.delay_ns or lane.waiting:
            lane.waiting.append((procs.now_ns() + lane.delay_ns, data))
        else:
            self._deliver(source, data)

    def deliver_due(self) -> float | None:
        """Delivers what has waited long enough; seconds until the next is due, None when nothing waits."""
        next_due = None
        for source, lane in enumerate(self.lanes):
            while lane.waiting and lane.waiting[0][0] <= procs.now_ns():
                self._deliver(source, lane.waiting.popleft()[1])
            if lane.waiting:
                due = lane.waiting[0][0]
                next_due = due if next_due is None else min(due, next_due)
        return None if next_due is None else max(0, next_due - procs.now_ns()) / 1e9

    def handle(self, request: Json) -> Json:
        """{"set": {...}, "source": n or absent for both} | {"discard": end} | {"stats": true}."""
        if "set" in request:
            sources = [request["source"]] if "source" in request else [0, 1]
            for source in sources:
                self.lanes[source].set(**request["set"])
        if "discard" in request:
            self.lines[request["discard"]].discard()
        return {"at_ns": procs.now_ns(), "stats": [lane.stats for lane in self.lanes]}

    def _deliver(self, source: int, data: bytes) -> None:
        lane = self.lanes[source]
        if self.silent(source):
            lane.stats["bytes_cut"] += len(data)
            return
        written = self.lines[1 - source].write(data)
        lane.stats["bytes_out"] += written
        lane.stats["bytes_overrun"] += len(data) - written


class Wires:
    """The cables of one process."""

    def __init__(self, wires: list[Wire]) -> None:
        self.wires = wires

    def wake(self, ready: list[int], _at_ns: int) -> None:
        """Passes on what came."""
        for wire in self.wires:
            for source, line in enumerate(wire.lines):
                if any(master in ready for master in line.masters):
                    wire.received(source)

    def due_s(self) -> float | None:
        """Delivers what has waited long enough; seconds until the next is due."""
        waits = [wait_s for wire in self.wires if (wait_s := wire.deliver_due()) is not None]
        return min(waits, default=None)

    def handle(self, request: Json) -> Json:
        """A request to one cable: {"cable": number, 0 where it is absent, and what `Wire.handle` takes}."""
        return self.wires[request.get("cable", 0)].handle(request)


def main() -> int:
    """`python -m twinbeat.demo.wire --board FILE --port PATH --port PATH --ends 0,1 --seed S [--voter]`."""
    parser = argparse.ArgumentParser(prog="twinbeat.demo.wire")
    parser.add_argument("--board", required=True)
    parser.add_argument("--port", action="append", type=Path, required=True, help="in pairs, the ends of a cable")
    parser.add_argument("--ends", action="append", help="the numbers of the nodes that a cable joins (default: 0,1)")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--voter", action="store_true",
                        help="cable n is node n's to the arbiter: the node's end is a pty, the other a unix socket")
    options = parser.parse_args()
    kinds = (Line, Socket) if options.voter else (Line, Line)
    lines: list[End] = [kinds[number % 2](path) for number, path in enumerate(options.port)]
    board = Switchboard(options.board)
    wires = []
    ends = options.ends or ["0,1"]
    for number in range(len(lines) // 2):
        silent = partial(_voter_silent, board, number) if options.voter else _between(board, ends[number])
        wires.append(Wire(lines[2 * number:2 * number + 2], silent, f"{options.seed}/{number}"))
    serve(lines, Wires(wires), Control(), FIFO_PRIORITY)
    return 0


def _between(board: Switchboard, ends: str) -> Callable[[int], bool]:
    """Whether what one end of a cable sends is lost; `ends`: the nodes at both, "0,1"."""
    nodes = [int(node) for node in ends.split(",")]
    return lambda source: board.wire_silent(nodes[source], nodes[1 - source])


def _voter_silent(board: Switchboard, node: int, _source: int) -> bool:
    return board.voter_silent(node)


if __name__ == "__main__":
    sys.exit(main())
