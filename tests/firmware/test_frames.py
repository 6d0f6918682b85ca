"""frames.py: the same bytes as the compiled codec, for any body, and nothing that comes in stops it."""
from __future__ import annotations

import binascii
import json
from typing import Any

import pytest
from firmware_rig import ARBITER, NO_MICROPYTHON, command_of, interpreters, make_ask, run
from hypothesis import given, settings
from hypothesis import strategies as st

from twinbeat_bridge.arbiter import frames
from twinbeat_core.wire import SerialReader
from twinbeat_core.wire import wrap as core_wrap

BODIES = st.one_of(
    st.binary(min_size=1, max_size=frames.MAX_BODY),
    st.lists(st.sampled_from([0, 0, 1, 255]), min_size=1, max_size=frames.MAX_BODY).map(bytes),
)
ROWS = st.lists(st.tuples(st.integers(0, 255), st.integers(0, 2**32 - 1)), max_size=frames.MAX_ROWS)
FRAME_RUNNER = """
import sys
sys.path.insert(0, sys.argv[1])
import frames
reader = frames.Reader()
for line in sys.stdin:
    kind, text = line.split()
    data = bytes([int(text[n:n + 2], 16) for n in range(0, len(text), 2)])
    if kind == "wrap":
        print("".join(["%02x" % byte for byte in frames.wrap(data)]))
    else:
        print(len(reader.feed(data)), reader.noise)
"""


@given(BODIES)
def test_wraps_as_the_compiled_codec_does(body: bytes) -> None:
    assert frames.wrap(body) == core_wrap(body)


@given(st.binary(max_size=300))
def test_own_checksum_is_crc_32(data: bytes) -> None:
    assert frames.soft_crc(data) == binascii.crc32(data).to_bytes(4, "little") == frames.checksum(data)


@given(st.lists(BODIES, max_size=5), st.data())
def test_any_cut_of_the_stream_gives_the_same_bodies(bodies: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(frames.wrap(body) for body in bodies)
    reader = frames.Reader()
    found = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += reader.feed(stream[:size])
        stream = stream[size:]
    assert found == bodies
    assert reader.noise == 0


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=300), max_size=8), BODIES)
def test_after_any_noise_the_next_frame_is_read(noise: list[bytes], body: bytes) -> None:
    """And never is more kept than one frame."""
    reader = frames.Reader()
    for piece in noise:
        reader.feed(piece)
        assert len(reader._left) <= reader.longest
    assert reader.feed(frames.wrap(body))[-1:] == [body]


def test_what_never_ends_is_dropped_and_counted_once() -> None:
    reader = frames.Reader(100)
    assert reader.feed(b"x" * 100) == []
    assert (len(reader._left), reader.noise) == (100, 0)
    for _ in range(5):
        assert reader.feed(b"x" * 90) == []
        assert (len(reader._left) <= 100, reader.noise) == (True, 1)
    assert reader.feed(b"x" * 90 + frames.wrap(b"good")) == [b"good"]
    assert reader.noise == 1


@given(st.lists(st.one_of(st.binary(max_size=60), BODIES.map(frames.wrap)), max_size=8))
def test_takes_what_the_compiled_reader_takes(pieces: list[bytes]) -> None:
    ours, compiled = frames.Reader(), SerialReader()
    for piece in pieces:
        taken = ours.feed(piece)
        assert [body for body in compiled.feed(piece) if len(body) <= frames.MAX_BODY] == taken


@pytest.mark.parametrize("flip", range(8 * 20))
def test_a_changed_bit_is_noise(flip: int) -> None:
    wire = bytearray(frames.wrap(bytes(range(1, 15))))
    wire[1 + flip // 8 % (len(wire) - 2)] ^= 1 << flip % 8
    assert frames.Reader().feed(bytes(wire)) == []


@given(st.integers(1, 4), st.integers(0, 255), ROWS, st.integers(0, 2**48 - 1), st.integers(0, 2**32 - 1),
       st.integers(0, 65535))
def test_an_ask_is_read_as_written(
    kind: int, node: int, rows: list[tuple[int, int]], stamp: int, word: int, grant: int
) -> None:
    body = make_ask(kind, node, rows, stamp, life=word, clock=word, grant=grant, pair=grant, incarnation=word)
    assert frames.read_ask(body) == (kind, node, grant, word, stamp, word, word, grant, rows)
    assert frames.read_ask(body + b"\0") is None
    assert frames.read_ask(body[:-1]) is None
    assert frames.read_ask(bytes([body[0] ^ 1]) + body[1:]) is None


@given(st.binary(max_size=frames.MAX_BODY), st.integers(0, 255))
def test_hostile_bodies_are_read_or_refused(tail: bytes, kind: int) -> None:
    found = frames.read_ask(bytes([frames.VERSION, kind]) + tail)
    assert found is None or 1 <= found[0] <= 4


@pytest.mark.parametrize("kind", [0, 5, 17, 255])
def test_an_unknown_kind_is_refused(kind: int) -> None:
    assert frames.read_ask(make_ask(kind, 0, [(0, 1)], 1)) is None


def test_too_many_rows_are_refused() -> None:
    assert frames.read_ask(make_ask(1, 0, [(0, 1)] * frames.MAX_ROWS, 1)) is not None
    assert frames.read_ask(make_ask(1, 0, [(0, 1)] * (frames.MAX_ROWS + 1), 1)) is None


@pytest.mark.parametrize("interpreter", interpreters())
def test_the_same_in_both_interpreters(interpreter: str, tmp_path: Any) -> None:
    if not command_of(interpreter):
        pytest.skip(NO_MICROPYTHON)
    bodies = [bytes(range(size)) for size in (1, 2, 33, 190)] + [b"\0" * 40, b"\xff" * 190, b"a\0"]
    pieces = [b"\0\3\3\0", b"\1" * 500, b"\0", *(core_wrap(body) for body in bodies), b"\0\xff\1\0\2\0"]
    lines = [f"wrap {body.hex()}" for body in bodies] + [f"read {piece.hex()}" for piece in pieces]
    script = tmp_path / "frames_runner.py"
    script.write_text(FRAME_RUNNER.replace("sys.stdin", f"open({json.dumps(str(tmp_path / 'lines'))})"), "utf-8")
    (tmp_path / "lines").write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = run(interpreter, script, ARBITER)
    assert done.returncode == 0, done.stderr
    reader = frames.Reader()
    read = [f"{len(reader.feed(piece))} {reader.noise}" for piece in pieces]
    assert done.stdout.split("\n")[:-1] == [core_wrap(body).hex() for body in bodies] + read
