"""The third voter's protocol as a gateway speaks it: bodies go out, bodies come in, no I/O and no clock.

A body is what stands inside the framing: CRC-32 and COBS on a serial line, a SipHash tag over MQTT. The layout is in
docs/third-voter.md; `firmware_bridge/arbiter/frames.py` is the voter's side of it, and both are held to the same
vectors (tests/bridge/vote_vectors.json).
"""
from __future__ import annotations

import struct
from collections.abc import Iterable
from enum import IntEnum, IntFlag
from typing import NamedTuple

from twinbeat_core.errors import TwinbeatError

VERSION = 0xD1
"""First byte of every body; heartbeats between gateways begin with another one."""
CLOCK_MASK = 0x3FFFFFFF
NEVER_MS = 65535
"""`heard_ms` of a voter that never heard the other gateway, or not for that long."""
NONE_YET_US = 0xFFFFFFFF
MAX_ROWS = 16
KEPT_ASKS = 8
"""Asks that can still be repeated: answers come within a few periods or not at all."""

_ASK_HEAD = struct.Struct("<BBBBHIIHIIH")
_ASK_ROW = struct.Struct("<BI")
_VOTE_HEAD = struct.Struct("<BBBBHIIHIIIH")
_VOTE_ROW = struct.Struct("<BBBBIH")
_TOLD_TAIL = struct.Struct("<BBBBIIIIIIHBBHH")
MAX_ASK_BYTES = _ASK_HEAD.size + MAX_ROWS * _ASK_ROW.size
MAX_VOTE_BYTES = _VOTE_HEAD.size + MAX_ROWS * _VOTE_ROW.size
TOLD_BYTES = _VOTE_HEAD.size + _TOLD_TAIL.size

REFUSALS = ("version", "form", "other_voter", "other_pair", "other_node", "other_incarnation", "not_asked")
"""Why a body was no answer for this session; the keys of `Session.refused`."""


class BodyError(TwinbeatError, ValueError):
    """A number that does not fit a frame to the third voter. A fault in the caller."""


class Kind(IntEnum):
    """Second byte of a body."""

    ASK = 1
    RETURN = 2
    DEATH = 3
    QUERY = 4
    VOTE = 17
    TOLD = 18


class VoteCode(IntEnum):
    """What one row of an answer says; `epoch` and `ms` of the row mean what stands behind each.

    PROMISED    epoch: the one promised; ms: for how long, counted from when the voter processed the ask
    REFUSED     epoch: the floor; ms: how long another's promise still lasts, 0 where only the epoch is in the way
    ABSTAINS    the voter started a moment ago; ms: how long it still listens only
    UNPROVEN    the ask echoed no recent answer of this life of the voter: repeat it with a new echo
    OTHER_PAIR  the voter serves another pair
    WRONG_SIDE  the port belongs to the other gateway
    WAITS       the epoch is not reserved yet: ask again
    NO_GROUP    the voter has fewer groups
    """

    PROMISED = 1
    REFUSED = 2
    ABSTAINS = 3
    UNPROVEN = 4
    OTHER_PAIR = 5
    WRONG_SIDE = 6
    WAITS = 7
    NO_GROUP = 8


class Contacts(IntFlag):
    """State of a group's contacts at the voter. NO_READBACK: the other bits are what was commanded."""

    GATED = 1
    OWN_CLOSED = 2
    OTHER_CLOSED = 4
    OWN_STUCK = 8
    OTHER_STUCK = 16
    NO_READBACK = 32


class Board(IntEnum):
    """What the voter runs on."""

    UNKNOWN = 0
    RP2 = 1
    MICROBIT = 2
    UNIX = 3
    WITNESS = 4


class ResetCause(IntEnum):
    """Why the voter started."""

    UNKNOWN = 0
    POWER_ON = 1
    WATCHDOG = 2
    SOFT = 3
    BROWN_OUT = 4


class Row(NamedTuple):
    """The answer for one group."""

    group: int
    code: VoteCode
    contacts: Contacts
    epoch: int
    ms: int


class Votes(NamedTuple):
    """An answer to the ask with `stamp` (µs). `heard_ms`: since the other gateway was last heard; 65535: never."""

    stamp: int
    rows: tuple[Row, ...]
    heard_ms: int
    life: int
    clock: int
    voter: int


