"""A load is shown where somebody measures or reports it; the 0 that frames carry else is none."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from health_rig import idle_rig
from run_fakes import core_view, peer_view
from run_rig import Rig

from twinbeat.run_loads import Loads, measuring_nodes
from twinbeat.screen_status import status_text


def test_zero_says_something_where_it_is_measured() -> None:
    loads = Loads(lambda: 0, {"gw-b"})
    assert loads.own({"load": 0}) == 0
    assert (loads.of("gw-b", 0, True), loads.of("gw-s", 0, True)) == (0, None)
    assert loads.of("gw-s", 7, True) == 7, "an application there reported it"
    assert loads.of("gw-b", 0, False) is None, "no frame has told it yet"
    unknown = Loads()
    assert unknown.own({"load": 0}) is None
    rows: list[dict[str, Any]] = [{"name": "gw-b", "load": 0, "heard_ms_ago": 4.0, "fit": True}]
    assert unknown.marked(rows, "name") == [{"name": "gw-b", "load": None, "heard_ms_ago": 4.0, "fit": True}]


@pytest.mark.parametrize(
    ("balance", "checked", "measuring"),
    [(None, (), set()), (None, ("gw-b",), {"gw-b"}), (object(), (), {"gw-a", "gw-b"})],
)
def test_who_measures_by_the_file(balance: object, checked: tuple[str, ...], measuring: set[str]) -> None:
    cfg: Any = SimpleNamespace(balance=balance, node_names=("gw-a", "gw-b"), checks_of=lambda node: node in checked)
    assert measuring_nodes(cfg) == measuring


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    yield from idle_rig(tmp_path, monkeypatch)


def shown(rig: Rig) -> tuple[Any, Any, Any, Any]:
    """This node's load in status, the other's there and in a verdict's evidence, and what the screen says."""
    status = rig.ask("status")
    evidence = rig.in_loop(lambda: rig.agent.evidence(0))
    assert evidence["load"] == status["load"]
    said = next(line for line in status_text(status).splitlines() if line.startswith("health:"))
    return status["load"], status["peers"][0]["load"], evidence["peers"][0]["load"], said


def test_without_checks_a_load_is_shown_once_an_application_reports_one(rig: Rig) -> None:
    def scenario() -> None:
        rig.rt.core = core_view(peers=[peer_view(1)])
        assert shown(rig) == (None, None, None, "health: score 100, load -")
        assert "100     -     " in status_text(rig.ask("status"))
        assert rig.ask("handover-plan")["plans"][0]["takers"][0]["load"] is None
        rig.ask("load", percent=0, ttl_s=600)
        assert shown(rig)[0] == 0
        rig.ask("load", percent=30, ttl_s=600)
        rig.rt.core = core_view(load=30, peers=[peer_view(1, load=12)])
        assert shown(rig) == (30, 12, 12, "health: score 100, load 30 %")
        assert rig.ask("handover-plan")["plans"][0]["takers"][0]["load"] == 12
        rig.rt.core = core_view()

    rig.run(scenario)


def test_with_checks_it_is_measured_on_the_nodes_that_run_them(rig: Rig) -> None:
    rig.agent_lines = '[[check]]\nname = "file"\ntype = "file"\npath = "/proc/stat"\nmax_age_s = 60\n'

    def scenario() -> None:
        rig.rt.core = core_view(peers=[peer_view(1)])
        assert shown(rig)[:3] == (0, 0, 0)
        assert rig.ask("status")["health"]["load"] == 0
        rig.rt.core = core_view()

    rig.run(scenario)
