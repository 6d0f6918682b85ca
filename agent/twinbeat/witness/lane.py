"""MQTT 5 messages of QoS 0 in and out of bytes, and nothing else of MQTT: for thousands of messages a second.

paho opens the connection and subscribes. From then on a connection that only takes and sends QoS 0 messages sees four
kinds of packets; reading them here costs a tenth of what general code must spend on each. No I/O.
"""
from __future__ import annotations

from typing import NamedTuple

PUBLISH = 0x30
PINGRESP = 0xD0
DISCONNECT = 0xE0
PING = b"\xc0\x00"
GOODBYE = b"\xe0\x00"
RETAINED = 0x01
QOS_MASK = 0x06
DUP_OR_QOS = 0x0E
PACKET_BYTES_MAX = 4096
CORRELATION_BYTES_MAX = 64
PROTOCOL_ERROR = 130
NORMAL_END = 0
EXPIRES_IN_1_S = b"\x02\x00\x00\x00\x01"
RESPONSE_TOPIC = 0x08
CORRELATION = 0x09
VALUE_BYTES = {0x01: 1, 0x02: 4, 0x23: 2}
"""Properties of a message whose value has a fixed length: payload format, expiry, topic alias."""
TEXTS = {0x03: 1, RESPONSE_TOPIC: 1, CORRELATION: 1, 0x26: 2}
"""Those with texts or bytes behind a length: content type, response topic, correlation data, user property."""


class Message(NamedTuple):
    """One message that arrived. `response_topic` and `correlation` are empty where there is none."""

    topic: bytes
    payload: bytes
    retained: bool
    response_topic: bytes
    correlation: bytes


class NotMqtt(ValueError):
    """Bytes that a broker does not send here."""


class Lane:
    """Cuts what arrives into messages. `ended`: reason code of the broker's DISCONNECT, None while there is none."""

    def __init__(self) -> None:
        self.ended: int | None = None
        self._rest = b""

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete now; none at all once the broker has ended the connection.

        A DISCONNECT counts for everything that arrives together with it: whoever was replaced must answer nothing
        more, not even what was asked before. Raises NotMqtt.
        """
        data = self._rest + data if self._rest else data
        messages: list[Message] = []
        at, size = 0, len(data)
        while size - at >= 2:
            length = data[at + 1]
            body = at + 2
            if length >= 0x80:
                found = variable(data, at + 1)
                if found is None:
                    break
                length, body = found
            if length > PACKET_BYTES_MAX:
                raise NotMqtt(f"a packet of {length} bytes")
            end = body + length
            if end > size:
                break
            kind = data[at] & 0xF0
            if kind == PUBLISH:
                messages.append(message(data, data[at], body, end))
            elif kind == DISCONNECT:
                self.ended = data[body] if length else NORMAL_END
            elif kind != PINGRESP:
                raise NotMqtt(f"a packet of kind {kind >> 4}")
            at = end
        self._rest = data[at:]
        return messages if self.ended is None else []


def variable(data: bytes, at: int) -> tuple[int, int] | None:
    """The variable byte integer at `at` and where it ends; None when it is not complete. Raises NotMqtt."""
    value = 0
    for shift in range(0, 28, 7):
        if at >= len(data):
            return None
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise NotMqtt("a length of more than four bytes")


def message(data: bytes, first: int, at: int, end: int) -> Message:
    """The message in the body of a PUBLISH. Raises NotMqtt."""
    if first & QOS_MASK:
        raise NotMqtt("a message of a quality that was not subscribed to")
    topic_end = at + 2 + (data[at] << 8 | data[at + 1]) if end - at > 2 else end
    found = variable(data, topic_end) if topic_end < end else None
    if found is None or found[0] + found[1] > end:
        raise NotMqtt("a message whose lengths do not fit")
    payload_at = found[0] + found[1]
    response = correlation = b""
    place = found[1]
    while place < payload_at:
        name = data[place]
        place += 1
        if name in VALUE_BYTES:
            place += VALUE_BYTES[name]
            continue
        if name not in TEXTS:
            raise NotMqtt(f"a message with property {name}")
        for _ in range(TEXTS[name]):
            value_at = place + 2
            place = value_at + int.from_bytes(data[place:value_at])
            if name == RESPONSE_TOPIC:
                response = data[value_at:place]
            elif name == CORRELATION:
                correlation = data[value_at:place]
    if place != payload_at:
        raise NotMqtt("a message whose properties do not fit")
    return Message(data[at + 2 : topic_end], data[payload_at:end], bool(first & RETAINED), response, correlation)


def publish(topic: bytes, payload: bytes, correlation: bytes = b"", response_topic: bytes = b"") -> bytes:
    """The packet of a message that is not retained and that the broker forgets after a second.

    `correlation` beyond `CORRELATION_BYTES_MAX` is left out.
    """
    properties = EXPIRES_IN_1_S
    if response_topic:
        properties += b"\x08" + len(response_topic).to_bytes(2) + response_topic
    if correlation and len(correlation) <= CORRELATION_BYTES_MAX:
        properties += b"\x09" + len(correlation).to_bytes(2) + correlation
    body = b"".join(
        (len(topic).to_bytes(2), topic, encoded(len(properties)), properties, payload)
    )
    return b"\x30" + encoded(len(body)) + body


def encoded(length: int) -> bytes:
    """A variable byte integer."""
    if length < 0x80:
        return bytes((length,))
    if length < 0x4000:
        return bytes((length & 0x7F | 0x80, length >> 7))
    raise ValueError(f"{length} bytes do not fit a packet of this connection")
