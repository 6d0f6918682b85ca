"""As much of MQTT as the proxy has to know: where a packet ends, who connects, which packets are heartbeats."""
from __future__ import annotations

CONNECT = 1
PUBLISH = 3
BEAT_SUFFIX = b"/beat"
MAX_LENGTH_BYTES = 4


class NotMqtt(ValueError):
    """The bytes cannot be MQTT."""


class Splitter:
    """Cuts one direction of a connection into whole packets."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The packets that are complete now. NotMqtt when a length field is impossible."""
        self._rest += data
        packets: list[bytes] = []
        place = 0
        while (size := packet_size(self._rest, place)) and place + size <= len(self._rest):
            packets.append(self._rest[place:place + size])
            place += size
        self._rest = self._rest[place:]
        return packets


def packet_size(data: bytes, place: int = 0) -> int:
    """Bytes of the packet that starts at `place`, header included; 0 when too little is there to know."""
    header = _header_size(data, place)
    if not header:
        return 0
    length = 0
    for shift, byte in enumerate(data[place + 1:place + header]):
        length |= (byte & 0x7F) << (7 * shift)
    return header + length


def _header_size(data: bytes, place: int) -> int:
    for count in range(1, MAX_LENGTH_BYTES + 1):
        if place + count >= len(data):
            return 0
        if data[place + count] < 0x80:
            return 1 + count
    raise NotMqtt("the length field of an MQTT packet has more than four bytes")


def publish_topic(packet: bytes) -> bytes | None:
    """Topic of a PUBLISH packet, None for any other packet."""
    if packet[0] >> 4 != PUBLISH:
        return None
    start = _header_size(packet, 0) + 2
    size = int.from_bytes(packet[start - 2:start])
    return packet[start:start + size]


def is_heartbeat(packet: bytes) -> bool:
    """A QoS 0 PUBLISH on a heartbeat topic: the one packet that may be lost without breaking the session."""
    quality = packet[0] >> 1 & 3
    topic = publish_topic(packet)
    return topic is not None and quality == 0 and topic.endswith(BEAT_SUFFIX)


def connecting_node(packet: bytes, nodes: list[str]) -> int | None:
    """Which of `nodes` sends this CONNECT: by its will topic (.../<node>/status) or its client id."""
    if packet[0] >> 4 != CONNECT:
        return None
    for suffix in ("/status", ""):
        for index, node in enumerate(nodes):
            if f"{node}{suffix}".encode() in packet:
                return index
    return None
