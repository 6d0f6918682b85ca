"""The third voter that the file names: opened, started, served and left by the running agent."""
from __future__ import annotations

import os
import pty
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from config_files import GOOD, changed, write
from run_fakes import FakeClient, FakeGate, FakeRuntime
from run_rig import Rig

from twinbeat.config import load_config
from twinbeat.errors import DeviceError
from twinbeat.run_loop import boottime_ns
from twinbeat.run_voter import VOTER_PORT, ThirdVoter, open_third_voter
from twinbeat_bridge.contract import Code, VoteAnswer
from twinbeat_core.events import Vote
from twinbeat_core.frames import Frame, Row
from twinbeat_core.model import FrameKind, ReportCode, RowFlag
from twinbeat_core.wire import encode
from twinbeat_rt.messages import AskVoter, Reported, ReturnPromise, SerialFault

KEY = bytes(range(16))
CROSS = 'serial.cross = "/dev/ttyAMA0"\n'
ARBITER = '[third_voter]\ntype = "arbiter"\nport = "vote"\nid = "a0b1c2d3"\nbaud = 460800\n'
WITNESS = """[third_voter]
type = "witness"
witness = "w1"
broker = "mqtt://other.plant:1884"
user = "tb"
password_file = "secret"
"""
ZOOKEEPER = """[third_voter]
type = "zookeeper"
hosts = "zk1,zk2,zk3"
path = "/plant/tb"
user = "tb"
password_file = "secret"
ca = "ca.pem"
session_ms = 4000
"""


def opened(
    folder: Path, table: str, open_port: Callable[[str, int], int] | None = None
) -> tuple[ThirdVoter | None, FakeRuntime, list[tuple[str, int]]]:
    """What `open_third_voter` makes of the good file with this table, the runtime, and the ports it asked for."""
    secret = folder / "secret"
    secret.write_text("open sesame\n")
    secret.chmod(0o600)
    base = GOOD.replace(CROSS, CROSS + 'serial.vote = "/dev/ttyVOTE"\n') if "arbiter" in table else GOOD
    text = changed(("outage_budget_ms = 100\n", ""), base=base + table)
    rt, asked = FakeRuntime(FakeGate()), []

    def open_it(path: str, baud: int) -> int:
        asked.append((path, baud))
        return os.open(os.devnull, os.O_RDWR)

    cfg = load_config(write(folder, text), "gw-a")
    voter = open_third_voter(cfg, rt, KEY, 61.4, 9001, open_port or open_it, lambda call: call())
    return voter, rt, asked


# ---------------------------------------------------------------- the three types


def test_no_third_voter(tmp_path: Path) -> None:
    voter, rt, _ = opened(tmp_path, "")
    assert voter is None and rt.calls == []


def test_an_arbiter_is_a_port_of_the_real_time_part(tmp_path: Path) -> None:
    voter, rt, asked = opened(tmp_path, ARBITER)
    assert voter is not None and voter.port is not None and voter.client is None
    assert asked == [("/dev/ttyVOTE", 460800)]
    assert rt.arbiters == [(True, 0xA0B1C2D3, 61)]
    assert (voter.kind, voter.port.link, voter.port.plugged) == ("arbiter", VOTER_PORT, True)
    rt.stop()


def test_an_arbiters_port_that_cannot_be_opened_names_the_table(tmp_path: Path) -> None:
    def refuse(path: str, baud: int) -> int:
        raise DeviceError(f"{path}: there is no such port")

    with pytest.raises(DeviceError, match=r"^\[third_voter\]: /dev/ttyVOTE: there is no such port$"):
        opened(tmp_path, ARBITER, refuse)


def test_a_witness_is_a_client_of_its_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twinbeat.voter.witness_client.WitnessClient", FakeClient)
    voter, rt, _ = opened(tmp_path, WITNESS)
    assert voter is not None and isinstance(voter.client, FakeClient)
    options, context = voter.client.made
    assert (options.host, options.port, options.user, options.password) == ("other.plant", 1884, "tb", "open sesame")
    assert (options.tls, context, options.node, options.pair) == (False, None, "gw-a", "pump-7")
    given = dict(voter.client.options)
    votes = given.pop("votes")
    assert given == {"witness": "w1", "pair": "pump-7", "pair_id": voter.pair_id, "key": KEY, "node": 0,
                     "incarnation": 9001, "grant_ms": 61}
    votes(VoteAnswer(0, Code.REFUSED, 8, 1, 2))
    assert isinstance(rt.posted[0], Vote)
    assert (voter.kind, voter.port, rt.calls, voter.client.said) == ("witness", None, [], [])


def test_zookeeper_is_a_client_of_the_ensemble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twinbeat_bridge.zookeeper.ZookeeperClient", FakeClient)
    voter, rt, _ = opened(tmp_path, ZOOKEEPER)
    assert voter is not None and isinstance(voter.client, FakeClient)
    given: dict[str, Any] = dict(voter.client.options)
    given.pop("votes")(VoteAnswer(0, Code.GONE, 0, 1, 0))
    assert len(rt.posted) == 1
    assert given == {
        "hosts": "zk1,zk2,zk3", "path": "/plant/tb", "pair": "pump-7", "groups": ["pump"], "node": 0,
        "incarnation": 9001, "key": KEY, "grant_ms": 61, "session_ms": 4000, "drift_ppm": given["drift_ppm"],
        "user": "tb", "password": "open sesame", "ca": str(tmp_path / "ca.pem"), "cert": None, "key_file": None,
    }
    assert given["drift_ppm"] > 0
    assert (voter.kind, voter.port, rt.calls, voter.client.said) == ("zookeeper", None, [], [])


