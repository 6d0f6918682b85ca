"""Remote commands on a broker's connection, as far as the link's thread is concerned: counted, bounded, passed on.

Heartbeats come over the same connection, so a stranger who floods the topic of the commands must not hold them up.
Nothing is looked into here: what exceeds a small budget is dropped, and when that goes on the topic is unsubscribed
for a while, so that the broker throws the flood away.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from twinbeat.run_loop import boottime_ns

PASSED_PER_S = 20.0
PASSED_BURST = 40.0
MAIL_BYTES_MAX = 8192
DROPS_MAX = 50
"""So many dropped messages within one burst of them are a flood."""
CALM_NS = 10 * 10**9
SHUT_MIN_S = 10
SHUT_MAX_S = 300
NS_PER_S = 10**9


class Mail(NamedTuple):
    """A message on a command's topic, unread. `response_topic` and `correlation` are empty where there is none."""

    topic: str
    payload: bytes
    retained: bool
    response_topic: str
    correlation: bytes


@dataclass
class MailCounters:
    """Since the start of the agent, on this broker."""

    passed: int = 0
    dropped: int = 0
    oversize: int = 0
    floods: int = 0


class CommandMail:
    """The mailbox of one broker. `deliver(mail)` and `flooded(seconds, dropped)` are called in the link's thread.

    `open`: commands arrive; `refused`: why the broker does not let them.
    """

    def __init__(
        self,
        topic_stem: str,
        deliver: Callable[[Mail], None],
        flooded: Callable[[int, int], None],
        clock_ns: Callable[[], int] = boottime_ns,
    ) -> None:
        self.counters = MailCounters()
        self.refused = ""
        self.open = False
        self._stem = topic_stem
        self._deliver = deliver
        self._flooded = flooded
        self._clock_ns = clock_ns
        self._tokens = PASSED_BURST
        self._filled_ns = clock_ns()
        self._drops = 0
        self._dropped_ns = 0
        self._shut_s = SHUT_MIN_S
        self._shut_until_ns = 0
        self._subscribed = False

    @property
    def topic_filter(self) -> str:
        """What is subscribed to."""
        return f"{self._stem}/+"

    def connected(self) -> None:
        """A new connection stands; nothing is subscribed to on it."""
        self._subscribed = False
        self.open = False

    def answered(self, code: ReasonCode) -> None:
        """What the broker said to the subscription."""
        self.refused = code.getName() if code.is_failure else ""
        self.open = not code.is_failure

    def take(self, message: paho.MQTTMessage) -> bool:
        """A message came; False: on a topic that is not a command's."""
        if not message.topic.startswith(self._stem + "/"):
            return False
        now_ns = self._clock_ns()
        self._tokens = min(PASSED_BURST, self._tokens + (now_ns - self._filled_ns) / NS_PER_S * PASSED_PER_S)
        self._filled_ns = now_ns
        size = len(message.payload)
        if size > MAIL_BYTES_MAX:
            self.counters.oversize += 1
        if self._tokens < 1.0 or size > MAIL_BYTES_MAX:
            self._drop(now_ns, 1 + size // MAIL_BYTES_MAX)
            return True
        self._tokens -= 1.0
        self.counters.passed += 1
        properties = message.properties
        response_topic = getattr(properties, "ResponseTopic", "")
        correlation = getattr(properties, "CorrelationData", b"")
        self._deliver(Mail(message.topic, bytes(message.payload), message.retain, response_topic, correlation))
        return True

    def tend(self, client: paho.Client) -> None:
        """Once in every turn of the link: keep a flood out, or let commands in again."""
        now_ns = self._clock_ns()
        if not self._subscribed:
            if now_ns >= self._shut_until_ns:
                self._drops = 0
                self._subscribed = True
                client.subscribe([self.wish()])
        elif self._drops > DROPS_MAX:
            self._shut(client, now_ns)
        elif self._drops and now_ns - self._dropped_ns > CALM_NS:
            self._drops = 0
        elif self._shut_s > SHUT_MIN_S and now_ns - self._dropped_ns > SHUT_MAX_S * NS_PER_S:
            self._shut_s = SHUT_MIN_S

    def wish(self) -> tuple[str, SubscribeOptions]:
        """The subscription. What the broker has kept is not sent; what somebody publishes retained is marked so."""
        keep_out = SubscribeOptions.RETAIN_DO_NOT_SEND
        return self.topic_filter, SubscribeOptions(qos=0, retainAsPublished=True, retainHandling=keep_out)

    def _shut(self, client: paho.Client, now_ns: int) -> None:
        client.unsubscribe(self.topic_filter)
        self._subscribed = self.open = False
        self._shut_until_ns = now_ns + self._shut_s * NS_PER_S
        self.counters.floods += 1
        self._flooded(self._shut_s, self._drops)
        self._shut_s = min(2 * self._shut_s, SHUT_MAX_S)

    def describe(self) -> dict[str, object]:
        """What status shows."""
        left_s = (self._shut_until_ns - self._clock_ns()) / NS_PER_S
        return {**vars(self.counters), "refused": self.refused, "shut_s": round(max(0.0, left_s), 1)}

    def _drop(self, now_ns: int, weight: int) -> None:
        self.counters.dropped += 1
        self._drops += weight
        self._dropped_ns = now_ns
