"""The witness as one gateway's third voter: asks out, votes in, over a connection of its own.

An ask must echo a recent answer of the witness, so while the gateway has nothing to ask it queries, often enough that
the first ask of a claim is proven. An ask that was not is repeated at once with the echo that its answer brought.
"""
from __future__ import annotations

import logging
import zlib
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from twinbeat.links.mqtt_options import MqttOptions
from twinbeat.run_loop import boottime_ns
from twinbeat.witness.courier import TURN_MS, Courier
from twinbeat.witness.desk import answer_topic, ask_topic
from twinbeat.witness.lane import Message, publish
from twinbeat_bridge.contract import Code, VoteAnswer, Votes
from twinbeat_bridge.protocol import MAX_ROWS, Row, Session, VoteCode, voter_text
from twinbeat_bridge.protocol import Votes as VotesBody
from twinbeat_core.siphash import siphash24

if TYPE_CHECKING:
    import ssl

log = logging.getLogger("twinbeat.voter")

TAG_BYTES = 8
QUEUED_MAX = 256
NOTICES_MAX = 4
STOP_LIMIT_S = 2.0
STAMP_MASK = (1 << 48) - 1
TRIES_MAX = 5
WAITS_AGAIN_NS = 50_000_000
"""The witness puts epochs on disk first; that is mostly done by then."""
REPEATED = (VoteCode.UNPROVEN, VoteCode.WAITS)
COMPLAINTS = {
    VoteCode.OTHER_PAIR: "it knows this pair under another number; were both gateways and the witness given this "
                         "pair's key file and name?",
    VoteCode.NO_GROUP: "this pair has more groups than it serves",
}


class Asked(NamedTuple):
    """A group's newest ask, unanswered yet. `tries`: repetitions; `again_at_ns`: when the next is due, 0: none is."""

    epoch: int
    stamp: int
    sent_at_ns: int
    tries: int = 0
    again_at_ns: int = 0


class Order(NamedTuple):
    """What the agent's loop wants sent, and when it said so."""

    what: str
    group: int
    epoch: int
    stamp: int
    at_ns: int


