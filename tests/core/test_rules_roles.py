"""More rules of docs/protocol.md as schedules: hold, restarts and disks, handover, faults, other configurations."""
from __future__ import annotations

import pytest
from world import MS, World

from twinbeat_core import events as ev
from twinbeat_core.frames import Echo, Frame, Row
from twinbeat_core.model import Cause, FrameFlag, Lone, OutputCode, ReportCode, State


def steady(**config: object) -> World:
    world = World(**config)  # type: ignore[arg-type]
    world.start_all()
    world.run_ms(1000)
    assert world.drivers() == [0]
    return world


def causes(world: World, node: int) -> list[str]:
    return [text.split(":")[1] for _, text in world.changes(node)]


def test_l2_hold_never_takes_over_by_silence() -> None:
    world = steady(lone=Lone.LONE_HOLD)
    world.cut_all((0, 1))
    world.run_ms(5000)
    assert world.drivers() == [0]
    world.heal()
    world.power(0)
    world.run_ms(5000)
    assert world.drivers() == []
    world.restart(0)
    world.run_ms(2000)
    assert len(world.drivers()) == 1


def test_l2_hold_takes_over_by_death_notice_and_by_handover() -> None:
    world = steady(lone=Lone.LONE_HOLD)
    world.kill(0)
    world.run_ms(5)
    assert world.drivers() == [1]
    world.restart(0)
    world.run_ms(2000)
    world.handover(1)
    world.run_ms(100)
    assert world.drivers() == [0]
    assert world.overlap_ms() == 0


def test_l2_hold_restarted_voter_abstains_until_it_has_heard_the_other() -> None:
    world = steady(lone=Lone.LONE_HOLD)
    world.cut_all((0, 1))
    world.power(1)
    world.restart(1)
    world.run_ms(5000)
    assert world.state(1) == "LISTEN"
    assert world.drivers() == [0]


def test_a10_new_life_of_the_holder_learns_the_floor_it_must_claim_above() -> None:
    world = steady(lone=Lone.LONE_HOLD)
    world.power(1)
    world.restart(1)                                  # node 1's floor is now its ceiling, far above the driver's epoch
    world.run_ms(1000)
    world.power(0)
    world.restart(0)
    world.run_ms(3000)
    assert len(world.drivers()) == 1


def test_a10_same_life_of_the_holder_learns_the_floor_too() -> None:
    world = steady(lone=Lone.LONE_HOLD)
    world.power(1)
    world.restart(1)
    world.run_ms(1000)
    world.freeze(0)                                   # it lapses, lets go and asks again, now below node 1's floor
    world.run_ms(300)
    world.thaw(0)
    world.run_ms(2000)
    assert len(world.drivers()) == 1


def test_a11_restarted_voter_abstains_for_the_longest_promise() -> None:
    world = steady(nodes=3)
    world.cut_all((0, 1), ((0, 1), (1, 0), (0, 2), (2, 0)))
    world.restart(1)                                  # it has forgotten its promise to node 0
    world.run_ms(300)
    assert world.overlap_ms() == 0
    world.run_ms(1000)
    assert len(world.drivers()) == 1
    assert world.overlap_ms() == 0


def test_a11_lost_disk_abstains_until_every_other_voter_reported() -> None:
    world = steady(nodes=3)
    world.power(1)
    world.cut_all((0, 1), ((1, 2), (2, 1)))
    world.restart(1, lost=True)
    world.run_ms(3000)
    assert world.state(1) == "LISTEN"
    world.heal()
    world.run_ms(1000)
    assert world.state(1) == "STANDBY"


def test_a11_epochs_only_rise_over_restarts() -> None:
    world = steady()
    last = 0
    for round_ in range(6):
        driver = world.drivers()[0]
        epoch = world.nodes[driver].core.view()["groups"][0]["epoch"]
        assert epoch > last
        last = epoch
        world.kill(driver) if round_ % 2 else world.power(driver)
        world.run_ms(100)
        world.restart(driver)
        world.run_ms(1200)


def test_a10_driver_need_not_climb_above_a_restarted_voters_floor() -> None:
    world = steady()
    world.power(1)
    world.run_ms(200)
    epoch = world.nodes[0].core.view()["groups"][0]["epoch"]
    slow = world.perform
    world.perform = lambda i, effect: None if isinstance(effect, ev.Persist) and i == 1 else slow(i, effect)  # type: ignore[method-assign]
    world.restart(1)                                  # its disk is slow: nothing new is reserved for a long time
    world.run_ms(2000)
    assert world.drivers() == [0]
    assert len(world.spans(0)) == 1
    assert world.nodes[0].core.view()["groups"][0]["epoch"] == epoch


def test_r1_claim_waits_for_the_epoch_block_on_disk() -> None:
    world = World()
    node = world.nodes[0]
    world.perform = lambda i, effect: None  # type: ignore[method-assign]
    world.start(0)
    world.run_ms(4000)
    assert node.core.view()["groups"][0]["state"] == "STANDBY"
    node.core.step(ev.Persisted(world.local(0) + 1, 99_999))
    node.core.step(ev.Wake(world.local(0) + 2))
    assert node.core.view()["groups"][0]["state"] in ("CLAIMING", "ACTIVE")


def test_r6_planned_handover_takes_one_frame() -> None:
    world = steady()
    world.handover(0)
    world.run_ms(50)
    gap = (world.spans(1)[0][0] - world.spans(0)[0][1]) / MS
    assert 0 <= gap < 1.0
    assert "CAUSE_HANDOVER" in causes(world, 1)


