"""Topics of applications that are listened to on a broker's connection, for their age alone."""
from __future__ import annotations

from collections.abc import Sequence

from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions


class TopicWatch:
    """When a message last came on each topic. Filled by the link's thread, read by anybody.

    What a broker has kept does not count: it is not sent at all, for it says nothing about now.
    """

    def __init__(self) -> None:
        self._heard_ns: dict[str, int] = {}
        self._refused: dict[str, str] = {}

    def add(self, topic: str) -> None:
        """Listen to a topic too, from the next connection on."""
        self._heard_ns.setdefault(topic, 0)

    def wishes(self) -> list[tuple[str, SubscribeOptions]]:
        """What to subscribe to."""
        options = SubscribeOptions(qos=0, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
        return [(topic, options) for topic in self._heard_ns]

    def answered(self, codes: Sequence[ReasonCode]) -> None:
        """What the broker said to each of them, in their order."""
        named = zip(self._heard_ns, codes, strict=False)
        self._refused = {topic: code.getName() for topic, code in named if code.is_failure}

    def take(self, topic: str, at_ns: int) -> bool:
        """A message came; False: on a topic that is not ours. `at_ns`: CLOCK_BOOTTIME."""
        if topic not in self._heard_ns:
            return False
        self._heard_ns[topic] = at_ns
        return True

    def heard_ns(self, topic: str) -> int:
        """When the last message came; 0: none yet."""
        return self._heard_ns[topic]

    def refused(self, topic: str) -> str:
        """Why the broker does not let us listen; empty where it does."""
        return self._refused.get(topic, "")
