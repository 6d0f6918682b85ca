"""MQTT 5 from the agents to MQTT 3.1.1 for a broker that knows nothing newer, and back.

Only for the demo with the embedded broker. What 3.1.1 has no place for is left out: properties, and with them the
message expiry; reason codes become the nearest return code.
"""
from __future__ import annotations

from twinbeat.demo import mqttwire

CONNACK, PUBLISH, SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, DISCONNECT = 2, 3, 8, 9, 10, 11, 14
ACKS = (4, 5, 6, 7)
LEVEL_5, LEVEL_311 = 5, 4
WILL_FLAG = 0x04
NORMAL_DISCONNECT = b"\xe0\0"
REFUSED = {0: 0x00, 1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87}    # CONNACK codes of 3.1.1 in MQTT 5


def packet(first: int, body: bytes) -> bytes:
    """A packet from its first byte and everything after the length field."""
    length = bytearray()
    left = len(body)
    while True:
        left, part = left >> 7, left & 0x7F
        length.append(part | (0x80 if left else 0))
        if not left:
            return bytes([first]) + bytes(length) + body


def body_of(whole: bytes) -> bytes:
    """Everything after the length field."""
    place = 1
    while whole[place] & 0x80:
        place += 1
    return whole[place + 1:]


def after_properties(body: bytes, place: int) -> int:
    """Where the properties that begin at `place` end."""
    length = shift = 0
    while True:
        byte = body[place]
        place += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return place + length


def after_text(body: bytes, place: int) -> int:
    """Where the text or bytes field that begins at `place` ends."""
    return place + 2 + int.from_bytes(body[place:place + 2])


def to_311(whole: bytes) -> bytes | None:
    """What the agent said, for the broker; None: it needs nothing (a will that must be sent is seen by the closing)."""
    kind, body = whole[0] >> 4, body_of(whole)
    if kind == mqttwire.CONNECT:
        return packet(whole[0], _connect(body))
    if kind == PUBLISH:
        place = after_text(body, 0) + (2 if whole[0] & 6 else 0)
        return packet(whole[0], body[:place] + body[after_properties(body, place):])
    if kind == SUBSCRIBE:
        return packet(whole[0], body[:2] + _filters(body[after_properties(body, 2):]))
    if kind == UNSUBSCRIBE:
        return packet(whole[0], body[:2] + body[after_properties(body, 2):])
    if kind in ACKS:
        return packet(whole[0], body[:2])
    if kind == DISCONNECT:
        return NORMAL_DISCONNECT if not body or body[0] == 0 else None
    return whole


def _connect(body: bytes) -> bytes:
    """CONNECT: protocol level, and the properties of connection and will taken out."""
    level = after_text(body, 0)
    if body[level] != LEVEL_5:
        return body
    flags = body[level + 1]
    payload = after_properties(body, level + 4)
    will = after_text(body, payload)
    head = body[:level] + bytes([LEVEL_311]) + body[level + 1:level + 4] + body[payload:will]
    return head + body[after_properties(body, will) if flags & WILL_FLAG else will:]


def _filters(body: bytes) -> bytes:
    """SUBSCRIBE payload: of each filter's options only the QoS."""
    out, place = bytearray(), 0
    while place < len(body):
        end = after_text(body, place)
        out += body[place:end] + bytes([body[end] & 3])
        place = end + 1
    return bytes(out)


def to_5(whole: bytes) -> bytes:
    """What the broker said, for the agent."""
    kind, body = whole[0] >> 4, body_of(whole)
    if kind == CONNACK:
        return packet(whole[0], bytes([body[0], REFUSED.get(body[1], 0x80)]) + b"\0")
    if kind == PUBLISH:
        place = after_text(body, 0) + (2 if whole[0] & 6 else 0)
        return packet(whole[0], body[:place] + b"\0" + body[place:])
    if kind == SUBACK:
        return packet(whole[0], body[:2] + b"\0" + body[2:])
    if kind == UNSUBACK:
        return packet(whole[0], body[:2] + b"\0\0")
    return whole
