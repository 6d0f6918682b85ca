"""The frame on the wire: round trips, and everything that must be refused or counted."""
from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinbeat_core import wire
from twinbeat_core.errors import FrameError
from twinbeat_core.frames import WIRE_VERSION, Echo, Frame, Row
from twinbeat_core.siphash import siphash24
from twinbeat_core.wire import SerialReader, WireCode, decode, encode, frame_wire_bytes, wrap

KEY = bytes(range(16))
PAIR = 7
MAX_FRAME = 530

u8, u16, u32 = st.integers(0, 255), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
u48 = st.integers(0, (1 << 48) - 1)
echoes = st.builds(Echo, st.integers(0, 7), u8, u16, u32, u48)
rows = st.builds(Row, st.integers(0, 5), st.sampled_from([*range(9), 15]), st.integers(0, 15), u32, st.integers(0, 15))
frames = st.builds(
    Frame, source=st.integers(0, 7), incarnation=u32, stamp=u48, pair_id=st.just(PAIR), kind=st.integers(0, 1),
    flags=u8, link_seq=u8, health=u8, load=u8, config_digest=u16, sync_position=u32,
    version=st.sampled_from([1, WIRE_VERSION]),
    version_max=st.integers(0, 15), echoes=st.lists(echoes, max_size=8).map(tuple),
    rows=st.lists(rows, max_size=64).map(tuple),
)
BUSY = settings(max_examples=60, deadline=None)


def plain(groups: int = 1, nodes: int = 2) -> Frame:
    return Frame(
        source=1, incarnation=0xDEADBEEF, stamp=123_456_789, pair_id=PAIR, config_digest=1,
        echoes=tuple(Echo(i, 3, 37, 99, 123) for i in range(nodes - 1)), rows=(Row(3, 1, 0, 17),) * groups,
    )


def signed(body: bytes, key: bytes = KEY) -> bytes:
    return body + siphash24(key, body).to_bytes(8, "little")


def code_of(data: bytes, key: bytes = KEY, pair: int = PAIR) -> WireCode:
    with pytest.raises(FrameError) as caught:
        decode(data, key, pair)
    assert str(caught.value) == f"frame of {len(data)} bytes refused: {wire.WIRE_TEXT[WireCode(caught.value.code)]}"
    return WireCode(caught.value.code)


# ---------------------------------------------------------------- the bare frame
@BUSY
@given(frames)
def test_encode_and_decode_give_the_frame_back(frame: Frame) -> None:
    data = encode(frame, KEY)
    assert len(data) == 26 + 14 * len(frame.echoes) + 6 * len(frame.rows) + 8 <= MAX_FRAME
    assert decode(data, KEY, PAIR) == frame


def test_layout_is_the_one_written_down() -> None:
    frame = Frame(source=2, incarnation=0x01020304, stamp=0x0A0B0C0D0E0F, pair_id=7, kind=1, flags=5, link_seq=9,
                  health=80, load=33, config_digest=0x1234, sync_position=0xCAFEBABE, version_max=3,
                  echoes=(Echo(4, 3, 37, 0x11223344, 0x665544332211),), rows=(Row(3, 15, 6, 0x10203040, 2),))
    head = struct.pack("<BBBBHI", 0x32, 0x21, 5, 9, 7, 0x01020304) + (0x0A0B0C0D0E0F).to_bytes(6, "little")
    head += struct.pack("<BBHIBB", 80, 33, 0x1234, 0xCAFEBABE, 1, 1)
    echo = struct.pack("<BBHI", 4, 3, 37, 0x11223344) + bytes([0x11, 0x22, 0x33, 0x44, 0x55, 0x66])
    row = struct.pack("<BBI", 3 | 15 << 4, 6 | 2 << 4, 0x10203040)
    assert encode(frame, KEY) == signed(head + echo + row)


def test_largest_counts_fit() -> None:
    frame = plain(groups=64, nodes=9)._replace(echoes=tuple(Echo(i, 255, 0xFFFF, i, i) for i in range(8)))
    data = encode(frame, KEY)
    assert len(data) == MAX_FRAME
    assert decode(data, KEY, PAIR) == frame
    assert SerialReader().feed(wrap(data)) == [data]


@pytest.mark.parametrize(("echo_count", "row_count"), [(9, 0), (0, 65), (300, 300)])
def test_too_many_echoes_or_rows_are_refused(echo_count: int, row_count: int) -> None:
    frame = plain()._replace(echoes=(Echo(0, 0, 0, 0, 0),) * echo_count, rows=(Row(0, 15, 0, 0),) * row_count)
    with pytest.raises(FrameError, match=f"{echo_count} echoes and {row_count} rows; at most 8 and 64"):
        encode(frame, KEY)


@pytest.mark.parametrize("size", [0, 15, 17])
def test_key_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(FrameError, match=f"key of {size} bytes; 16 are needed"):
        encode(plain(), bytes(size))
    with pytest.raises(FrameError, match=f"key of {size} bytes; 16 are needed"):
        decode(encode(plain(), KEY), bytes(size), PAIR)