# ---------------------------------------------------------------- in the running agent


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.gate.end()


@pytest.fixture
def line() -> Iterator[str]:
    """The path of a serial line, a pseudo terminal."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    yield os.ttyname(slave)
    os.close(master)
    os.close(slave)


def with_arbiter(rig: Rig, path: str) -> None:
    rig.serial_lines = f'serial.vote = "{path}"'
    rig.voter = ARBITER


def codes(rig: Rig) -> list[str]:
    return [event["code"] for event in rig.ask("events", count=100)["events"]]


def test_the_agent_serves_an_arbiter(rig: Rig, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from twinbeat.links import serial

    monkeypatch.setattr(serial, "RETRY_MIN_S", 0.001)
    with_arbiter(rig, line)

    def scenario() -> None:
        ((plugged, number, grant_ms),) = rig.rt.arbiters
        assert (plugged, number) == (True, 0xA0B1C2D3) and 10 <= grant_ms <= 2000
        shown = rig.ask("status")["third_voter"]
        assert (shown["type"], shown["port"]) == ("arbiter", {"path": line, "plugged": True, "faults": 0})
        rig.rt.push(SerialFault(VOTER_PORT, 5))
        rig.rt.wait(lambda: len(rig.rt.arbiters) == 3, "the port's return")
        assert rig.rt.arbiters[1:] == [(False, number, grant_ms), (True, number, grant_ms)]
        rig.in_loop(lambda: None)        # the call that gave the port back says `plugged` as its last act
        assert rig.ask("status")["third_voter"]["port"] == {"path": line, "plugged": True, "faults": 1}

    assert rig.run(scenario) == 0
    assert rig.rt.calls.index("set_arbiter") < rig.rt.calls.index("start")


def test_a_fault_of_a_link_is_not_the_arbiters(rig: Rig, line: str) -> None:
    with_arbiter(rig, line)

    def scenario() -> None:
        rig.rt.push(SerialFault(0, 5))
        rig.in_loop(lambda: None)
        assert rig.ask("status")["third_voter"]["port"]["plugged"]
        assert len(rig.rt.arbiters) == 1

    rig.run(scenario)


def test_faults_of_the_arbiter_are_events(rig: Rig, line: str) -> None:
    with_arbiter(rig, line)

    def scenario() -> None:
        voter = rig.agent.parts.voter
        assert voter is not None
        for _ in range(2):
            rig.in_loop(voter.look)
        assert codes(rig).count("VOTER_SILENT") == 1
        rig.rt.arbiter = {"attached": True, "heard_ago_ms": 0.0, "voter": 1, "voter_heard": 1, "groups": []}
        rig.in_loop(voter.look)
        texts = [event["text"] for event in rig.ask("events", count=100)["events"]]
        assert texts.count("third voter: over: silent") == 1

    rig.run(scenario)


def test_a_missing_arbiters_port_is_an_error_at_the_start(rig: Rig) -> None:
    with_arbiter(rig, "/dev/ttyNOSUCH")
    with pytest.raises(DeviceError, match=r"^\[third_voter\]: /dev/ttyNOSUCH: there is no such port"):
        rig.start_only()
    assert "start" not in rig.rt.calls


def test_the_agent_serves_a_witness(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twinbeat.voter.witness_client.WitnessClient", FakeClient)
    rig.voter = '[third_voter]\ntype = "witness"\nwitness = "w1"\nbroker = "mqtt://127.0.0.1:1"\n'
    clients: list[FakeClient] = []

    def scenario() -> None:
        voter = rig.agent.parts.voter
        assert voter is not None and isinstance(voter.client, FakeClient)
        client = voter.client
        clients.append(client)
        rig.rt.push(AskVoter(0, 17, 1234, 1), ReturnPromise(0, 9, 2))
        client.wait(lambda: len(client.said) >= 3, "the ask and the return")
        assert client.said == [("start",), ("ask", 0, 17, 1234), ("give_back", 0, 9)]
        dead = encode(
            Frame(source=1, incarnation=77, stamp=5, pair_id=voter.pair_id, config_digest=1,
                  kind=FrameKind.FRAME_DEATH, rows=(Row(0, 15, RowFlag.ROW_DROPPED, 9),)), rig.rt.key
        )
        rig.rt.notices = {1: [dead]}
        for extra in (0, 1):             # the second is the same death: one more group is off
            rig.rt.push(Reported(boottime_ns(), ReportCode.RP_PEER_DEAD, 0, 1, 0, 9, 77, extra))
        client.wait(lambda: len(client.said) >= 5, "the death, twice")
        assert set(client.said[3:]) == {("peer_dead", 1, 77, frozenset({0}), dead)}
        assert rig.ask("status")["third_voter"] == {"type": "witness", "connected": True}

    assert rig.run(scenario) == 0
    assert clients[0].said[-1] == ("stop",)
    assert "set_arbiter" not in rig.rt.calls
