"""status, why, events, handover, out and in against a control socket that answers as told."""
from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from config_files import changed, write
from fake_agent import FakeAgent

from twinbeat.cli_dispatch import dispatch
from twinbeat.control_client import ControlClient
from twinbeat.errors import AgentNotRunning, ControlError, RefusedError

STATUS: dict[str, Any] = {
    "ok": True,
    "pair": "pump-7",
    "node": "gw-a",
    "version": "0.1.0",
    "session": 4,
    "uptime_s": 7325.0,
    "groups": [
        {"name": "pump", "state": "ACTIVE", "driver": "gw-a", "epoch": 17, "since_ms": 90500.0, "authority_ms": 28.4},
        {"name": "fan", "state": "OUT", "driver": "gw-b", "epoch": 9, "since_s": 3.0, "barred_by": ["operator"]},
    ],
    "peers": [
        {"name": "gw-b", "alive": True, "heard_ms_ago": 4.2, "incarnation": 9, "health": 100, "config_mismatch": True}
    ],
    "links": [
        {"name": "cross", "type": "serial", "up": True,
         "paths": {"gw-b": {"state": "RX_DEAD", "heard_ms_ago": 512.0, "loss_percent": 1.25, "gap_max_ms": 13.37}}},
        {"name": "mqtt", "type": "mqtt", "up": False, "paths": {"gw-b": {"state": "DOWN"}},
         "broker": {"connected": False, "reason": "connection refused"}},
    ],
    "warnings": ["no real-time scheduling"],
}
VERDICT: dict[str, Any] = {
    "time": "2026-11-22T10:00:00.000Z",
    "sentence": "gw-a took over pump (epoch 17): the other node let go.",
    "measured": {"claim_ms": 0.2, "ordered_to_on_ms": 0.05},
    "evidence": {"peers": [{"node": "gw-b", "heard_ms_ago": 0.4, "said_state": "RELEASING",
                            "links": {"cross": {"state": "UP", "heard_ms_ago": 0.4}}}]},
}


def ask(agent: FakeAgent, *words: str) -> int:
    return dispatch([*words, "--socket", str(agent.path)])


def test_status_screen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FakeAgent(tmp_path / "s", status=[STATUS]) as agent:
        assert ask(agent, "status") == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "node gw-a of pair pump-7 (version 0.1.0, up 2 h 2 min, start no. 4)"
    assert "pump gw-a ACTIVE 17 90 s 28 ms" in lines
    assert "fan gw-b OUT (operator) 9 3.0 s -" in lines
    assert "gw-b 4 ms ago 00000009 100 OTHER CONFIGURATION: compare the files" in lines
    assert "cross serial RX_DEAD 512 ms 1.2 % 13.4 ms" in lines
    assert "mqtt mqtt DOWN - - - connection refused" in lines
    assert "- no real-time scheduling" in lines
    assert agent.requests == [{"verb": "status"}]


def test_status_says_no_where_nobody_drives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    undriven = {**STATUS, "groups": [{**STATUS["groups"][0], "driver": None, "state": "LISTEN"}]}
    with FakeAgent(tmp_path / "s", status=[undriven, undriven]) as agent:
        assert ask(agent, "status") == 1
        assert "NOBODY DRIVES pump; twinbeat why shows" in capsys.readouterr().out
        assert ask(agent, "status", "--json") == 1
        assert json.loads(capsys.readouterr().out) == undriven


