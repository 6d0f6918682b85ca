"""Two gateways on the shared serial line of an emulated micro:bit, and relays with read-back at its pins."""
from __future__ import annotations

import time
from pathlib import Path

from microbit_rig import LIMIT_S, Blob, Edge, Microbit

from twinbeat_bridge.arbiter import frames
from twinbeat_bridge.bundle import Bundle, microbit_flash
from twinbeat_bridge.protocol import Session, Told, VoteCode, Votes

INTERPRETER = Path("/usr/share/firmware-microbit-micropython/firmware.hex")
PAIR = 7
GRANT_MS = 400
RELAY = ("pin0", "pin1")
READ_BACK = ("pin2", "pin8")
TRY_S = 1.0  # an answer takes some 10 ms here; a frame may be lost where two meet


# A program that does lease.py's calls as lines come: number of the call, numbers.
CALLS = "Leases ask note_heard heard_ago give_back dead holder reservation clock set only".split()
RUNNER = """
import lease
from microbit import uart

def run():
    line = b""
    leases = None
    while True:
        line += uart.read(32) or b""
        end = line.find(b"\\n")
        if end >= 0:
            a = [int(word) for word in line[:end].split()]
            line = b""
            call = a.pop(0)
            out = None
            if call == 0:
                leases = lease.Leases(*a)
            elif call == 1:
                out = leases.ask(*a)
            elif call == 2:
                leases.note_heard(*a)
            elif call == 3:
                out = leases.heard_ago(*a)
            elif call == 4:
                out = leases.give_back(*a)
            elif call == 5:
                out = leases.dead(*a)
            elif call == 6:
                out = leases.holder(*a)
            elif call == 7:
                out = leases.reservation(*a)
            elif call == 8:
                out = leases.clock(*a)
            elif call == 9:
                leases.ceiling = a[0]
            else:
                leases.group[a[0]].only = a[1]
            print("=", out)

run()
"""


HEARD_BYTES = 600
"""So much of what came last is told when no answer comes: a traceback of the firmware fits."""


class Gateway:
    """One gateway: asks until it is answered, repeats what is UNPROVEN, as the agent's client does."""

    def __init__(self, board: Microbit, node: int, grant_ms: int = GRANT_MS, pair: int = PAIR) -> None:
        self.board = board
        self.session = Session(node, pair, 100 + node, None, grant_ms)
        self.reader = frames.Reader()
        self.stamp = 1000
        self.heard = b""

    def exchange(self, body: bytes, limit_s: float = TRY_S) -> Votes | Told | None:
        """The answer to this body, or None when none came."""
        self.board.take()
        self.board.send(frames.wrap(body))
        until = time.monotonic() + limit_s
        while (left := until - time.monotonic()) > 0:
            self.board.wait_for(lambda: self.board.line, left)
            said = self.board.take()
            self.heard = (self.heard + said)[-HEARD_BYTES:]
            for answer in self.reader.feed(said):
                heard = self.session.receive(answer)
                if heard is not None:
                    return heard
        return None

    def next_stamp(self) -> int:
        self.stamp += 1000
        return self.stamp

    def told(self, limit_s: float = LIMIT_S) -> Told:
        """What the board says of itself."""
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            answer = self.exchange(self.session.query(self.next_stamp()))
            if isinstance(answer, Told):
                return answer
        raise TimeoutError(f"the board does not answer; it said last: {self.heard!r}")

    def ask(self, epoch: int, limit_s: float = LIMIT_S) -> Votes:
        """The answer for group 0."""
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            answer = self.exchange(self.session.ask([(0, epoch)], self.next_stamp()))
            again = self.session.again(answer) if isinstance(answer, Votes) else None
            if again is not None:
                answer = self.exchange(again)
            if isinstance(answer, Votes):
                return answer
        raise TimeoutError(f"the board does not answer an ask; it said last: {self.heard!r}")

    def claim(self, epoch: int, limit_s: float = LIMIT_S) -> Votes:
        """Ask until it is promised."""
        until = time.monotonic() + limit_s
        while (votes := self.ask(epoch)).rows[0].code is not VoteCode.PROMISED:
            if time.monotonic() > until:
                raise TimeoutError(f"never promised: {votes}")
        return votes

    def give_back(self, epoch: int) -> None:
        self.board.send(frames.wrap(self.session.give_back([(0, epoch)], self.next_stamp())))


def start(run: Path, made: Bundle, clock_shift: int | None = None) -> Microbit:
    """A board with this firmware in its flash, both read-backs open once it answers."""
    board = Microbit(run, INTERPRETER, [Blob(*part) for part in microbit_flash(made.files)], clock_shift)
    try:
        Gateway(board, 0).told()
        for pin in READ_BACK:
            board.set_input(pin, False)
    except BaseException:
        board.stop()
        raise
    return board


def wait_edge(board: Microbit, pin: str, high: bool, after: int, limit_s: float = LIMIT_S) -> Edge | None:
    """The first such edge after the first `after` ones; None: it did not come."""

    def found() -> Edge | None:
        return next((edge for edge in board.edges[after:] if edge.pin == pin and edge.high == high), None)

    edge: Edge | None = board.wait_for(found, limit_s)
    return edge


def both_were_high(edges: list[Edge]) -> bool:
    """Whether the edges show both relays switched on at once."""
    level = dict.fromkeys(RELAY, False)
    for edge in edges:
        if edge.pin in level:
            level[edge.pin] = edge.high
            if all(level.values()):
                return True
    return False
