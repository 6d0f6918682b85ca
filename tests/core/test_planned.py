"""Planned moves (M1 to M5), groups that all drive (O1, O2) and versions that meet (P7), step by step."""
from __future__ import annotations

from typing import Any

import pytest
from world import MS, World

from twinbeat_core import events as ev
from twinbeat_core.errors import SettingsError
from twinbeat_core.frames import Frame
from twinbeat_core.model import Cause, CommandCode, RefusalCode, ReportCode

PREPARED = 15


class Watched(World):
    """A world that keeps every frame sent, and whose nodes may speak different versions."""

    def __init__(self, *, old: tuple[int, ...] = (), **config: Any) -> None:
        self.sent: list[tuple[int, Frame]] = []
        self.old = set(old)
        super().__init__(**config)

    def _new_node(self, i: int, ceiling: int) -> Any:
        self.config["wire_version_max"] = 1 if i in self.old else None
        return super()._new_node(i, ceiling)

    def transmit(self, i: int, link: int, frame: Frame) -> None:
        self.sent.append((i, frame))
        super().transmit(i, link, frame)

    def versions(self, i: int) -> set[int]:
        """The versions of what node i sent since the last call."""
        found = {frame.version for node, frame in self.sent if node == i}
        self.sent.clear()
        return found

    def view(self, i: int) -> dict[str, Any]:
        return dict(self.nodes[i].core.view()["groups"][0])

    def command(self, i: int, code: CommandCode, node: int = 15) -> None:
        self.deliver(i, lambda now: ev.Command(now, code, 0, node))

    def prepared(self, i: int, group: int) -> None:
        self.deliver(i, lambda now: ev.Command(now, CommandCode.CMD_PREPARED, group, 15))

    def health(self, i: int, *, fit: bool = True, load: int = 0) -> None:
        self.deliver(i, lambda now: ev.Health(now, fit, 100 if fit else 0, load))

    def refusals(self, i: int) -> list[int]:
        return [report.value for _, report in self.nodes[i].reports if report.code == ReportCode.RP_HANDOVER_REFUSED]

    def causes(self, i: int) -> list[Cause]:
        return [report.cause for _, report in self.nodes[i].reports if report.code == ReportCode.RP_STATE]


def steady(**config: Any) -> Watched:
    world = Watched(**config)
    world.start_all()
    world.run_ms(1000)
    assert world.drivers() == [0]
    world.sent.clear()
    return world


# ---------------------------------------------------------------- versions
def test_p7_two_new_nodes_speak_the_new_version_and_say_so() -> None:
    world = steady()
    world.run_ms(100)
    assert {frame.version_max for _, frame in world.sent} == {2}
    assert world.versions(0) == {2}


def test_p7_a_new_node_speaks_the_old_version_to_an_old_one_and_hands_over_to_it() -> None:
    world = steady(old=(1,), group={"prepare_ms": 100})
    world.run_ms(100)
    assert all(row.prepare == 0 for _, frame in world.sent for row in frame.rows)
    assert world.versions(0) == {1}
    world.handover(0)
    world.run_ms(20)
    assert world.drivers() == [1]              # one that cannot say that it is prepared is not asked
    world.handover(1)
    world.run_ms(20)
    assert world.drivers() == [0]
    assert world.overlap_ms() == 0


def test_p7_versions_follow_an_upgrade_and_a_way_back() -> None:
    world = steady(old=(1,))
    for old, expected in (((), {2}), ((1,), {1})):
        world.old = set(old)
        world.kill(1)
        world.run_ms(300)
        world.restart(1)
        world.run_ms(1000)
        world.sent.clear()
        world.run_ms(100)
        assert world.versions(0) == expected
        assert world.drivers() == [0]
        assert not any(peer["version_mismatch"] for peer in world.nodes[1].core.view()["peers"])


def test_p7_a_silent_peer_is_spoken_to_in_the_oldest_version() -> None:
    world = steady()
    world.power(1)
    world.run_ms(1000)
    world.sent.clear()
    world.run_ms(100)
    assert world.versions(0) == {1}


# ---------------------------------------------------------------- M1
def test_m1_the_driver_goes_on_until_the_taker_is_prepared() -> None:
    world = steady(group={"prepare_ms": 500})
    world.handover(0)
    world.run_ms(200)
    assert world.drivers() == [0]
    assert world.view(0)["preparing"] == 1
    assert [report.node for _, report in world.nodes[1].reports if report.code == ReportCode.RP_PREPARE] == [0]
    world.command(1, CommandCode.CMD_PREPARED)
    world.run_ms(10)
    assert world.drivers() == [1]
    assert world.overlap_ms() == 0


def test_m1_one_that_does_not_prepare_in_time_gets_nothing() -> None:
    world = steady(group={"prepare_ms": 100})
    world.handover(0)
    world.run_ms(150)
    assert world.drivers() == [0]
    assert world.refusals(0) == [RefusalCode.REFUSED_UNPREPARED]
    world.command(1, CommandCode.CMD_PREPARED)          # too late: it prepared for a handover that is over
    world.run_ms(200)
    assert world.drivers() == [0]


def test_m1_each_handover_prepares_anew() -> None:
    world = steady(group={"prepare_ms": 100})
    for _ in range(2):
        world.handover(0)
        world.run_ms(150)
    told = [report for _, report in world.nodes[1].reports if report.code == ReportCode.RP_PREPARE]
    assert len(told) == 2


