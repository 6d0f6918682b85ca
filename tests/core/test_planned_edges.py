"""Planned moves and shared groups where something changes in the middle of them (M1 to M5, O1, O2, P7)."""
from __future__ import annotations

import random

import pytest
from test_planned import Watched, steady

from twinbeat_core import events as ev
from twinbeat_core.frames import Echo, Frame, Row
from twinbeat_core.model import CommandCode, Lone, ReportCode


def told(world: Watched, i: int) -> int:
    return len([r for _, r in world.nodes[i].reports if r.code == ReportCode.RP_PREPARE])


# ---------------------------------------------------------------- M1
def test_m1_a_planned_stop_does_not_wait_once_the_taker_has_prepared() -> None:
    world = steady(group={"prepare_ms": 2000})
    world.command(0, CommandCode.CMD_STOP)
    world.run_ms(50)
    assert world.drivers() == [0]
    world.command(1, CommandCode.CMD_PREPARED)
    world.run_ms(50)
    assert world.drivers() == [1]


def test_p7_who_stops_is_spoken_to_in_the_oldest_version_once_it_drives_nothing() -> None:
    world = steady(group={"prepare_ms": 100})
    world.command(0, CommandCode.CMD_STOP)
    world.run_ms(50)
    world.sent.clear()
    world.run_ms(30)
    assert world.versions(1) == {2}
    world.run_ms(100)
    assert world.drivers() == [1]
    world.sent.clear()
    world.run_ms(30)
    assert world.versions(1) == {1}


@pytest.mark.parametrize("code", [CommandCode.CMD_OUT, CommandCode.CMD_STOP])
@pytest.mark.parametrize("then", [CommandCode.CMD_HANDOVER, CommandCode.CMD_MOVE])
def test_m1_who_leaves_service_lets_go_whatever_is_asked_for_meanwhile(code: CommandCode, then: CommandCode) -> None:
    world = steady(group={"prepare_ms": 100})
    world.command(0, code)
    world.run_ms(20)
    world.command(0, then)
    world.run_ms(300)
    assert world.state(0) == "OUT"
    assert world.drivers() == [1]


def test_m1_back_in_service_while_the_taker_prepares_ends_the_move() -> None:
    world = steady(group={"prepare_ms": 100})
    world.command(0, CommandCode.CMD_OUT)
    world.run_ms(20)
    world.command(0, CommandCode.CMD_IN)
    world.run_ms(300)
    assert world.drivers() == [0]
    assert world.view(0)["preparing"] is None


def test_m1_bad_health_lets_go_for_nobody() -> None:
    world = steady(group={"prepare_ms": 100})
    world.health(0, fit=False)
    world.run_ms(20)
    world.health(1, fit=False)
    world.run_ms(300)
    assert world.drivers() == [0]
    assert len(world.spans(0)) == 1


def test_m1_health_that_is_good_again_ends_the_move() -> None:
    world = steady(group={"prepare_ms": 100})
    world.health(0, fit=False)
    world.run_ms(20)
    world.health(0, fit=True)
    world.run_ms(300)
    assert world.drivers() == [0]
    assert world.view(0)["preparing"] is None


# ---------------------------------------------------------------- M2, M3
def test_m2_the_better_one_must_itself_have_been_ready_for_so_long() -> None:
    world = steady(nodes=3, group={"failback_ms": 1000})
    for i in (1, 0):
        world.health(i, fit=False)
        world.run_ms(20)
    assert world.drivers() == [2]
    world.health(1)
    world.run_ms(900)
    world.health(0)
    world.run_ms(950)
    assert world.drivers() == [2]                       # node 1 was ready for long, and it is not the best any more
    world.run_ms(100)
    assert world.drivers() == [0]


def test_m2_a_busy_best_one_does_not_keep_the_group_from_the_next() -> None:
    world = steady(nodes=3, group={"failback_ms": 200}, load_gap_percent=30)
    for i in (1, 0):
        world.health(i, fit=False)
        world.run_ms(20)
    for i, load in ((0, 80), (1, 0)):
        world.health(i, load=load)
    world.run_ms(300)
    assert world.drivers() == [1]


def test_m3_a_group_that_is_never_prepared_for_does_not_keep_another_from_going_home() -> None:
    world = steady(groups=2, group={"failback_ms": 50, "prepare_ms": 30}, move_gap_ms=100)
    for group in (0, 1):
        world.handover(0, group)
    world.run_ms(5)
    for group in (0, 1):
        world.prepared(1, group)
    world.run_ms(2000)
    asked = {r.group for _, r in world.nodes[0].reports if r.code == ReportCode.RP_PREPARE}
    assert asked == {0, 1}


