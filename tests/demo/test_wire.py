"""The cable: what passes, is cut, lost, damaged and delayed. Lanes by themselves, then the process on real ptys."""
from __future__ import annotations

import os
import select
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from twinbeat.demo import procs, switchboard
from twinbeat.demo.helper import Helper, RigError
from twinbeat.demo.switchboard import Switchboard
from twinbeat.demo.wire import Lane

FRAME = b"\0" + bytes(range(1, 41)) + b"\0"
WAIT_S = 5.0


def frame(number: int) -> bytes:
    """A frame that can be told from others."""
    return b"\0" + number.to_bytes(2, "big").replace(b"\0", b"\xff") + b"x" * 30 + b"\0"


def test_a_lane_passes_everything_unchanged_in_any_pieces() -> None:
    lane = Lane(1)
    stream = b"noise" + FRAME * 3 + b"\0\0half"
    assert b"".join(lane.passes(stream[place:place + 1]) for place in range(len(stream))) == stream
    assert lane.stats["frames"] == 5
    assert lane.stats["bytes_in"] == len(stream)


def test_loss_drops_whole_frames_only_and_about_as_many_as_asked() -> None:
    lane = Lane(7)
    lane.set(loss=0.3)
    sent = [frame(number) for number in range(1, 2001)]
    left = b"".join(lane.passes(one) for one in sent)
    pieces = [piece for piece in left.split(b"\0") if piece]
    assert set(pieces) <= {one.strip(b"\0") for one in sent}, "no frame was cut in two"
    assert len(pieces) == 2000 - lane.stats["dropped"]
    assert 500 < lane.stats["dropped"] < 700


def test_a_frame_in_pieces_is_lost_or_passed_as_one() -> None:
    lane = Lane(7)
    lane.set(loss=0.5)
    for number in range(1, 200):
        one = frame(number)
        left = lane.passes(one[:5]) + lane.passes(one[5:20]) + lane.passes(one[20:])
        assert left in (one, b"\0\0")


def test_the_same_seed_loses_the_same_frames() -> None:
    lanes = [Lane("seed/0"), Lane("seed/0"), Lane("seed/1")]
    for lane in lanes:
        lane.set(loss=0.5)
    results = [[lane.passes(frame(number)) for number in range(1, 100)] for lane in lanes]
    assert results[0] == results[1] != results[2]


def test_corruption_damages_one_byte_of_a_frame() -> None:
    lane = Lane(3)
    lane.set(corrupt=1)
    for _ in range(300):
        left = lane.passes(FRAME)
        assert len(left) == len(FRAME)
        assert sum(one != other for one, other in zip(left, FRAME, strict=True)) == 1
    assert lane.stats["corrupted"] == 300


def test_a_cut_ends_the_frame_it_met() -> None:
    lane = Lane(3)
    lane.set(loss=1)
    assert lane.passes(b"\0abc") == b"\0"
    lane.cut(b"def")
    lane.set(loss=0)
    assert lane.passes(b"ghi\0") == b"ghi\0"
    assert lane.stats["bytes_cut"] == 3


@pytest.mark.parametrize("wrong", [{"loss": 1.5}, {"loss": -0.1}, {"corrupt": 2}, {"delay_ms": -1}])
def test_wrong_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"is (a share )?between"):
        Lane(1).set(**wrong)


class Bench:
    """The wire process with both ends open."""

    def __init__(self, directory: Path) -> None:
        self.board = Switchboard(directory / "board", create=True)
        self.paths = [directory / "a", directory / "b"]
        words = ["--board", str(directory / "board"), "--seed", "1"]
        self.helper = Helper("wire", "twinbeat.demo.wire",
                             [*words, "--port", str(self.paths[0]), "--port", str(self.paths[1])], directory / "log")
        self.helper.wait_ready()
        self.ends = [os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK) for path in self.paths]
        for end in self.ends:
            tty.setraw(end)

    def read(self, node: int, size: int) -> bytes:
        """Exactly so many bytes at one end, or as many as come in time."""
        data = b""
        while len(data) < size and select.select([self.ends[node]], [], [], WAIT_S)[0]:
            data += os.read(self.ends[node], size - len(data))
        return data

    def silent(self, node: int) -> bool:
        """Nothing has arrived, once the wire has certainly seen what was sent."""
        self.helper.request(stats=True)
        return not select.select([self.ends[node]], [], [], 0)[0]

    def wait_seen(self, source: int, count: int) -> None:
        """Until the wire has read so many bytes from one end."""
        deadline = procs.now_ns() + WAIT_S * 1e9
        while self.helper.request(stats=True)["stats"][source]["bytes_in"] < count:
            assert procs.now_ns() < deadline


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    for end in made.ends:
        os.close(end)
    made.helper.close()
    assert not made.paths[0].is_symlink(), "the wire takes its links away"


def test_bytes_cross_the_wire_both_ways(bench: Bench) -> None:
    os.write(bench.ends[0], FRAME)
    assert bench.read(1, len(FRAME)) == FRAME
    os.write(bench.ends[1], b"noise" + FRAME)
    assert bench.read(0, 5 + len(FRAME)) == b"noise" + FRAME


def test_each_direction_is_cut_by_itself(bench: Bench) -> None:
    bench.board.set(switchboard.wire_cut(0), True)
    os.write(bench.ends[0], FRAME)
    bench.wait_seen(0, len(FRAME))
    assert bench.silent(1)
    os.write(bench.ends[1], FRAME)
    assert bench.read(0, len(FRAME)) == FRAME
    bench.board.set(switchboard.wire_cut(0), False)
    os.write(bench.ends[0], frame(9))
    assert bench.read(1, len(frame(9))) == frame(9), "what was sent during the cut is gone"


def test_a_node_without_power_silences_both_directions(bench: Bench) -> None:
    bench.board.set(switchboard.dark(1), True)
    for source in (0, 1):
        os.write(bench.ends[source], FRAME)
        bench.wait_seen(source, len(FRAME))
    assert bench.silent(0)
    assert bench.silent(1)


def test_loss_and_corruption_are_set_while_it_runs(bench: Bench) -> None:
    bench.helper.request(set={"loss": 1.0}, source=0)
    os.write(bench.ends[0], FRAME)
    assert bench.read(1, 2) == b"\0\0"
    bench.helper.request(set={"loss": 0.0, "corrupt": 1.0}, source=0)
    os.write(bench.ends[0], FRAME)
    left = bench.read(1, len(FRAME))
    assert left != FRAME
    assert len(left) == len(FRAME)


def test_delay_holds_back_and_keeps_the_order(bench: Bench) -> None:
    bench.helper.request(set={"delay_ms": 20})
    before_ns = procs.now_ns()
    os.write(bench.ends[0], frame(1) + frame(2))
    assert bench.read(1, 2 * len(frame(1))) == frame(1) + frame(2)
    assert procs.now_ns() - before_ns >= 20e6


def test_an_agent_that_goes_away_and_comes_back_finds_a_clean_line(bench: Bench) -> None:
    os.close(bench.ends[1])
    os.write(bench.ends[0], FRAME)
    bench.wait_seen(0, len(FRAME))
    bench.helper.request(discard=1)
    bench.ends[1] = os.open(bench.paths[1], os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    os.write(bench.ends[0], frame(3))
    assert bench.read(1, len(frame(3))) == frame(3)


def test_a_wrong_request_is_answered_and_the_wire_goes_on(bench: Bench) -> None:
    with pytest.raises(RigError, match="loss is a share"):
        bench.helper.request(set={"loss": 30})
    os.write(bench.ends[0], FRAME)
    assert bench.read(1, len(FRAME)) == FRAME
