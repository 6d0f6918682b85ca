"""`twinbeat drill` on a real pair: there and back, by handover, stop and kill; what boards and report say agrees."""
from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from upgrade_rig import gaps

from twinbeat.demo import procs
from twinbeat.demo.agents import GROUP, PairSettings, config_text, write_key
from twinbeat.demo.broker import NO_BROKER, find_broker
from twinbeat.demo.measure import overlap_ms
from twinbeat.demo.rig import Rig

pytestmark = pytest.mark.integration
LIMIT_S = 60
SETTINGS = PairSettings(period_ms=20)
OPERATOR = '\n[[operator]]\nname = "alice"\nkey_file = "alice.key"\n'


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """A pair that is ready and takes commands of an operator over its broker."""
    if find_broker() is None:
        pytest.skip(f"NO DRILL WAS TESTED: {NO_BROKER}")
    write_key(tmp_path / "alice.key")
    monkeypatch.setattr("twinbeat.demo.rig.config_text", lambda *given: config_text(*given) + OPERATOR)
    with Rig(tmp_path, SETTINGS) as made:
        assert made.wait_steady() is not None, made.not_steady()
        yield made


class Drill:
    """One drill as its own process, on the node that drives."""

    def __init__(self, rig: Rig, *words: str, peer: bool = True, config: str = "twinbeat.toml") -> None:
        driver = rig.timeline.driver()
        assert driver is not None
        self.rig = rig
        self.driver = driver
        self.other = next(node for node in rig.agents if node != driver)
        self.page = rig.directory / "drill.md"
        command = [sys.executable, "-m", "twinbeat", "drill", *words, "--json", "--report", str(self.page),
                   "--config", str(rig.directory / config), "--node", driver,
                   "--socket", str(rig.agents[driver].socket_path)]
        command += ["--peer-socket", str(rig.agents[self.other].socket_path)] if peer else []
        self.begun_ns = procs.now_ns()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def end(self) -> tuple[int, dict[str, Any]]:
        """Exit code and report."""
        out, told = self.process.communicate(timeout=LIMIT_S)
        assert out, told
        report: dict[str, Any] = json.loads(out)
        assert json.loads(self.page.with_suffix(".json").read_text()) == report
        return self.process.returncode, report

    def wait_told(self, words: str) -> None:
        """Until the drill says this."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if words in line:
                return
        raise AssertionError(f"the drill never said {words!r}")


def judge(drill: Drill, moves: list[str]) -> list[float]:
    """Who was made to drive by the boards, never two at once; the gaps in ms."""
    drill.rig.wait_steady()
    changes = drill.rig.timeline.since(drill.begun_ns)
    assert overlap_ms(changes, drill.begun_ns, procs.now_ns(), 0.0) == 0
    found = gaps(changes)
    assert [gap.after for gap in found] == moves
    return [gap.ms for gap in found]


def test_a_dry_drill_touches_nothing(rig: Rig) -> None:
    drill = Drill(rig, "--dry")
    code, report = drill.end()
    assert (code, report["ok"], report["passed"], report["steps"]) == (0, True, None, []), report
    (expected,) = report["expected"]
    assert (expected["group"], expected["driver"], expected["taker"]) == (GROUP, drill.driver, drill.other)
    assert 0 <= expected["gap_ms"] < expected["worst_ms"]
    assert judge(drill, []) == []


def test_there_and_back(rig: Rig) -> None:
    drill = Drill(rig, "--live", "--dwell", "0.5")
    code, report = drill.end()
    assert (code, report["passed"], report["reverted"]) == (0, True, True), report
    boards = judge(drill, [drill.other, drill.driver])
    assert [(gap["giver"], gap["taker"]) for gap in report["gaps"]] == [
        (drill.driver, drill.other), (drill.other, drill.driver)]
    for gap, board_ms in zip(report["gaps"], boards, strict=True):
        assert gap["exact"] and gap["within"], json.dumps(report, indent=1)
        # The gate stamps after its write, the board when the bytes arrive.
        assert abs(gap["ms"] - board_ms) < 20, (gap, board_ms)
    assert [verdict["to"] for verdict in report["verdicts"]].count("ACTIVE") == 2
    page = drill.page.read_text()
    assert "Passed" in page and f"| {GROUP} | {drill.driver} | {drill.other} |" in page


def test_the_agent_is_killed_and_comes_back(rig: Rig) -> None:
    drill = Drill(rig, "--live", "--fault", "kill", "--yes", "--dwell", "0.3", "--wait", "30")
    drill.wait_told("waiting for the agent")
    rig.restart_agent(drill.driver)
    code, report = drill.end()
    assert (code, report["passed"], report["reverted"]) == (0, True, True), report
    judge(drill, [drill.other, drill.driver])
    assert report["gaps"][0]["exact"] and report["gaps"][0]["ms"] > 0
    causes = [verdict["cause"] for verdict in report["verdicts"] if verdict["to"] == "ACTIVE"]
    assert causes == ["DEATH_NOTICE", "HANDOVER"]


def test_the_agent_is_stopped_as_planned_and_comes_back(rig: Rig) -> None:
    drill = Drill(rig, "--live", "--fault", "stop", "--dwell", "0.3", "--wait", "30")
    drill.wait_told("waiting for the agent")
    rig.restart_agent(drill.driver)
    code, report = drill.end()
    assert (code, report["passed"], report["reverted"]) == (0, True, True), report
    judge(drill, [drill.other, drill.driver])
    assert all(gap["exact"] and gap["within"] for gap in report["gaps"]), report["gaps"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_the_other_drives_it_puts_the_roles_back(rig: Rig, number: signal.Signals) -> None:
    drill = Drill(rig, "--live", "--dwell", "30")
    drill.wait_told("handed")
    drill.process.send_signal(number)
    code, report = drill.end()
    assert (code, report["interrupted"], report["passed"], report["reverted"]) == (130, True, False, True), report
    judge(drill, [drill.other, drill.driver])
    assert report["left"] == f"{drill.driver} drives {GROUP}"


def test_without_a_way_to_the_other_somebody_hands_back_there(rig: Rig) -> None:
    drill = Drill(rig, "--live", "--dwell", "0.2", "--wait", "30", peer=False)
    drill.wait_told(f"now on {drill.other}: twinbeat handover {GROUP} --to {drill.driver}")
    answer = rig.agents[drill.other].control("handover", group=GROUP, node=drill.driver)
    assert answer["ok"], answer
    code, report = drill.end()
    assert (code, report["passed"], report["reverted"]) == (0, True, True), report
    judge(drill, [drill.other, drill.driver])
    (gap,) = report["gaps"]
    assert not gap["exact"] and 0 < gap["ms"]


def test_an_operator_hands_back_over_the_broker(rig: Rig) -> None:
    # The rig's proxy lets the two agents through alone; an operator goes to the broker itself.
    text = (rig.directory / "twinbeat.toml").read_text()
    (rig.directory / "console.toml").write_text(re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{rig.broker.port}", text))
    drill = Drill(rig, "--live", "--dwell", "0.2", "--remote", peer=False, config="console.toml")
    code, report = drill.end()
    assert (code, report["passed"], report["reverted"]) == (0, True, True), report
    judge(drill, [drill.other, drill.driver])
    assert [gap["giver"] for gap in report["gaps"]] == [drill.driver, drill.other]
    assert not any(gap["exact"] for gap in report["gaps"])


def test_the_other_dies_in_the_middle_and_this_one_drives_again(rig: Rig) -> None:
    drill = Drill(rig, "--live", "--dwell", "30")
    drill.wait_told("handed")
    rig.inject(signals=[(rig.agents[drill.other].pid, signal.SIGKILL)])
    code, report = drill.end()
    assert (code, report["passed"], report["reverted"]) == (1, False, True), report
    assert f"{drill.other} did not keep {GROUP}" in report["failure"]
    assert report["left"] == f"{drill.driver} drives {GROUP}"
    rig.restart_agent(drill.other)
    judge(drill, [drill.other, drill.driver])


def test_two_drills_at_once_end_with_one_driver_and_the_roles_as_they_were(rig: Rig) -> None:
    first, second = Drill(rig, "--live", "--dwell", "0.5"), Drill(rig, "--live", "--dwell", "0.5")
    ended: dict[str, tuple[int, str]] = {}
    watch = [threading.Thread(target=lambda name=name, drill=drill: ended.update(  # type: ignore[misc]
        {name: (drill.process.wait(LIMIT_S), "")})) for name, drill in (("first", first), ("second", second))]
    for one in watch:
        one.start()
    for one in watch:
        one.join(LIMIT_S)
    assert rig.wait_steady() == first.driver
    changes = rig.timeline.since(first.begun_ns)
    assert overlap_ms(changes, first.begun_ns, procs.now_ns(), 0.0) == 0
    assert len(ended) == 2
