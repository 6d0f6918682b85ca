"""Checks in a running agent around a stand-in for the real-time part: Health, events, status, the verdict's cause."""
from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from broker_fixture import running_broker
from health_rig import idle_rig
from run_fakes import WAIT_S, core_view, peer_view, state_report
from run_rig import Rig
from test_mqtt import Side
from test_verdict import Book

from twinbeat.config_check import MqttCheck
from twinbeat.health.probes.mqtt import MqttProbe
from twinbeat.links.mqtt_note import Note
from twinbeat.run_loop import boottime_ns
from twinbeat.run_words import CAUSES
from twinbeat.screen_status import status_text
from twinbeat.verdict import reason_text
from twinbeat_core.events import Health
from twinbeat_core.model import Cause, OutputCode, State
from twinbeat_rt.messages import DriveChanged, OutputChanged

FAST = "every_ms = 100\nrise = 1\nfall = 2\n"


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    yield from idle_rig(tmp_path, monkeypatch)


def told(rig: Rig) -> list[tuple[bool, int]]:
    """What the core was told of this node's health, without repetitions."""
    found: list[tuple[bool, int]] = []
    for event in rig.rt.posted:
        if isinstance(event, Health) and found[-1:] != [(event.fit, event.score)]:
            found.append((event.fit, event.score))
    return found


def test_without_checks_no_health_is_posted(rig: Rig) -> None:
    def scenario() -> None:
        rig.rt.wait(lambda: rig.rt.beats >= 3, "Python's heartbeats")
        assert rig.ask("status")["health"] is None

    rig.run(scenario)
    assert told(rig) == []


def test_a_file_that_is_not_there_makes_the_node_unfit_until_it_is(rig: Rig) -> None:
    path = rig.folder / "out.csv"
    path.write_text("")
    rig.agent_lines = f'[[check]]\nname = "app"\ntype = "file"\npath = "{path}"\nmax_age_s = 600\n{FAST}'

    def scenario() -> None:
        rig.rt.wait(lambda: told(rig) == [(True, 100)], "fit at the start")
        path.unlink()
        rig.rt.wait(lambda: told(rig)[1:] == [(False, 0)], "unfit")
        rig.rt.core = core_view("RELEASING", epoch=17, fit=False, health=0)
        now_ns = boottime_ns()
        rig.rt.push(
            state_report(State.ACTIVE, State.RELEASING, Cause.CAUSE_UNFIT, epoch=17, at_ns=now_ns),
            DriveChanged(0, 17, False, now_ns + 20),
            OutputChanged(0, 17, OutputCode.OUTPUT_OFF, now_ns + 3020),
        )
        rig.in_loop(rig.agent.notified)
        (verdict,) = rig.ask("why")["verdicts"]
        assert verdict["sentence"] == (
            "gw-a let go of pump (epoch 17): this node is not fit to drive "
            f"(check app: {path} is not there, at most 600 s)."
        )
        status = rig.ask("status")
        (check,) = status["health"]["checks"]
        assert (status["health"]["fit"], status["health"]["score"], check["state"]) == (False, 0, "failed")
        assert check["value"] == f"{path} is not there" and check["limit"] == "at most 600 s"
        screen = status_text(status)
        assert "health: score 0, load 0 %" in screen and f"FAILED  {check['since_ms'] / 1000:.1f} s" in screen
        path.write_text("")
        rig.rt.wait(lambda: told(rig)[2:] == [(True, 100)], "fit again")
        codes = [event["code"] for event in rig.ask("events", count=50)["events"]]
        assert [code for code in codes if code.startswith("CHECK_")] == ["CHECK_FAILED", "CHECK_OK"]

    assert rig.run(scenario) == 0


def test_a_hanging_command_is_ended_when_the_agent_stops(rig: Rig) -> None:
    pid_file = rig.folder / "pid"
    script = f"echo $$ > {pid_file}.x; mv {pid_file}.x {pid_file}; exec sleep 60"
    rig.agent_lines = f'[[check]]\nname = "slow"\ntype = "command"\nargv = ["/bin/sh", "-c", "{script}"]\n'
    rig.agent_lines += "every_ms = 60000\n"

    def scenario() -> None:
        rig.rt.wait(pid_file.exists, "the command")

    rig.run(scenario)
    assert not Path(f"/proc/{int(pid_file.read_text())}").exists()
    for thread in [thread for thread in threading.enumerate() if thread.name == "twinbeat-check"]:
        thread.join(WAIT_S)
        assert not thread.is_alive()


def test_checks_of_the_other_node_are_not_run(rig: Rig) -> None:
    rig.agent_lines = '[[check]]\nname = "app"\ntype = "file"\npath = "/nonexistent"\nmax_age_s = 5\nnodes = ["gw-b"]\n'

    def scenario() -> None:
        rig.rt.wait(lambda: rig.rt.beats >= 3, "Python's heartbeats")

    rig.run(scenario)
    assert told(rig) == []