# ---------------------------------------------------------------- M2, M4, M5
def test_m2_failback_waits_until_the_better_one_was_ready_for_so_long() -> None:
    world = steady(group={"failback_ms": 400})
    world.kill(0)
    world.run_ms(20)
    world.restart(0)
    world.run_ms(300)                                   # abstains for about 200
    assert world.drivers() == [1]
    assert world.view(1)["failback_in_ms"] == pytest.approx(300, abs=30)
    world.run_ms(320)
    assert world.drivers() == [0]
    assert Cause.CAUSE_FAILBACK in world.causes(1)


def test_m4_hold_down_doubles_up_to_its_limit_and_is_forgotten() -> None:
    world = steady(group={"hold_down_ms": 1000, "hold_down_max_ms": 4000})
    for number, expected in enumerate((1000, 2000, 4000, 4000), start=1):
        driver = world.drivers()[0]
        world.handover(driver)                          # an operator waits for nothing
        world.run_ms(20)
        view = world.view(1 - driver)
        assert view["changes"] == number
        assert view["hold_down_ms"] == pytest.approx(expected, abs=25)
    world.run_ms(2 * (4000 + 4000 + 2000 + 1000) + 100)
    assert (world.view(0)["changes"], world.view(0)["hold_down_ms"]) == (0, 0.0)


def test_m4_a_proposal_is_refused_while_held_down_and_made_afterwards() -> None:
    world = steady(group={"hold_down_ms": 500, "hold_down_max_ms": 500})
    world.handover(0)
    world.run_ms(20)
    world.command(1, CommandCode.CMD_MOVE)
    world.run_ms(20)
    assert world.refusals(1) == [RefusalCode.REFUSED_HELD]
    world.run_ms(600)
    world.command(1, CommandCode.CMD_MOVE)
    world.run_ms(20)
    assert world.drivers() == [0]
    assert Cause.CAUSE_WARNING in world.causes(1)


def test_m4_from_the_second_change_on_bad_health_waits_too() -> None:
    world = steady(group={"hold_down_ms": 1000, "hold_down_max_ms": 8000})
    world.health(0, fit=False)
    world.run_ms(20)
    assert world.drivers() == [1]
    world.health(0, fit=True)
    world.health(1, fit=False)
    world.run_ms(50)
    assert world.drivers() == [0]                       # one change holds only what could as well stay
    world.health(1, fit=True)
    world.health(0, fit=False)
    world.run_ms(1500)
    assert world.drivers() == [0]
    world.run_ms(600)
    assert world.drivers() == [1]


@pytest.mark.parametrize(("load", "moves"), [(29, False), (30, True)])
def test_m5_load_moves_a_group_that_may_be_moved(load: int, moves: bool) -> None:
    world = steady(group={"balance": True}, load_gap_percent=30, load_hold_ms=300, move_gap_ms=100)
    world.health(0, load=load)
    world.run_ms(250)
    assert world.drivers() == [0]
    world.run_ms(150)
    assert world.drivers() == ([1] if moves else [0])


def test_m5_load_moves_nothing_that_may_not_be_moved() -> None:
    world = steady(load_gap_percent=30, load_hold_ms=300, move_gap_ms=100)
    world.health(0, load=100)
    world.run_ms(2000)
    assert world.drivers() == [0]


# ---------------------------------------------------------------- who may drive
def test_a_node_that_may_not_drive_a_group_only_votes() -> None:
    world = steady(nodes=3, group={"drivers": (0, 2)})
    assert world.view(1)["may_drive"] is False
    world.handover(0, node=1)
    world.run_ms(50)
    assert world.refusals(0) == [RefusalCode.REFUSED_NOT_READY]
    world.kill(0)
    world.run_ms(100)
    assert world.drivers() == [2]
    world.power(2)
    world.run_ms(2000)
    assert world.drivers() == []


def test_drivers_must_be_voters() -> None:
    with pytest.raises(SettingsError, match=r"drivers \(0, 5\) must name voting nodes"):
        Watched(group={"drivers": (0, 5)})


# ---------------------------------------------------------------- O1, O2
def both(**more: Any) -> Watched:
    world = Watched(group={"exclusive": False}, **more)
    world.start_all()
    world.run_ms(500)
    assert world.drivers() == [0, 1]
    return world


def test_o1_a_shared_group_is_driven_by_both_and_by_one_when_the_other_is_gone_or_cut_off() -> None:
    world = both()
    world.cut_all((0, 1))
    world.run_ms(1000)
    assert world.drivers() == [0, 1]
    world.power(0)
    world.run_ms(1000)
    assert world.drivers() == [1]
    assert [len(world.spans(i)) for i in (0, 1)] == [1, 1]


def test_o1_a_node_that_stands_still_is_dropped_by_its_gate() -> None:
    world = both()
    world.nodes[0].frozen = True                        # the worker alone: its gate runs
    world.run_ms(200)
    assert world.drivers() == [1]


def test_o2_an_unfit_node_lets_go_only_beside_a_fit_one() -> None:
    world = both()
    world.health(0, fit=False)
    world.run_ms(50)
    assert world.drivers() == [1]
    world.health(1, fit=False)
    world.run_ms(200)
    assert world.drivers() == [0, 1]                    # better unfit ones than nobody
    world.power(1)
    world.run_ms(500)
    assert world.drivers() == [0]


def test_o2_there_is_nothing_to_hand_over() -> None:
    world = both()
    world.handover(0)
    world.run_ms(50)
    assert world.refusals(0) == [RefusalCode.REFUSED_SHARED]
    assert world.drivers() == [0, 1]


def test_frames_ask_for_no_promise_for_what_all_drive() -> None:
    world = both()
    world.sent.clear()
    world.run_ms(500)
    assert not any(frame.flags & 1 for _, frame in world.sent)
    assert MS * 500 / len(world.sent) > 5 * MS          # no more than the two links' own beats
