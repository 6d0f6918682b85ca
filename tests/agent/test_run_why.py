"""The agent's part in why: its own verdicts by group and family, and the peer's over a real broker."""
from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from broker_fixture import Broker, running_broker
from paho.mqtt.enums import CallbackAPIVersion
from run_fakes import WAIT_S, state_report
from run_rig import Rig
from screen_answers import took

from twinbeat.run_loop import boottime_ns
from twinbeat.run_why import SURELY_SMALL, bounded
from twinbeat.verdict import LINE_BYTES_MAX
from twinbeat_core.model import Cause, OutputCode, State
from twinbeat_rt.messages import DriveChanged, OutputChanged


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with running_broker(tmp_path) as broker:
        yield broker


@pytest.fixture
def rig(tmp_path: Path, broker: Broker) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    rig.links = f'[[link]]\ntype = "mqtt"\nbroker = "mqtt://127.0.0.1:{broker.port}"\nname = "m"\n'
    yield rig
    rig.gate.end()


class Peer:
    """Another client of the broker, in this thread."""

    def __init__(self, broker: Broker) -> None:
        self.heard: dict[str, Any] = {}
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self.client.on_message = lambda _client, _data, message: self.heard.__setitem__(message.topic, message)
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()

    def tell(self, topic: str, body: dict[str, Any]) -> None:
        self.client.publish(f"twinbeat/v1/pump-7/{topic}", json.dumps(body), 1, True).wait_for_publish(WAIT_S)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def peer(broker: Broker) -> Iterator[Peer]:
    peer = Peer(broker)
    yield peer
    peer.close()


def test_an_answer_is_bounded_and_keeps_the_newest() -> None:
    small = [took("gw-b", "pump", epoch, "SILENCE") for epoch in range(300)]
    assert bounded(small) == small
    big = [item | {"more": "x" * LINE_BYTES_MAX} for item in small]
    kept = bounded(big)
    assert kept == big[-len(kept):] and SURELY_SMALL - 3 < len(kept) < SURELY_SMALL


def until_halves(rig: Rig, epochs: list[int]) -> None:
    """Ask once between two of Python's heartbeats until these halves are there."""
    found: list[int] = []
    for _ in range(50):
        found = [item["epoch"] for item in rig.ask("why")["peer_verdicts"]]
        if found == epochs:
            return
        beats = rig.rt.beats
        rig.rt.wait(lambda beats=beats: rig.rt.beats > beats, "Python's heartbeat")  # type: ignore[misc]
    raise AssertionError(f"the peer's halves are {found}, not {epochs}")


def test_the_peers_half_comes_over_the_broker_kept_or_fresh(rig: Rig, peer: Peer) -> None:
    peer.tell("gw-b/verdict/pump", took("gw-b", "pump", 17, "SILENCE"))
    peer.tell("gw-b/verdict/valve", took("gw-b", "valve", 18, "SILENCE"))

    def scenario() -> None:
        until_halves(rig, [17])
        peer.tell("gw-b/verdict/pump", took("gw-b", "pump", 25, "SILENCE", ms=5))
        peer.tell("gw-c/verdict/pump", took("gw-c", "pump", 30, "SILENCE"))
        until_halves(rig, [17, 25])
        source = rig.ask("why", group="pump")["peer_source"]
        assert source["nodes"] == ["gw-b"] and list(source["brokers"].values()) == [True]
        assert source["refused"] >= 1, "there is no group valve"

    rig.run(scenario)


def test_a_verdict_goes_out_under_the_nodes_own_name_too(rig: Rig, peer: Peer) -> None:
    peer.client.subscribe("twinbeat/v1/pump-7/+/verdict/+")
    peer.client.subscribe("twinbeat/v1/pump-7/verdict/+")

    def scenario() -> None:
        now_ns = boottime_ns()
        rig.rt.push(
            state_report(State.STANDBY, State.CLAIMING, Cause.CAUSE_SILENCE, epoch=17, at_ns=now_ns),
            state_report(State.CLAIMING, State.ACTIVE, Cause.CAUSE_MAJORITY, epoch=17, at_ns=now_ns),
            DriveChanged(0, 17, True, now_ns + 20),
            OutputChanged(0, 17, OutputCode.OUTPUT_DRIVEN, now_ns + 3020),
        )
        rig.in_loop(rig.agent.notified)
        topics = {"twinbeat/v1/pump-7/gw-a/verdict/pump", "twinbeat/v1/pump-7/verdict/pump"}
        rig.rt.wait(lambda: topics <= set(peer.heard), "both topics")
        assert len({peer.heard[topic].payload for topic in topics}) == 1
        assert [item["epoch"] for item in rig.ask("why", group="pump")["verdicts"]] == [17]
        assert 'there is no group "fan"; the groups are pump' in rig.ask("why", group="fan")["error"]
        assert rig.ask("why")["peer_verdicts"] == [], "its own words are not the peer's"

    rig.run(scenario)