def test_status_says_that_the_other_node_is_not_fit(rig: Rig) -> None:
    def scenario() -> None:
        rig.rt.core = core_view("STANDBY", peers=[peer_view(1, flags=4, health=0)])
        answer = rig.ask("status")
        assert answer["peers"][0]["fit"] is False
        assert "not fit" in status_text(answer)

    rig.run(scenario)


def test_the_cause_names_the_checks_and_nothing_where_there_are_none(tmp_path: Path) -> None:
    plain = CAUSES[Cause.CAUSE_UNFIT]
    assert reason_text(Cause.CAUSE_UNFIT, {}) == plain
    assert reason_text(Cause.CAUSE_UNFIT, {"unfit": []}) == plain
    two = {"unfit": ["check a: b", "and 2 more"]}
    assert reason_text(Cause.CAUSE_UNFIT, two) == f"{plain} (check a: b; and 2 more)"
    assert reason_text(Cause.CAUSE_HANDOVER, {"unfit": ["check a: b"]}) == CAUSES[Cause.CAUSE_HANDOVER]
    assert Book(tmp_path).verdicts.count == 0


# ---------------------------------------------------------------- MQTT topic age


def topic_check(topic: str = "plant/tick", max_age_s: float = 600) -> MqttCheck:
    return MqttCheck(type="mqtt", name="tick", topic=topic, max_age_s=max_age_s)


def send_until_heard(sender: Side, side: Side, probe: MqttProbe) -> None:
    """Messages on the topic, each with a beat, which is what wakes a test that waits."""
    for count in range(100):
        sender.link.send_note(Note("plant/tick", b"tick", retain=False, qos=0))
        sender.link.send_beat(b"beat", boottime_ns())
        side.wait(lambda count=count: len(side.frames) > count, "a beat")  # type: ignore[misc]
        if probe.measure().ok:
            return
    raise AssertionError("no message on the topic is heard")


def test_topic_age_over_the_link_s_broker(tmp_path: Path) -> None:
    with running_broker(tmp_path) as broker:
        sender = Side("gw-b", broker.port, period_ms=5000.0).up()
        kept = Note("plant/kept", b"old", retain=True, qos=1)
        sender.link.send_note(kept)
        side = Side("gw-a", broker.port)
        tick, other = MqttProbe(topic_check(), side.link), MqttProbe(topic_check("plant/kept"), side.link)
        assert tick.measure().ok is None       # not connected yet, and not old yet
        side.up()
        send_until_heard(sender, side, tick)
        assert tick.measure().value.startswith("last message on plant/tick 0.")
        assert other.measure().ok is None, "what the broker has kept says nothing about now"
        assert side.link.counters.retained_refused == 0
        assert all(data == b"beat" for data, _ in side.frames)
        old = MqttProbe(topic_check(max_age_s=0.1), side.link)
        old._watch._heard_ns["plant/tick"] = boottime_ns() - 10**10
        found = old.measure()
        assert found.ok is False and found.value.startswith("last message on plant/tick 10.")
        never = MqttProbe(topic_check("plant/kept", max_age_s=0.1), side.link)
        never._begun_ns -= 10**10
        assert never.measure().value == "no message on plant/kept since the start"
        side.link.stop(None, 2.0)
        sender.link.stop(None, 2.0)
        gone = never.measure()
        assert gone.ok is False and "no connection to the broker" in gone.error


def test_a_subscription_that_is_refused_is_said_and_beats_go_on(tmp_path: Path) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic readwrite twinbeat/#\n")
    os.chmod(rules, 0o600)
    with running_broker(tmp_path, f"allow_anonymous true\nacl_file {rules}\n") as broker:
        side = Side("gw-a", broker.port)
        probe = MqttProbe(topic_check(), side.link)
        probe._begun_ns -= 10**12
        side.up()
        refused = probe.measure()
        assert side.link.state.connected
        sender = Side("gw-b", broker.port, period_ms=5000.0).up()
        sender.link.send_beat(b"beat", boottime_ns())
        side.wait(lambda: side.frames, "a beat")
        side.link.stop(None, 2.0)
        sender.link.stop(None, 2.0)
    # mosquitto grants a subscription that its list forbids, and sends nothing; other brokers refuse it.
    assert refused.ok is False
    side.link.watch.answered([failure()])      # type: ignore[union-attr]
    side.link.state.connected = True
    assert probe.measure().error.startswith("the broker refuses the subscription to plant/tick (Not authorized)")


def failure() -> Any:
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.reasoncodes import ReasonCode

    return ReasonCode(PacketTypes.SUBACK, "Not authorized")