class WitnessClient:
    """A `VoterClient` (twinbeat_bridge.contract). `node`: this gateway's number; `key`: the pair's, 16 bytes.

    `grant_ms`: the promise to ask for. Votes are delivered in the client's thread, and in that of the caller where an
    ask meets a lost connection.
    """

    def __init__(
        self, options: MqttOptions, context: ssl.SSLContext | None, *, witness: str, pair: str, pair_id: int,
        key: bytes, node: int, incarnation: int, grant_ms: int, votes: Votes,
    ) -> None:  # fmt: skip
        self._courier = Link(
            self, options, context, f"twinbeat-{pair}-{options.node}-voter", answer_topic(pair, witness, node)
        )
        self._session = Session(node, pair_id, incarnation, zlib.crc32(witness.encode("utf-8")), grant_ms)
        self._key = key
        self._grant_ns = grant_ms * 1_000_000
        self._ask_topic = ask_topic(pair, witness).encode()
        self._answer_topic = answer_topic(pair, witness, node).encode()
        self._witness = witness
        self._votes = votes
        self._orders: deque[Order] = deque(maxlen=QUEUED_MAX)
        self._notices: deque[tuple[bytes, int]] = deque(maxlen=NOTICES_MAX)
        self._asked: dict[int, Asked] = {}
        self._newest: dict[int, int] = {}     # stamp of each group's newest ask on this connection
        self._gone: set[int] = set()          # groups whose GONE was told since
        self._queried_at_ns = 0
        self._heard_at_ns = 0
        self._round_trip_ms: float | None = None
        self._told: dict[str, Any] = {}
        self._complained: set[str] = set()
        self.answers = 0
        self.bad_tags = 0
        self.retained_refused = 0
        self.stale_dropped = 0

    # ------------------------------------------------------------ the agent's loop

    def start(self) -> None:
        """Begin to connect; a broker that cannot be reached is tried again for ever."""
        self._courier.start()

    def ask(self, group: int, epoch: int, stamp: int) -> None:
        """Ask for a promise to (group, epoch), or with epoch 0 for the floor alone. GONE at once without connection."""
        if not self._courier.connected:
            # Once for each loss: whoever asks again at every GONE would turn in circles.
            if group not in self._gone:
                self._gone.add(group)
                self._votes(VoteAnswer(group, Code.GONE, 0, stamp, 0))
            return
        self._orders.append(Order("ask", group, epoch, stamp, boottime_ns()))
        self._courier.wake()

    def give_back(self, group: int, epoch: int) -> None:
        """That claim is over. Without connection nothing is sent: the promise runs out by itself."""
        if self._courier.connected:
            now_ns = boottime_ns()
            self._orders.append(Order("return", group, epoch, now_ns // 1000 & STAMP_MASK, now_ns))
            self._courier.wake()

    def peer_dead(self, node: int, incarnation: int, groups: frozenset[int], notice: bytes) -> None:
        """Forward the gate's signed notice; the witness reads life and groups out of it."""
        self._notices.append((notice, boottime_ns()))
        self._courier.wake()

    def stop(self) -> None:
        """Disconnect; waits at most two seconds."""
        self._courier.finish(STOP_LIMIT_S)

    def describe(self) -> dict[str, Any]:
        """For status. `answering`: something came from the witness within the length of a promise."""
        courier, session = self._courier, self._session
        answering = courier.connected and boottime_ns() - self._heard_at_ns < self._grant_ns
        return {
            "type": "witness", "witness": self._witness, "connected": courier.connected, "reason": courier.reason,
            "answering": answering, "voter": voter_text(session.voter or 0), "life": session.life,
            "answers": self.answers, "round_trip_ms": self._round_trip_ms, "connects": courier.connects,
            "bad_tags": self.bad_tags, "refused": {name: n for name, n in session.refused.items() if n},
            "retained_refused": self.retained_refused, "stale_dropped": self.stale_dropped, **self._told,
        }  # fmt: skip

    # ------------------------------------------------------------ the courier's thread

    def opened(self) -> None:
        """Connected: ask who is there, so that the first ask is proven."""
        self._orders.clear()
        self._gone.clear()
        log.info("%s: connected to ask witness %s", self._courier.options.place, self._witness)
        self._query(boottime_ns())

    def closed(self) -> None:
        """No connection, no votes."""
        self._newest |= {order.group: order.stamp for order in list(self._orders) if order.what == "ask"}
        for group, stamp in self._newest.items():
            if group not in self._gone:
                self._gone.add(group)
                self._votes(VoteAnswer(group, Code.GONE, 0, stamp, 0))
        self._newest.clear()
        self._asked.clear()

    def turn(self, now_ns: int) -> int:
        """Send what was ordered, repeat what is due, query when it has been quiet. Returns ms until the next time."""
        while self._notices:
            notice, at_ns = self._notices.popleft()
            if now_ns - at_ns < self._grant_ns:      # later the promise has run out by itself
                self._send(notice, now_ns, signed=True)
        self._send_orders(now_ns)
        if self._asked:
            again = [(group, asked) for group, asked in self._asked.items() if 0 < asked.again_at_ns <= now_ns]
            self._repeat(again, now_ns)
            self._give_up(now_ns)
        quiet_ns = self._grant_ns // 3
        if now_ns - max(self._heard_at_ns, self._queried_at_ns) >= quiet_ns:
            self._query(now_ns)
        due_ns = [max(self._heard_at_ns, self._queried_at_ns) + quiet_ns]
        due_ns += [asked.again_at_ns or asked.sent_at_ns + self._grant_ns for asked in self._asked.values()]
        return min(TURN_MS, (min(due_ns) - now_ns) // 1_000_000 + 1)

    def take(self, messages: list[Message], read_at_ns: int) -> None:
        """Answers of the witness."""
        for message in messages:
            if message.retained:
                self.retained_refused += 1
                continue
            body, tag = message.payload[:-TAG_BYTES], message.payload[-TAG_BYTES:]
            if len(tag) < TAG_BYTES or siphash24(self._key, body) != int.from_bytes(tag, "little"):
                self.bad_tags += 1
                self._complain("tag", "an answer has another key's tag; does it have this pair's key file?")
                continue
            answer = self._session.receive(body)
            if answer is None:
                continue
            self.answers += 1
            self._heard_at_ns = read_at_ns
            self._complained.discard("no answer")
            if len(message.correlation) == 8:
                self._round_trip_ms = round((read_at_ns - int.from_bytes(message.correlation)) / 1e6, 3)
            if isinstance(answer, VotesBody):
                self._deliver(answer, read_at_ns)
            else:
                self._told = {
                    "version": answer.version, "grant_max_ms": answer.grant_max_ms, "heard_ms": answer.heard_ms
                }

    def _deliver(self, answer: VotesBody, now_ns: int) -> None:
        again = []
        for row in answer.rows:
            asked = self._asked.get(row.group)
            if row.code in REPEATED and asked is not None and answer.stamp <= asked.stamp:
                if answer.stamp < asked.stamp or asked.again_at_ns:
                    continue                # a newer ask is on its way, or this one is
                if row.code is VoteCode.UNPROVEN and asked.tries == 0:
                    again.append((row.group, asked))
                    continue
                if row.code is VoteCode.WAITS and asked.tries < TRIES_MAX:
                    self._asked[row.group] = asked._replace(again_at_ns=now_ns + WAITS_AGAIN_NS)
                    continue
            if asked is not None and asked.stamp == answer.stamp:
                del self._asked[row.group]
            self._votes(VoteAnswer(row.group, meaning(row), row.epoch, answer.stamp, row.ms))
            if row.code in COMPLAINTS:
                self._complain(row.code.name, COMPLAINTS[row.code])
        self._repeat(again, now_ns)

    def _repeat(self, again: list[tuple[int, Asked]], now_ns: int) -> None:
        """The same asks, same stamps, with the newest echo."""
        for group, asked in again:
            self._asked[group] = asked._replace(tries=asked.tries + 1, again_at_ns=0)
        for stamp in sorted({asked.stamp for _, asked in again}):
            rows = [(group, asked.epoch) for group, asked in again if asked.stamp == stamp]
            self._send_asks(rows, stamp, now_ns)

    def _send_orders(self, now_ns: int) -> None:
        """Asks of one stamp go in one frame; the order of asks and returns is kept."""
        orders: list[Order] = []
        while self._orders:
            order = self._orders.popleft()
            if now_ns - order.at_ns > self._grant_ns:
                self.stale_dropped += 1
                continue
            if orders and (order.what, order.stamp) != (orders[0].what, orders[0].stamp):
                self._send_rows(orders, now_ns)
                orders = []
            orders.append(order)
        if orders:
            self._send_rows(orders, now_ns)

    def _send_rows(self, orders: list[Order], now_ns: int) -> None:
        rows = [(order.group, order.epoch) for order in orders]
        stamp = orders[0].stamp
        if orders[0].what == "return":
            for at in range(0, len(rows), MAX_ROWS):
                self._send(self._session.give_back(rows[at : at + MAX_ROWS], stamp), now_ns)
            for order in orders:
                asked = self._asked.get(order.group)
                if asked is not None and asked.epoch == order.epoch:
                    del self._asked[order.group]
            return
        for group, epoch in rows:
            self._asked[group] = Asked(epoch, stamp, now_ns)
            self._newest[group] = stamp
            self._gone.discard(group)
        self._send_asks(rows, stamp, now_ns)

    def _send_asks(self, rows: list[tuple[int, int]], stamp: int, now_ns: int) -> None:
        for at in range(0, len(rows), MAX_ROWS):
            self._send(self._session.ask(rows[at : at + MAX_ROWS], stamp), now_ns)

    def _query(self, now_ns: int) -> None:
        self._queried_at_ns = now_ns
        self._send(self._session.query(now_ns // 1000 & STAMP_MASK), now_ns)

    def _send(self, body: bytes, now_ns: int, signed: bool = False) -> None:
        """`signed`: the body carries its own tag (a gate's notice)."""
        data = body if signed else body + siphash24(self._key, body).to_bytes(TAG_BYTES, "little")
        self._courier.send(publish(self._ask_topic, data, now_ns.to_bytes(8), self._answer_topic))

    def _give_up(self, now_ns: int) -> None:
        """What had no answer for as long as its promise would have lasted gets none any more."""
        for group, asked in list(self._asked.items()):
            if now_ns - asked.sent_at_ns < self._grant_ns:
                continue
            del self._asked[group]
            self._votes(VoteAnswer(group, Code.GONE, 0, asked.stamp, 0))
            if self._heard_at_ns < asked.sent_at_ns:
                self._complain("no answer", "it does not answer; does `twinbeat witness` run, with this pair's key?")

    def _complain(self, kind: str, text: str) -> None:
        """Once: what is wrong with a witness mostly stays so."""
        if kind not in self._complained:
            self._complained.add(kind)
            log.warning("%s: witness %s: %s", self._courier.options.place, self._witness, text)


class Link(Courier):
    """The client's connection; it has no thoughts of its own."""

    def __init__(
        self, client: WitnessClient, options: MqttOptions, context: ssl.SSLContext | None, client_id: str, topic: str
    ) -> None:
        super().__init__(options, context, client_id, topic)
        self._client = client

    def opened(self) -> None:
        """Tell the client."""
        self._client.opened()

    def closed(self) -> None:
        """Tell the client."""
        self._client.closed()

    def turn(self, now_ns: int) -> int:
        """Ask the client."""
        return self._client.turn(now_ns)

    def take(self, messages: list[Message], read_at_ns: int) -> None:
        """Give them to the client."""
        self._client.take(messages, read_at_ns)

    def failed(self, error: Exception) -> None:
        """A fault of ours; the votes are gone with it, and the agent goes on by its links."""
        log.error("internal error in the witness client: %s: %s", type(error).__name__, error)
        self._client.closed()


def meaning(row: Row) -> Code:
    """What a row means to the core."""
    return {VoteCode.PROMISED: Code.PROMISED, VoteCode.REFUSED: Code.REFUSED}.get(row.code, Code.GONE)
