"""Topics that are listened to on a broker's connection: applications' for their age, the peer's for their content."""
from __future__ import annotations

from collections.abc import Callable, Sequence

from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

Taker = Callable[[str, bytes], None]
"""Is given the topic's last level and the payload, in the link's thread."""


class TopicWatch:
    """When a message last came on each topic. Filled by the link's thread, read by anybody.

    Of a topic listened to for its age, what a broker has kept does not count: it is not sent at all, for it says
    nothing about now. Of a topic that is read it is sent with every new connection.
    """

    def __init__(self) -> None:
        self._heard_ns: dict[str, int] = {}
        self._refused: dict[str, str] = {}
        self._takers: dict[str, Taker] = {}

    def add(self, topic: str) -> None:
        """Listen to a topic too, from the next connection on."""
        self._heard_ns.setdefault(topic, 0)

    def read(self, stem: str, take: Taker) -> None:
        """Read every topic one level below `stem`, from the next connection on."""
        self._takers[stem] = take

    def wishes(self) -> list[tuple[str, SubscribeOptions]]:
        """What to subscribe to."""
        options = SubscribeOptions(qos=0, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
        kept = SubscribeOptions(qos=0, retainHandling=SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE)
        return [*((topic, options) for topic in self._heard_ns), *((f"{stem}/+", kept) for stem in self._takers)]

    def answered(self, codes: Sequence[ReasonCode]) -> None:
        """What the broker said to each of them, in their order."""
        named = zip([*self._heard_ns, *self._takers], codes, strict=False)
        self._refused = {topic: code.getName() for topic, code in named if code.is_failure}

    def take(self, topic: str, payload: bytes, at_ns: int) -> bool:
        """A message came; False: on a topic that is not ours. `at_ns`: CLOCK_BOOTTIME."""
        if topic in self._heard_ns:
            self._heard_ns[topic] = at_ns
            return True
        stem, _, last = topic.rpartition("/")
        taker = self._takers.get(stem)
        if taker is not None:
            taker(last, payload)
        return taker is not None

    def heard_ns(self, topic: str) -> int:
        """When the last message came; 0: none yet."""
        return self._heard_ns[topic]

    def refused(self, topic: str) -> str:
        """Why the broker does not let us listen; empty where it does."""
        return self._refused.get(topic, "")
