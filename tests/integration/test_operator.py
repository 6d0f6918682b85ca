"""Two real agents and an operator: rehearsed and real handovers, prepare hooks, failback, maintenance from end to end.

The pair's devices are ptys; both relay boards are read byte by byte, so that "never both" is a statement about bytes.
"""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bad_input_rig import CONFIG, LIMIT_S, Agent, Bench, changed, quiet_environment

pytestmark = pytest.mark.integration

QUICK = (str(Path(__file__).parent / "quick_agent.py"),)
LEFT_S = 20.0


class Pair:
    """Both agents of a configuration; `cli` is what an operator types."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.agents: dict[str, Agent] = {}
        self.config: Path

    def begin(self, *changes: tuple[str, str]) -> tuple[str, str]:
        """Both run and hear each other; (who drives, who does not)."""
        self.bench.wired = True
        self.config = self.bench.config(text=changed(CONFIG, *changes))
        for node in ("gw-a", "gw-b"):
            self.start(node)
        for node in self.agents:
            self.wait(node, lambda status: status["groups"][0]["driver"] and status["peers"][0]["alive"]
                      and status["groups"][0]["state"] in ("ACTIVE", "STANDBY"))
        driver = str(self.status("gw-a")["groups"][0]["driver"])
        self.await_driver(driver)
        return driver, "gw-b" if driver == "gw-a" else "gw-a"

    def start(self, node: str) -> None:
        self.agents[node] = self.bench.agent(self.config, node, program=QUICK)

    def status(self, node: str) -> dict[str, Any]:
        return self.agents[node].ask("status")

    def wait(self, node: str, good: Any) -> dict[str, Any]:
        return self.agents[node].wait_status(good)

    def await_driver(self, driver: str) -> None:
        """Both say so, the driver is sure of it, and the other stands by or is out."""
        for node in self.agents:
            self.wait(node, lambda status: status["groups"][0]["driver"] == driver
                      and status["groups"][0]["state"] in ("ACTIVE", "STANDBY", "OUT")
                      and status["peers"][0]["groups"]["pump"] in ("ACTIVE", "STANDBY", "OUT"))

    def cli(self, node: str, *words: str) -> tuple[int, dict[str, Any], str]:
        """Exit code, JSON answer and message of a command on a node."""
        command = [sys.executable, "-m", "twinbeat", *words, "--socket", str(self.agents[node].socket_path), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr

    def events(self, node: str, prefix: str) -> list[str]:
        found = self.agents[node].ask("events", count=500)["events"]
        return [event["code"] for event in found if event["code"].startswith(prefix)]

    def assert_orders_end(self, driver: str) -> None:
        """The driver's relay is on, the other's is off."""
        for node in self.agents:
            orders = self.bench.orders[f"{node}-relay"]
            assert (orders[-1] if orders else False) is (node == driver), (node, orders)


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    for name in set(os.environ) - set(quiet_environment()):
        monkeypatch.delenv(name)
    bench = Bench(tmp_path)
    yield Pair(bench)
    bench.finish()


def test_a_rehearsal_moves_nothing_and_the_real_thing_does_as_it_said(pair: Pair) -> None:
    driver, other = pair.begin()
    epoch = pair.status(driver)["groups"][0]["epoch"]
    code, answer, _ = pair.cli(driver, "handover", "--dry-run")
    (plan,) = answer["plans"]
    assert (code, plan["would"], plan["to"], plan["reasons"]) == (0, True, other, [])
    assert plan["expected_gap_ms"] > plan["gap"]["release_ms"] > 8
    (facts,) = plan["takers"]
    assert list(facts["links"].values()) == ["UP"]
    assert pair.status(driver)["groups"][0]["epoch"] == epoch

    code, _, text = pair.cli(other, "handover", "--dry-run", "--to", driver)
    assert code == 1
    code, _, text = pair.cli(other, "handover")
    assert code == 1 and f"{other} does not drive pump; {driver} does: ask the agent there" in text

    code, answer, text = pair.cli(driver, "handover", "pump", "--to", other)
    assert (code, answer.get("driver")) == (0, other), text
    pair.await_driver(other)
    pair.assert_orders_end(other)


def test_a_dead_and_a_missing_taker_are_told_apart_and_nothing_moves(pair: Pair) -> None:
    driver, other = pair.begin()
    pair.agents[other].process.send_signal(signal.SIGKILL)
    pair.wait(driver, lambda status: not status["peers"][0]["alive"])
    code, answer, _ = pair.cli(driver, "handover", "--dry-run")
    (reason,) = answer["plans"][0]["reasons"]
    assert code == 1 and f"the agent of {other} died, says its gate" in reason
    code, _, text = pair.cli(driver, "handover")
    assert code == 1 and reason in text
    assert pair.status(driver)["groups"][0]["state"] == "ACTIVE"


def test_maintenance_hands_over_survives_a_restart_and_expires(pair: Pair) -> None:
    driver, other = pair.begin()
    code, answer, text = pair.cli(driver, "maintenance", "on", "--for", f"{LEFT_S:.0f}s", "--reason", "new fan")
    assert code == 0, text
    assert 0 < answer["maintenance"]["left_s"] <= LEFT_S and answer["undriven"] == []
    pair.await_driver(other)
    pair.assert_orders_end(other)
    assert pair.status(driver)["groups"][0]["state"] == "OUT"

    code, _, text = pair.cli(other, "maintenance", "on", "--for", "10s")
    assert code == 1 and f"{driver} is in maintenance: end it there with twinbeat maintenance off" in text
    code, _, text = pair.cli(other, "handover")
    assert code == 1 and f"{driver} is in maintenance" in text
    assert pair.status(other)["groups"][0]["state"] == "ACTIVE"
    assert pair.cli(other, "maintenance")[1]["others"] == {driver: "all out of service"}

    pair.agents[driver].end()
    pair.start(driver)
    status = pair.wait(driver, lambda status: status["maintenance"] is not None)
    assert 0 < status["maintenance"]["left_s"] < LEFT_S and status["maintenance"]["reason"] == "new fan"
    pair.wait(driver, lambda status: status["groups"][0]["state"] == "OUT" and status["peers"][0]["alive"])
    code, answer, text = pair.cli(driver, "maintenance", "on", "--for", "3s")
    assert code == 0 and answer["maintenance"]["left_s"] <= 3, text

    pair.wait(driver, lambda status: status["maintenance"] is None)
    pair.wait(driver, lambda status: status["groups"][0]["state"] == "STANDBY")
    assert pair.events(driver, "MAINTENANCE") == [
        "MAINTENANCE", "MAINTENANCE", "MAINTENANCE_ENDS", "MAINTENANCE_ENDS", "MAINTENANCE_OVER"
    ]
    assert pair.status(other)["groups"][0]["state"] == "ACTIVE", "nothing moves back by itself"
    pair.assert_orders_end(other)
    code, answer, text = pair.cli(other, "handover")
    assert (code, answer.get("driver")) == (0, driver), text


def test_a_node_in_maintenance_does_not_take_over_until_it_is_off(pair: Pair) -> None:
    driver, other = pair.begin()
    assert pair.cli(driver, "maintenance", "on", "--for", "60s")[0] == 0
    pair.await_driver(other)
    pair.agents[other].process.send_signal(signal.SIGKILL)
    pair.wait(driver, lambda status: not status["peers"][0]["alive"])
    pair.agents[driver].wait_line("nobody drives pump, and this node is in maintenance")
    assert pair.status(driver)["groups"][0]["state"] == "OUT"
    assert pair.cli(driver, "maintenance", "off")[0] == 0
    pair.wait(driver, lambda status: status["groups"][0]["state"] == "ACTIVE")


def test_failback_by_command(pair: Pair) -> None:
    driver, other = pair.begin(('prefer = ["gw-a", "gw-b"]', 'prefer = ["gw-a", "gw-b"]\nfailback = "manual"'))
    if driver == "gw-b":
        assert pair.cli("gw-b", "failback", "pump")[1]["groups"][0]["driver"] == "gw-a"
        pair.await_driver("gw-a")
        driver, other = "gw-a", "gw-b"
    assert pair.cli(driver, "failback")[1]["groups"] == []
    assert pair.cli(driver, "drain")[0] == 0
    pair.await_driver(other)
    code, _, text = pair.cli(driver, "failback", "pump")
    assert code == 1 and f"{other} does: ask the agent there" in text
    code, answer, text = pair.cli(other, "failback")
    assert code == 0, text
    assert [(item["group"], item["driver"]) for item in answer["groups"]] == [("pump", "gw-a")]
    pair.await_driver("gw-a")
    pair.assert_orders_end("gw-a")


def hook(folder: Path, text: str) -> tuple[str, str]:
    """A change of the configuration that gives the group a prepare hook."""
    program = folder / "prepare"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    lines = f'[[group.prepare]]\ncommand = ["{program}"]\ndeadline_ms = 2000\n\n[[group.output]]\n'
    return ("[[group.output]]\n", lines)


def test_a_taker_prepares_before_the_giver_lets_go(pair: Pair, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    driver, other = pair.begin(hook(tmp_path, f'echo "$TWINBEAT_NODE $TWINBEAT_FROM" >> {notes}'))
    code, answer, text = pair.cli(driver, "handover")
    assert (code, answer.get("driver")) == (0, other), text
    assert notes.read_text() == f"{other} {driver}\n"
    assert pair.events(other, "PREPARE") == ["PREPARE", "PREPARED"]
    pair.await_driver(other)
    pair.assert_orders_end(other)


def test_a_taker_that_cannot_prepare_gets_nothing(pair: Pair, tmp_path: Path) -> None:
    driver, other = pair.begin(hook(tmp_path, "echo no database >&2; exit 3"))
    code, _, text = pair.cli(driver, "handover")
    assert code == 1 and "was not prepared in time" in text
    assert pair.events(other, "PREPARE") == ["PREPARE", "PREPARE_FAILED"]
    assert any("exit status 3" in line and "no database" in line for line in pair.agents[other].lines)
    assert pair.status(driver)["groups"][0]["state"] == "ACTIVE"
    assert True not in pair.bench.orders[f"{other}-relay"]
