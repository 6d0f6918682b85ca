"""Real agents in every mode of redundancy: who drives what after a fault, and that nothing else was touched.

Counts and order are asserted, never a maximum in milliseconds: this machine may stall for longer than any of them. A
stall may drop what a fault did not touch, once; not in two runs of three short ones.
"""
from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from twinbeat.demo.broker import NO_BROKER, find_broker

pytestmark = pytest.mark.integration
LIMIT_S = 150


@pytest.fixture(autouse=True)
def broker() -> None:
    """Without any broker there is nothing to test: say it loudly."""
    if find_broker() is None:
        pytest.skip(f"NO MODE WAS TESTED: {NO_BROKER}")


def demo(tmp_path: Path, *words: str) -> dict[str, Any]:
    """The JSON answer of one demo in which nothing was disturbed that the fault did not strike."""
    command = [sys.executable, "-m", "twinbeat.demo", "--json", "--seed", "1", "--keep", str(tmp_path / "kept"), *words]
    for again in (False, True):
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        assert done.stdout, f"exit code {done.returncode}: {done.stderr}"
        report: dict[str, Any] = json.loads(done.stdout)
        assert report["double_driver_trials"] == 0
        assert report["no_driver_trials"] == 0
        assert done.returncode == 0
        if again or report["disturbed_units"] == 0:
            break
    assert report["disturbed_units"] == 0
    return report


def drivers(tmp_path: Path, trial: int, until: str) -> list[str]:
    """Who drove each unit at a moment of a trial: "observed_ns" (before the healing) or "end_ns" (all is well)."""
    one = json.loads((tmp_path / "kept" / "changes.json").read_text())[trial]
    end_ns = one[until] - one["fault_ns"]
    levels: dict[tuple[int, str], bool] = {}
    for at_ns, node, on, _cause, unit in one["changes"]:
        if at_ns <= end_ns:
            levels[unit, node] = on
    return ["".join(sorted(node[-1] for (place, node), on in levels.items() if on and place == unit))
            for unit in range(len(one["units"]))]


def test_shards_of_a_killed_gateway_move_and_go_home_one_by_one(tmp_path: Path) -> None:
    report = demo(tmp_path, "--mode", "hot-hot", "--fault", "kill", "--trials", "2")
    assert report["lost_units"] == 8
    assert report["return_gap_ms"] is not None
    for trial, survivor in ((0, "b"), (1, "a")):
        assert drivers(tmp_path, trial, "observed_ns") == [survivor] * 8
        home = drivers(tmp_path, trial, "end_ns")
        assert (home.count("a"), home.count("b")) == (4, 4)
    (first, _) = json.loads((tmp_path / "kept" / "changes.json").read_text())
    after = [change for change in first["changes"] if change[0] > first["observed_ns"] - first["fault_ns"]]
    homeward = [(at_ns, unit) for at_ns, node, on, _cause, unit in after if on and node == first["struck"]]
    assert len({unit for _, unit in homeward}) == len(homeward) == 4
    assert min(later - earlier for (earlier, _), (later, _) in itertools.pairwise(homeward)) > 200_000_000


@pytest.mark.parametrize("fault", ["stop", "handover"])
def test_the_survivor_drives_all_shards(tmp_path: Path, fault: str) -> None:
    report = demo(tmp_path, "--mode", "hot-hot", "--fault", fault, "--trials", "1")
    assert report["lost_units"] == 4
    assert drivers(tmp_path, 0, "observed_ns") == ["b"] * 8


def test_the_loss_of_the_cable_moves_no_shard(tmp_path: Path) -> None:
    report = demo(tmp_path, "--mode", "hot-hot", "--fault", "cut-serial", "--trials", "1", "--seconds", "1")
    assert (report["lost_units"], report["takeover_ms"]) == (0, None)


@pytest.mark.parametrize("fault", ["kill", "exit", "cut-all"])
def test_of_two_that_drive_together_one_always_does(tmp_path: Path, fault: str) -> None:
    report = demo(tmp_path, "--mode", "overlap", "--fault", fault, "--trials", "1", "--seconds", "0.5")
    gaps = report["gap_ms"] or report["kept_gap_ms"]
    assert gaps["max"] == 0
    assert drivers(tmp_path, 0, "end_ns") == ["ab"]


def test_a_spare_drives_for_whoever_is_killed_and_gives_back(tmp_path: Path) -> None:
    report = demo(tmp_path, "--mode", "hot-spare", "--fault", "kill", "--trials", "2")
    assert report["lost_units"] == 2
    assert drivers(tmp_path, 0, "observed_ns") == ["s", "b"]
    assert drivers(tmp_path, 1, "observed_ns") == ["a", "s"]
    assert drivers(tmp_path, 1, "end_ns") == ["a", "b"]


def test_a_node_without_any_link_lets_go_before_the_spare_drives(tmp_path: Path) -> None:
    report = demo(tmp_path, "--mode", "hot-spare", "--fault", "partition", "--trials", "3", "--seconds", "0.5")
    assert report["lost_units"] == 2
    assert [drivers(tmp_path, trial, "observed_ns") for trial in range(3)] == [["s", "b"], ["a", "s"], ["a", "b"]]


def test_all_groups_of_a_gateway_are_handed_over_together(tmp_path: Path) -> None:
    report = demo(tmp_path, "--groups", "16", "--fault", "handover", "--trials", "2")
    assert report["lost_units"] == 32
    before, after = (set(drivers(tmp_path, trial, "end_ns")) for trial in range(2))
    assert {frozenset(before), frozenset(after)} == {frozenset("a"), frozenset("b")}