def test_every_single_bit_flip_is_refused() -> None:
    data = encode(plain(), KEY)
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        expected = WireCode.WIRE_OTHER_PAIR if bit // 8 in (4, 5) else WireCode.WIRE_BAD_TAG
        assert code_of(bytes(changed)) == expected, f"bit {bit}"


def test_every_truncation_and_extension_is_refused() -> None:
    data = encode(plain(), KEY)
    for size in range(len(data)):
        assert code_of(data[:size]) == (WireCode.WIRE_SHORT if size < 34 else WireCode.WIRE_BAD_TAG)
    assert code_of(data + b"\0") == WireCode.WIRE_BAD_TAG


@BUSY
@given(st.binary(max_size=700))
def test_junk_is_refused_without_a_crash(junk: bytes) -> None:
    assert code_of(junk) != WireCode.WIRE_OK


@BUSY
@given(st.binary(max_size=600))
def test_signed_junk_is_read_or_refused_but_never_misread(junk: bytes) -> None:
    """Somebody with the key, but a faulty encoder: what is accepted has exactly the length its counts say."""
    data = signed(junk[:4] + PAIR.to_bytes(2, "little") + junk[6:])
    try:
        frame = decode(data, KEY, PAIR)
    except FrameError as error:
        assert error.code in set(WireCode) - {WireCode.WIRE_OK, WireCode.WIRE_BAD_TAG, WireCode.WIRE_OTHER_PAIR}
    else:
        assert len(data) == 34 + 14 * len(frame.echoes) + 6 * len(frame.rows)
        assert frame.source < 8
        assert all(row.state <= 5 for row in frame.rows)


def test_wrong_key_and_wrong_pair_are_told_apart() -> None:
    data = encode(plain(), KEY)
    assert code_of(data, key=bytes(16)) == WireCode.WIRE_BAD_TAG
    assert code_of(data, pair=8) == WireCode.WIRE_OTHER_PAIR


@pytest.mark.parametrize("version", [0, 3, 15])
def test_other_version_with_the_right_tag_is_known_as_one_of_this_pair(version: int) -> None:
    body = encode(plain()._replace(version=version), KEY)[:-8]
    assert code_of(signed(body)) == WireCode.WIRE_UNKNOWN_VERSION
    assert code_of(signed(body + b"what a later version adds")) == WireCode.WIRE_UNKNOWN_VERSION
    assert code_of(signed(body, bytes(16))) == WireCode.WIRE_BAD_TAG


@pytest.mark.parametrize(("offset", "value"), [
    (24, 9),            # more echoes than nodes
    (24, 2),            # more than there are bytes for
    (25, 65),
    (25, 0),            # fewer than there are bytes for
    (1, 0x12),          # kind 2
    (1, 0x80),          # source 8
    (26, 8),            # echo of node 8
    (40, 0x16),         # state 6
    (40, 0x91),         # vote for 9
    (40, 0xE1),         # vote for 14
])
def test_signed_values_out_of_range_are_refused(offset: int, value: int) -> None:
    body = bytearray(encode(plain(), KEY)[:-8])
    body[offset] = value
    assert code_of(signed(bytes(body))) == WireCode.WIRE_BAD_FORM


@pytest.mark.parametrize("vote", [0, 7, 8, 15])
def test_votes_for_nodes_the_third_voter_and_nobody_are_read(vote: int) -> None:
    frame = plain()._replace(rows=(Row(1, vote, 0, 9),))
    assert decode(encode(frame, KEY), KEY, PAIR).rows[0].vote == vote


# ---------------------------------------------------------------- the serial line
def wrapped_by_hand(bare: bytes) -> bytes:
    """COBS as its authors describe it, written down a second time."""
    out = bytearray()
    for block in (bare + zlib.crc32(bare).to_bytes(4, "little")).split(b"\0"):
        while len(block) >= 254:
            out += b"\xff" + block[:254]
            block = block[254:]
        out += bytes([len(block) + 1]) + block
    return b"\0" + bytes(out) + b"\0"


@BUSY
@given(st.one_of(st.binary(min_size=1, max_size=MAX_FRAME),
                 st.integers(1, MAX_FRAME).map(lambda n: b"\1" * n), st.integers(1, MAX_FRAME).map(bytes)))
def test_wrap_is_cobs_with_crc32_between_zeros(bare: bytes) -> None:
    line = wrap(bare)
    assert line == wrapped_by_hand(bare)
    assert line[0] == line[-1] == 0
    assert 0 not in line[1:-1]
    assert len(line) <= 544
    reader = SerialReader()
    assert reader.feed(line) == [bare]
    assert reader.noise == 0


