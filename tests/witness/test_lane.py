"""Messages in and out of bytes: against paho's own packets, cut anywhere, and against garbage."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinbeat.witness.lane import CORRELATION_BYTES_MAX, PACKET_BYTES_MAX, Lane, Message, NotMqtt, encoded, publish

ASK = publish(b"a/b/ask", b"payload", b"12345678", b"a/b/0")


def packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + encoded(len(body)) + body


def test_what_is_written_is_read() -> None:
    assert Lane().feed(ASK) == [Message(b"a/b/ask", b"payload", False, b"a/b/0", b"12345678")]
    assert Lane().feed(publish(b"t", b"")) == [Message(b"t", b"", False, b"", b"")]


def test_a_message_is_forgotten_after_a_second_and_not_retained() -> None:
    assert publish(b"t", b"x") == b"\x30\x0a\x00\x01t\x05\x02\x00\x00\x00\x01x"


def test_an_overlong_correlation_is_left_out() -> None:
    [message] = Lane().feed(publish(b"t", b"x", bytes(CORRELATION_BYTES_MAX + 1)))
    assert message.correlation == b""


@given(st.lists(st.integers(1, 30), max_size=40))
def test_packets_may_be_cut_anywhere(cuts: list[int]) -> None:
    data = (ASK + b"\xd0\x00") * 5
    lane, found, at = Lane(), [], 0
    for cut in [*cuts, len(data)]:
        found += lane.feed(data[at : at + cut])
        at += cut
    assert len(found) == 5 and lane.ended is None


def test_properties_of_every_kind_are_passed_over() -> None:
    properties = (
        b"\x01\x01" + b"\x02\x00\x00\x00\x05" + b"\x03\x00\x01t" + b"\x26\x00\x01k\x00\x02vv" + b"\x23\x00\x07"
        + b"\x08\x00\x02rt" + b"\x09\x00\x01c"
    )
    body = b"\x00\x01T" + encoded(len(properties)) + properties + b"data"
    assert Lane().feed(packet(0x31, body)) == [Message(b"T", b"data", True, b"rt", b"c")]


def test_long_properties_have_a_longer_length() -> None:
    response = b"r" * 300
    [message] = Lane().feed(publish(b"t", b"p" * 1000, b"c", response))
    assert message.response_topic == response and len(message.payload) == 1000


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_end_of_the_connection_counts_for_all_that_came_with_it(place: int) -> None:
    packets = [ASK, ASK]
    packets.insert(place, b"\xe0\x02\x8e\x00")
    lane = Lane()
    assert lane.feed(b"".join(packets)) == []
    assert lane.ended == 0x8E


def test_an_end_without_a_code_is_an_ordinary_one() -> None:
    lane = Lane()
    lane.feed(b"\xe0\x00")
    assert lane.ended == 0


@pytest.mark.parametrize(
    "data",
    [
        packet(0x32, b"\x00\x01t\x00\x07\x00x"),             # quality 1 was not subscribed to
        packet(0x30, b"\x00\x09t\x00"),                      # topic longer than the packet
        packet(0x30, b""),
        packet(0x30, b"\x00\x01t\x09\x01"),                  # properties longer than the packet
        packet(0x30, b"\x00\x01t\x02\x0b\x01"),              # a property that cannot be here
        packet(0x30, b"\x00\x01t\x03\x08\x00\x09"),          # a text longer than the properties
        packet(0x20, b"\x00\x00\x00"),
        b"\x30\xff\xff\xff\xff\x01",
        b"\x30" + encoded(PACKET_BYTES_MAX + 1),
    ],
)
def test_what_no_broker_sends_is_told(data: bytes) -> None:
    with pytest.raises(NotMqtt):
        Lane().feed(data)


@given(st.binary(max_size=100))
def test_garbage_raises_nothing_else(data: bytes) -> None:
    lane = Lane()
    try:
        lane.feed(data)
        lane.feed(ASK)
    except NotMqtt:
        pass


@given(st.binary(max_size=60))
def test_garbage_in_a_message_raises_nothing_else(body: bytes) -> None:
    try:
        Lane().feed(packet(0x30, body))
    except NotMqtt:
        pass
