"""Between topics and the witness's rule: which message is an ask of which pair, and where its answer goes."""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from twinbeat.links.mqtt_note import TOPIC_ROOT
from twinbeat.witness.keyring import is_name
from twinbeat.witness.lane import Message, publish
from twinbeat.witness.presence import answer_packet, question_topic
from twinbeat_bridge.witness import Witness

ASK = b"ask"
_LEVEL = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")


def ask_topic(pair: str, witness: str) -> str:
    """Where a pair asks; with pair "+" what the witness subscribes to."""
    return f"{TOPIC_ROOT}/{pair}/witness/{witness}/ask"


def answer_topic(pair: str, witness: str, node: int) -> str:
    """Where a node is answered."""
    return f"{TOPIC_ROOT}/{pair}/witness/{witness}/{node}"


class Desk:
    """Takes the messages of one connection; not for more than one thread."""

    def __init__(self, witness: Witness, say: Callable[[str], object]) -> None:
        self.witness = witness
        self.retained_refused = 0
        self.other_topics = 0
        self._say = say
        self._question = question_topic(witness.name)
        self._pairs: dict[bytes, tuple[str, bytes]] = {}

    def answer(self, messages: Iterable[Message], now_ms: int) -> list[bytes]:
        """The packets to send for these messages, in their order."""
        packets = []
        handle, pairs = self.witness.handle, self._pairs
        for topic, payload, retained, response_topic, correlation in messages:
            place = pairs.get(topic) or self._place(topic)
            if retained or place is None:
                if topic == self._question and not retained:
                    packets += self._presence(payload)
                else:
                    self._refuse(topic, retained)
                continue
            answered = handle(place[0], payload, now_ms)
            if answered is not None:
                node, body = answered
                packets.append(publish(self._answer_topic(place[1], response_topic, node), body, correlation))
        return packets

    def _place(self, topic: bytes) -> tuple[str, bytes] | None:
        """Pair, and its topic up to the last level. Kept for pairs that are served: others may be without number."""
        base, _, last = topic.rpartition(b"/")
        levels = base.split(b"/")
        if last != ASK or len(levels) != 5:
            return None
        try:
            pair = levels[2].decode("ascii")
        except UnicodeDecodeError:
            return None
        if not is_name(pair):
            return None
        place = (pair, base + b"/")
        if pair in self.witness.pairs:
            self._pairs[topic] = place
        return place

    def _presence(self, payload: bytes) -> list[bytes]:
        witness = self.witness
        packet = answer_packet(witness.name, witness.life, witness.abstain_ms, payload)
        return [packet] if packet is not None else []

    def _answer_topic(self, base: bytes, wished: bytes, node: int) -> bytes:
        """The topic the asker wishes, if it is one of this pair's nodes here; else the one made of its number."""
        if wished.startswith(base):
            level = wished[len(base) :]
            if level != ASK and _LEVEL.match(level):
                return wished
        return base + str(node).encode()

    def _refuse(self, topic: bytes, retained: bool) -> None:
        if not retained:
            self.other_topics += 1
            return
        self.retained_refused += 1
        if self.retained_refused == 1:
            self._say(f"a retained ask on {topic.decode(errors='replace')} was refused; clear it")
