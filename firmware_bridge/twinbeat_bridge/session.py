"""A third voter at the other end of a serial line, asked and waited for: for commands, not for the agent.

Every wait is bounded. Where no answer comes, what came instead is looked at, so that the message can say what is there.
"""
from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from twinbeat_core.errors import TwinbeatError
from twinbeat_core.wire import SerialReader, wrap

from .protocol import VERSION, Kind, Session, Told, VoteCode, Votes, voter_text

ANSWER_S = 0.3
"""Longest wait for one answer: a thousand times a round trip, and longer than any write to a board's flash."""
TRIES = 4
SETTLE_S = 0.05
"""So long nothing must come before a line counts as quiet."""
LISTEN_S = 1.5
"""How long is listened for what else is there when nothing answered: slow heartbeats come within it."""
KEPT_BYTES = 4096
READ_BYTES = 4096
HEARTBEAT_VERSIONS = frozenset(highest << 4 | version for version in range(1, 8) for highest in range(version, 8))
"""First bytes of the heartbeats that gateways exchange: the version, and above it the highest that the sender knows."""
PROMPTS = (b">>> ", b"MicroPython", b"raw REPL", b"Traceback (most recent call last)")
SHOWN_CHARS = 60


class ArbiterError(TwinbeatError):
    """No arbiter answers on a line, or another one than was meant; the text says what is there instead."""

    exit_code = 5


class Answered(NamedTuple):
    """An answer with the time that it took, in ms."""

    answer: Told | Votes
    ms: float


