"""`twinbeat arbiter test` against the firmware, over pseudo terminals, and against voters gone wrong; command lines."""
from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from board_rig import FakeVoter, UnixBoard, answers, told, voted, wait_past_abstention
from cli_rig import PAIR, VOTER, as_json, on_port, run, steps_of, write_config
from config_files import GOOD

from twinbeat.arbiter import trial
from twinbeat_bridge import session as session_module
from twinbeat_bridge.arbiter import frames
from twinbeat_bridge.protocol import VoteCode, Votes


def test_a_good_board_passes_and_no_contact_moves(
    board: UnixBoard, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("test", "--config", config, "--port", board.ports[0], "--port", board.ports[1], "--json") == 0
    data = as_json(capsys)
    assert data["ok"] is True
    assert steps_of(data) == {
        "identity": True, "one arbiter": True, "side": True, "round trip": True, "noise": True,
        "abstention after a reset": None, "exclusion": True, "a promise runs out": True, "contacts": None,
    }  # fmt: skip
    figures = {step["name"]: step["figures"] for step in data["steps"]}
    assert figures["round trip, gw-a"]["asks"] == 100
    assert 0 < figures["round trip, gw-a"]["p50_ms"] <= figures["round trip, gw-a"]["max_ms"]
    assert figures["a promise runs out"]["took_ms"] >= 200
    with on_port(board.ports[0]) as serial:
        found = serial.query().answer
        assert found.gap_us is None, "no contact has moved"  # type: ignore[union-attr]


def test_one_side_alone(board: UnixBoard, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("test", "--port", board.ports[0]) == 0
    out = capsys.readouterr().out
    assert "ok   exclusion: a second life of this side was refused what this one held" in out
    assert "id and pair not compared: no --config" in out


def test_cables_exchanged(board: UnixBoard, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("test", "--config", config, "--port", board.ports[1], "--side", 0) == 1
    out = capsys.readouterr().out
    assert f"FAIL side, gw-a: {board.ports[1]} leads to side 1 of the board, and gw-a is node 0 of the file" in out
    assert "--   exclusion: not tried: the line leads to the other side of the board" in out


def test_a_group_that_a_running_gateway_holds(board: UnixBoard, capsys: pytest.CaptureFixture[str]) -> None:
    with on_port(board.ports[1], side=1) as serial:
        serial.session.grant_ms = 2000
        row, epoch = trial.claim(serial, 2, 1)
        assert row.code is VoteCode.PROMISED
        assert run("test", "--port", board.ports[0], "--group", 3) == 0
        serial.give_back([(2, epoch)])
        serial.query()
    assert "exclusion: not tried: a running gateway holds group 3; stop its agent" in capsys.readouterr().out


def test_contacts_close_one_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--pair", str(PAIR), "--id", VOTER, "--groups", "2", "--gated", "1", "--make-ms", "2")
    with UnixBoard([sys.executable], tmp_path / "state", *options) as board:
        with on_port(board.ports[0]) as serial:
            wait_past_abstention(serial)
        ports = ("--port", board.ports[0], "--port", board.ports[1], "--pair", "pump-7")
        assert run("test", *ports, "--close", "--yes", "--json") == 0
    data = as_json(capsys)
    found = {step["name"]: step for step in data["steps"]}
    for side in (0, 1):
        step = found[f"contact of group 1, side {side}"]
        assert step["ok"] is True
        assert step["figures"]["make_ms"] >= 2
        assert "as read back" in step["text"]
    change = found["changeover of group 1"]
    assert change["figures"]["overlap_us"] == 0
    assert change["figures"]["gap_us"] >= 2000
    assert found["stuck contacts"]["ok"] is True


def test_a_welded_contact_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    control = tmp_path / "control"
    control.write_text("0 1 closed\n")
    options = ("--pair", str(PAIR), "--groups", "2", "--gated", "1", "--control", str(control))
    with UnixBoard([sys.executable], tmp_path / "state", *options) as board:
        with on_port(board.ports[0]) as serial:
            wait_past_abstention(serial)
        assert run("test", "--port", board.ports[0], "--pair", "pump-7", "--close", "--yes") == 1
        out = capsys.readouterr().out
        assert run("status", "--port", board.ports[0]) == 1
    assert "FAIL contact of group 1, side 0: not promised (REFUSED)" in out
    assert "FAIL stuck contacts: the contact of group 1, side 1, is stuck" in out
    assert "other closed (STUCK)" in capsys.readouterr().out


def test_nothing_is_closed_without_the_pairs_name(
    board: UnixBoard, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("pump-8\n"))
    assert run("test", "--port", board.ports[0], "--pair", "pump-7", "--close") == 2
    said = capsys.readouterr().err
    assert "The contacts of pair pump-7 will close and open" in said
    assert said.endswith("the name was not typed; nothing was closed\n")
    assert run("test", "--port", board.ports[0], "--close") == 2
    assert "--close needs the pair's name: give --config or --pair" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", io.StringIO("pump-7\n"))
    assert run("test", "--port", board.ports[0], "--pair", "pump-7", "--close", "--group", 2) == 0
    assert "contacts: this board has no contacts for these groups" in capsys.readouterr().out


def test_a_reset_is_followed_by_abstention(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--pair", str(PAIR), "--groups", "1", "--gated", "1")
    with UnixBoard([sys.executable], tmp_path / "state", *options) as board:
        with on_port(board.ports[0]) as serial:
            wait_past_abstention(serial)
        from twinbeat.arbiter import trial_command

        pressed = pytest.MonkeyPatch()
        pressed.setattr(trial_command, "print_hint", lambda text: board.restart())
        try:
            assert run("test", "--port", board.ports[0], "--reset", "--json") == 0
        finally:
            pressed.undo()
    (step,) = [step for step in as_json(capsys)["steps"] if step["name"].startswith("abstention")]
    assert step["ok"] is True
    assert 1000 <= step["figures"]["abstained_ms"] <= 4000


def test_a_reset_that_nobody_pressed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "RESET_S", 0.05)
    with FakeVoter(answers) as voter:
        assert run("test", "--port", voter.path, "--reset") == 1
    captured = capsys.readouterr()
    assert "Press the board's reset button now" in captured.err
    assert "FAIL abstention after a reset: the board did not restart within 0.05 s" in captured.out


def test_a_board_that_promises_to_two(capsys: pytest.CaptureFixture[str]) -> None:
    def generous(ask: Any) -> bytes:
        if ask[0] == frames.RETURN:
            return b""
        if ask[0] == frames.QUERY:
            return told(ask)
        return voted(ask, VoteCode.PROMISED if ask[8][0][1] else VoteCode.REFUSED, epoch=8, ms=500)

    with FakeVoter(generous) as voter:
        assert run("test", "--port", voter.path) == 1
    out = capsys.readouterr().out
    assert "FAIL exclusion: group 1 was promised to two (PROMISED): do not use this board" in out
    assert "FAIL a promise runs out: a promise of 200 ms was over after" in out


def test_nobody_answers(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "LISTEN_S", 0.05)
    monkeypatch.setattr(session_module, "ANSWER_S", 0.05)
    with FakeVoter(lambda ask: b"") as voter:
        assert run("test", "--port", voter.path) == 1
        assert "FAIL answer: " in capsys.readouterr().out
        assert run("status", "--port", voter.path) == 5
        assert f"{voter.path}: nothing answers: is the board powered" in capsys.readouterr().err


# ---------------------------------------------------------------- command lines
@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["status", "--port", "a", "--port", "b", "--port", "c"], 2, "--port is given 3 times; an arbiter has 2 sides"),
        (["status", "--port", "a", "--port", "b", "--side", "1"], 2, "--side says on which side a single --port is"),
        (["status", "--pair", "x"], 2, "which arbiter? Give --port PATH, or --config"),
        (["test", "--pair", "x"], 2, "which arbiter? Give --port PATH, or --config"),
        (["status", "--port", "/dev/ttyNONE"], 5, "/dev/ttyNONE: there is no such port"),
        (["status", "--config", "/none.toml"], 3, "/none.toml: there is no such file"),
        (["test", "--port", "a", "--group", "0"], 2, "--group 0: groups are counted from 1"),
    ],
)
def test_command_lines_that_cannot_be_done(
    words: list[str], code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words) == code
    assert text in capsys.readouterr().err


