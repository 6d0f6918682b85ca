"""A pair is upgraded gateway by gateway under traffic: every change of driver is a planned handover.

Order and causes are asserted, and that no time without a driver is longer than a planned handover may take on a machine
that stalls: far less than the promise that ends, and the ten seconds of a bar, would cost.
"""
from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from upgrade_rig import NEW, PINNED, SETTINGS, Traffic, Upgrade, gaps

import twinbeat
from twinbeat.demo.broker import NO_BROKER, find_broker
from twinbeat.demo.rig import Rig
from twinbeat.upgrade.pin import NEWEST

pytestmark = pytest.mark.integration

OLD_PYTHON = "TWINBEAT_OLD_PYTHON"
"""Names a Python in whose environment an older twinbeat is installed."""
GAP_LIMIT_MS = 250.0
"""A planned handover is undriven for a millisecond or so; the rest is for a test machine that stands still."""
PLANNED = {"HANDOVER", "STOP", "OPERATOR", "RELEASED"}
FIGURES = "TWINBEAT_UPGRADE_FIGURES"
"""Names a file to which each test appends what it measured."""


@pytest.fixture(autouse=True)
def broker() -> None:
    """Without any broker there is nothing to test: say it loudly."""
    if find_broker() is None:
        pytest.skip(f"NO UPGRADE WAS TESTED: {NO_BROKER}")


def judge(upgrade: Upgrade, traffic: Traffic, first: str, takers: list[str], name: str) -> None:
    """No unplanned gap, never two drivers, nothing but planned changes."""
    changes = upgrade.end()
    traffic.end()
    found = gaps(changes)
    verdicts = upgrade.verdicts(2 * len(takers))
    note = {
        "test": name, "gaps_ms": [round(gap.ms, 3) for gap in found],
        "undriven_ms": round(upgrade.undriven_ms(changes), 3),
        "overlap_ms": upgrade.overlap_ms(changes), "handled": traffic.handled, "missed": traffic.missed,
        "missed_in_a_row": traffic.missed_in_a_row, "asked": traffic.asked,
        "verdicts": [[one["node"], one["to"], one["cause"], one["by"]] for one in verdicts],
    }
    if os.environ.get(FIGURES):
        with open(os.environ[FIGURES], "a") as file:
            file.write(json.dumps(note) + "\n")
    assert upgrade.overlap_ms(changes) == 0, note
    assert traffic.twice == 0, note
    assert [gap.after for gap in found] == takers, note
    assert [gap.before for gap in found] == [first, *takers[:-1]], note
    assert all(gap.ms < GAP_LIMIT_MS for gap in found), note
    changed = [one for one in verdicts if "ACTIVE" in (one["from"], one["to"])]
    assert {one["cause"] for one in changed} <= PLANNED, note
    assert [one["node"] for one in changed if one["to"] == "ACTIVE"] == takers, note
    assert all(count > 0 for count in traffic.handled.values()), note


def layouts(upgrade: Upgrade) -> list[tuple[int, int]]:
    """Of each node: the layout that it speaks, and the newest that it hears the other one offer."""
    found = []
    for agent in upgrade.rig.agents.values():
        status = agent.control("status")
        found.append((status["protocol"]["spoken"], status["peers"][0]["version_max"]))
    return found


def test_rolling_upgrade_from_the_old_layout_to_the_new(tmp_path: Path) -> None:
    """Both gateways begin with the old layout of the frames, and end with the new one."""
    with Rig(tmp_path, SETTINGS, agent_command=PINNED) as rig:
        upgrade, traffic = Upgrade(rig, NEW), Traffic(rig)
        upgrade.steady()
        traffic.start()
        assert layouts(upgrade) == [(1, 1), (1, 1)]
        first, takers = upgrade.roll(NEW)
        judge(upgrade, traffic, first, takers, "pinned")
        assert layouts(upgrade) == [(NEWEST, NEWEST), (NEWEST, NEWEST)]


