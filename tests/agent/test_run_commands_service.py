"""Failback, drain and maintenance on a running agent, through its control socket."""
from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from operate_rig import BOTH, SHARDS, Core
from run_fakes import FakeRuntime, core_view
from run_rig import MOCK, Rig

from twinbeat.maintenance import Limits, MaintenanceFile
from twinbeat_core.events import Command
from twinbeat_core.model import CommandCode, FrameFlag


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.gate.end()


def group(failback: str, prefer: str = '["gw-b", "gw-a"]') -> str:
    """Lines of the group "pump"."""
    return f'failback = "{failback}"\nprefer = {prefer}\n{MOCK}'


def file_of(rig: Rig) -> MaintenanceFile:
    return MaintenanceFile(rig.folder / "state" / "pump-7-gw-a.maintenance")


def codes(rig: Rig) -> list[str]:
    return [event["code"] for event in rig.ask("events", count=200)["events"]]


# ---------------------------------------------------------------- failback


def test_failback_sends_home(rig: Rig) -> None:
    rig.outputs = group("manual")

    def scenario() -> None:
        core = Core(rig, ["ACTIVE"])
        answer = rig.ask("failback")
        assert [(item["group"], item["driver"]) for item in answer["groups"]] == [("pump", "gw-b")]
        assert core.commands == [(CommandCode.CMD_HANDOVER, 0, 1)]
        assert rig.ask("failback") == {"ok": True, "node": "gw-a", "groups": [], "left": []}

    rig.run(scenario)


def test_failback_of_a_group_that_is_at_home_moves_nothing(rig: Rig) -> None:
    rig.outputs = group("after", '["gw-a", "gw-b"]')

    def scenario() -> None:
        core = Core(rig, ["ACTIVE"])
        assert rig.ask("failback", group="pump")["groups"] == []
        assert core.commands == []

    rig.run(scenario)


def test_never_means_never_and_names_the_other_way(rig: Rig) -> None:
    rig.outputs = group("never")

    def scenario() -> None:
        core = Core(rig, ["ACTIVE"])
        for more in ({}, {"group": "pump"}):
            text = rig.ask("failback", **more)["error"]
            assert 'failback = "never" is set for pump' in text and text.endswith("twinbeat handover")
        assert core.commands == []

    rig.run(scenario)


def test_failback_to_a_home_that_is_not_ready(rig: Rig) -> None:
    rig.outputs = group("manual")

    def scenario() -> None:
        core = Core(rig, ["ACTIVE"], flags=FrameFlag.FLAG_UNFIT, health=0)
        assert "failback of pump refused: gw-b is not fit" in rig.ask("failback", group="pump")["error"]
        (left,) = rig.ask("failback")["left"]
        assert left["group"] == "pump" and left["reasons"][0].startswith("gw-b is not fit")
        assert core.commands == []

    rig.run(scenario)


def test_failback_asked_where_nothing_is_driven(rig: Rig) -> None:
    rig.outputs = group("manual")

    def scenario() -> None:
        Core(rig, ["STANDBY"])
        assert "gw-a does not drive pump; gw-b does: ask the agent there" in rig.ask("failback", group="pump")["error"]

    rig.run(scenario)


def test_failback_stops_at_the_first_that_fails(rig: Rig) -> None:
    rig.outputs = SHARDS

    def scenario() -> None:
        core = Core(rig, ["STANDBY", "ACTIVE", "ACTIVE", "ACTIVE", "ACTIVE"])
        away = [item["group"] for item in rig.ask("failback", group="poll")["groups"]]
        told = core.told(CommandCode.CMD_HANDOVER)
        assert len(away) == len(told) == 2, "half of the shards are at home here"
        for number in told:
            core.change(number, "ACTIVE", "STANDBY")
        core.refuse[told[0]] = 4
        answer = rig.ask("failback", group="poll")
        assert answer["ok"] is False and "its prepare hooks failed" in answer["error"]
        assert core.told(CommandCode.CMD_HANDOVER) == [*told, told[0]], "the second one was not begun"

    rig.run(scenario)


# ---------------------------------------------------------------- drain