def test_a_group_that_the_board_does_not_have(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeVoter(answers) as voter:
        assert run("test", "--port", voter.path, "--group", 3) == 2
    assert "--group 3: the board has fewer groups" in capsys.readouterr().err


def test_a_configuration_without_an_arbiter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "twinbeat.toml"
    path.write_text(GOOD)
    assert run("status", "--config", path, "--node", "gw-a") == 3
    assert 'the file has no [third_voter]; add [third_voter] with type = "arbiter", or use --port' in (
        capsys.readouterr().err
    )
    assert run("status", "--config", write_config(tmp_path, "/dev/null"), "--node", "gw-a", "--pair", "x") == 2
    assert "is of the pair pump-7; leave one of them out" in capsys.readouterr().err


def test_the_verbs_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    out = capsys.readouterr().out
    assert [verb for verb in ("flash", "status", "test") if f"\n    {verb} " not in out] == []
    assert run() == 2
    assert "required: VERB" in capsys.readouterr().err


def test_votes_of_a_real_board_have_the_expected_shape(board: UnixBoard) -> None:
    with on_port(board.ports[0]) as serial:
        votes = serial.ask([(0, 0), (7, 0)]).answer
        assert isinstance(votes, Votes)
        assert [row.code for row in votes.rows] == [VoteCode.REFUSED, VoteCode.NO_GROUP]
