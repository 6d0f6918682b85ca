"""Handover, out and in on a running agent: their outcome, their refusal, their limit, one operator at a time."""
from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from operate_rig import BOTH, SHARDS, Core
from run_fakes import core_view, peer_view
from run_rig import Rig

from twinbeat_core.model import CommandCode, FrameFlag


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.gate.end()


def plan(answer: dict[str, Any]) -> dict[str, Any]:
    """The only plan of a rehearsal."""
    assert answer["ok"] is True and answer["dry_run"] is True
    (found,) = answer["plans"]
    assert isinstance(found, dict)
    return found


# ---------------------------------------------------------------- one group


def test_handover_answers_with_who_drives(rig: Rig) -> None:
    def scenario() -> None:
        core = Core(rig, ["ACTIVE"])
        answer = rig.ask("handover", node="gw-b")
        assert (answer["ok"], answer["group"], answer["driver"], answer["from"]) == (True, "pump", "gw-b", "gw-a")
        assert core.commands == [(CommandCode.CMD_HANDOVER, 0, 1)]

    rig.run(scenario)


def test_without_a_node_the_core_chooses(rig: Rig) -> None:
    def scenario() -> None:
        core = Core(rig, ["ACTIVE"])
        assert rig.ask("handover", group="pump")["driver"] == "gw-b"
        assert core.commands == [(CommandCode.CMD_HANDOVER, 0, 15)]

    rig.run(scenario)


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (1, "this node does not drive it"),
        (2, "no other node that could take it is heard"),
        (3, "no node that may drive it is ready"),
        (4, "its prepare hooks failed or ran too long"),
        (6, "overlap"),
        (77, "no reason given"),
    ],
)
def test_what_the_core_refuses_is_told_with_its_reason(rig: Rig, reason: int, text: str) -> None:
    def scenario() -> None:
        core = Core(rig, ["ACTIVE"])
        core.refuse[0] = reason
        answer = rig.ask("handover")
        assert (answer["ok"], answer["exit_code"]) == (False, 1)
        assert answer["error"].startswith("handover of pump refused: ") and text in answer["error"]

    rig.run(scenario)


def test_handover_without_an_outcome_gives_up(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twinbeat.run_moves.OUTCOME_LIMIT_S", 0.05)

    def scenario() -> None:
        Core(rig, ["ACTIVE"]).deaf.add(0)
        answer = rig.ask("handover")
        assert "had no outcome within 0.05 s; gw-a is ACTIVE, gw-a drives" in answer["error"]
        assert rig.ask("handover")["error"] == answer["error"], "the turn was given back"

    rig.run(scenario)


SICK = [
    ({"flags": FrameFlag.FLAG_UNFIT, "health": 0}, "gw-b is not fit (health 0): twinbeat status there names"),
    ({"flags": FrameFlag.FLAG_BEHIND}, "gw-b is behind with its copy of the data: wait until it is in step"),
    ({"flags": FrameFlag.FLAG_STOPPING}, "gw-b is stopping: wait until its agent runs again"),
    ({"silent": True, "silent_ms": 812.4}, "gw-b is silent, last heard 812 ms ago: look at that gateway"),
    ({"heard": False, "known": False}, "gw-b has not been heard since this agent started"),
    ({"known": False}, "gw-b is heard but does not hear this node"),
    ({"dead": True}, "the agent of gw-b died, says its gate: start it again there"),
    ({"grant_ms": 0}, "gw-b does not answer this node"),
    ({"config_mismatch": True}, "gw-b runs another configuration: make the files equal"),
    ({"version_mismatch": True}, "gw-b speaks another protocol version"),
]


@pytest.mark.parametrize(("peer", "text"), SICK)
def test_rehearsal_and_refusal_say_the_same_and_nothing_moves(rig: Rig, peer: dict[str, Any], text: str) -> None:
    def scenario() -> None:
        core = Core(rig, ["ACTIVE"], **peer)
        for more in ({}, {"node": "gw-b"}):
            answer = rig.ask("handover-plan", **more)
            assert answer["would"] is False
            (reason,) = plan(answer)["reasons"]
            assert reason.startswith(text)
            refusal = rig.ask("handover", **more)
            assert (refusal["exit_code"], refusal["error"]) == (1, f"handover of pump refused: {reason}")
        assert core.commands == []

    rig.run(scenario)


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ("OUT", "gw-b is in maintenance: end it there with twinbeat maintenance off"),
        ("LISTEN", "gw-b still abstains after its start"),
        ("CLAIMING", "gw-b is CLAIMING itself"),
    ],
)
def test_a_taker_that_does_not_stand_by(rig: Rig, state: str, text: str) -> None:
    def scenario() -> None:
        Core(rig, ["ACTIVE"], [state])
        assert text in rig.ask("handover")["error"]
        facts = plan(rig.ask("handover-plan"))["takers"][0]
        assert (facts["state"], facts["ready"], facts["in_maintenance"]) == (state, False, state == "OUT")

    rig.run(scenario)