def test_status_of_an_agent_that_says_little(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sparse = {"ok": True, "groups": [{"driver": "x"}], "peers": [{}], "links": [{"up": True, "tx_dead": True}, {}]}
    with FakeAgent(tmp_path / "s", status=[sparse, {"ok": True, "groups": "odd", "links": [1]}]) as agent:
        assert ask(agent, "status") == 0
        shown = capsys.readouterr().out
        assert "TX_DEAD" in shown and "never" in shown and "SILENT" in shown
        assert ask(agent, "status") == 0


def test_why_tells_sentence_measures_and_evidence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FakeAgent(tmp_path / "s", why=[{"ok": True, "verdicts": [VERDICT]}, {"ok": True, "verdicts": []}]) as agent:
        assert ask(agent, "why", "pump", "--count", "5") == 0
        assert capsys.readouterr().out.splitlines() == [
            "2026-11-22T10:00:00.000Z  gw-a took over pump (epoch 17): the other node let go.",
            "  measured: claim 0.2 ms, ordered to on 0.05 ms",
            "  gw-b was last heard 0.4 ms before, as RELEASING; links: cross UP (silent 0.4 ms)",
        ]
        assert ask(agent, "why") == 0
        assert capsys.readouterr().out.startswith("No role has changed on this node")
    assert agent.requests == [{"verb": "why", "group": "pump", "count": 5}, {"verb": "why", "count": 3}]


def test_events_in_both_forms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = {"ok": True, "events": [{"seq": 1, "time": "T", "level": "warning", "text": "silent"},
                                    {"seq": 2, "time": "U", "level": "info", "text": "back"}]}
    with FakeAgent(tmp_path / "s", events=[found, found]) as agent:
        assert ask(agent, "events") == 0
        assert capsys.readouterr().out == "T WARNING: silent\nU back\n"
        assert ask(agent, "events", "--json", "--count", "2") == 0
        assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == found["events"]


def test_following_events_asks_for_newer_ones_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twinbeat.commands.control.FOLLOW_S", 0.0)
    answers = [{"ok": True, "events": [{"seq": 7, "time": "T", "text": "a"}]}, {"ok": True, "events": []},
               {"ok": True, "events": [{"seq": 8, "time": "U", "text": "b"}]},
               {"ok": False, "error": "over", "exit_code": 6}]
    with FakeAgent(tmp_path / "s", events=answers) as agent:
        assert ask(agent, "events", "--follow") == 6
    assert capsys.readouterr().out == "T a\nU b\n"
    assert [request.get("after") for request in agent.requests] == [None, 7, 7, 8]


def test_handover(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = {"ok": True, "group": "pump", "from": "gw-a", "driver": "gw-b", "took_ms": 1.26}
    no = {"ok": False, "error": "gw-a does not drive pump; gw-b does: ask the agent there", "exit_code": 1}
    with FakeAgent(tmp_path / "s", handover=[done, no]) as agent:
        assert ask(agent, "handover", "pump", "--to", "gw-b") == 0
        assert capsys.readouterr().out == "gw-b drives pump after 1.3 ms\n"
        assert ask(agent, "handover") == 1
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "twinbeat: gw-a does not drive pump; gw-b does: ask the agent there\n")
    assert agent.requests == [{"verb": "handover", "group": "pump", "node": "gw-b"}, {"verb": "handover"}]


@pytest.mark.parametrize(("verb", "text"), [("out", "out of service"), ("in", "back in service")])
def test_out_and_in(tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str, text: str) -> None:
    done = {"ok": True, "node": "gw-a", "groups": [{"name": "pump", "driver": "gw-b"}]}
    with FakeAgent(tmp_path / "s", **{verb: [done]}) as agent:
        assert ask(agent, verb, "pump") == 0
    assert capsys.readouterr().out == f"pump is {text} on gw-a; gw-b drives it\n"
    assert agent.requests == [{"verb": verb, "group": "pump"}]


# ---------------------------------------------------------------- which socket


def test_socket_is_found_by_the_configuration(tmp_path: Path) -> None:
    path = write(tmp_path)
    with FakeAgent(tmp_path / "pump-7-gw-a.sock", status=[STATUS]):
        words = ["--config", str(path), "--node", "gw-a", "--run-dir", str(tmp_path)]
        assert dispatch(["status", *words]) == 0


def test_only_socket_is_found_where_the_configuration_is_of_no_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("twinbeat.config.DEFAULT_PATH", str(tmp_path / "none.toml"))
    words = ["status", "--run-dir", str(tmp_path), "--config", str(tmp_path / "none.toml")]
    assert dispatch(words) == 6
    assert "no agent is running here, and the configuration does not help" in capsys.readouterr().err
    with FakeAgent(tmp_path / "p-a.sock", status=[STATUS]):
        assert dispatch(words) == 0
        capsys.readouterr()
        with FakeAgent(tmp_path / "p-b.sock", status=[STATUS]):
            assert dispatch(words) == 3
            assert "several agents run here" in capsys.readouterr().err
            assert dispatch([*words, "--node", "b"]) == 0


def test_named_configuration_that_is_wrong_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, changed(("[pair]", "[pear]")))
    assert dispatch(["status", "--config", str(path), "--node", "gw-a"]) == 3
    assert 'unknown table or key "pear"; did you mean "pair"?' in capsys.readouterr().err