def test_r6_taker_that_has_restarted_takes_on_one_frame_too() -> None:
    world = steady()
    world.power(1)
    world.run_ms(300)
    world.restart(1)
    world.run_ms(1000)
    world.handover(0)
    world.run_ms(50)
    assert world.drivers() == [1]
    assert (world.spans(1)[0][0] - world.spans(0)[0][1]) / MS < 1.0


def test_r6_handover_to_a_silent_taker_is_refused_and_changes_nothing() -> None:
    world = steady()
    world.power(1)
    world.run_ms(500)
    world.handover(0, node=1)
    world.run_ms(50)
    refused = [r for _, r in world.nodes[0].reports if r.code == ReportCode.RP_HANDOVER_REFUSED]
    assert refused
    assert world.drivers() == [0]


@pytest.mark.parametrize("after_ms", [0.01, 0.05, 0.1, 0.15, 0.3, 1.0])
def test_r6_handover_interrupted_at_each_step_ends_with_one_driver(after_ms: float) -> None:
    for victim in (0, 1):
        world = steady()
        world.handover(0)
        world.run_ms(after_ms)
        world.power(victim)
        world.run_ms(1500)
        assert world.drivers() == [1 - victim]
        assert world.overlap_ms() == 0


def test_r6_planned_stop_hands_over_and_goes_out() -> None:
    world = steady()
    world.deliver(0, lambda now: ev.Command(now, code=4))  # type: ignore[arg-type]
    world.run_ms(50)
    assert world.drivers() == [1]
    assert world.state(0) == "OUT"
    assert (world.spans(1)[0][0] - world.spans(0)[0][1]) / MS < 1.0     # on the one frame that names the taker


def test_output_fault_gives_the_group_away_and_bars_it() -> None:
    world = steady()
    world.deliver(0, lambda now: ev.Output(now, 0, OutputCode.OUTPUT_MISMATCH))
    world.run_ms(100)
    assert world.drivers() == [1]
    assert world.state(0) == "OUT"


def test_output_that_cannot_be_switched_off_lets_nobody_else_drive() -> None:
    world = steady()
    epoch = world.nodes[0].core.view()["groups"][0]["epoch"]
    world.tell_output = lambda *args: None  # type: ignore[method-assign]
    world.handover(0)
    world.deliver(0, lambda now: ev.Output(now, 0, OutputCode.OUTPUT_FAILED, epoch))
    world.run_ms(2000)
    assert world.state(0) == "RELEASING"
    assert world.drivers() == []


def test_unfit_driver_hands_over_only_where_somebody_is_ready() -> None:
    world = steady()
    world.deliver(0, lambda now: ev.Health(now, fit=False, score=20))
    world.run_ms(100)
    assert world.drivers() == [1]
    world.power(0)
    world.run_ms(100)
    world.deliver(1, lambda now: ev.Health(now, fit=False, score=20))
    world.run_ms(500)
    assert world.drivers() == [1]


def test_p5_other_configuration_bars_a_start() -> None:
    world = World(lonely_start_ms=0.0)
    world.start(0)
    frame = Frame(source=1, incarnation=9, stamp=1, pair_id=7, config_digest=2, flags=FrameFlag.FLAG_ASK)
    world.run_ms(50)
    for i in range(20):
        seen = Echo(0, 1, 0, world.nodes[0].incarnation, world.local(0) // 1000 - 15_000)
        copy = frame._replace(stamp=1 + i, echoes=(seen,))
        world.deliver(0, lambda now, f=copy: ev.Heard(now, 0, f))  # type: ignore[misc]
        world.run_ms(100)
    assert world.drivers() == []
    told = [r for _, r in world.nodes[0].reports if r.code == ReportCode.RP_CONFIG_MISMATCH]
    assert len(told) == 1


def test_p6_second_gateway_of_the_same_name_keeps_both_from_starting() -> None:
    world = World(lonely_start_ms=0.0)
    world.start(0)
    for i in range(300):
        twin = Frame(source=0, incarnation=9, stamp=1 + i, pair_id=7, config_digest=1, rows=(Row(1, 15, 0, 0),))
        world.deliver(0, lambda now, f=twin: ev.Heard(now, 1, f))  # type: ignore[misc]
        world.run_ms(10)
    assert world.drivers() == []
    world.run_ms(11_000)
    assert world.drivers() == [0]


def test_p6_what_an_earlier_life_had_under_way_bars_nobody() -> None:
    world = World(lonely_start_ms=0.0)
    world.start(0)
    for i in range(8):
        late = Frame(source=0, incarnation=9, stamp=1 + i, pair_id=7, config_digest=1, rows=(Row(1, 15, 0, 0),))
        world.deliver(0, lambda now, f=late: ev.Heard(now, 1, f))  # type: ignore[misc]
    world.run_ms(500)
    assert world.drivers() == [0]


def test_r2_deaf_claimant_does_not_stop_the_others() -> None:
    world = steady(nodes=3)
    world.power(0)
    world.cut_all((0, 1), ((1, 2), (0, 2)))          # node 2 hears nobody, everybody hears node 2
    world.run_ms(3000)
    world.restart(0)
    world.run_ms(3000)
    assert len(world.drivers()) == 1
    assert world.drivers() != [2]


def test_many_groups_move_together_without_overlap() -> None:
    world = World(groups=16)
    world.start_all()
    world.run_ms(1000)
    world.kill(0)
    world.run_ms(5)
    for group in range(16):
        assert world.drivers(group) == [1]
        assert world.overlap_ms(group) == 0


def test_state_reports_name_old_new_and_cause() -> None:
    world = steady()
    first = next(r for _, r in world.nodes[0].reports if r.code == ReportCode.RP_STATE)
    assert (State(first.node), State(first.value)) == (State.LISTEN, State.STANDBY)
    assert first.cause == Cause.CAUSE_LISTEN_OVER
