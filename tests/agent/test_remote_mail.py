"""The mailbox of commands on a broker's connection: a flood is dropped, then kept out by the broker."""
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from remote_rig import SECOND_NS, Clock

from twinbeat.links.mqtt_mail import (
    CALM_NS,
    DROPS_MAX,
    MAIL_BYTES_MAX,
    PASSED_BURST,
    PASSED_PER_S,
    SHUT_MAX_S,
    CommandMail,
    Mail,
)

STEM = "twinbeat/v1/pump-7/cmd/gw-a"


class Box:
    """A mailbox with a broker's client of the test's own."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.got: list[Mail] = []
        self.floods: list[tuple[int, int]] = []
        self.said: list[tuple[str, Any]] = []
        self.mail = CommandMail(STEM, self.got.append, lambda *told: self.floods.append(told), self.clock)
        self.client: Any = SimpleNamespace(
            subscribe=lambda wishes: self.said.append(("subscribe", [topic for topic, _ in wishes])),
            unsubscribe=lambda topic: self.said.append(("unsubscribe", topic)),
        )
        self.mail.connected()
        self.turn()

    def turn(self, seconds: float = 0.0) -> None:
        self.clock.now_ns += int(seconds * 1e9)
        self.mail.tend(self.client)

    def post(self, payload: bytes = b"x", topic: str = f"{STEM}/out", times: int = 1) -> bool:
        message = paho.MQTTMessage(topic=topic.encode())
        message.payload = payload
        message.properties = Properties(PacketTypes.PUBLISH)
        return [self.mail.take(message) for _ in range(times)][-1]

    def flood(self) -> None:
        self.post(times=int(PASSED_BURST) + DROPS_MAX + 1)
        self.turn()


def test_a_message_is_passed_on_as_it_came() -> None:
    box = Box()
    message = paho.MQTTMessage(topic=f"{STEM}/out".encode())
    message.payload, message.retain = b"p", True
    message.properties = Properties(PacketTypes.PUBLISH)
    message.properties.ResponseTopic, message.properties.CorrelationData = "r", b"c"
    assert box.mail.take(message)
    assert box.got == [Mail(f"{STEM}/out", b"p", True, "r", b"c")]


def test_other_topics_are_not_its_business() -> None:
    box = Box()
    for topic in ("twinbeat/v1/pump-7/gw-b/beat", "twinbeat/v1/pump-7/cmd/gw-ab/out", STEM):
        assert not box.post(topic=topic)
    assert box.got == []


def test_subscribed_after_every_connection_with_nothing_kept() -> None:
    box = Box()
    box.turn(1)
    assert box.said == [("subscribe", [f"{STEM}/+"])]
    box.mail.connected()
    box.turn()
    assert len(box.said) == 2
    _, options = box.mail.wish()
    assert (options.QoS, options.retainHandling, options.retainAsPublished) == (0, 2, True)


def test_what_is_too_much_is_dropped_and_counted() -> None:
    box = Box()
    box.post(times=int(PASSED_BURST) + 10)
    assert len(box.got) == PASSED_BURST and box.mail.counters.dropped == 10
    box.clock.now_ns += SECOND_NS
    box.post(times=50)
    assert len(box.got) == PASSED_BURST + PASSED_PER_S


def test_a_flood_is_kept_out_for_longer_and_longer() -> None:
    box = Box()
    expected_s = [10, 20, 40, 80, 160, 300, 300]
    for seconds in expected_s:
        box.clock.now_ns += CALM_NS // 2
        box.flood()
        assert box.said[-1] == ("unsubscribe", f"{STEM}/+") and not box.mail.open
        box.turn(seconds - 0.1)
        assert box.said[-1][0] == "unsubscribe"
        box.turn(0.2)
        assert box.said[-1][0] == "subscribe"
    assert [seconds for seconds, _ in box.floods] == expected_s
    assert all(dropped > DROPS_MAX for _, dropped in box.floods)
    box.turn(SHUT_MAX_S + 1)
    box.flood()
    assert box.floods[-1][0] == 10, "after quiet it begins anew"


def test_a_new_connection_does_not_let_a_flood_in() -> None:
    box = Box()
    box.flood()
    box.mail.connected()
    box.turn(1)
    assert box.said[-1][0] == "unsubscribe"
    assert box.mail.describe()["shut_s"] == 9.0
    box.turn(9.1)
    assert box.said[-1][0] == "subscribe"


def test_a_few_dropped_now_and_then_are_no_flood() -> None:
    box = Box()
    for _ in range(20):
        box.post(times=int(PASSED_BURST) + DROPS_MAX - 10)
        box.turn(CALM_NS / 1e9 + 0.1)
        box.turn()
    assert box.floods == []


def test_big_messages_are_dropped_and_weigh_more() -> None:
    box = Box()
    box.post(bytes(MAIL_BYTES_MAX + 1))
    assert box.got == [] and box.mail.counters.oversize == 1
    box.post(bytes(MAIL_BYTES_MAX * DROPS_MAX))
    box.turn()
    assert len(box.floods) == 1


def test_the_brokers_no_is_kept() -> None:
    box = Box()
    box.mail.answered(ReasonCode(PacketTypes.SUBACK, identifier=135))
    assert box.mail.refused == "Not authorized" and not box.mail.open
    box.mail.answered(ReasonCode(PacketTypes.SUBACK, identifier=0))
    assert box.mail.refused == "" and box.mail.open
