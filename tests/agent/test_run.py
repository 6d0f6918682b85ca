"""The agent around the real-time part: start, messages, commands, stop."""
from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import socket
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from broker_fixture import running_broker
from run_fakes import WAIT_S, core_view, peer_view, reaches, state_report
from run_rig import Rig
from test_mqtt import Observer

from twinbeat.errors import AlreadyRunning, DeviceError
from twinbeat.run_loop import boottime_ns
from twinbeat_core.events import Command, Persisted
from twinbeat_core.model import Cause, CommandCode, FrameFlag, OutputCode, State
from twinbeat_rt.messages import DriveChanged, OutputChanged, PersistCeiling, RecordingDue, SendFrame, Warned

S, C = State, Cause


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.gate.end()


def test_start_and_planned_stop(rig: Rig) -> None:
    def scenario() -> None:
        answer = rig.ask("ping")
        assert (answer["pid"], answer["gate_pid"]) == (os.getpid(), 4242)
        assert (answer["node"], answer["pair"]) == ("gw-a", "pump-7")
        rig.rt.wait(lambda: rig.rt.beats >= 3, "Python's heartbeats")

    assert rig.run(scenario) == 0
    assert rig.rt.calls == ["set_outputs", "set_udp", "start", "stop"]
    assert rig.rt.started[0] >> 16 == 1 and rig.rt.started[1:] == (0, True)
    assert [event.code for event in rig.rt.posted if isinstance(event, Command)] == [CommandCode.CMD_STOP]
    assert rig.rt.options == {"fifo": True, "lock_memory": True, "zombie_ms": 2000, "record_bytes": 2 << 20}
    assert rig.rt.key == bytes.fromhex("00112233445566778899aabbccddeeff")
    assert not rig.socket_path.exists()


def test_the_lock_is_the_gates_too(rig: Rig) -> None:
    rig.run(lambda: None)
    with (rig.folder / "run" / "pump-7-gw-a.lock").open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}"):
        rig.start_only()
    assert len(rig.made) == 1, "a second agent must not come as far as the outputs"


def test_status_has_names_for_everything(rig: Rig) -> None:
    def scenario() -> None:
        rig.rt.core = core_view("STANDBY", peers=[peer_view(1, state="ACTIVE", epoch=8)])
        answer = rig.ask("status")
        (group,) = answer["groups"]
        assert (group["name"], group["driver"], group["state"]) == ("pump", "gw-b", "STANDBY")
        assert answer["peers"][0]["name"] == "gw-b" and answer["peers"][0]["alive"]
        (link,) = answer["links"]
        assert (link["name"], link["type"], link["up"]) == ("direct", "udp", True)
        assert link["paths"]["gw-b"]["state"] == "UP"
        assert answer["outputs"][0]["type"] == "mock"
        assert "no real-time scheduling" in answer["warnings"]
        rig.rt.core["peers"][0]["paths"][0]["tx_dead"] = True
        link = rig.ask("status")["links"][0]
        assert (link["up"], link["paths"]["gw-b"]["state"]) == (False, "TX_DEAD")
        rig.rt.core["peers"][0]["dead"] = True
        assert rig.ask("status")["groups"][0]["driver"] is None

    rig.run(scenario)


def test_the_warning_of_a_first_start_is_over_once_the_node_has_listened(rig: Rig) -> None:
    def scenario() -> None:
        rig.rt.core = core_view("LISTEN")
        assert any("no state file" in warning for warning in rig.ask("status")["warnings"])
        rig.rt.core = core_view("STANDBY")
        left = rig.ask("status")["warnings"]
        assert left and not any("no state file" in warning for warning in left)

    rig.run(scenario)


