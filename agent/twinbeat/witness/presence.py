"""Is another witness of this name connected? Asked before the name is taken, and above all before it is taken back.

A broker that speaks MQTT 5 should say "session taken over" (0x8E) to the older of two; not every one does. Without an
answer to this question two witnesses of one name would show each other out for ever, and none would ever promise. A
first start shows the older one out, and must know how long that one's promises may last.
"""
from __future__ import annotations

import re
import select
from collections.abc import Callable
from typing import TYPE_CHECKING

from twinbeat.links.mqtt_note import TOPIC_ROOT
from twinbeat.links.mqtt_options import MqttOptions
from twinbeat.run_loop import boottime_ns
from twinbeat.witness.lane import GOODBYE, Lane, publish
from twinbeat.witness.opening import Opening, again_errors

if TYPE_CHECKING:
    import ssl

WAIT_MS = 500
NOBODYS_PAIR = "-"
"""Stands in the place of the pair's name, and can be none."""
_LIFE = re.compile(rb"[0-9a-f]{8}\Z")
_ANSWER = re.compile(rb"([0-9a-f]{8}) ([0-9]{1,5})\Z")


def question_topic(witness: str) -> bytes:
    """A witness hears it by the subscription that it has for asks."""
    return f"{TOPIC_ROOT}/{NOBODYS_PAIR}/witness/{witness}/ask".encode()


def life_text(life: int) -> bytes:
    """A life as it stands in question and answer."""
    return b"%08x" % life


def answer_packet(witness: str, life: int, longest_ms: int, question: bytes) -> bytes | None:
    """What the connected witness says to the life that asks: its own life, and the longest promise that may be out.

    None to itself and to what is no question.
    """
    if not _LIFE.match(question) or question == life_text(life):
        return None
    return publish(question_topic(witness)[:-3] + question, b"%b %d" % (life_text(life), longest_ms))


def another_life(
    options: MqttOptions, context: ssl.SSLContext | None, witness: str, life: int, stopping: Callable[[], bool]
) -> int | None:
    """The longest promise, in ms, of another life of this name that is connected now; None: there is none.

    Waits half a second for it. Raises OSError, and NotMqtt for what no broker sends.
    """
    own = life_text(life)
    reply_topic = question_topic(witness)[:-3] + own
    opening = Opening(options, context, f"twinbeat-witness-{witness}-{own.decode()}", reply_topic.decode())
    connection = opening.open(stopping)
    try:
        connection.send(publish(question_topic(witness), own))
        lane, poller = Lane(), select.poll()
        poller.register(connection, select.POLLIN)
        until_ns = boottime_ns() + WAIT_MS * 1_000_000
        while not stopping() and (left_ms := (until_ns - boottime_ns()) // 1_000_000) > 0:
            if not poller.poll(min(left_ms, 100)):
                continue
            try:
                data = connection.recv(4096)
            except again_errors(context):
                continue
            if not data:
                raise OSError("it closed the connection")
            for message in lane.feed(data):
                found = _ANSWER.match(message.payload)
                if found is not None and found[1] != own and not message.retained:
                    return int(found[2])
        connection.send(GOODBYE)
        return None
    finally:
        connection.close()