class SerialSession:
    """Asks one voter on an open line. `fd`: non-blocking and raw; the caller closes it. `name`: the port, for messages.

    `session.voter` None: any voter is taken; `any_pair`: the voter's own pair is taken over where it is another.
    """

    def __init__(
        self,
        fd: int,
        session: Session,
        name: str,
        *,
        any_pair: bool = False,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.session = session
        self.name = name
        self._fd = fd
        self._any_pair = any_pair
        self._clock_ns = clock_ns
        self._reader = SerialReader()
        self._heard = b""
        self._bodies: list[bytes] = []
        self._sent: set[bytes] = set()
        self._stamp = 0

    def query(self, tries: int = TRIES) -> Answered:
        """Who is there? Raises ArbiterError, which says what is there instead."""
        for _ in range(tries):
            found = self._exchange(lambda: self.session.query(self._next_stamp()), ANSWER_S)
            if found is not None and isinstance(found.answer, Told):
                return found
            if self._any_pair and self.session.seen_pair is not None:
                self.session.pair_id = self.session.seen_pair
                self.session.refused["other_pair"] = 0
            elif self._is_other():
                break
        raise ArbiterError(self._diagnosis())

    def ask(self, rows: Iterable[tuple[int, int]], tries: int = TRIES) -> Answered:
        """A vote on each (group, epoch). An unproven ask is repeated at once; so is one whose answer was lost."""
        asked = tuple(rows)
        for _ in range(tries):
            found = self._exchange(lambda: self.session.ask(asked, self._next_stamp()), ANSWER_S)
            if found is None or not isinstance(found.answer, Votes):
                continue
            if any(row.code is VoteCode.UNPROVEN for row in found.answer.rows):
                found = self._exchange(partial(self.session.again, found.answer), ANSWER_S)
                if found is None or not isinstance(found.answer, Votes):
                    continue
            return found
        raise ArbiterError(self._diagnosis())

    def give_back(self, rows: Iterable[tuple[int, int]]) -> None:
        """These claims are over. No answer comes."""
        self._write(self.session.give_back(tuple(rows), self._next_stamp()))

    def send_noise(self, data: bytes) -> None:
        """Bytes that are no frame, as a disturbance would leave them."""
        self._put(data)

    def drain(self) -> None:
        """Drop what has come until now; returns when nothing came for a moment, or after a second."""
        until_s = time.monotonic() + 1.0
        while time.monotonic() < until_s and select.select([self._fd], [], [], SETTLE_S)[0]:
            self._read()
        self._reader = SerialReader()
        self._bodies = []

    def _next_stamp(self) -> int:
        self._stamp = max(self._stamp + 1, self._clock_ns() // 1000) & 0xFFFFFFFFFFFF
        return self._stamp

    def _exchange(self, make: Callable[[], bytes | None], limit_s: float) -> Answered | None:
        """Send one body and wait for the answer to it."""
        body = make()
        if not body:
            return None
        stamp = int.from_bytes(body[10:16], "little")
        self._bodies = []
        begun_ns = time.monotonic_ns()
        self._write(body)
        while (left_s := limit_s - (time.monotonic_ns() - begun_ns) / 1e9) > 0:
            if not select.select([self._fd], [], [], left_s)[0]:
                return None
            self._read()
            for answer in map(self.session.receive, self._take()):
                if answer is not None and answer.stamp == stamp:
                    return Answered(answer, (time.monotonic_ns() - begun_ns) / 1e6)
            if self._is_other():
                return None
        return None

    def _is_other(self) -> bool:
        """Somebody answered, and it is another arbiter or one of another pair."""
        return bool(self.session.refused["other_pair"] or self.session.refused["other_voter"])

    def _take(self) -> list[bytes]:
        bodies, self._bodies = self._bodies, []
        return bodies

    def _write(self, body: bytes) -> None:
        self._sent.add(body)
        self._put(wrap(body))

    def _put(self, data: bytes) -> None:
        until_s = time.monotonic() + ANSWER_S
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                if time.monotonic() > until_s:
                    raise ArbiterError(
                        f"{self.name}: the line takes no more bytes: a handshake line stops it, or the adapter hangs; "
                        "plug it in again"
                    ) from None
                select.select([], [self._fd], [], ANSWER_S)
            except OSError as error:
                raise self._gone(error) from None

    def _read(self) -> None:
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            raise self._gone(error) from None
        if not data:
            raise self._gone(None)
        self._heard = (self._heard + data)[-KEPT_BYTES:]
        self._bodies += self._reader.feed(data)

    def _gone(self, error: OSError | None) -> ArbiterError:
        why = error.strerror if error is not None else "it was hung up"
        return ArbiterError(f"{self.name}: the port went away ({why}): is the adapter or the board still plugged in?")

    def _diagnosis(self) -> str:
        """Why no answer came, by what did come. A prompt is asked for: it says nothing by itself."""
        session = self.session
        if session.seen_pair is not None and session.refused["other_pair"]:
            return (
                f"{self.name}: this arbiter serves another pair (number {session.seen_pair}, this one has "
                f"{session.pair_id}): it is the board {voter_text(session.seen_voter or 0)}; check the cable, or put "
                "this pair's number on the board: twinbeat arbiter flash"
            )
        if session.seen_voter is not None and session.refused["other_voter"]:
            return (
                f"{self.name}: another arbiter answers: its id is {voter_text(session.seen_voter)}, the configuration "
                f"says {voter_text(session.voter or 0)}; check the cable, or set id in [third_voter]"
            )
        self._put(b"\r\n")
        bodies = self._listen(LISTEN_S)
        return f"{self.name}: {what_is_there(self._heard, bodies, self._sent)}"

    def _listen(self, limit_s: float) -> list[bytes]:
        """Bodies that come within a time; ends at once when the first has come or a prompt was heard."""
        until_s = time.monotonic() + limit_s
        kept = SerialReader().feed(b"\0" + self._heard + b"\0") if self._heard else []
        while not kept and (left_s := until_s - time.monotonic()) > 0:
            if any(prompt in self._heard for prompt in PROMPTS):
                break
            if select.select([self._fd], [], [], left_s)[0]:
                self._read()
                kept += self._take()
        return kept


def what_is_there(heard: bytes, bodies: list[bytes], sent: Iterable[bytes] = ()) -> str:
    """What answers instead of an arbiter, and what to do: from the bytes and the whole frames that came."""
    if any(body in set(sent) for body in bodies):
        return "what is sent comes back: TX and RX of this port are joined; connect the arbiter's TX to RX and RX to TX"
    if any(prompt in heard for prompt in PROMPTS):
        return (
            "a MicroPython board without the arbiter's firmware answers (its prompt, or an error of its own): put the "
            "firmware on it with twinbeat arbiter flash, or reset it where that was done"
        )
    versions = {body[0] for body in bodies if body}
    if VERSION in versions:
        kinds = {body[1] for body in bodies if body[0] == VERSION and len(body) > 1}
        if kinds <= {Kind.ASK, Kind.RETURN, Kind.DEATH, Kind.QUERY}:
            return "a gateway asks here: the other gateway is on this line, not the arbiter; check the cable"
        return "an arbiter answers somebody else: another program or gateway uses this line; give each one of its own"
    if versions & HEARTBEAT_VERSIONS:
        return "a gateway's heartbeats come: the crosslink cable is in this port; exchange the two cables"
    if bodies:
        return (
            f"frames of another version (0x{min(versions):02x}) come: firmware and program do not fit together; put "
            "this version's firmware on the board with twinbeat arbiter flash"
        )
    if not heard:
        return (
            "nothing answers: is the board powered, its light blinking, TX on RX and RX on TX, ground joined, and is "
            "the firmware on it (twinbeat arbiter flash)?"
        )
    return noise_text(heard)


def noise_text(heard: bytes) -> str:
    """What bytes that make no frame look like."""
    words = heard.decode("ascii", "replace").strip("\r\n\0 ")
    printable = sum(32 <= byte < 127 or byte in b"\r\n\t" for byte in heard)
    if printable >= 0.9 * len(heard) and words:
        line = " ".join(words.split())
        shown = line if len(line) <= SHOWN_CHARS else line[: SHOWN_CHARS - 3] + "..."
        return f'another device answers, and says "{shown}": this is not the arbiter\'s line'
    return (
        f"{len(heard)} bytes of noise came (such as {heard[:8].hex(' ')}): the baud rate differs from the board's, or "
        "the line is disturbed; check baud and ground"
    )
