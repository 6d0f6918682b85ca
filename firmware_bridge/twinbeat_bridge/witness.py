"""The network witness without its network: asks of many pairs go in, answers come out.

The rule is that of the arbiter (`arbiter/lease.py`), one `Leases` for each pair. Here stand what the network adds: a
tag with the pair's key on every message, limits, counters, and epoch reservations that somebody else puts on disk. No
clock and no I/O: `now_ms` is ms of one clock that never runs backwards and counts suspended time too.
"""
from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

from twinbeat_bridge.arbiter import frames, lease
from twinbeat_core.errors import FrameError
from twinbeat_core.model import FrameKind, RowFlag
from twinbeat_core.siphash import siphash24
from twinbeat_core.wire import WireCode, decode

PAIRS_MAX = 20000
GROUPS_MAX = 64
"""Per pair. A frame carries 16 of them, so a large pair asks in several frames."""
NODES_MAX = 8
ANSWERS_PER_S = 200
"""Per pair: two nodes that renew every 20 ms, and ask again as often."""
RESERVED_EPOCHS = 8192
TAG_BYTES = 8
REQUEST_BYTES_MAX = 1024
BOARD_WITNESS = 4
NONE_YET_US = 0xFFFFFFFF
TOLD_AGAIN_MS = 3600 * 1000
LINES_PER_MINUTE = 20
TOLD_KEPT_MAX = 4096
WANTED_MAX = 256
DEAD_KEPT = 8

REASONS = {
    "unknown_pair": "asks, but no key of that name is here; put its key file beside the others",
    "tag": "has another key than the one here, or somebody else writes to its topic; both gateways and the witness "
           "need the same key file",
    "form": "sent a message that is no ask; does it run another version of twinbeat?",
    "version": "speaks another version of the protocol; bring gateways and witness to one version",
    "other_pair": "asks under another pair's number: its key file was copied from that pair; give each pair its own",
    "group": f"asks for a group above {GROUPS_MAX - 1}; a witness serves {GROUPS_MAX} groups of a pair",
    "rate": f"asks more than {ANSWERS_PER_S} times a second; the asks beyond are not answered",
    "replay": "sent an ask that a newer one had overtaken; seen often, somebody repeats recorded messages",
    "own_death": "sent a death notice that no gate signed; it was refused",
    "dead_life": "asks in the name of a life whose gate reported its death; the ask was refused",
}
"""Why a message got no answer; the keys of `Witness.refused`. The texts follow the pair's name in the log."""

Answer = tuple[int, bytes] | None
"""The node to answer and the answer with its tag; None where a message gets none."""

_frames: Any = frames
_lease: Any = lease
_ASK_HEAD_BYTES: int = _frames.ASK_HEAD_BYTES
_ASK_ROW_BYTES: int = _frames.ASK_ROW_BYTES


def voter_id(name: str) -> int:
    """The id of the witness with that name, as answers carry it."""
    return zlib.crc32(name.encode("utf-8"))


class Pair:
    """What the witness knows of one pair. `reserved`: the epochs that an earlier start may have promised end there."""

    __slots__ = ("asks", "dead", "heard", "key", "leases", "name", "pair_id", "promises", "refusals", "refused",
                 "reserved", "reserving", "window_count", "window_ms")  # fmt: skip

    def __init__(self, name: str, key: bytes, pair_id: int, reserved: int = 0) -> None:
        self.name = name
        self.key = key
        self.pair_id = pair_id
        self.reserved = reserved
        self.reserving = 0                            # the ceiling that is being written
        self.leases: Any = None                       # made by the first valid ask
        self.heard: dict[int, tuple[int, int]] = {}   # node: life and stamp of its newest ask
        self.dead: list[tuple[int, int]] = []         # node and life of the newest death notices
        self.window_ms = 0
        self.window_count = 0
        self.asks = 0
        self.promises = 0
        self.refusals = 0
        self.refused = 0                              # messages that were not answered


