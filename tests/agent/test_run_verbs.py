"""Commands to a running agent: their outcome, their refusal, their limit."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from run_fakes import core_view, peer_view, reaches
from run_rig import Rig

from twinbeat.run_loop import boottime_ns
from twinbeat_core.events import Command
from twinbeat_core.model import CommandCode, ReportCode
from twinbeat_rt.messages import Reported


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.gate.end()


def test_handover_answers_with_who_drives(rig: Rig) -> None:
    def scenario() -> None:
        rig.rt.core = core_view("ACTIVE", epoch=9)
        rig.rt.act = reaches(rig.rt, "STANDBY", peers=[peer_view(1, state="ACTIVE", epoch=17)])
        answer = rig.ask("handover", node="gw-b")
        assert (answer["ok"], answer["driver"], answer["from"]) == (True, "gw-b", "gw-a")
        command = next(event for event in rig.rt.posted if isinstance(event, Command))
        assert (command.code, command.group, command.node) == (CommandCode.CMD_HANDOVER, 0, 1)

    rig.run(scenario)


@pytest.mark.parametrize("reason", [1, 2, 3])
def test_handover_refused_says_why(rig: Rig, reason: int) -> None:
    def scenario() -> None:
        rig.rt.core = core_view("ACTIVE", epoch=9)
        rig.rt.act = lambda event: rig.rt.push(
            Reported(boottime_ns(), ReportCode.RP_HANDOVER_REFUSED, 0, 15, 0, 9, reason, 0)
        )
        answer = rig.ask("handover")
        assert (answer["ok"], answer["exit_code"]) == (False, 1)
        assert "handover of pump refused: " in answer["error"] and "no reason given" not in answer["error"]
        rig.rt.core = core_view()

    rig.run(scenario)


def test_handover_without_an_outcome_gives_up(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    from twinbeat import run_verbs

    monkeypatch.setattr(run_verbs, "OUTCOME_LIMIT_S", 0.05)

    def scenario() -> None:
        rig.rt.core = core_view("ACTIVE", epoch=9)
        answer = rig.ask("handover")
        assert "no outcome within 0.05 s; gw-a is ACTIVE, gw-a drives" in answer["error"]
        rig.rt.core = core_view()

    rig.run(scenario)


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        ({"verb": "handover"}, 1, "gw-a does not drive pump; gw-b does: ask the agent there"),
        ({"verb": "handover", "group": "valve"}, 2, 'there is no group "valve"; the groups are pump'),
        ({"verb": "handover", "node": "gw-x"}, 2, 'there is no node "gw-x"; the nodes are gw-a, gw-b'),
        ({"verb": "handover", "node": "gw-a"}, 2, "gw-a is this node"),
        ({"verb": "why", "count": 0}, 2, "count = 0 is out of range: 1 to 512"),
        ({"verb": "why", "count": "many"}, 2, "out of range"),
        ({"verb": "events", "after": "x"}, 2, "sequence number"),
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


def test_out_and_in(rig: Rig) -> None:
    def scenario() -> None:
        rig.rt.act = reaches(rig.rt, "OUT")
        assert rig.ask("out")["groups"][0]["state"] == "OUT"
        rig.rt.act = reaches(rig.rt, "STANDBY")
        assert rig.ask("in", group="pump")["groups"][0]["state"] == "STANDBY"
        codes = [event.code for event in rig.rt.posted if isinstance(event, Command)]
        assert codes == [CommandCode.CMD_OUT, CommandCode.CMD_CLEAR, CommandCode.CMD_IN]

    rig.run(scenario)


def test_a_full_ring_is_said_not_hidden(rig: Rig) -> None:
    def scenario() -> None:
        rig.rt.core = core_view("ACTIVE", epoch=9)
        rig.rt.ring_full = True
        assert "takes no commands" in rig.ask("handover")["error"]
        assert rig.ask("events")["events"][-1]["code"] == "RING_FULL"
        rig.rt.core, rig.rt.ring_full = core_view(), False

    rig.run(scenario)