def test_several_obstacles_are_all_named(rig: Rig) -> None:
    def scenario() -> None:
        Core(rig, ["ACTIVE"], ["OUT"], flags=FrameFlag.FLAG_UNFIT | FrameFlag.FLAG_BEHIND)
        reasons = plan(rig.ask("handover-plan"))["reasons"]
        assert [reason.split()[2:4] for reason in reasons] == [
            ["not", "fit"], ["behind", "with"], ["in", "maintenance:"]
        ]

    rig.run(scenario)


def test_a_rehearsal_that_would_succeed_gives_the_facts(rig: Rig) -> None:
    rig.outputs = '[[group.output]]\ntype = "mock"\nrelease_ms = 8\nmake_ms = 3\n'

    def scenario() -> None:
        core = Core(rig, ["ACTIVE"])
        answer = rig.ask("handover-plan", group="pump", node="gw-b")
        found = plan(answer)
        assert answer["would"] is True and found["would"] is True
        assert (found["from"], found["to"], found["reasons"], found["notes"]) == ("gw-a", "gw-b", [], [])
        assert found["gap"] == {"release_ms": 8.0, "make_ms": 3.0, "two_hops_ms": 1.0}
        assert found["expected_gap_ms"] == 12.0
        (facts,) = found["takers"]
        wanted = {"heard": True, "links": {"direct": "UP"}, "fit": True, "in_step": True, "in_service": True,
                  "in_maintenance": False, "may_drive": True, "ready": True, "reasons": []}
        assert {key: facts[key] for key in wanted} == wanted
        assert core.commands == []

    rig.run(scenario)


def test_a_held_group_is_noted_and_goes_all_the_same(rig: Rig) -> None:
    def scenario() -> None:
        Core(rig, ["ACTIVE"])
        rig.rt.core["groups"][0] |= {"hold_down_ms": 4200.0, "changes": 3}
        found = plan(rig.ask("handover-plan"))
        assert found["would"] is True
        assert found["notes"] == [
            "moves of pump are held down for 4.2 s after 3 changes; an operator's handover is not"
        ]

    rig.run(scenario)


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        ({"verb": "handover"}, 1, "gw-a does not drive pump; gw-b does: ask the agent there"),
        ({"verb": "handover-plan", "all": True}, 1, "gw-a does not drive anything that could be handed over; gw-b"),
        ({"verb": "handover", "group": "valve"}, 2, 'there is no group "valve"; the groups are pump'),
        ({"verb": "handover", "node": "gw-x"}, 2, 'there is no node "gw-x"; the nodes are gw-a, gw-b'),
        ({"verb": "handover", "node": 1}, 2, 'there is no node "1"'),
        ({"verb": "handover", "node": "gw-a"}, 2, "gw-a is this node"),
        ({"verb": "handover", "count": 0}, 2, "count = 0 is out of range: 1 to 64"),
        ({"verb": "handover", "all": "yes"}, 2, "all takes true or false, not yes"),
        ({"verb": "handover", "all": True, "group": "pump"}, 2, "name a group or take all of them, not both"),
        ({"verb": "out", "group": ["pump"]}, 2, "there is no group"),
    ],
)
def test_wrong_requests(rig: Rig, request_: dict[str, Any], code: int, text: str) -> None:
    def scenario() -> None:
        rig.rt.core = core_view(peers=[peer_view(1, state="ACTIVE", epoch=8)])
        answer = rig.ask(**request_)
        assert (answer["ok"], answer["exit_code"]) == (False, code)
        assert text in answer["error"]

    rig.run(scenario)


def test_nobody_drives_is_said(rig: Rig) -> None:
    def scenario() -> None:
        rig.rt.core = core_view("LISTEN")
        assert rig.ask("handover")["error"].endswith("gw-a does not drive pump; nobody does")

    rig.run(scenario)


def test_a_full_ring_is_said_not_hidden(rig: Rig) -> None:
    def scenario() -> None:
        rig.rt.core = core_view("ACTIVE", epoch=9)
        rig.rt.ring_full = True
        assert "takes no commands" in rig.ask("handover")["error"]
        assert rig.ask("out")["exit_code"] == 6
        assert rig.ask("events")["events"][-1]["code"] == "RING_FULL"
        rig.rt.core, rig.rt.ring_full = core_view(), False

    rig.run(scenario)


# ---------------------------------------------------------------- several groups


def test_a_family_goes_as_a_whole_or_in_part(rig: Rig) -> None:
    rig.outputs = SHARDS

    def scenario() -> None:
        core = Core(rig, ["STANDBY", "ACTIVE", "STANDBY", "ACTIVE", "ACTIVE"])
        answer = rig.ask("handover", group="poll", count=1)
        assert [item["group"] for item in answer["groups"]] == ["poll.0"]
        assert "gw-a drives only 2: poll.2, poll.3" in rig.ask("handover", group="poll", count=3)["error"]
        answer = rig.ask("handover", group="poll")
        moved = [(item["group"], item["driver"]) for item in answer["groups"]]
        assert moved == [("poll.2", "gw-b"), ("poll.3", "gw-b")]
        assert core.told(CommandCode.CMD_HANDOVER) == [1, 3, 4]
        text = rig.ask("handover", group="poll")["error"]
        assert "gw-a does not drive poll.0, poll.1, poll.2, poll.3; gw-b does" in text

    rig.run(scenario)


