"""handover, failback, drain, maintenance, out and in against a control socket that answers as told."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_agent import FakeAgent

from twinbeat.cli_dispatch import dispatch
from twinbeat.screen_operate import drain_text, service_text

PING = {"ok": True, "command_limit_s": 2.0}
TAKER = {
    "node": "gw-b", "ready": True, "reasons": [], "may_drive": True, "heard": True, "heard_ms_ago": 4.2,
    "links": {"cross": "UP", "mqtt": "DOWN"}, "fit": True, "health": 100, "in_step": True, "state": "STANDBY",
    "in_service": True, "in_maintenance": False, "reaches_third_voter": None,
}
PLAN: dict[str, Any] = {
    "ok": True, "dry_run": True, "would": True, "plans": [{
        "group": "pump", "from": "gw-a", "to": "gw-b", "would": True, "reasons": [], "notes": ["it comes back"],
        "expected_gap_ms": 12.0, "gap": {"release_ms": 8.0, "make_ms": 3.0, "two_hops_ms": 1.0}, "takers": [TAKER],
    }],
}
ON = {"left_s": 7199.6, "until": "2026-11-23T12:00:00Z", "reason": "new fan", "groups": ["pump", "fan"]}


def ask(agent: FakeAgent, *words: str) -> int:
    return dispatch([*words, "--socket", str(agent.path)])


def asked(agent: FakeAgent) -> list[dict[str, Any]]:
    """What it was asked but for the word by which the time limit is found."""
    return [request for request in agent.requests if request["verb"] != "ping"]


def test_handover(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = {"ok": True, "group": "pump", "from": "gw-a", "driver": "gw-b", "took_ms": 1.26}
    no = {"ok": False, "error": "handover of pump refused: gw-a does not drive pump; gw-b does: ask the agent there",
          "exit_code": 1}
    with FakeAgent(tmp_path / "s", ping=[PING, PING], handover=[done, no]) as agent:
        assert ask(agent, "handover", "pump", "--to", "gw-b") == 0
        assert capsys.readouterr().out == "gw-b drives pump after 1.3 ms\n"
        assert ask(agent, "handover") == 1
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", f"twinbeat: {no['error']}\n")
    assert asked(agent) == [{"verb": "handover", "group": "pump", "node": "gw-b"}, {"verb": "handover"}]


def test_handover_of_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = {"ok": True, "groups": [{"group": f"poll.{n}", "driver": "gw-b", "took_ms": n} for n in (1, 2)]}
    with FakeAgent(tmp_path / "s", ping=[PING, PING], handover=[done, done]) as agent:
        assert ask(agent, "handover", "--all", "--count", "2") == 0
        assert capsys.readouterr().out == "gw-b drives poll.1 after 1.0 ms\ngw-b drives poll.2 after 2.0 ms\n"
        assert ask(agent, "handover", "poll", "--json") == 0
        assert json.loads(capsys.readouterr().out) == done
    assert asked(agent)[0] == {"verb": "handover", "count": 2, "all": True}


def test_dry_run_asks_with_a_verb_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FakeAgent(tmp_path / "s", **{"handover-plan": [PLAN]}) as agent:
        assert ask(agent, "handover", "--dry-run") == 0
    assert agent.requests == [{"verb": "handover-plan"}]
    assert capsys.readouterr().out.splitlines() == [
        "pump: gw-b would take it over from gw-a; undriven for about 12.0 ms "
        "(release 8.0 ms, two hops 1.0 ms, make 3.0 ms)",
        "  note: it comes back",
        "  gw-b: STANDBY, heard 4 ms ago, links cross UP, mqtt DOWN, fit (health 100), in step",
        "dry run, nothing was changed: it would succeed",
    ]


def test_dry_run_that_says_no(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taker = {**TAKER, "heard": False, "fit": False, "health": 0, "in_step": False, "in_maintenance": True,
             "state": "OUT", "reaches_third_voter": False}
    refused = {"group": "pump", "would": False, "reasons": ["gw-b is not fit", "gw-b is in maintenance"],
               "takers": [taker, {"node": "gw-c"}]}
    answer: dict[str, Any] = {"ok": True, "would": False, "plans": [refused]}
    with FakeAgent(tmp_path / "s", **{"handover-plan": [answer, answer]}) as agent:
        assert ask(agent, "handover", "pump", "--dry-run") == 1
        assert capsys.readouterr().out.splitlines() == [
            "pump: cannot be handed over",
            "  - gw-b is not fit",
            "  - gw-b is in maintenance",
            "  gw-b: OUT, not heard, links cross UP, mqtt DOWN, NOT FIT (health 0), BEHIND, IN MAINTENANCE, "
            "DOES NOT REACH THE ARBITER",
            "  gw-c: nothing is known",
            "dry run, nothing was changed: it would be refused",
        ]
        assert ask(agent, "handover", "pump", "--dry-run", "--json") == 1
        assert json.loads(capsys.readouterr().out)["would"] is False


def test_an_older_agent_refuses_a_dry_run_instead_of_handing_over(tmp_path: Path) -> None:
    unknown = {"ok": False, "error": 'unknown verb "handover-plan"; known are handover', "exit_code": 2}
    with FakeAgent(tmp_path / "s", **{"handover-plan": [unknown]}) as agent:
        assert ask(agent, "handover", "--dry-run") == 2
    assert agent.requests == [{"verb": "handover-plan"}]


def test_failback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = [{"ok": True, "groups": [{"group": "poll.1", "driver": "gw-b", "took_ms": 1.0}], "left": []},
               {"ok": True, "groups": [], "left": [{"group": "pump", "reasons": ["gw-b is not fit", "it is behind"]}]},
               {"ok": True, "groups": [], "left": []}]
    with FakeAgent(tmp_path / "s", ping=[PING] * 3, failback=answers) as agent:
        assert ask(agent, "failback", "poll") == 0
        assert ask(agent, "failback") == 1
        assert ask(agent, "failback") == 0
    assert capsys.readouterr().out.splitlines() == [
        "gw-b drives poll.1 after 1.0 ms",
        "pump stays here: gw-b is not fit; it is behind",
        "nothing to do: every group that may go back is where it belongs",
    ]
    assert asked(agent)[0] == {"verb": "failback", "group": "poll"}


def test_drain_asks_until_nothing_is_driven(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twinbeat.commands.operate.DRAIN_EVERY_S", 0.0)
    stuck = {"ok": True, "node": "gw-a", "drained": False,
             "moved": [{"group": "fan", "driver": "gw-b", "took_ms": 1.0}],
             "remaining": [{"group": "pump", "reasons": ["gw-b is not fit"]}]}
    again = {**stuck, "moved": []}
    done = {"ok": True, "node": "gw-a", "drained": True, "moved": [{"group": "pump", "driver": "gw-b", "took_ms": 2.0}],
            "remaining": []}
    with FakeAgent(tmp_path / "s", ping=[PING], drain=[stuck, again, done]) as agent:
        assert ask(agent, "drain") == 0
    assert capsys.readouterr().out.splitlines() == [
        "still driven here:",
        "  pump: gw-b is not fit",
        "gw-b drives fan after 1.0 ms",
        "gw-b drives pump after 2.0 ms",
        "gw-a drives nothing",
    ]


def test_drain_tells_equal_reasons_once_and_what_both_drive() -> None:
    away = {"reasons": ["gw-b is in maintenance"]}
    left = {"node": "gw-a", "drained": False,
            "remaining": [away | {"group": "poll.0"}, away | {"group": "poll.1"}, {"group": "fan", "reasons": []}]}
    assert drain_text(left).splitlines()[1:] == ["  poll.0-1: gw-b is in maintenance", "  fan: roles are moving"]
    done = {"node": "gw-a", "drained": True, "moved": [], "shared": ["horn"]}
    assert drain_text(done) == "gw-a drives nothing but horn, which every node drives at the same time"


def test_out_of_many_is_one_line_for_each_driver() -> None:
    groups = [{"name": f"poll.{shard}", "driver": "gw-b"} for shard in range(3)] + [{"name": "horn", "driver": None}]
    assert service_text({"node": "gw-a", "groups": groups}, "out").splitlines() == [
        "poll.0-2 are out of service on gw-a; gw-b drives them", "horn is out of service on gw-a; nobody drives it"]


def test_drain_gives_up_after_its_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stuck = {"ok": True, "node": "gw-a", "drained": False, "moved": [], "remaining": [{"group": "pump", "reasons": []}]}
    with FakeAgent(tmp_path / "s", ping=[PING, PING], drain=[stuck, stuck]) as agent:
        assert ask(agent, "drain", "--wait", "0s") == 1
        assert capsys.readouterr().out == "still driven by gw-a:\n  pump: roles are moving\n"
        assert ask(agent, "drain", "--wait", "0s", "--json") == 1
        assert json.loads(capsys.readouterr().out) == stuck


def test_maintenance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = [{"ok": True, "maintenance": ON, "undriven": ["pump"], "note": "still leaving service: fan"},
               {"ok": True, "maintenance": ON, "others": {"gw-b": "all out of service"}},
               {"ok": True, "maintenance": None}]
    with FakeAgent(tmp_path / "s", ping=[PING] * 3, maintenance=answers) as agent:
        assert ask(agent, "maintenance", "on", "--for", "2h", "--reason", "new fan", "--force") == 0
        assert ask(agent, "maintenance") == 0
        assert ask(agent, "maintenance", "off") == 0
    first = "maintenance is on for another 2 h, until 2026-11-23T12:00:00Z (new fan)"
    assert capsys.readouterr().out.splitlines() == [
        first, "out of service here: pump and fan", "NOBODY DRIVES pump", "note: still leaving service: fan",
        first, "out of service here: pump and fan", "gw-b: all out of service",
        "maintenance is off",
    ]
    assert asked(agent) == [
        {"verb": "maintenance", "action": "on", "for_s": 7200.0, "reason": "new fan", "force": True},
        {"verb": "maintenance", "action": "show"},
        {"verb": "maintenance", "action": "off"},
    ]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["maintenance", "on"], "maintenance on needs an end: twinbeat maintenance on --for 2h"),
        (["maintenance", "off", "--for", "2h"], "--for belongs to: twinbeat maintenance on --for TIME"),
        (["maintenance", "--force"], "--force belongs to"),
        (["maintenance", "on", "--for", "2 weeks"], '"2 weeks" is no time; write it as 90min, 2h, 1d or 1h30min'),
        (["maintenance", "on", "--for", "soon"], '"soon" is no time'),
        (["maintenance", "later"], "invalid choice: 'later'"),
        (["handover", "--count", "0"], '"0" is no count'),
    ],
)
def test_words_that_do_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], text: str) -> None:
    assert dispatch([*words, "--socket", str(tmp_path / "none")]) == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(("verb", "text"), [("out", "out of service"), ("in", "back in service")])
def test_out_and_in(tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str, text: str) -> None:
    done = {"ok": True, "node": "gw-a", "groups": [{"name": "pump", "driver": "gw-b"}, {"name": "fan"}], "note": "done"}
    with FakeAgent(tmp_path / "s", ping=[PING], **{verb: [done]}) as agent:
        assert ask(agent, verb, "pump") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"pump is {text} on gw-a; gw-b drives it", f"fan is {text} on gw-a; nobody drives it", "note: done"
    ]
    assert asked(agent) == [{"verb": verb, "group": "pump"}]


def test_an_agent_that_does_not_answer_gets_no_command(tmp_path: Path) -> None:
    with FakeAgent(tmp_path / "s", ping=[None]) as agent:
        assert ask(agent, "drain") == 6
    assert agent.requests == [{"verb": "ping"}]