def test_drain_hands_over_what_it_can_and_names_the_rest(rig: Rig) -> None:
    rig.outputs = SHARDS

    def scenario() -> None:
        core = Core(rig, 5 * ["ACTIVE"], ["STANDBY", "OUT", "STANDBY", "STANDBY", "STANDBY"])
        core.refuse[2] = 3
        answer = rig.ask("drain")
        assert answer["drained"] is False
        assert [item["group"] for item in answer["moved"]] == ["pump", "poll.2", "poll.3"]
        first, second = answer["remaining"]
        assert first["group"] == "poll.0" and "gw-b has poll.0 out of service" in first["reasons"][0]
        assert second["group"] == "poll.1" and "refused: no node that may drive it is ready" in second["reasons"][0]
        core.refuse, core.there[1] = {}, "STANDBY"
        core.show()
        answer = rig.ask("drain")
        assert (answer["drained"], answer["remaining"], len(answer["moved"])) == (True, [], 2)

    rig.run(scenario)


def test_drain_leaves_what_both_drive(rig: Rig) -> None:
    rig.outputs = BOTH

    def scenario() -> None:
        core = Core(rig, ["STANDBY", "ACTIVE"], ["ACTIVE", "ACTIVE"])
        answer = rig.ask("drain")
        assert (answer["drained"], answer["shared"]) == (True, ["alarm"])
        core.change(1, "ACTIVE", "OUT")
        (left,) = rig.ask("drain")["remaining"]
        assert left["group"] == "alarm" and "no other node drives it" in left["reasons"][0]

    rig.run(scenario)


# ---------------------------------------------------------------- maintenance


def test_maintenance_hands_over_first_and_off_puts_back(rig: Rig) -> None:
    rig.outputs = SHARDS

    def scenario() -> None:
        core = Core(rig, ["ACTIVE", "STANDBY", "ACTIVE", "STANDBY", "STANDBY"])
        answer = rig.ask("maintenance", action="on", for_s=7200, reason="new fan", by="anna")
        assert answer["ok"] is True and answer["undriven"] == []
        assert 7190 < answer["maintenance"]["left_s"] <= 7200
        assert [code for code, _, _ in core.commands] == 2 * [CommandCode.CMD_HANDOVER] + 5 * [CommandCode.CMD_OUT]
        assert core.here == 5 * ["OUT"] and core.there == 5 * ["ACTIVE"]
        saved = file_of(rig).load()
        assert saved is not None
        assert (saved.reason, saved.by, len(saved.groups)) == ("new fan", "anna", 5)
        assert rig.ask("status")["maintenance"]["reason"] == "new fan"
        assert rig.ask("maintenance")["maintenance"]["by"] == "anna"
        assert rig.ask("maintenance", action="off")["maintenance"] is None
        assert core.here == 5 * ["STANDBY"]
        assert rig.ask("status")["maintenance"] is None
        assert "maintenance is not on here" in rig.ask("maintenance", action="off")["error"]
        assert [code for code in codes(rig) if code.startswith("MAINTENANCE")] == ["MAINTENANCE", "MAINTENANCE_OVER"]

    rig.run(scenario)
    assert file_of(rig).load() is None


def test_maintenance_is_refused_where_nobody_can_take_over(rig: Rig) -> None:
    def scenario() -> None:
        core = Core(rig, ["ACTIVE"], flags=FrameFlag.FLAG_UNFIT, health=0)
        answer = rig.ask("maintenance", action="on", for_s=3600)
        assert answer["exit_code"] == 1
        assert answer["error"].startswith(
            "maintenance refused: nobody else could drive pump; gw-b is not fit (health 0): twinbeat status there"
        )
        assert answer["error"].endswith("with --force nobody drives pump until it is over")
        assert core.commands == [] and file_of(rig).load() is None

    rig.run(scenario)


@pytest.mark.parametrize("here", ["ACTIVE", "STANDBY"])
def test_maintenance_on_both_nodes_is_refused(rig: Rig, here: str) -> None:
    def scenario() -> None:
        core = Core(rig, [here], ["OUT"])
        text = rig.ask("maintenance", action="on", for_s=3600)["error"]
        assert "gw-b is in maintenance: end it there with twinbeat maintenance off" in text
        assert core.commands == []
        assert rig.ask("maintenance")["others"] == {"gw-b": "all out of service"}

    rig.run(scenario)


