"""The relay boards: patterns, stamps, power, on real ptys read by the real process."""
from __future__ import annotations

import os
import queue
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from twinbeat.demo import procs, switchboard
from twinbeat.demo.helper import Helper
from twinbeat.demo.relay import OFF, ON, Decoder
from twinbeat.demo.switchboard import Switchboard

WAIT_S = 5.0


def test_patterns_are_found_in_any_pieces_and_noise_is_counted() -> None:
    decoder = Decoder()
    stream = b"\xa0\x01" + ON + b"zz" + OFF + ON
    levels = [level for place in range(len(stream)) for level in decoder.feed(stream[place:place + 1])]
    assert levels == [True, False, True]
    assert decoder.noise == 4


def test_half_a_pattern_switches_nothing() -> None:
    assert Decoder().feed(ON[:3]) == []


class Bench:
    """The reader process with both boards open, and what it reported."""

    def __init__(self, directory: Path) -> None:
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()
        self.board = Switchboard(directory / "board", create=True)
        paths = [directory / "a", directory / "b"]
        self.helper = Helper("relay", "twinbeat.demo.relay", ["--board", str(directory / "board"), "--port",
                             str(paths[0]), "--port", str(paths[1])], directory / "log", self._put)
        self.helper.wait_ready()
        self.ends = [os.open(path, os.O_RDWR | os.O_NOCTTY) for path in paths]
        for end in self.ends:
            tty.setraw(end)

    def _put(self, event: dict[str, Any]) -> None:
        """One wake-up's changes, one by one."""
        for at_ns, node, unit, on in event["changes"]:
            self.events.put({"at_ns": at_ns, "node": node, "unit": unit, "on": on})


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    for end in made.ends:
        os.close(end)
    made.helper.close()


def test_both_boards_are_stamped_with_one_clock_in_order(bench: Bench) -> None:
    before_ns = procs.now_ns()
    seen = []
    for node, pattern in ((0, ON), (0, OFF), (1, ON)):
        os.write(bench.ends[node], pattern)
        seen.append(bench.events.get(timeout=WAIT_S))
    after_ns = procs.now_ns()
    assert [(event["node"], event["on"]) for event in seen] == [(0, True), (0, False), (1, True)]
    stamps = [before_ns, *(event["at_ns"] for event in seen), after_ns]
    assert stamps == sorted(stamps)


def test_two_patterns_in_one_write_keep_their_order(bench: Bench) -> None:
    os.write(bench.ends[1], ON + OFF)
    first, second = bench.events.get(timeout=WAIT_S), bench.events.get(timeout=WAIT_S)
    assert (first["on"], second["on"]) == (True, False)
    assert first["at_ns"] < second["at_ns"]


def test_a_board_without_power_hears_nothing(bench: Bench) -> None:
    bench.board.set(switchboard.dark(0), True)
    os.write(bench.ends[0], ON)
    os.write(bench.ends[1], ON)
    assert bench.events.get(timeout=WAIT_S)["node"] == 1
    bench.helper.request(discard=0)
    bench.board.set(switchboard.dark(0), False)
    os.write(bench.ends[0], OFF)
    event = bench.events.get(timeout=WAIT_S)
    assert (event["node"], event["on"]) == (0, False)
    assert bench.events.empty()


def test_every_unit_has_a_board_of_its_own_on_every_node(tmp_path: Path) -> None:
    events: queue.Queue[dict[str, Any]] = queue.Queue()
    Switchboard(tmp_path / "board", create=True)
    paths = [tmp_path / f"{node}{unit}" for node in "ab" for unit in range(3)]
    words = ["--board", str(tmp_path / "board"), "--units", "3"]
    words += [word for path in paths for word in ("--port", str(path))]
    helper = Helper("relay", "twinbeat.demo.relay", words, tmp_path / "log", events.put)
    try:
        helper.wait_ready()
        for round_on in (True, False):
            ends = [os.open(path, os.O_RDWR | os.O_NOCTTY) for path in paths]
            seen = []
            for number, end in enumerate(ends):
                tty.setraw(end)
                os.write(end, ON if round_on else OFF)
                seen += events.get(timeout=WAIT_S)["changes"]
                assert seen[-1][1:] == [number // 3, number % 3, round_on]
            stamps = [change[0] for change in seen]
            assert stamps == sorted(stamps)
            for end in ends:     # unplugged, and plugged in again in the next round
                os.close(end)
        assert events.empty()
    finally:
        helper.close()
