"""What is refused before anything is connected."""
from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from twinbeat_bridge.zookeeper import ZookeeperClient
from twinbeat_bridge.zookeeper_check import Tls, access_problems, host_problems, zookeeper_problems
from twinbeat_core.errors import SettingsError

FITS: dict[str, Any] = {"renew_ms": 1000, "rtt_ms": 200, "grant_ms": 3206, "session_ms": 4000, "budget_ms": 10_000}


def test_an_arrangement_that_fits() -> None:
    assert zookeeper_problems(**FITS) == []
    assert zookeeper_problems(**{**FITS, "budget_ms": None}) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"budget_ms": 4000}, r"outage_budget_ms = 4000.*3206 \+ 4.5 x 200 = 4106 ms.*4106 or more.*arbiter"),
        ({"session_ms": 6000}, r"session_ms = 6000 is too long.*4000 ms.*3206 ms.*to 4209 or less.*grant_ms to 4400"),
        ({"session_ms": 1000}, r"session_ms = 1000 is too short.*1200 or more"),
        ({"grant_ms": 1300, "session_ms": 1200}, r"grant_ms = 1300 runs out.*to 1400 or more"),
        ({"rtt_ms": 1000, "grant_ms": 9000, "session_ms": 6000, "budget_ms": 20_000}, r"renew_ms = 1000.*2000 or more"),
    ],
)
def test_an_arrangement_that_contradicts_itself(change: dict[str, float], said: str) -> None:
    (problem,) = zookeeper_problems(**{**FITS, **change})
    assert re.search(said, problem), problem


def test_the_bounds_are_exact() -> None:
    assert zookeeper_problems(**{**FITS, "budget_ms": 4106}) == []
    assert len(zookeeper_problems(**{**FITS, "budget_ms": 4105.9})) == 1
    assert zookeeper_problems(**{**FITS, "session_ms": 4209}) == []
    assert len(zookeeper_problems(**{**FITS, "session_ms": 4210})) == 1


@pytest.mark.parametrize("hosts", ["zk1", "zk1:2181,zk2:2182", "10.0.0.1:2181, zk2", "[fd00::3]:2181"])
def test_good_hosts(hosts: str) -> None:
    assert host_problems(hosts) == []


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        ("", "is no HOST"), ("zk1:2181,", "is no HOST"), ("zk1:zwei", "is no HOST"), ("zk1:70000", "is no HOST"),
        ("zk1:2181/twinbeat", "has a path in it"), ("zk1:0", "is no HOST"), ("a b", "is no HOST"),
    ],
)
def test_bad_hosts(hosts: str, said: str) -> None:
    (problem,) = host_problems(hosts)
    assert said in problem


def test_access(tmp_path: Path) -> None:
    there = tmp_path / "ca.pem"
    there.write_text("x")
    assert access_problems("gw", "secret", Tls(str(there))) == []
    assert "belong together" in access_problems("gw", None, Tls())[0]
    assert "colon" in access_problems("a:b", "secret", Tls())[0]
    assert "cert and key" in access_problems(None, None, Tls(None, str(there), None))[0]
    assert "ca: /nowhere/ca.pem is not there" in access_problems(None, None, Tls("/nowhere/ca.pem"))[0]


def build(**options: Any) -> ZookeeperClient:
    return ZookeeperClient(**{
        "hosts": "zk1", "path": "/twinbeat", "pair": "pump", "groups": ["main"], "node": 0, "incarnation": 1,
        "key": bytes(16), "grant_ms": 3000, "session_ms": 4000, "drift_ppm": 1000, "votes": print, **options})


def test_a_client_that_cannot_work_is_not_made() -> None:
    pytest.importorskip("kazoo")
    with pytest.raises(SettingsError, match=r"zk1:x.*; .*belong together"):
        build(hosts="zk1:x", user="gw")
    with pytest.raises(SettingsError, match="has 3 bytes"):
        build(key=b"abc")


def test_kazoo_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r'pip install "twinbeat\[zookeeper\]"'):
        build()