def test_the_way_back_is_as_smooth(tmp_path: Path) -> None:
    """From the new layout to the old one: an upgrade that disappoints is undone in the same steps."""
    with Rig(tmp_path, SETTINGS, agent_command=NEW) as rig:
        upgrade, traffic = Upgrade(rig, PINNED), Traffic(rig)
        upgrade.steady()
        traffic.start()
        assert layouts(upgrade) == [(NEWEST, NEWEST), (NEWEST, NEWEST)]
        first, takers = upgrade.roll(PINNED)
        judge(upgrade, traffic, first, takers, "back")
        assert layouts(upgrade) == [(1, 1), (1, 1)]


def test_a_driver_that_is_simply_stopped_hands_over_too(tmp_path: Path) -> None:
    """`systemctl restart` on one gateway after the other, without a drain before it."""
    with Rig(tmp_path, SETTINGS, agent_command=PINNED) as rig:
        upgrade, traffic = Upgrade(rig, NEW), Traffic(rig)
        upgrade.steady()
        traffic.start()
        first = upgrade.begin()
        second = next(node for node in rig.agents if node != first)
        upgrade.replace(first, NEW)
        assert upgrade.steady() == second
        upgrade.replace(second, NEW)
        assert upgrade.steady() == first
        judge(upgrade, traffic, first, [second, first], "restart")


def said(command: list[str], *words: str) -> Any:
    """What another program answers; nothing of this checkout gets into it."""
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(not os.environ.get(OLD_PYTHON), reason=f"{OLD_PYTHON} names no Python with an older twinbeat")
@pytest.mark.parametrize("back", [False, True], ids=["forth", "back"])
def test_real_predecessor(tmp_path: Path, back: bool) -> None:
    """The same with the program that was installed before, and back to it."""
    python = [os.environ[OLD_PYTHON], "-I"]
    where = said(python, "-c", "import json, twinbeat; print(json.dumps(twinbeat.__file__))")
    assert Path(where).resolve() != Path(twinbeat.__file__).resolve(), f"{OLD_PYTHON} runs this checkout"
    old = [*python, "-m", "twinbeat"]
    (tmp_path / "old.json").write_text(json.dumps(said(old, "version", "--json")))
    before, after = (NEW, old) if back else (old, NEW)
    with Rig(tmp_path, SETTINGS, agent_command=before) as rig:
        upgrade, traffic = Upgrade(rig, after), Traffic(rig)
        upgrade.steady()
        words = ["--with", str(tmp_path / "old.json"), "--config", str(tmp_path / "twinbeat.toml"), "--json",
                 "--node", "gw-a", "--socket", str(rig.agents["gw-a"].socket_path)]
        verdict = said(NEW, "upgrade-check", *words)
        assert verdict["ok"] and verdict["steps"], verdict
        traffic.start()
        first, takers = upgrade.roll(after)
        judge(upgrade, traffic, first, takers, f"predecessor, {'back' if back else 'forth'}")


@pytest.mark.parametrize("old_drives", [True, False], ids=["old drives", "new drives"])
def test_a_fault_in_the_middle_of_an_upgrade_is_answered_as_ever(tmp_path: Path, old_drives: bool) -> None:
    """The driver is killed while the other one speaks another layout: its gate's notice is understood.

    With the program that was installed before where one is named, else with the present one held to the old layout.
    """
    python = os.environ.get(OLD_PYTHON)
    old = [python, "-I", "-m", "twinbeat"] if python else PINNED
    driver_runs, other_runs = (old, NEW) if old_drives else (NEW, old)
    with Rig(tmp_path, SETTINGS, agent_command=driver_runs) as rig:
        upgrade = Upgrade(rig, other_runs)
        first = upgrade.begin()
        second = next(node for node in rig.agents if node != first)
        upgrade.replace(second, other_runs)
        assert upgrade.steady() == first
        rig.inject(signals=[(rig.agents[first].pid, signal.SIGKILL)])
        assert rig.timeline.wait(lambda levels: levels[second] and not levels[first], 5.0)
        rig.restart_agent(first)
        changes = upgrade.end()
        assert upgrade.overlap_ms(changes) == 0
        (took,) = [one for one in upgrade.verdicts(1) if one["to"] == "ACTIVE"]
        assert (took["node"], took["cause"]) == (second, "DEATH_NOTICE")