# ---------------------------------------------------------------- an agent that is not there, or silent


def test_agent_not_running(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "none.sock"
    assert dispatch(["status", "--socket", str(path)]) == 6
    assert capsys.readouterr().err == (
        f"twinbeat: {path}: no agent is running for this node; start it with: systemctl start twinbeat "
        "(or: twinbeat run)\n"
    )


def test_socket_of_a_dead_agent(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "s"))
    left.close()
    with pytest.raises(AgentNotRunning):
        ControlClient(tmp_path / "s")


def test_socket_that_this_user_may_not_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise PermissionError(13, os.strerror(13))

    (tmp_path / "s").touch()
    monkeypatch.setattr("twinbeat.control_client.socket.socket", type("S", (socket.socket,), {"connect": refuse}))
    with pytest.raises(ControlError, match=r"this user may not ask the agent; (use sudo|join its group)") as caught:
        ControlClient(tmp_path / "s")
    assert caught.value.exit_code == 6


def test_agent_that_does_not_answer(tmp_path: Path) -> None:
    silent = socket.socket(socket.AF_UNIX)
    silent.bind(str(tmp_path / "s"))
    silent.listen(1)
    with silent, ControlClient(tmp_path / "s", limit_s=0.05) as client:
        with pytest.raises(ControlError, match=r"did not answer within 0\.05 s; it may be frozen") as caught:
            client.ask("status")
    assert caught.value.exit_code == 6


@pytest.mark.parametrize("answer", [b"hello\n", b"[1]\n", b"\xff\n"])
def test_answer_that_is_none(tmp_path: Path, answer: bytes) -> None:
    with FakeAgent(tmp_path / "s", ping=[answer]), ControlClient(tmp_path / "s") as client:
        with pytest.raises(ControlError, match="is no JSON object; is this an agent's socket"):
            client.ask("ping")


def test_agent_that_hangs_up(tmp_path: Path) -> None:
    with FakeAgent(tmp_path / "s", ping=[None]), ControlClient(tmp_path / "s") as client:
        with pytest.raises(ControlError, match="closed the connection without an answer"):
            client.ask("ping")


def test_answer_in_pieces_and_two_questions(tmp_path: Path) -> None:
    big = {"ok": True, "text": "x" * 200_000}
    with FakeAgent(tmp_path / "s", ping=[big, {"ok": True, "n": 2}]), ControlClient(tmp_path / "s") as client:
        assert client.ask("ping") == big
        assert client.ask("ping")["n"] == 2


@pytest.mark.parametrize(
    ("answer", "text", "code"),
    [
        ({"ok": False, "error": "no", "exit_code": 2}, "no", 2),
        ({"ok": False, "error": "no"}, "no", 1),
        ({"ok": False, "exit_code": 0}, "the agent refused without a reason", 1),
        ({}, "the agent refused without a reason", 1),
    ],
)
def test_refusals(tmp_path: Path, answer: dict[str, Any], text: str, code: int) -> None:
    with FakeAgent(tmp_path / "s", ping=[answer]), ControlClient(tmp_path / "s") as client:
        with pytest.raises(RefusedError) as caught:
            client.ask("ping")
    assert (str(caught.value), caught.value.exit_code) == (text, code)
