"""MQTT 5 made 3.1.1 and back, packet by packet, as the standards write them."""
from __future__ import annotations

import pytest

from twinbeat.demo import mqtt3

PROPERTIES = b"\x05\x02\0\0\0\1"      # message expiry 1 s


def text(value: bytes) -> bytes:
    """A length and so many bytes."""
    return len(value).to_bytes(2, "big") + value


@pytest.mark.parametrize(("first", "five", "three"), [
    (0x10,
     text(b"MQTT") + b"\5\x06\0\x3c" + b"\x03\x21\0\x14" + text(b"id") + PROPERTIES + text(b"t/will") + text(b"x"),
     text(b"MQTT") + b"\4\x06\0\x3c" + text(b"id") + text(b"t/will") + text(b"x")),
    (0x10, text(b"MQTT") + b"\5\xc2\0\x3c\0" + text(b"id") + text(b"user") + text(b"secret"),
     text(b"MQTT") + b"\4\xc2\0\x3c" + text(b"id") + text(b"user") + text(b"secret")),
    (0x10, text(b"MQTT") + b"\4\x02\0\x3c" + text(b"id"), text(b"MQTT") + b"\4\x02\0\x3c" + text(b"id")),
    (0x30, text(b"a/beat") + PROPERTIES + b"payload", text(b"a/beat") + b"payload"),
    (0x33, text(b"a/status") + b"\0\7" + PROPERTIES + b"up", text(b"a/status") + b"\0\7up"),
    (0x82, b"\0\1\0" + text(b"a/#") + b"\x2c" + text(b"b") + b"\1",
     b"\0\1" + text(b"a/#") + b"\0" + text(b"b") + b"\1"),
    (0xA2, b"\0\2\0" + text(b"a"), b"\0\2" + text(b"a")),
    (0x40, b"\0\3\x10\0", b"\0\3"),
    (0xE0, b"", b""),
    (0xE0, b"\0\0", b""),
    (0xC0, b"", b""),
])
def test_what_an_agent_says(first: int, five: bytes, three: bytes) -> None:
    assert mqtt3.to_311(mqtt3.packet(first, five)) == mqtt3.packet(first, three)


def test_a_disconnect_that_asks_for_the_will_is_kept_back() -> None:
    """MQTT 3.1.1 sends the will only when the connection closes without a DISCONNECT."""
    assert mqtt3.to_311(b"\xe0\1\x04") is None


@pytest.mark.parametrize(("first", "three", "five"), [
    (0x20, b"\0\0", b"\0\0\0"),
    (0x20, b"\0\5", b"\0\x87\0"),
    (0x31, text(b"a/role") + b"x", text(b"a/role") + b"\0x"),
    (0x32, text(b"a") + b"\0\7x", text(b"a") + b"\0\7\0x"),
    (0x90, b"\0\1\1\x80", b"\0\1\0\1\x80"),
    (0xB0, b"\0\2", b"\0\2\0\0"),
    (0x40, b"\0\3", b"\0\3"),
    (0xD0, b"", b""),
])
def test_what_the_broker_says(first: int, three: bytes, five: bytes) -> None:
    assert mqtt3.to_5(mqtt3.packet(first, three)) == mqtt3.packet(first, five)


@pytest.mark.parametrize("size", [0, 127, 128, 16383, 16384, 70000])
def test_lengths_of_any_size(size: int) -> None:
    whole = mqtt3.packet(0x30, b"x" * size)
    assert mqtt3.body_of(whole) == b"x" * size