class Witness:
    """All pairs of one witness.

    `life`: u32, never 0, other at every start. `say` takes lines for the log; they are few, whatever is sent.
    After construction, and after every `abstain`, nothing is promised for `abstain_ms`: as long as the longest promise
    that this witness, or an earlier start of it, may have given.
    """

    def __init__(
        self, name: str, life: int, grant_max_ms: int, now_ms: int, *,
        earlier_grant_ms: int = 0, version: tuple[int, int, int] = (0, 0, 0),
        say: Callable[[str], object] = lambda text: None,
    ) -> None:  # fmt: skip
        self.name = name
        self.life = life
        self.voter = voter_id(name)
        self.grant_max_ms = grant_max_ms
        self.abstain_ms = max(grant_max_ms, earlier_grant_ms)
        self.version = version
        self.pairs: dict[str, Pair] = {}
        self._parted: dict[str, Pair] = {}
        self.abstains_until_ms = 0
        self.refused: dict[str, int] = dict.fromkeys(REASONS, 0)
        self.counts = dict.fromkeys(
            ("asks", "promises", "refusals", "abstained", "unproven", "waits", "queries", "returns", "deaths"), 0)
        self.to_reserve: dict[str, int] = {}
        """Pair to the ceiling that shall be put on disk; the caller takes them out and calls `reserved` when done."""
        self.wanted: set[str] = set()
        """Unknown pairs that ask; the caller looks for their keys and empties it."""
        self._say = say
        self._told: dict[tuple[str, str], int] = {}
        self._lines = 0
        self._lines_since_ms = now_ms
        self.abstain(now_ms)

    # ------------------------------------------------------------ what it serves

    def serve(self, name: str, key: bytes, pair_id: int, reserved: int = 0) -> bool:
        """Serve this pair from now on, or give it another key. False: there are `PAIRS_MAX` already."""
        pair = self.pairs.get(name) or self._parted.pop(name, None)
        if pair is None and len(self.pairs) >= PAIRS_MAX:
            return False
        if pair is None:
            pair = Pair(name, key, pair_id, reserved)
        elif pair.leases is not None:
            pair.leases.listen_until = self.abstains_until_ms
        pair.key = key
        self.pairs[name] = pair
        return True

    def part(self, name: str) -> None:
        """Serve this pair no longer. Its promises are remembered, for it may come back."""
        pair = self.pairs.pop(name, None)
        if pair is not None:
            self._parted[name] = pair

    def abstain(self, now_ms: int) -> None:
        """Promise nothing for `abstain_ms`: whoever may have spoken in this name until now may have promised."""
        self.abstains_until_ms = max(self.abstains_until_ms, now_ms + self.abstain_ms + 1)
        for pair in self.pairs.values():
            if pair.leases is not None:
                pair.leases.listen_until = self.abstains_until_ms

    def reserved(self, ceilings: dict[str, int]) -> None:
        """These reservations are on disk."""
        for name, ceiling in ceilings.items():
            pair = self.pairs.get(name)
            if pair is not None and pair.leases is not None:
                pair.leases.ceiling = max(pair.leases.ceiling, ceiling)

    def not_reserved(self, ceilings: dict[str, int]) -> None:
        """These could not be written; the next ask that needs one tries again."""
        for name in ceilings:
            if name in self.pairs:
                self.pairs[name].reserving = 0

    # ------------------------------------------------------------ messages

    def handle(self, pair_name: str, payload: bytes, now_ms: int) -> Answer:
        """Judge a message on a pair's topic, and answer it where it is an ask or a query."""
        pair = self.pairs.get(pair_name)
        if pair is None:
            if len(self.wanted) < WANTED_MAX:
                self.wanted.add(pair_name)
            return self._refuse(pair_name, "unknown_pair", now_ms)
        if len(payload) <= TAG_BYTES or len(payload) > REQUEST_BYTES_MAX:
            return self._refuse(pair_name, "form", now_ms)
        if payload[0] != _frames.VERSION:
            return self._notice(pair, payload, now_ms)
        body = payload[:-TAG_BYTES]
        if siphash24(pair.key, body) != int.from_bytes(payload[-TAG_BYTES:], "little"):
            return self._refuse(pair_name, "tag", now_ms)
        if now_ms - pair.window_ms >= 1000:
            pair.window_ms = now_ms
            pair.window_count = 0
        pair.window_count += 1
        if pair.window_count > ANSWERS_PER_S:
            return self._refuse(pair_name, "rate", now_ms)
        ask = _frames.read_ask(body)
        if ask is None or ask[1] >= NODES_MAX:
            return self._refuse(pair_name, "form", now_ms)
        return self._read(pair, ask, now_ms)

    def _read(self, pair: Pair, ask: Any, now_ms: int) -> Answer:
        kind, node, pair_id, incarnation, stamp = ask[:5]
        if pair.leases is None:
            pair.leases = self._leases(pair)
            self._reserve(pair)
        if kind == _frames.DEATH:
            return self._refuse(pair.name, "own_death", now_ms)
        if pair.dead and (node, incarnation) in pair.dead:
            return self._refuse(pair.name, "dead_life", now_ms)
        if kind == _frames.ASK:
            return self._ask(pair, ask, now_ms)
        if kind == _frames.RETURN:
            if pair_id != pair.pair_id:
                return self._refuse(pair.name, "other_pair", now_ms)
            pair.leases.note_heard(now_ms, node)
            for group, epoch in ask[8]:
                self.counts["returns"] += pair.leases.give_back(node, incarnation, group, epoch)
            return None
        if kind == _frames.QUERY:
            self.counts["queries"] += 1
            pair.leases.note_heard(now_ms, node)
            return node, self._told_body(pair, node, incarnation, stamp, now_ms)
        return self._refuse(pair.name, "form", now_ms)

    def _leases(self, pair: Pair) -> Any:
        """Groups are added when they are first asked for: thousands of pairs have one each."""
        leases = _lease.Leases(1, self.grant_max_ms, self.life, pair.reserved, pair.reserved, 0, NODES_MAX)
        leases.listen_until = self.abstains_until_ms
        return leases

    def _ask(self, pair: Pair, ask: Any, now_ms: int) -> Answer:
        _, node, pair_id, incarnation, stamp, life, clock, grant, rows = ask
        leases, counts = pair.leases, self.counts
        counts["asks"] += 1
        pair.asks += 1
        if pair_id != pair.pair_id:
            self._refuse(pair.name, "other_pair", now_ms)
            answers = [_frames.vote_row(group, _lease.OTHER_PAIR, 0, 0, 0) for group, _ in rows]
            return node, self._signed(pair, node, incarnation, stamp, now_ms, answers)
        newest = pair.heard.get(node)
        if newest is not None and newest[0] == incarnation and stamp < newest[1]:
            return self._refuse(pair.name, "replay", now_ms)
        pair.heard[node] = (incarnation, stamp)
        leases.note_heard(now_ms, node)
        answers = []
        for group, epoch in rows:
            if group >= len(leases.group) and group < GROUPS_MAX:
                leases.group += [_lease.Lease(pair.reserved) for _ in range(group + 1 - len(leases.group))]
            # While it abstains too, so that the reservation is there when it may promise.
            if epoch > leases.ceiling and group < GROUPS_MAX:
                leases.wanted = max(leases.wanted, epoch)
            found = leases.ask(now_ms, node, incarnation, stamp, life, clock, grant, group, epoch)
            if found is None:
                continue
            code, answer_epoch, ms = found
            answers.append(_frames.vote_row(group, code, 0, answer_epoch, ms))
            self._count(pair, code, now_ms)
            if leases.ceiling - epoch < RESERVED_EPOCHS // 2:
                self._reserve(pair)
        if rows and not answers:
            return self._refuse(pair.name, "replay", now_ms)
        return node, self._signed(pair, node, incarnation, stamp, now_ms, answers)

    def _count(self, pair: Pair, code: int, now_ms: int) -> None:
        if code == _lease.PROMISED:
            pair.promises += 1
            self.counts["promises"] += 1
            return
        pair.refusals += 1
        if code == _lease.NO_GROUP:
            self._refuse(pair.name, "group", now_ms)
            return
        names = {_lease.ABSTAINS: "abstained", _lease.UNPROVEN: "unproven", _lease.WAITS: "waits"}
        self.counts[names.get(code, "refusals")] += 1

    def _reserve(self, pair: Pair) -> None:
        ceiling = pair.leases.reservation(RESERVED_EPOCHS)
        if ceiling > max(pair.reserving, pair.leases.ceiling):
            pair.reserving = ceiling
            self.to_reserve[pair.name] = ceiling

    def _signed(
        self, pair: Pair, node: int, incarnation: int, stamp: int, now_ms: int, rows: list[bytes]
    ) -> bytes:
        leases = pair.leases
        head: bytes = _frames.vote_head(
            _frames.VOTE, len(rows), node, pair.pair_id, incarnation, stamp, self.life, leases.clock(now_ms),
            self.voter, leases.heard_ago(now_ms, node),
        )  # fmt: skip
        body = head + b"".join(rows)
        return body + siphash24(pair.key, body).to_bytes(TAG_BYTES, "little")

    def _told_body(self, pair: Pair, node: int, incarnation: int, stamp: int, now_ms: int) -> bytes:
        leases = pair.leases
        head = _frames.vote_head(
            _frames.TOLD, 0, node, pair.pair_id, incarnation, stamp, self.life, leases.clock(now_ms), self.voter,
            leases.heard_ago(now_ms, node),
        )  # fmt: skip
        tail = _frames.struct.pack(
            _frames.TOLD_TAIL, *self.version, BOARD_WITNESS, 0, pair.asks & 0xFFFFFFFF, pair.promises & 0xFFFFFFFF,
            pair.refusals & 0xFFFFFFFF, NONE_YET_US, NONE_YET_US, min(pair.refused, 0xFFFF), 0, GROUPS_MAX,
            self.grant_max_ms, 0,
        )  # fmt: skip
        body: bytes = head + tail
        return body + siphash24(pair.key, body).to_bytes(TAG_BYTES, "little")

    # ------------------------------------------------------------ death notices

    def _notice(self, pair: Pair, payload: bytes, now_ms: int) -> Answer:
        """A gate's signed word that its agent is dead, forwarded by the other gateway.

        It ends promises of that one life and nothing else, so that a notice recorded long ago does no harm.
        """
        try:
            frame = decode(payload, pair.key, pair.pair_id)
        except FrameError as error:
            names = {WireCode.WIRE_BAD_TAG: "tag", WireCode.WIRE_UNKNOWN_VERSION: "version",
                     WireCode.WIRE_OTHER_PAIR: "other_pair"}  # fmt: skip
            return self._refuse(pair.name, names.get(WireCode(error.code), "form"), now_ms)
        if frame.kind != FrameKind.FRAME_DEATH:
            return self._refuse(pair.name, "form", now_ms)
        self.counts["deaths"] += 1
        life = (frame.source, frame.incarnation)
        if life not in pair.dead:
            pair.dead = [*pair.dead[1 - DEAD_KEPT :], life]
        for group, row in enumerate(frame.rows):
            if row.flags & RowFlag.ROW_DROPPED and pair.leases is not None:
                pair.leases.dead(frame.source, frame.incarnation, group)
        return None

    # ------------------------------------------------------------ what was refused

    def _refuse(self, name: str, reason: str, now_ms: int) -> Answer:
        """No answer. Count it; say it once an hour for a pair and reason, and a few times a minute at most."""
        self.refused[reason] += 1
        pair = self.pairs.get(name)
        if pair is not None:
            pair.refused += 1
        before = self._told.get((name, reason))
        if before is not None and now_ms - before < TOLD_AGAIN_MS:
            return None
        if now_ms - self._lines_since_ms >= 60000:
            self._lines_since_ms, self._lines = now_ms, 0
        if self._lines >= LINES_PER_MINUTE:
            return None
        if len(self._told) >= TOLD_KEPT_MAX:
            self._told.clear()
        self._lines += 1
        self._told[(name, reason)] = now_ms
        self._say(f'pair "{name}" {REASONS[reason]}')
        return None
