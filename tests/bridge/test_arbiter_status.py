"""`twinbeat arbiter status`: asked of the firmware itself, of the running agent, and of boards gone wrong."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from board_rig import FakeVoter, UnixBoard, answers, told
from cli_rig import PAIR, VOTER, as_json, on_port, run, write_config
from fake_agent import FakeAgent

from twinbeat.arbiter import trial
from twinbeat_bridge.arbiter import frames
from twinbeat_bridge.protocol import VoteCode


def test_status_from_both_sides(board: UnixBoard, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status", "--config", config, "--port", board.ports[0], "--port", board.ports[1], "--json") == 0
    data = as_json(capsys)
    assert (data["voter"], data["pair_id"], data["board"], data["firmware"]) == (VOTER, PAIR, "unix", "1.0.0")
    assert data["source"] == "port"
    assert [line["side"] for line in data["lines"]] == [0, 1]
    assert (data["grant_max_ms"], data["groups"], data["stuck"], data["current"]) == (2000, 3, [], True)
    assert data["life"] > 0
    (group,) = data["groups_seen"]
    assert (group["name"], group["holder"]) == ("pump", "nobody")
    assert group["contacts"]["own"] == group["contacts"]["other"] == "open"


def test_status_shows_who_holds_what(board: UnixBoard, capsys: pytest.CaptureFixture[str]) -> None:
    with on_port(board.ports[1], side=1) as serial:
        row, epoch = trial.claim(serial, 0, 1)
        assert row.code is VoteCode.PROMISED
        assert run("status", "--port", board.ports[0], "--pair", "pump-7") == 0
        serial.give_back([(0, epoch)])
        serial.query()
    out = capsys.readouterr().out
    assert f"arbiter {VOTER} ({board.ports[0]}): unix, firmware 1.0.0, run from source" in out
    assert "group 1: promised to side 1 for " in out
    assert "group 2: nobody, or this gateway itself" not in out.partition("group 3")[2]
    assert "the other gateway: last heard" in out
    assert "round trip" in out


def test_status_on_a_port_alone_takes_any_pair(board: UnixBoard, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status", "--port", board.ports[1], "--side", 1, "--json") == 0
    data = as_json(capsys)
    assert (data["pair_id"], len(data["groups_seen"])) == (PAIR, 3)


def test_status_of_another_pairs_arbiter(board: UnixBoard, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status", "--port", board.ports[0], "--pair", "pump-8") == 5
    assert f"this arbiter serves another pair (number {PAIR}, " in capsys.readouterr().err


def test_status_of_a_board_gone_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeVoter(lambda ask: answers(ask, stuck=0b10, overlap=250, gap=0, build=0x1234)) as voter:
        assert run("status", "--port", voter.path) == 1
    out = capsys.readouterr().out
    assert "WRONG: the contact of group 1, side 1, is stuck" in out
    assert "WRONG: both contacts were closed for 250 us at the last changeover" in out
    assert "rp2, firmware 1.0.0, build 00001234" in out
    assert "the firmware is another than this program's (build " in out
    assert "last changeover: 0.00 ms with both contacts open, both closed for 250 us" in out


def test_status_of_two_arbiters(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeVoter(answers) as one, FakeVoter(lambda ask: answers(ask, voter=9)) as two:
        assert run("status", "--port", one.path, "--port", two.path) == 5
    assert "lead to two arbiters: a pair has one" in capsys.readouterr().err


def agent_answer(**over: Any) -> dict[str, Any]:
    body = frames.unwrap(told((4, 0, PAIR, 1, 5, 0, 0, 0, []), gap=3000, overlap=0).strip(b"\0"))
    part = {
        "type": "arbiter", "voter": VOTER, "told": body.hex(), "heard_ago_ms": 3.2,
        "round_trip": {"count": 10, "max_us": 900, "below_us": {"256": 4, "512": 5, "1024": 1}},
        "groups": [{"group": 0, "code": 1, "contacts": 0b11, "ago_ms": 4.0}],
    }  # fmt: skip
    return {"ok": True, "third_voter": part | over}


def test_status_asks_the_running_agent(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FakeAgent(config.parent / "pump-7-gw-a.sock", status=[agent_answer(), agent_answer()]):
        assert run("status", "--config", config, "--node", "gw-a") == 0
        out = capsys.readouterr().out
        assert run("status", "--config", config, "--node", "gw-a", "--json") == 0
    assert f"arbiter {VOTER} (/dev/null, asked by the running agent): rp2, firmware 1.0.0" in out
    assert "group pump: promised to gw-a; contacts: own closed, other open" in out
    assert "the agent heard it 3 ms ago" in out
    assert "last changeover: 3.00 ms with both contacts open, never both closed" in out
    assert "round trip below 0.51 ms" in out
    data = as_json(capsys)
    assert (data["source"], data["groups_seen"][0]["contacts"]["own"]) == ("agent", "closed")


@pytest.mark.parametrize(
    ("group", "text"),
    [
        ({"code": 0, "contacts": None}, "group pump: not asked for lately"),
        ({"code": 2, "contacts": 0b101}, "group pump: promised to gw-b; contacts: own open, other closed"),
        ({"code": 2, "contacts": 0}, "group pump: nobody, or this gateway itself"),
        ({"code": 3, "contacts": 0}, "group pump: nobody: started a moment ago"),
        ({"code": 6, "contacts": 0}, "group pump: no word (WRONG_SIDE)"),
    ],
)
def test_what_the_agent_knows_of_a_group(
    config: Path, group: dict[str, Any], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = agent_answer(groups=[{"group": 0, "ago_ms": 5.0, **group}], round_trip=None)
    with FakeAgent(config.parent / "pump-7-gw-a.sock", status=[answer]):
        assert run("status", "--config", config, "--node", "gw-a") == 0
    out = capsys.readouterr().out
    assert text in out
    assert "round trip" not in out


@pytest.mark.parametrize("part", [None, {"told": ""}, {"told": "d112"}], ids=["none", "nothing", "nonsense"])
def test_status_of_an_agent_that_heard_nothing(config: Path, part: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with FakeAgent(config.parent / "pump-7-gw-a.sock", status=[{"ok": True, "third_voter": part}]):
        assert run("status", "--config", config, "--node", "gw-a") == 5
    assert "/dev/null: the running agent has heard nothing from its arbiter" in capsys.readouterr().err


def test_status_without_an_agent_opens_the_port(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FakeVoter(answers) as voter:
        path = write_config(tmp_path, voter.path)
        assert run("status", "--config", path, "--node", "gw-b", "--json") == 0
    data = as_json(capsys)
    assert data["lines"] == [{"side": 1, "node": "gw-b", "port": voter.path, "baud": 921600}]