def test_forced_maintenance_names_what_has_no_driver(rig: Rig) -> None:
    rig.outputs = SHARDS

    def scenario() -> None:
        core = Core(rig, 5 * ["ACTIVE"], ["OUT", "STANDBY", "STANDBY", "STANDBY", "STANDBY"])
        answer = rig.ask("maintenance", action="on", for_s=3600, force=True)
        assert answer["undriven"] == ["pump"]
        assert core.told(CommandCode.CMD_HANDOVER) == [1, 2, 3, 4]
        assert core.told(CommandCode.CMD_OUT) == [0, 1, 2, 3, 4]
        told = [event for event in rig.ask("events")["events"] if event["code"] == "MAINTENANCE"]
        assert told[-1]["level"] == "warning" and told[-1]["text"].endswith("nobody drives pump")

    rig.run(scenario)


def test_a_handover_that_fails_leaves_the_node_in_service(rig: Rig) -> None:
    def scenario() -> None:
        core = Core(rig, ["ACTIVE"])
        core.refuse[0] = 4
        assert "nobody else could drive pump; refused: the node that was" in rig.ask(
            "maintenance", action="on", for_s=3600)["error"]
        assert core.told(CommandCode.CMD_OUT) == [] and file_of(rig).load() is None

    rig.run(scenario)


