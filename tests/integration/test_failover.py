"""Two real agents, a real broker, pty lines: a few trials of every fault, judged by what the relay boards received.

Counts and order are asserted, never a maximum in milliseconds: this machine may stall for longer than any of them.
"""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from twinbeat.demo.broker import NO_BROKER, find_broker

pytestmark = pytest.mark.integration
LIMIT_S = 100


@pytest.fixture(autouse=True)
def broker() -> None:
    """Without any broker there is nothing to test: say it loudly."""
    if find_broker() is None:
        pytest.skip(f"NO FAILOVER WAS TESTED: {NO_BROKER}")


def demo(tmp_path: Path, *words: str) -> dict[str, Any]:
    """The JSON answer of one demo; logs stay in the test's directory when it goes wrong."""
    command = [sys.executable, "-m", "twinbeat.demo", "--json", "--seed", "1", "--keep", str(tmp_path / "kept"), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.stdout, f"exit code {done.returncode}: {done.stderr}"
    assert done.stderr == ""
    report: dict[str, Any] = json.loads(done.stdout)
    report["exit_code"] = done.returncode
    return report


def changes(tmp_path: Path) -> list[dict[str, Any]]:
    """What both boards received, trial by trial, in nanoseconds from the fault."""
    found: list[dict[str, Any]] = json.loads((tmp_path / "kept" / "changes.json").read_text())
    return found


def assert_off_before_on(tmp_path: Path) -> None:
    """In every trial the old driver's off came no later than the new driver's on.

    Bytes of both boards that one wake-up of the reader found have one stamp and no order.
    """
    for trial in changes(tmp_path):
        after = [change for change in trial["changes"] if change[0] >= 0]
        on_ns, taker = next((at_ns, node) for at_ns, node, on, _cause in after if on)
        off = [at_ns for at_ns, node, on, _cause in after if node == trial["driver"] and not on and at_ns <= on_ns]
        assert off, trial
        assert taker != trial["driver"], trial


@pytest.mark.parametrize(("fault", "trials"), [("kill", 3), ("stop", 3), ("power", 2), ("exit", 2), ("handover", 3)])
def test_the_other_node_takes_over_and_never_both_drive(tmp_path: Path, fault: str, trials: int) -> None:
    report = demo(tmp_path, "--fault", fault, "--trials", str(trials))
    assert report["trials"] == trials
    assert report["double_driver_trials"] == 0
    assert report["no_driver_trials"] == 0
    assert report["role_changes"] == trials
    assert report["overlap_ms_max"] == 0
    assert report["takeover_ms"]["min"] > 0
    assert report["exit_code"] == 0
    assert_off_before_on(tmp_path)


@pytest.mark.parametrize("fault", ["cut-serial", "cut-mqtt", "broker-restart"])
def test_the_loss_of_one_link_moves_no_role(tmp_path: Path, fault: str) -> None:
    """A machine that stalls for longer than a promise makes another story of it; not twice, though, and never two."""
    for again in (False, True):
        report = demo(tmp_path, "--fault", fault, "--trials", "2", "--seconds", "1")
        assert (report["double_driver_trials"], report["no_driver_trials"]) == (0, 0)
        if again or (report["role_changes"], report["dropouts"]) == (0, 0):
            break
    assert (report["role_changes"], report["dropouts"]) == (0, 0)
    assert report["takeover_ms"] is None
    assert report["exit_code"] == 0


def test_frame_loss_never_makes_two_drivers(tmp_path: Path) -> None:
    report = demo(tmp_path, "--fault", "loss", "--loss", "10", "--seconds", "6")
    assert (report["double_driver_trials"], report["no_driver_trials"]) == (0, 0)
    assert report["exit_code"] == 0


def test_a_freeze_in_the_middle_of_frame_loss_never_makes_two_drivers(tmp_path: Path) -> None:
    report = demo(tmp_path, "--fault", "stop", "--loss", "10", "--trials", "2")
    assert (report["double_driver_trials"], report["no_driver_trials"]) == (0, 0)
    assert report["role_changes"] >= 2
    assert report["exit_code"] == 0


def test_a_pair_that_holds_never_drives_twice_even_when_everything_is_cut(tmp_path: Path) -> None:
    report = demo(tmp_path, "--fault", "cut-all", "--lone", "hold", "--trials", "1", "--seconds", "1")
    assert report["double_driver_trials"] == 0
    assert report["exit_code"] == 0


def test_a_killed_worker_hands_over_at_once_even_where_the_pair_holds(tmp_path: Path) -> None:
    report = demo(tmp_path, "--fault", "kill", "--lone", "hold", "--trials", "2")
    assert (report["double_driver_trials"], report["no_driver_trials"]) == (0, 0)
    assert report["role_changes"] == 2


def test_a_pair_cut_in_two_drives_on_and_is_one_again_after_healing(tmp_path: Path) -> None:
    report = demo(tmp_path, "--fault", "cut-all", "--trials", "1", "--seconds", "1")
    assert report["no_driver_trials"] == 0
    (trial,) = changes(tmp_path)
    levels: dict[str, bool] = {}
    for _at_ns, node, on, _cause in trial["changes"]:
        levels[node] = on
    assert sum(levels.values()) == 1


def test_what_an_agent_uses_is_reported(tmp_path: Path) -> None:
    report = demo(tmp_path, "--fault", "none", "--seconds", "2")
    assert report["role_changes"] == 0
    for use in report["agents"].values():
        assert 0 < use["cpu_percent"] < 100
        assert 5 < use["rss_mib"] < 200
        assert 0 < use["gate_pss_mib"] < 100
