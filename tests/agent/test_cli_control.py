"""status, why and events against a control socket that answers as told; finding it, and an agent that is not there."""
from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from config_files import changed, write
from fake_agent import FakeAgent
from screen_answers import knew, quiet, sharded, took

from twinbeat.cli_dispatch import dispatch
from twinbeat.control_client import ControlClient
from twinbeat.errors import AccessRefused, AgentNotRunning, ControlError, RefusedError
from twinbeat.screen_status import status_text

STATUS = quiet()
NOW = "2026-11-22T10:00:00.000Z"
TAKEN = took("gw-a", "pump", 17, "RELEASED", peers=[knew("gw-b", "RELEASING", 16, 0.4)])
WHY = {"ok": True, "node": "gw-a", "verdicts": [TAKEN], "peer_verdicts": [],
       "peer_source": {"nodes": ["gw-b"], "brokers": {}}}


def ask(agent: FakeAgent, *words: str) -> int:
    return dispatch([*words, "--socket", str(agent.path)])


def test_status_screen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FakeAgent(tmp_path / "s", status=[STATUS, STATUS, sharded(4, 4)]) as agent:
        assert ask(agent, "status") == 0
        assert capsys.readouterr().out == status_text(STATUS) + "\n"
        assert ask(agent, "status", "--color", "always") == 0
        assert "\x1b[32mACTIVE\x1b[0m" in capsys.readouterr().out
        assert ask(agent, "status", "--groups") == 0
        assert "  lines.7  gw-b" in capsys.readouterr().out
    assert agent.requests == [{"verb": "status"}] * 3


def test_status_says_no_where_nobody_drives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    undriven = {**STATUS, "groups": [{**STATUS["groups"][0], "driver": None, "state": "LISTEN"}]}
    with FakeAgent(tmp_path / "s", status=[undriven, undriven]) as agent:
        assert ask(agent, "status") == 1
        assert "! NOBODY DRIVES pump\n    this node still listens" in capsys.readouterr().out
        assert ask(agent, "status", "--json") == 1
        assert json.loads(capsys.readouterr().out) == undriven


def test_status_of_an_agent_that_says_little(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sparse = {"ok": True, "groups": [{"driver": "x"}], "peers": [{}], "links": [{"up": True, "tx_dead": True}, {}]}
    with FakeAgent(tmp_path / "s", status=[sparse, {"ok": True, "groups": "odd", "links": [1]}]) as agent:
        assert ask(agent, "status") == 0
        shown = capsys.readouterr().out
        assert "TX_DEAD" in shown and "never" in shown and "NEVER HEARD" in shown
        assert ask(agent, "status") == 0


def test_why_tells_both_halves_measures_and_evidence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FakeAgent(tmp_path / "s", why=[WHY, WHY, {"ok": True, "verdicts": []}]) as agent:
        assert ask(agent, "why", "pump", "--count", "5") == 0
        shown = capsys.readouterr().out
        assert "gw-b let go: pump -> gw-a\n" in shown
        assert "gw-b, which let go" in shown and "| gw-a, which took over" in shown
        assert "gw-a knew: gw-b was last heard 0.4 ms before, as RELEASING; links: cross UP" in shown
        assert ask(agent, "why", "--json") == 0
        answer = json.loads(capsys.readouterr().out)
        assert answer["verdicts"] == [TAKEN] and answer["stories"][0]["headline"] == "gw-b let go: pump -> gw-a"
        assert ask(agent, "why") == 0
        assert capsys.readouterr().out.startswith("No role has changed on this node")
    assert agent.requests == [{"verb": "why", "group": "pump", "count": 20}] + [{"verb": "why", "count": 192}] * 2


def event(seq: int, text: str, level: str = "info", **more: Any) -> dict[str, Any]:
    return {"seq": seq, "time": NOW, "level": level, "code": "STATE", "text": text, **more}


def test_events_in_both_forms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = {"ok": True, "events": [event(1, "silent", "warning"), event(2, "back")]}
    with FakeAgent(tmp_path / "s", events=[found, found]) as agent:
        assert ask(agent, "events") == 0
        first, second = capsys.readouterr().out.splitlines()
        assert first.endswith(" ago) WARNING: silent") and second.endswith(" ago) back")
        assert ask(agent, "events", "--json", "--count", "2") == 0
        assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == found["events"]
    assert agent.requests == [{"verb": "events", "count": 20}, {"verb": "events", "count": 2}]


def test_events_are_filtered_and_the_newest_of_them_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {"ok": True, "events": [event(1, "a", "warning", group="lines.1"), event(2, "b", group="pump"),
                                    event(3, "c", "error", group="lines.2"), event(4, "d", "warning")]}
    known = {"ok": True, "verdicts": []}
    unknown = {"ok": False, "error": 'there is no group "x"; the groups are pump', "exit_code": 2}
    with FakeAgent(tmp_path / "s", events=[found] * 4, why=[known, unknown]) as agent:
        for words, texts in (
            (("--level", "warning"), ["a", "c", "d"]),
            (("--level", "warning", "--count", "1"), ["d"]),
            (("--group", "lines"), ["a", "c"]),
            (("--since", "1s", "--code", "STATE"), []),
        ):
            assert ask(agent, "events", "--json", *words) == 0
            assert [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()] == texts
        assert ask(agent, "events", "--group", "x") == 2
        assert capsys.readouterr().err == 'twinbeat: there is no group "x"; the groups are pump\n'
        assert ask(agent, "events", "--since", "soon") == 2
        assert 'twinbeat: --since "soon" is no time' in capsys.readouterr().err


def test_following_events_asks_for_newer_ones_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twinbeat.commands.events.FOLLOW_S", 0.0)
    answers = [{"ok": True, "events": [event(7, "a")]}, {"ok": True, "events": []},
               {"ok": True, "events": [event(8, "b")]}, {"ok": False, "error": "over", "exit_code": 6}]
    with FakeAgent(tmp_path / "s", events=answers) as agent:
        assert ask(agent, "events", "--follow") == 6
    assert [line.rpartition(" ")[2] for line in capsys.readouterr().out.splitlines()] == ["a", "b"]
    assert [request.get("after") for request in agent.requests] == [None, 7, 7, 8]


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
    with pytest.raises(AccessRefused, match=r"this user may not ask the agent; (use sudo|join its group)") as caught:
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