def test_both_at_the_same_moment_goes_back_into_service(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twinbeat.run_moves.OUTCOME_LIMIT_S", 0.2)

    def scenario() -> None:
        core = Core(rig, ["STANDBY"])
        told = core.act

        def act(event: Any) -> None:
            told(event)
            if isinstance(event, Command) and event.code == CommandCode.CMD_OUT:
                core.change(0, None, "OUT")          # the other one leaves service too, at this very moment

        rig.rt.act = act
        text = rig.ask("maintenance", action="on", for_s=3600)["error"]
        assert "maintenance called off: nobody drove pump once this node had left service" in text
        assert core.told(CommandCode.CMD_IN) == [0] and core.here == ["STANDBY"]
        assert rig.ask("maintenance")["maintenance"] is None

    rig.run(scenario)
    assert file_of(rig).load() is None


def test_a_disk_that_does_not_take_the_record_refuses(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("twinbeat.maintenance.write_whole", fail)

    def scenario() -> None:
        core = Core(rig, ["STANDBY"])
        text = rig.ask("maintenance", action="on", for_s=3600)["error"]
        assert "No space left on device; without the file a restart would end it" in text
        assert core.told(CommandCode.CMD_OUT) == [] and rig.ask("status")["maintenance"] is None

    rig.run(scenario)


def test_a_second_on_changes_its_end(rig: Rig) -> None:
    def scenario() -> None:
        core = Core(rig, ["STANDBY"])
        rig.ask("maintenance", action="on", for_s=3600, reason="new fan")
        given = len(core.commands)
        answer = rig.ask("maintenance", action="on", for_s=86400)
        assert 86000 < answer["maintenance"]["left_s"] <= 86400
        assert answer["maintenance"]["reason"] == "new fan" and len(core.commands) == given
        saved = file_of(rig).load()
        assert saved is not None and saved.length_s == 86400

    rig.run(scenario)


def test_it_expires_by_itself(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twinbeat.run_maintenance.LIMITS", Limits(shortest_s=0.01, warn_s=(0.1,)))

    def scenario() -> None:
        core = Core(rig, ["STANDBY"])
        assert rig.ask("maintenance", action="on", for_s=0.2)["ok"] is True
        rig.rt.wait(lambda: core.told(CommandCode.CMD_IN) == [0], "the end")
        assert core.here == ["STANDBY"]
        assert [code for code in codes(rig) if code.startswith("MAINTENANCE")] == [
            "MAINTENANCE", "MAINTENANCE_ENDS", "MAINTENANCE_OVER"
        ]

    rig.run(scenario)


def test_what_was_out_before_stays_out_after(rig: Rig) -> None:
    rig.outputs = SHARDS

    def scenario() -> None:
        core = Core(rig, ["OUT", *4 * ["STANDBY"]], 5 * ["ACTIVE"])
        rig.ask("maintenance", action="on", for_s=3600)
        assert core.told(CommandCode.CMD_OUT) == [1, 2, 3, 4]
        assert rig.ask("in", group="poll.0")["note"] == "maintenance goes on for poll.1, poll.2, poll.3"
        assert "by hand" in rig.ask("out", group="poll.1")["note"]
        rig.ask("maintenance", action="off")
        assert core.here == ["OUT", "STANDBY", "OUT", "STANDBY", "STANDBY"]

    rig.run(scenario)


def test_in_without_a_group_ends_it(rig: Rig) -> None:
    def scenario() -> None:
        Core(rig, ["STANDBY"])
        rig.ask("maintenance", action="on", for_s=3600)
        assert rig.ask("in")["note"] == "maintenance is over"
        assert rig.ask("maintenance")["maintenance"] is None

    rig.run(scenario)
    assert file_of(rig).load() is None


def test_off_says_what_stays_out_for_another_reason(rig: Rig) -> None:
    def scenario() -> None:
        core = Core(rig, ["STANDBY"])
        rig.ask("maintenance", action="on", for_s=3600)
        core.bars[0] |= 2
        core.show()
        assert "still out of service for another reason: pump" in rig.ask("maintenance", action="off")["note"]

    rig.run(scenario)


def test_a_restarted_agent_is_out_before_anything_else(rig: Rig) -> None:
    first: list[Any] = []

    def begin() -> None:
        Core(rig, ["STANDBY"])
        rig.ask("maintenance", action="on", for_s=3600)

    def see(rt: FakeRuntime) -> None:
        rt.core = core_view("LISTEN")

    rig.run(begin)
    rig.gate.end()
    rig.prepare = see
    rig.run(lambda: first.extend(event for event in rig.rt.posted if isinstance(event, Command)))
    assert (first[0].code, first[0].group) == (CommandCode.CMD_OUT, 0)
    assert file_of(rig).load() is not None


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"action": "on"}, "takes a time from 60 s to 7 d, not None s"),
        ({"action": "on", "for_s": 59}, "twinbeat maintenance on --for 2h"),
        ({"action": "on", "for_s": 604801}, "takes a time from"),
        ({"action": "on", "for_s": "2h"}, "takes a time from"),
        ({"action": "on", "for_s": True}, "takes a time from"),
        ({"action": "on", "for_s": 60, "reason": "x\ny"}, "reason takes a line of at most 200 characters"),
        ({"action": "on", "for_s": 60, "reason": 201 * "x"}, "reason takes a line"),
        ({"action": "on", "for_s": 60, "force": 1}, "force takes true or false"),
        ({"action": "maybe"}, 'action = "maybe" is unknown; it takes "on", "off" or "show"'),
    ],
)
def test_wrong_requests(rig: Rig, more: dict[str, Any], text: str) -> None:
    def scenario() -> None:
        core = Core(rig, ["STANDBY"])
        answer = rig.ask("maintenance", **more)
        assert (answer["ok"], answer["exit_code"]) == (False, 2)
        assert text in answer["error"] and core.commands == []

    rig.run(scenario)


def test_nobody_takes_a_role_while_maintenance_begins(rig: Rig) -> None:
    answers: list[dict[str, Any]] = []

    def scenario() -> None:
        core = Core(rig, ["ACTIVE"])
        core.deaf.add(0)
        asked = {"action": "on", "for_s": 3600, "by": "anna"}
        first = threading.Thread(target=lambda: answers.append(rig.ask("maintenance", **asked)))
        first.start()
        rig.rt.wait(lambda: core.commands, "the handover")
        assert "maintenance by anna is under way" in rig.ask("handover")["error"]
        core.change(0, "STANDBY", "ACTIVE")
        first.join(10)
        assert answers[0]["ok"] is True

    rig.run(scenario)