class Told(NamedTuple):
    """What a voter says of itself. `gap_us`, `overlap_us`: of the last changeover at the contacts, None: none yet.

    `build`: first four bytes of the SHA-256 over the firmware's files, 0 where it runs from source. `stuck`: bit
    2 * group + side. `board` and `reset_cause` are plain numbers that `Board` and `ResetCause` name.
    """

    stamp: int
    pair_id: int
    heard_ms: int
    life: int
    clock: int
    voter: int
    firmware: tuple[int, int, int]
    board: int
    build: int
    asks: int
    promises: int
    refusals: int
    gap_us: int | None
    overlap_us: int | None
    noise: int
    reset_cause: int
    groups: int
    grant_max_ms: int
    stuck: int

    @property
    def version(self) -> str:
        """The firmware's version as people write it."""
        return ".".join(map(str, self.firmware))


class Session:
    """One gateway's life towards one third voter: makes bodies, judges answers, keeps the echo that asks must carry.

    `node`: its number, 0..255. `pair_id`: 16 bits. `incarnation`: this life of the gateway, 32 bits. `voter`: the id to
    insist on; None: whoever answers first is it. `grant_ms`: length of promise to ask for, 1..65535. Every `stamp` is
    in µs, 48 bits, and larger than the one before; the caller sees to that. Numbers out of range raise BodyError.
    """

    def __init__(self, node: int, pair_id: int, incarnation: int, voter: int | None, grant_ms: int) -> None:
        self.node = _within("node", node, 8)
        self.pair_id = _within("pair_id", pair_id, 16)
        self.incarnation = _within("incarnation", incarnation, 32)
        self.grant_ms = _within("grant_ms", grant_ms, 16)
        self.voter = voter if voter is None else _within("voter", voter, 32)
        self.life = 0
        self.clock = 0
        self.refused: dict[str, int] = dict.fromkeys(REFUSALS, 0)
        self.seen_pair: int | None = None
        """Pair of the last answer that was refused as another pair's."""
        self.seen_voter: int | None = None
        """Id of the last answer that was refused as another voter's."""
        self._newest_stamp = 0
        self._asked: dict[int, tuple[tuple[int, int], ...]] = {}

    def ask(self, rows: Iterable[tuple[int, int]], stamp: int) -> bytes:
        """Promise to me, or renew, each (group, epoch); with epoch 0 only tell the floor. At most 16 rows."""
        asked = tuple(rows)
        body = self._body(Kind.ASK, asked, stamp)
        self._asked[stamp] = asked
        while len(self._asked) > KEPT_ASKS:
            del self._asked[next(iter(self._asked))]
        return body

    def give_back(self, rows: Iterable[tuple[int, int]], stamp: int) -> bytes:
        """These claims (group, epoch) are over."""
        return self._body(Kind.RETURN, tuple(rows), stamp)

    def death(self, groups: Iterable[int]) -> bytes:
        """The agent of this incarnation is dead, and the outputs of these groups are off."""
        return self._body(Kind.DEATH, tuple((group, 0) for group in sorted(groups)), 0)

    def query(self, stamp: int) -> bytes:
        """Who are you? Also keeps the echo fresh between asks."""
        return self._body(Kind.QUERY, (), stamp)

    def again(self, votes: Votes) -> bytes | None:
        """The ask to repeat at once, for the rows that were UNPROVEN: same stamp, newest echo; once for each stamp."""
        unproven = {row.group for row in votes.rows if row.code is VoteCode.UNPROVEN}
        rows = tuple(row for row in self._asked.get(votes.stamp, ()) if row[0] in unproven)
        if not rows:
            return None
        del self._asked[votes.stamp]
        return self._body(Kind.ASK, rows, votes.stamp)

    def receive(self, body: bytes) -> Votes | Told | None:
        """An answer to this session, or None for anything else, which is counted in `refused` by its reason."""
        answer, reason = self._judge(body)
        if answer is None:
            self.refused[reason] += 1
            return None
        if self.voter is None:
            self.voter = answer.voter
        if answer.life != self.life or (answer.clock - self.clock) & CLOCK_MASK <= CLOCK_MASK >> 1:
            self.life, self.clock = answer.life, answer.clock
        return answer

    def _body(self, kind: Kind, rows: tuple[tuple[int, int], ...], stamp: int) -> bytes:
        if len(rows) > MAX_ROWS:
            raise BodyError(f"{len(rows)} groups in one frame to the third voter; at most {MAX_ROWS} are possible")
        _within("stamp", stamp, 48)
        head = _ASK_HEAD.pack(
            VERSION, kind, self.node, len(rows), self.pair_id, self.incarnation, stamp & 0xFFFFFFFF, stamp >> 32,
            self.life, self.clock, self.grant_ms,
        )  # fmt: skip
        tail = b"".join(_ASK_ROW.pack(_within("group", group, 8), _within("epoch", epoch, 32)) for group, epoch in rows)
        self._newest_stamp = max(self._newest_stamp, stamp)
        return head + tail

    def _judge(self, body: bytes) -> tuple[Votes | Told | None, str]:
        """The answer in a body, or the reason why it is none."""
        if not body or body[0] != VERSION:
            return None, "version"
        if len(body) < _VOTE_HEAD.size:
            return None, "form"
        head = _VOTE_HEAD.unpack_from(body)
        _, kind, node, count, pair_id, incarnation, low, high, life, clock, voter, heard_ms = head
        tail = body[_VOTE_HEAD.size :]
        stamp = low | high << 32
        answer: Votes | Told | None = None
        if kind == Kind.VOTE and count <= MAX_ROWS and len(tail) == count * _VOTE_ROW.size:
            rows = read_rows(tail)
            answer = Votes(stamp, rows, heard_ms, life, clock, voter) if rows is not None else None
        elif kind == Kind.TOLD and count == 0 and len(tail) == _TOLD_TAIL.size:
            answer = read_told(tail, stamp, pair_id, heard_ms, life, clock, voter)
        if answer is None or life == 0 or clock > CLOCK_MASK:
            return None, "form"
        if self.voter is not None and voter != self.voter:
            self.seen_voter = voter
            return None, "other_voter"
        if pair_id != self.pair_id:
            self.seen_pair, self.seen_voter = pair_id, voter
            return None, "other_pair"
        if node != self.node:
            return None, "other_node"
        if incarnation != self.incarnation:
            return None, "other_incarnation"
        return (answer, "") if stamp <= self._newest_stamp else (None, "not_asked")


