"""Two real agents, one of them sick: it hands over and never fences, and its recovery moves nothing.

The pair's devices are ptys; both relay boards are read byte by byte.
"""
from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bad_input_rig import CONFIG, LIMIT_S, Agent, Bench, changed, quiet_environment

pytestmark = pytest.mark.integration

MAX_AGE_S = 1.0
WRITE_S = 0.1
SETTLE_MS = 1500.0
UNHURRIED = changed(CONFIG, ("period_ms = 10", "period_ms = 50"))
"""Health moves roles here and nothing else: this machine may stall for tens of milliseconds."""
CHECK = """
[[check]]
name = "output-of-{node}"
type = "file"
path = "{path}"
max_age_s = 1
every_ms = 200
rise = 2
fall = 2
nodes = ["{node}"]
"""


class Application:
    """Writes a node's file again and again until it is told to hang."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hangs = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        path.write_text("0")
        self._thread.start()

    def _work(self) -> None:
        count = 0
        while not self._ending.wait(WRITE_S):
            count += 1
            if not self.hangs.is_set():
                self.path.write_text(str(count))

    def close(self) -> None:
        self._ending.set()
        self._thread.join(LIMIT_S)


class Pair:
    """Both agents with their applications. `begin` returns who drives and who does not."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench = bench
        self.agents: dict[str, Agent] = {}
        self.apps = {node: Application(folder / f"{node}.out") for node in ("gw-a", "gw-b")}

    def begin(self) -> tuple[str, str]:
        text = UNHURRIED + "".join(CHECK.format(node=node, path=app.path) for node, app in self.apps.items())
        self.bench.wired = True
        config = self.bench.config(text=text)
        self.agents = {node: self.bench.agent(config, node) for node in self.apps}
        for agent in self.agents.values():
            agent.wait_status(lambda status: status["groups"][0]["driver"] and status["peers"][0]["alive"]
                              and status["fit"] and status["peers"][0]["fit"])
        driver = str(self.agent("gw-a").ask("status")["groups"][0]["driver"])
        self.await_driver(driver)
        return driver, "gw-b" if driver == "gw-a" else "gw-a"

    def agent(self, node: str) -> Agent:
        return self.agents[node]

    def await_driver(self, node: str) -> None:
        for agent in self.agents.values():
            agent.wait_status(lambda status: status["groups"][0]["driver"] == node)

    def await_fit(self, node: str, fit: bool) -> dict[str, Any]:
        return self.agent(node).wait_status(lambda status: status["fit"] is fit)

    def await_change(self, node: str, cause: str) -> dict[str, Any]:
        """The newest role change, once it has this cause: a record is complete when the gate has confirmed."""
        found: list[dict[str, Any]] = []

        def there(_status: dict[str, Any]) -> bool:
            found[:] = self.agent(node).ask("why", count=1)["verdicts"]
            return bool(found) and found[0]["cause"] == cause

        self.agent(node).wait_status(there)
        return found[0]

    def changes(self, node: str) -> list[tuple[str, str]]:
        """(new state, cause) of each role change, as this node's records say."""
        verdicts = self.agent(node).ask("why", count=50)["verdicts"]
        return [(verdict["to"], verdict["cause"]) for verdict in verdicts]


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    for name in set(os.environ) - set(quiet_environment()):
        monkeypatch.delenv(name)
    bench = Bench(tmp_path)
    pair = Pair(bench, tmp_path)
    yield pair
    bench.finish()
    for app in pair.apps.values():
        app.close()


def test_a_sick_driver_hands_over_and_its_recovery_moves_nothing(pair: Pair) -> None:
    sick, other = pair.begin()
    pair.apps[sick].hangs.set()
    pair.await_driver(other)
    status = pair.await_fit(sick, False)
    (check,) = status["health"]["checks"]
    assert (check["name"], check["state"], status["health"]["score"]) == (f"output-of-{sick}", "failed", 0)
    assert check["figure"] > MAX_AGE_S
    let_go = pair.await_change(sick, "UNFIT")
    assert f"this node is not fit to drive (check output-of-{sick}: " in let_go["sentence"]
    assert pair.await_change(other, "HANDOVER")["to"] == "ACTIVE", "it was given, not taken"
    seen = pair.agent(other).wait_status(lambda status: status["peers"][0]["fit"] is False)
    assert seen["peers"][0]["health"] == 0

    pair.apps[sick].hangs.clear()
    pair.await_fit(sick, True)
    before = pair.changes(sick), pair.changes(other)
    pair.agent(sick).wait_idle(SETTLE_MS)
    pair.agent(other).wait_status(
        lambda status: status["peers"][0]["fit"] and status["groups"][0]["since_ms"] > SETTLE_MS
    )
    assert (pair.changes(sick), pair.changes(other)) == before
    pair.await_driver(other)
    orders = pair.bench.orders
    assert orders[f"{sick}-relay"][-1] is False
    assert orders[f"{other}-relay"].count(True) == 1 and orders[f"{other}-relay"][-1] is True
    events = pair.agent(sick).ask("events", count=512)["events"]
    assert [event["code"] for event in events if event["code"].startswith("CHECK_")] == ["CHECK_FAILED", "CHECK_OK"]


def test_where_both_are_sick_the_driver_drives_on(pair: Pair) -> None:
    driver, other = pair.begin()
    pair.apps[other].hangs.set()
    pair.await_fit(other, False)
    pair.agent(driver).wait_status(lambda status: status["peers"][0]["fit"] is False)
    pair.apps[driver].hangs.set()
    pair.await_fit(driver, False)
    before = pair.changes(driver)
    status = pair.agent(driver).wait_status(lambda status: status["health"]["checks"][0]["since_ms"] > SETTLE_MS)
    assert (status["groups"][0]["state"], pair.changes(driver)) == ("ACTIVE", before)
    assert True not in pair.bench.orders[f"{other}-relay"]
    pair.apps[other].hangs.clear()             # now there is somebody better
    pair.await_driver(other)
    assert pair.await_change(other, "HANDOVER")["to"] == "ACTIVE"