def test_m3_while_one_taker_prepares_no_other_move_begins() -> None:
    world = steady(groups=2, group={"failback_ms": 50, "prepare_ms": 500}, move_gap_ms=20)
    for group in (0, 1):
        world.handover(0, group)
    world.run_ms(5)
    for group in (0, 1):
        world.prepared(1, group)
    world.run_ms(400)
    assert [world.drivers(g) for g in (0, 1)] == [[1], [1]]
    assert told(world, 0) == 1


# ---------------------------------------------------------------- O1, O2
def test_o2_two_that_become_unfit_at_the_same_moment_both_go_on() -> None:
    world = Watched(group={"exclusive": False})
    world.start_all()
    world.run_ms(500)
    world.health(0, fit=False)
    world.health(1, fit=False)
    world.run_ms(300)
    assert world.drivers() == [0, 1]
    assert [len(world.spans(i)) for i in (0, 1)] == [1, 1]


def test_o1_with_hold_too_who_comes_back_alone_drives_what_all_drive() -> None:
    world = Watched(group={"exclusive": False}, lone=Lone.LONE_HOLD)
    world.start(0)
    world.run_ms(1000)
    assert world.drivers() == [0]


def test_m1_a_word_from_before_the_ask_counts_for_nothing() -> None:
    world = steady(group={"prepare_ms": 100})
    world.command(0, CommandCode.CMD_OUT)
    world.run_ms(20)
    world.command(1, CommandCode.CMD_PREPARED)
    world.command(0, CommandCode.CMD_IN)                # its word and the end of the move cross
    world.run_ms(0.155)
    world.handover(0)
    world.run_ms(50)
    assert world.drivers() == [0]
    assert told(world, 1) == 2
    world.command(1, CommandCode.CMD_PREPARED)
    world.run_ms(10)
    assert world.drivers() == [1]


def test_p7_a_late_frame_of_a_newer_program_does_not_raise_the_version_spoken_to_an_older_one() -> None:
    world = steady(old=(1,))
    world.run_ms(50)
    late = Frame(source=1, incarnation=99, stamp=5, pair_id=7, config_digest=1, version=1, version_max=2)
    world.carry(0, 1, late, 0.0)
    world.sent.clear()
    world.run_ms(5)
    assert world.versions(0) <= {1}


def test_p5_another_configuration_bars_a_start_of_what_all_drive_too() -> None:
    world = Watched(group={"exclusive": False}, lonely_start_ms=0.0)
    world.start(0)
    frame = Frame(source=1, incarnation=9, stamp=1, pair_id=7, config_digest=2, flags=1)
    world.run_ms(50)
    for i in range(20):
        seen = Echo(0, 1, 0, world.nodes[0].incarnation, world.local(0) // 1000 - 15_000)
        world.carry(0, 0, frame._replace(stamp=1 + i, echoes=(seen,)), 0.0)
        world.run_ms(100)
    assert world.drivers() == []
    world.run_ms(10_000)
    assert world.drivers() == [0]


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_wild_frames_and_commands_leave_a_core_that_still_works(seed: int, exclusive: bool) -> None:
    choose = random.Random(seed)
    group = {"exclusive": exclusive, "prepare_ms": 20, "failback_ms": 30, "hold_down_ms": 5, "hold_down_max_ms": 40,
             "balance": True}
    world = Watched(seed=seed, group=group, groups=2, load_gap_percent=30, load_hold_ms=10, move_gap_ms=5)
    world.start_all()
    world.run_ms(500)
    for _ in range(3000):
        node = choose.randrange(2)
        frame = Frame(
            source=1 - node, incarnation=world.nodes[1 - node].incarnation, stamp=world.local(1 - node) // 1000,
            pair_id=7, config_digest=1, flags=choose.randrange(64), load=choose.randrange(256),
            version_max=choose.randrange(16),
            echoes=(Echo(node, 3, 50, world.nodes[node].incarnation, world.local(node) // 1000 - 500),),
            rows=tuple(Row(choose.randrange(6), choose.choice([0, 1, 2, 15]), choose.randrange(16),
                           choose.randrange(1 << 12), choose.randrange(16)) for _ in range(choose.randrange(4))),
        )
        world.carry(node, choose.randrange(2), frame, 0.0)
        if choose.random() < 0.3:
            code, to = choose.choice(list(CommandCode)), choose.randrange(16)
            at = choose.randrange(3)
            world.deliver(node, lambda now, c=code, t=to, g=at: ev.Command(now, c, g, t))  # type: ignore[misc]
        if choose.random() < 0.3:
            world.health(node, fit=choose.random() < 0.5, load=choose.randrange(256))
        world.run_ms(choose.choice([0.0, 0.1, 3.0]))
    assert [world.nodes[i].core.view()["illegal"] for i in (0, 1)] == [0, 0]
    for i in (0, 1):
        world.restart(i)
        world.health(i)
    world.run_ms(3000)
    assert all(len(world.drivers(g)) == (1 if exclusive else 2) for g in (0, 1))