def test_a_takeover_becomes_verdict_event_and_recording(rig: Rig) -> None:
    def scenario() -> None:
        now_ns = boottime_ns()
        rig.rt.core = core_view("ACTIVE", epoch=17)
        rig.rt.push(
            state_report(S.STANDBY, S.CLAIMING, C.CAUSE_DEATH_NOTICE, epoch=17, at_ns=now_ns),
            state_report(S.CLAIMING, S.ACTIVE, C.CAUSE_MAJORITY, epoch=17, at_ns=now_ns + 10),
            RecordingDue(0, 17, now_ns),
            DriveChanged(0, 17, True, now_ns + 20),
            OutputChanged(0, 17, OutputCode.OUTPUT_DRIVEN, now_ns + 3020),
        )
        rig.in_loop(rig.agent.notified)
        (verdict,) = rig.ask("why")["verdicts"]
        assert verdict["cause"] == "DEATH_NOTICE"
        assert verdict["measured"]["ordered_to_on_ms"] == 0.003
        texts = [event["text"] for event in rig.ask("events", count=50)["events"]]
        assert "pump: CLAIMING -> ACTIVE: a majority of the voters promised" in texts
        assert rig.ask("record")["ok"]
        rig.rt.core = core_view()

    rig.run(scenario)
    names = sorted(path.name for path in (rig.folder / "state" / "recordings").iterdir())
    assert len(names) == 2 and names[1].endswith("-pump-e17.tbr") and names[0].endswith("-asked.tbr")
    saved = (rig.folder / "state" / "pump-7-gw-a.verdicts.jsonl").read_text().splitlines()
    assert json.loads(saved[0])["epoch"] == 17


def test_a_ceiling_is_on_disk_before_the_core_is_told(rig: Rig) -> None:
    path = rig.folder / "state" / "pump-7-gw-a.epoch"
    seen: list[int] = []

    def scenario() -> None:
        rig.rt.act = lambda event: seen.append(json.loads(path.read_text())["ceiling"])
        rig.rt.push(PersistCeiling(1024))
        rig.rt.wait(lambda: [event for event in rig.rt.posted if isinstance(event, Persisted)], "Persisted")

    rig.run(scenario)
    assert [event.ceiling for event in rig.rt.posted if isinstance(event, Persisted)] == [1024]
    assert seen[0] == 1024
    assert rig.run(lambda: None) == 0 if rig.gate.end() else False
    assert rig.rt.started[1:] == (1024, False)
    assert rig.rt.started[0] >> 16 == 2


def test_a_ceiling_that_cannot_be_written_is_tried_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    from twinbeat import run_node, store

    real, failures = store.write_whole, [1]
    monkeypatch.setattr(run_node, "PERSIST_RETRY_S", 0.01)

    def scenario() -> None:
        def write(path: Path, data: bytes) -> None:
            if failures:
                failures.pop()
                raise OSError(28, "No space left on device")
            real(path, data)

        monkeypatch.setattr(store, "write_whole", write)
        rig.rt.push(PersistCeiling(2048))
        rig.rt.wait(lambda: any(isinstance(event, Persisted) for event in rig.rt.posted), "the second attempt")
        assert any("No space left" in event["text"] for event in rig.ask("events")["events"])

    rig.run(scenario)


def test_planned_stop_waits_until_the_peer_drives(rig: Rig) -> None:
    def scenario() -> None:
        rig.rt.core = core_view("ACTIVE", epoch=9)

        def act(event: Any) -> None:
            rig.rt.core = core_view("OUT", peers=[peer_view(1)])
            rig.rt.push(Warned("off, and nobody drives yet"))

        rig.rt.act = act
        os.kill(os.getpid(), signal.SIGTERM)
        rig.rt.wait(lambda: rig.rt.posted, "the stop command")
        rig.in_loop(lambda: None)
        assert rig.ask("ping")["ok"], "the agent must still be there: nobody drives"
        rig.rt.core = core_view("OUT", peers=[peer_view(1, state="ACTIVE", epoch=17)])
        rig.rt.push(Warned("the peer drives"))

    assert rig.run(scenario, stop=False) == 0
    assert rig.rt.calls[-1] == "stop"


@pytest.mark.parametrize("peer", [{"silent": True}, {"flags": FrameFlag.FLAG_STOPPING}], ids=["silent", "stops too"])
def test_planned_stop_without_a_peer_does_not_wait(rig: Rig, peer: dict[str, Any]) -> None:
    def scenario() -> None:
        rig.rt.core = core_view("ACTIVE", epoch=9, peers=[peer_view(1, **peer)])
        rig.rt.act = reaches(rig.rt, "OUT", peers=[peer_view(1, **peer)])

    begun_ns = boottime_ns()
    assert rig.run(scenario) == 0
    assert boottime_ns() - begun_ns < 1.9e9