def test_all_that_is_driven_here(rig: Rig) -> None:
    rig.outputs = SHARDS

    def scenario() -> None:
        core = Core(rig, ["ACTIVE", "ACTIVE", "STANDBY", "ACTIVE", "STANDBY"])
        assert "name the group (pump, poll (poll.0 to poll.3)), or hand over all" in rig.ask("handover")["error"]
        assert len(rig.ask("handover-plan", all=True)["plans"]) == 3
        assert [item["group"] for item in rig.ask("handover", all=True)["groups"]] == ["pump", "poll.0", "poll.2"]
        assert "ACTIVE" not in core.here

    rig.run(scenario)


def test_part_of_a_batch_that_is_refused_is_told_apart(rig: Rig) -> None:
    rig.outputs = SHARDS

    def scenario() -> None:
        core = Core(rig, ["ACTIVE", "ACTIVE", "ACTIVE", "STANDBY", "STANDBY"])
        core.refuse[1] = 4
        answer = rig.ask("handover", all=True)
        assert answer["exit_code"] == 1
        assert answer["error"].startswith("handover of pump, poll.0, poll.1 is not complete: poll.0 refused: ")
        assert answer["error"].endswith("; handed over: pump, poll.1")

    rig.run(scenario)


def test_one_obstacle_in_a_batch_moves_nothing(rig: Rig) -> None:
    rig.outputs = SHARDS

    def scenario() -> None:
        here = ["ACTIVE", "ACTIVE", "ACTIVE", "STANDBY", "STANDBY"]
        core = Core(rig, here, ["STANDBY", "OUT", "STANDBY", "ACTIVE", "ACTIVE"])
        assert "gw-b has poll.0 out of service: put it back there" in rig.ask("handover", all=True)["error"]
        assert core.commands == []

    rig.run(scenario)


def test_what_both_drive_is_not_handed_over(rig: Rig) -> None:
    rig.outputs = BOTH

    def scenario() -> None:
        core = Core(rig, ["ACTIVE", "ACTIVE"], ["STANDBY", "ACTIVE"])
        text = rig.ask("handover", group="alarm")["error"]
        assert "every node that may drives alarm at the same time" in text and "twinbeat out alarm" in text
        assert [item["group"] for item in rig.ask("handover", all=True)["groups"]] == ["pump"]
        assert core.told(CommandCode.CMD_HANDOVER) == [0]

    rig.run(scenario)


# ---------------------------------------------------------------- two operators


def test_one_command_at_a_time(rig: Rig) -> None:
    answers: list[dict[str, Any]] = []

    def scenario() -> None:
        core = Core(rig, ["ACTIVE"])
        core.deaf.add(0)
        first = threading.Thread(target=lambda: answers.append(rig.ask("handover", by="anna over MQTT")))
        first.start()
        rig.rt.wait(lambda: core.commands, "the first command")
        for verb in ("handover", "out", "in", "drain"):
            text = rig.ask(verb)["error"]
            assert "handover of pump by anna over MQTT is under way" in text
        assert rig.ask("handover-plan")["would"] is True, "a rehearsal disturbs nobody"
        core.change(0, "STANDBY", "ACTIVE")
        first.join(10)
        assert answers[0]["driver"] == "gw-b"
        assert rig.ask("out")["ok"] is True
        assert core.told(CommandCode.CMD_HANDOVER) == [0]

    rig.run(scenario)


# ---------------------------------------------------------------- out and in


def test_out_and_in(rig: Rig) -> None:
    def scenario() -> None:
        core = Core(rig, ["STANDBY"])
        assert rig.ask("out")["groups"] == [
            {"name": "pump", "state": "OUT", "driver": "gw-b", "barred_by": ["operator"]}
        ]
        assert rig.ask("in", group="pump")["groups"][0]["state"] == "STANDBY"
        assert [code for code, _, _ in core.commands] == [
            CommandCode.CMD_OUT, CommandCode.CMD_CLEAR, CommandCode.CMD_IN
        ]

    rig.run(scenario)


def test_out_takes_a_family(rig: Rig) -> None:
    rig.outputs = SHARDS

    def scenario() -> None:
        core = Core(rig, 5 * ["STANDBY"])
        assert [item["name"] for item in rig.ask("out", group="poll")["groups"]] == [f"poll.{n}" for n in range(4)]
        assert core.told(CommandCode.CMD_OUT) == [1, 2, 3, 4]

    rig.run(scenario)


def test_a_group_that_does_not_come_back_is_said(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twinbeat.run_moves.OUTCOME_LIMIT_S", 0.05)

    def scenario() -> None:
        core = Core(rig, ["OUT"])
        core.bars[0] = 5
        assert rig.ask("in")["error"] == "not done within 0.05 s: pump is OUT; twinbeat events shows why"

    rig.run(scenario)