def read_rows(tail: bytes) -> tuple[Row, ...] | None:
    """The rows of a VOTE; None where one has a code that does not exist."""
    rows = []
    for group, code, contacts, _, epoch, ms in _VOTE_ROW.iter_unpack(tail):
        if not VoteCode.PROMISED <= code <= VoteCode.NO_GROUP:
            return None
        rows.append(Row(group, VoteCode(code), Contacts(contacts & 0x3F), epoch, ms))
    return tuple(rows)


def read_told(tail: bytes, stamp: int, pair_id: int, heard_ms: int, life: int, clock: int, voter: int) -> Told:
    """A TOLD from its tail and what its head said."""
    (major, minor, patch, board, build, asks, promises, refusals, gap_us, overlap_us, noise, reset_cause, groups,
     grant_max_ms, stuck) = _TOLD_TAIL.unpack(tail)  # fmt: skip
    return Told(
        stamp=stamp, pair_id=pair_id, heard_ms=heard_ms, life=life, clock=clock, voter=voter,
        firmware=(major, minor, patch), board=board, build=build, asks=asks, promises=promises, refusals=refusals,
        gap_us=None if gap_us == NONE_YET_US else gap_us, overlap_us=None if overlap_us == NONE_YET_US else overlap_us,
        noise=noise, reset_cause=reset_cause, groups=groups, grant_max_ms=grant_max_ms, stuck=stuck,
    )  # fmt: skip


def voter_text(voter: int) -> str:
    """A voter's id as it is shown and configured: eight hex digits."""
    return f"{voter:08x}"


def _within(name: str, value: int, bits: int) -> int:
    if not 0 <= value < 1 << bits:
        raise BodyError(f"{name} = {value} does not fit a frame to the third voter: 0 to {(1 << bits) - 1}")
    return value


def told_of(body: bytes) -> Told | None:
    """What a recorded TOLD says, whoever it was for; None where the bytes are none."""
    if len(body) != TOLD_BYTES or body[:2] != bytes((VERSION, Kind.TOLD)) or body[3]:
        return None
    _, _, _, _, pair_id, _, low, high, life, clock, voter, heard_ms = _VOTE_HEAD.unpack_from(body)
    return read_told(body[_VOTE_HEAD.size :], low | high << 32, pair_id, heard_ms, life, clock, voter)