@pytest.mark.parametrize("size", [*range(245, 260), *range(500, 515), MAX_FRAME])
def test_wrap_at_the_edges_of_cobs_blocks(size: int) -> None:
    for bare in (b"\1" * size, b"\0" + b"\1" * (size - 1), b"\1" * (size - 1) + b"\0", bytes(size)):
        assert SerialReader().feed(wrap(bare)) == [bare]


@BUSY
@given(st.lists(frames, min_size=1, max_size=4), st.integers(1, 700))
def test_frames_arrive_in_pieces_of_any_size(some: list[Frame], piece: int) -> None:
    bare = [encode(frame, KEY) for frame in some]
    stream = b"".join(wrap(b) for b in bare)
    for step in {1, piece}:
        reader = SerialReader()
        got = [f for at in range(0, len(stream), step) for f in reader.feed(stream[at:at + step])]
        assert got == bare
        assert reader.noise == 0


@BUSY
@given(st.binary(max_size=900), st.binary(max_size=900))
def test_noise_before_and_after_costs_no_whole_frame(before: bytes, after: bytes) -> None:
    bare = encode(plain(), KEY)
    reader = SerialReader()
    assert bare in reader.feed(before + wrap(bare) + after + wrap(bare))
    assert reader.feed(wrap(bare)) == [bare]


def test_noise_between_is_dropped_and_counted() -> None:
    bare = encode(plain(), KEY)
    reader = SerialReader()
    assert reader.feed(b"noise" + wrap(bare) + b"more noise" + wrap(bare) + b"rest\0") == [bare, bare]
    assert reader.noise == 3


def test_every_truncated_frame_is_noise_and_the_next_one_whole() -> None:
    bare = encode(plain(), KEY)
    line = wrap(bare)
    for size in range(2, len(line) - 1):
        reader = SerialReader()
        assert reader.feed(line[:size]) == []
        assert reader.noise == 0                        # nothing is judged before its delimiter
        assert reader.feed(b"\0") == []
        assert reader.noise == 1
        assert reader.feed(line) == [bare]


def test_half_frame_of_a_dead_sender_is_ended_by_the_next_ones_delimiter() -> None:
    bare = encode(plain(), KEY)
    line = wrap(bare)
    reader = SerialReader()
    assert reader.feed(line[:20] + line) == [bare]
    assert reader.noise == 1


def test_every_single_bit_flip_on_the_line_loses_that_frame_only() -> None:
    bare, after = encode(plain(), KEY), encode(plain()._replace(stamp=5), KEY)
    line = wrap(bare)
    for bit in range(8, 8 * (len(line) - 1)):
        changed = bytearray(line)
        changed[bit // 8] ^= 1 << bit % 8
        reader = SerialReader()
        assert reader.feed(bytes(changed) + wrap(after)) == [after], f"bit {bit}"
        assert reader.noise >= 1


@pytest.mark.parametrize("size", [545, 546, 5_000])
def test_over_long_piece_is_one_piece_of_noise(size: int) -> None:
    bare = encode(plain(), KEY)
    for step in (1, size):
        reader = SerialReader()
        piece = b"\x55" * size
        for at in range(0, size, step):
            assert reader.feed(piece[at:at + step]) == []
        assert reader.feed(wrap(bare)) == [bare]
        assert reader.noise == 1


def test_empty_pieces_are_no_noise() -> None:
    reader = SerialReader()
    assert reader.feed(bytes(1000)) == []
    assert reader.feed(b"") == []
    assert reader.noise == 0


@pytest.mark.parametrize("junk", [
    b"\x01\0", b"\x02\0", b"\xff\x01\0", b"\x05\x01\x02\x03\x04\0", b"\x01\x01\x01\x01\x01\0",
])
def test_bad_cobs_and_bad_crc_are_counted(junk: bytes) -> None:
    reader = SerialReader()
    assert reader.feed(junk) == []
    assert reader.noise == 1


def test_frame_too_long_to_wrap_is_refused() -> None:
    with pytest.raises(FrameError, match="frame of 531 bytes; the longest has 530"):
        wrap(bytes(MAX_FRAME + 1))


# ---------------------------------------------------------------- sizes
def test_heartbeat_of_a_one_group_pair_stays_under_64_bytes_on_the_line() -> None:
    assert len(wrap(encode(plain(groups=1, nodes=2), KEY))) <= frame_wire_bytes(2, 1) <= 64


@pytest.mark.parametrize("nodes", [1, 2, 3, 8])
@pytest.mark.parametrize("groups", [1, 2, 30, 33, 34, 37, 64])
def test_frame_wire_bytes_is_the_longest_a_heartbeat_gets(nodes: int, groups: int) -> None:
    size = len(encode(plain(groups, nodes), KEY))
    # A piece without any zero byte is the worst that COBS can meet; some of these have none in their CRC either.
    longest = max(len(wrap(bytes([value]) * size)) for value in range(1, 256))
    assert longest == frame_wire_bytes(nodes, groups)