def test_planned_stop_has_a_limit(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    from twinbeat import run_stop

    monkeypatch.setattr(run_stop, "STOP_LIMIT_S", 0.1)
    rig.prepare = lambda rt: setattr(rt, "core", core_view("ACTIVE", epoch=9))
    assert rig.run(lambda: None) == 0


def test_a_second_signal_ends_the_waiting(rig: Rig) -> None:
    def scenario() -> None:
        rig.rt.core = core_view("ACTIVE", epoch=9)
        os.kill(os.getpid(), signal.SIGTERM)
        rig.rt.wait(lambda: rig.rt.posted, "the stop command")
        os.kill(os.getpid(), signal.SIGINT)

    begun_ns = boottime_ns()
    assert rig.run(scenario, stop=False) == 0
    assert boottime_ns() - begun_ns < 1.9e9


def test_the_death_of_the_gate_ends_the_agent(rig: Rig) -> None:
    assert rig.run(lambda: setattr(rig.gate, "living", False), stop=False) == 70
    assert rig.rt.calls[-1] == "fail", "a fault is no planned end"


def test_outputs_of_a_gate_that_is_gone_are_switched_off_by_the_agent(rig: Rig) -> None:
    board, port = pty.openpty()
    tty.setraw(port)
    rig.outputs = f'[[group.output]]\ntype = "serial-relay"\nport = "{os.ttyname(port)}"\non = "a1"\noff = "a0"\n'
    try:
        assert rig.run(lambda: setattr(rig.gate, "living", False), stop=False) == 70
        assert select.select([board], [], [], WAIT_S)[0], "nothing was written"
        assert os.read(board, 100) == b"\xa0"
    finally:
        os.close(board)
        os.close(port)


def test_an_output_that_cannot_be_switched_off_any_more_is_said(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(_cfg: object) -> None:
        raise DeviceError("the device is gone")

    monkeypatch.setattr("twinbeat.run_rescue.open_outputs", refuse)
    assert rig.run(lambda: setattr(rig.gate, "living", False), stop=False) == 70
    assert "switch it off by hand" in capfd.readouterr().err


def test_a_fault_in_the_end_is_no_planned_end(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_self: object) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr("twinbeat.run_recordings.Recordings.flush", fail)
    with pytest.raises(RuntimeError):
        rig.run(lambda: None)
    assert rig.rt.calls[-1] == "fail"


def test_the_service_managers_watchdog_hangs_on_the_decider(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(rig.folder / "notify"))
        manager.settimeout(WAIT_S)
        monkeypatch.setenv("NOTIFY_SOCKET", str(rig.folder / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "1000")
        said: list[bytes] = []

        def hear(wanted: bytes) -> None:
            while wanted not in said[-1:]:
                said.append(manager.recv(999).split(b"\n")[0])

        def scenario() -> None:
            hear(b"READY=1")
            hear(b"WATCHDOG=1")
            beats = rig.rt.beats
            rig.rt.wait(lambda: rig.rt.beats >= beats + 3, "Python's heartbeats")
            rig.agent.parts.notifier.status("the decider stands still")
            hear(b"STATUS=the decider stands still")
            assert said.count(b"WATCHDOG=1") == 1, "Python's own life must not feed the watchdog"
            rig.rt.ticks += 1
            hear(b"WATCHDOG=1")

        assert rig.run(scenario) == 0
        hear(b"STOPPING=1")


def test_a_fault_in_one_message_does_not_stop_the_next(rig: Rig) -> None:
    def scenario() -> None:
        rig.rt.push(state_report(S.STANDBY, S.CLAIMING, 0, group=63))
        rig.rt.core = {"groups": []}
        rig.rt.push(state_report(S.CLAIMING, S.ACTIVE, 0))
        rig.in_loop(lambda: None)
        rig.rt.core = core_view()
        rig.rt.push(PersistCeiling(512))
        rig.rt.wait(lambda: any(isinstance(event, Persisted) for event in rig.rt.posted), "life after a fault")

    assert rig.run(scenario) == 0


def test_slow_outputs_follow_the_drive(rig: Rig) -> None:
    out = rig.folder / "said"
    script = rig.folder / "hook.sh"
    script.write_text(f'#!/bin/sh\necho "$1 $TWINBEAT_GROUP $TWINBEAT_EPOCH $TWINBEAT_CAUSE" >> {out}\n')
    script.chmod(0o755)
    rig.outputs = f'[[group.output]]\ntype = "hook"\nstart = ["{script}", "start"]\nstop = ["{script}", "stop"]\n'

    def scenario() -> None:
        slow = rig.agent.parts.slow
        assert rig.rt.outputs[0].kind == "none" and rig.rt.outputs[0].stop_argv
        assert all(lane.wait_idle(5.0) for lane in slow._lanes.values())
        rig.rt.push(
            state_report(S.CLAIMING, S.ACTIVE, C.CAUSE_SILENCE, epoch=17),
            DriveChanged(0, 17, True, boottime_ns()),
        )
        rig.in_loop(rig.agent.notified)
        assert all(lane.wait_idle(5.0) for lane in slow._lanes.values())
        rig.rt.push(
            state_report(S.ACTIVE, S.RELEASING, C.CAUSE_HANDOVER, epoch=17),
            DriveChanged(0, 17, False, boottime_ns()),
        )
        rig.in_loop(rig.agent.notified)

    rig.run(scenario)
    assert out.read_text().splitlines() == ["stop pump 0 START", "start pump 17 SILENCE", "stop pump 17 HANDOVER"]


def test_a_hook_that_fails_bars_the_node(rig: Rig) -> None:
    rig.outputs = '[[group.output]]\ntype = "hook"\nstart = ["/bin/false"]\nstop = ["/bin/true"]\n'

    def scenario() -> None:
        rig.rt.push(DriveChanged(0, 17, True, boottime_ns()))
        rig.rt.wait(lambda: rig.rt.posted, "the failure")
        event = rig.rt.posted[0]
        assert (event.group, event.code, event.epoch) == (0, OutputCode.OUTPUT_FAILED, 17)

    rig.run(scenario)


def test_over_a_broker(rig: Rig) -> None:
    with running_broker(rig.folder) as broker:
        rig.links = f'[[link]]\ntype = "mqtt"\nname = "plant"\nbroker = "mqtt://127.0.0.1:{broker.port}"\nmissed = 20\n'
        observer = Observer(broker.port, "twinbeat/v1/pump-7/#")

        def heard(rest: str) -> list[Any]:
            return [message for message in observer.heard if message.topic == f"twinbeat/v1/pump-7/{rest}"]

        def scenario() -> None:
            observer.wait(lambda: heard("gw-a/status"), "the birth")
            rig.rt.wait(lambda: any(getattr(event, "up", False) for event in rig.rt.posted), "the link's hint")
            rig.rt.push(SendFrame(1, b"beat", boottime_ns()))
            observer.wait(lambda: heard("gw-a/beat"), "the beat")
            observer.client.publish("twinbeat/v1/pump-7/gw-b/beat", b"answer")
            rig.rt.wait(lambda: rig.rt.frames, "the peer's beat")
            assert rig.rt.frames[0][:2] == (1, b"answer")
            rig.rt.core = core_view("ACTIVE", epoch=17)
            rig.rt.push(
                state_report(S.CLAIMING, S.ACTIVE, C.CAUSE_MAJORITY, epoch=17),
                DriveChanged(0, 17, True, 2000),
                OutputChanged(0, 17, OutputCode.OUTPUT_DRIVEN, 3000),
            )
            observer.wait(lambda: heard("role/pump") and heard("verdict/pump") and heard("gw-a/event"), "telemetry")
            assert json.loads(heard("role/pump")[0].payload)["driver"] == "gw-a"
            assert rig.ask("status")["links"][1]["broker"]["connected"]
            rig.rt.core = core_view()

        assert rig.run(scenario) == 0
        observer.wait(lambda: len(heard("gw-a/status")) >= 2, "the farewell")
        assert json.loads(heard("gw-a/status")[-1].payload)["reason"] == "stopped"
        observer.close()
