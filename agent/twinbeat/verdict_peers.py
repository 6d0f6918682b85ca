"""The other nodes' verdicts, as they come over MQTT: their half of a role change, for `twinbeat why`.

They are not signed: what they say is shown to people and decides nothing. Whatever comes is checked, bounded and
kept in memory only; a broker's retained values fill the book again after a restart.
"""
from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Any

from twinbeat.links.mqtt_note import TOPIC_ROOT
from twinbeat.run_loop import boottime_ns
from twinbeat.run_types import MqttLike
from twinbeat.run_words import Names
from twinbeat.verdict import LINE_BYTES_MAX, SCHEMA, Record

KEPT_PER_GROUP = 8
TAKEN_PER_S = 20.0
TAKEN_BURST = 256.0
TEXTS = ("sentence", "time", "from", "to", "cause", "by")


class PeerVerdicts:
    """Their newest records, `KEPT_PER_GROUP` for each node and group. Belongs to the loop's thread but for `take`."""

    def __init__(
        self, names: Names, pair: str, soon: Callable[[Callable[[], None]], None],
        clock_ns: Callable[[], int] = boottime_ns,
    ) -> None:
        self.refused = 0
        self.held_back = 0
        self._names = names
        self._pair = pair
        self._soon = soon
        self._clock_ns = clock_ns
        self._tokens = TAKEN_BURST
        self._filled_ns = clock_ns()
        self._brokers: Mapping[int, MqttLike] = {}
        self._books: dict[tuple[str, str], deque[Record]] = {
            (node, group): deque(maxlen=KEPT_PER_GROUP)
            for node in names.nodes if node != names.node for group in names.groups
        }

    def listen(self, brokers: Mapping[int, MqttLike]) -> None:
        """Read the peers' verdicts on every broker. They must not have been started yet."""
        self._brokers = brokers
        if not brokers:
            return
        from twinbeat.links.mqtt_watch import TopicWatch

        for broker in brokers.values():
            if broker.watch is None:
                broker.watch = TopicWatch()
            for node in self._names.nodes:
                if node != self._names.node:
                    broker.watch.read(f"{TOPIC_ROOT}/{self._pair}/{node}/verdict", self.taker(node))

    def taker(self, node: str) -> Callable[[str, bytes], None]:
        """What takes a node's messages; called in a broker's thread with the group and the payload."""
        return lambda group, payload: self._take(node, group, payload)

    def _take(self, node: str, group: str, payload: bytes) -> None:
        now_ns = self._clock_ns()
        self._tokens = min(TAKEN_BURST, self._tokens + (now_ns - self._filled_ns) / 1e9 * TAKEN_PER_S)
        self._filled_ns = now_ns
        if self._tokens < 1.0:
            self.held_back += 1
            return
        self._tokens -= 1.0
        record = understood(payload)
        if record is None or (record["node"], record["group"], record["pair"]) != (node, group, self._pair):
            self.refused += 1
        else:
            self._soon(lambda: self.note(record))

    def note(self, record: Record) -> None:
        """Keep a record. One that is known is passed over: every broker sends the same ones, again and again."""
        book = self._books.get((record["node"], record["group"]))
        if book is None:
            self.refused += 1
        elif not any(mark(record) == mark(known) for known in book):
            book.append(record)

    def last(self, count: int, groups: Collection[str] | None = None) -> list[Record]:
        """The newest `count` of each node, in no order that matters between groups."""
        found: list[Record] = []
        for name in self._names.nodes:
            of_node = [record for (node, about), book in self._books.items()
                       if node == name and (groups is None or about in groups) for record in book]
            found += of_node[-count:] if count > 0 else []
        return found

    def source(self) -> dict[str, Any]:
        """Where the peers' halves come from, and why they may be missing."""
        brokers = {broker.options.place: bool(broker.state.connected) for broker in self._brokers.values()}
        return {
            "nodes": [node for node in self._names.nodes if node != self._names.node],
            "brokers": brokers,
            "refused": self.refused,
            "held_back": self.held_back,
        }


def mark(record: Record) -> tuple[Any, ...]:
    """What tells a record from every other one of its node and group."""
    return record["boottime_ns"], record["epoch"], record["to"], record["time"]


def understood(payload: bytes) -> Record | None:
    """A record that a stranger sent, if it is one."""
    if len(payload) > LINE_BYTES_MAX:
        return None
    try:
        record = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        return None
    if not all(isinstance(record.get(key), str) for key in (*TEXTS, "node", "group", "pair")):
        return None
    whole = (record.get("epoch"), record.get("boottime_ns"))
    return record if all(type(value) is int and value >= 0 for value in whole) else None
