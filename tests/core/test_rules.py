"""Every rule of docs/protocol.md that a schedule can break, as a schedule. The rule's name stands in the test's name."""
from __future__ import annotations

import pytest
from world import MS, World

from twinbeat_core import events as ev
from twinbeat_core.frames import Echo, Frame, Row
from twinbeat_core.model import Cause, FrameFlag, FrameKind, Lone, OutputCode, ReportCode, RowFlag, State


def steady(**config: object) -> World:
    world = World(**config)  # type: ignore[arg-type]
    world.start_all()
    world.run_ms(1000)
    assert world.drivers() == [0]
    return world


def causes(world: World, node: int) -> list[str]:
    return [text.split(":")[1] for _, text in world.changes(node)]


def test_r7_cold_start_settles_on_the_first_in_the_list() -> None:
    world = steady()
    assert world.state(1) == "STANDBY"
    assert world.overlap_ms() == 0
    assert causes(world, 0) == ["CAUSE_LISTEN_OVER", "CAUSE_COLD_START", "CAUSE_MAJORITY"]


@pytest.mark.parametrize("gap_ms", [0, 50, 200, 500])
def test_r7_cold_start_in_either_order_leaves_one_driver(gap_ms: int) -> None:
    for first in (0, 1):
        world = World()
        world.start(first)
        world.run_ms(gap_ms)
        world.start(1 - first)
        world.run_ms(1500)
        assert len(world.drivers()) == 1
        assert world.overlap_ms() == 0


def test_r7_lonely_start_waits_for_the_peer_that_never_comes() -> None:
    world = World(lonely_start_ms=700.0)
    world.start(0)
    world.run_ms(800)
    assert world.drivers() == []
    world.run_ms(300)
    assert world.drivers() == [0]


def test_r5_death_notice_hands_over_at_once() -> None:
    world = steady()
    world.kill(0)
    world.run_ms(1)
    assert world.drivers() == [1]
    assert "CAUSE_DEATH_NOTICE" in causes(world, 1)


def test_r5_death_notice_of_a_group_not_dropped_waits_for_the_promise() -> None:
    world = steady()
    node = world.nodes[0]
    peer = world.nodes[1]
    world.nodes[0].alive = False                      # the gate still holds the output: its notice does not name the group
    frame = Frame(source=0, incarnation=node.incarnation, stamp=world.local(0) // 1000 + 1, pair_id=7, config_digest=1,
                  kind=FrameKind.FRAME_DEATH, echoes=(Echo(1, 0, 0, peer.incarnation, 1),), rows=(Row(1, 15, 0, 0),))
    world.deliver(1, lambda now: ev.Heard(now, 0, frame))
    world.run_ms(1)
    assert world.drivers() == [0]
    named = frame._replace(stamp=frame.stamp + 1, rows=(Row(1, 15, RowFlag.ROW_DROPPED, 0),))
    world.gate_off(node, 0)                           # now it has dropped the output, and its next notice says so
    world.deliver(1, lambda now: ev.Heard(now, 0, named))
    world.run_ms(1)
    assert world.drivers() == [1]


def test_r5_without_any_named_group_the_promise_runs_its_time() -> None:
    world = steady()
    node, peer = world.nodes
    node.alive = False
    frame = Frame(source=0, incarnation=node.incarnation, stamp=world.local(0) // 1000 + 1, pair_id=7, config_digest=1,
                  kind=FrameKind.FRAME_DEATH, echoes=(Echo(1, 0, 0, peer.incarnation, 1),), rows=(Row(1, 15, 0, 0),))
    world.deliver(1, lambda now: ev.Heard(now, 0, frame))
    world.run_ms(20)
    assert world.drivers() == [0]
    world.run_ms(40)
    assert 1 in world.drivers()


def test_r5_death_notice_for_a_past_life_of_the_addressee_is_refused() -> None:
    world = steady()
    frame = Frame(source=0, incarnation=world.nodes[0].incarnation, stamp=world.local(0) // 1000 + 1, pair_id=7,
                  config_digest=1, kind=FrameKind.FRAME_DEATH, echoes=(Echo(1, 0, 0, 12345, 1),),
                  rows=(Row(1, 15, RowFlag.ROW_DROPPED, 0),))
    world.deliver(1, lambda now: ev.Heard(now, 0, frame))
    world.run_ms(100)
    assert world.drivers() == [0]


def test_l1_power_loss_is_taken_over_after_the_promise_ran_out() -> None:
    world = steady(release_ms=2.0)
    grant_ms = world.nodes[1].core.view()["peers"][0]["grant_ms"]
    at = world.now
    world.power(0)
    world.run_ms(100)
    taken = (world.spans(1)[0][0] - at) / MS
    assert grant_ms - 11 <= taken <= grant_ms + 1
    assert "CAUSE_SILENCE" in causes(world, 1)


def test_a9_peer_drives_only_after_the_relay_has_released() -> None:
    world = steady(release_ms=12.0)
    world.handover(0)
    world.run_ms(100)
    assert world.drivers() == [1]
    off = world.spans(0)[0][1]                       # contact open: off command plus release
    assert world.spans(1)[0][0] >= off
    assert world.overlap_ms() == 0


def test_a9_without_the_gates_word_the_deadline_plus_release_counts() -> None:
    world = steady(release_ms=5.0)
    world.tell_output = lambda *args: None  # type: ignore[method-assign]
    world.handover(0)
    world.run_ms(20)
    assert world.state(0) == "RELEASING"
    world.run_ms(60)
    assert world.drivers() == [1]
    assert world.overlap_ms() == 0


@pytest.mark.parametrize("seed", range(10))
def test_l1_freeze_after_lost_frames_never_overlaps(seed: int) -> None:
    world = World(seed=seed, gate_late_ms=4.9, release_ms=2.0)
    world.start_all()
    world.run_ms(1000)
    world.loss = 0.1
    for _ in range(10):
        world.run_ms(world.random.uniform(300, 400))
        driver = world.drivers()[0]
        world.freeze(driver)
        world.run_ms(100)
        assert world.drivers() == [1 - driver]
        world.thaw(driver)
        world.run_ms(400)
    assert world.overlap_ms() == 0


def test_d1_thawed_holder_drops_before_it_looks_at_anything() -> None:
    world = steady()
    world.freeze(0)
    world.run_ms(500)
    world.thaw(0)
    assert causes(world, 0)[-2:] == ["CAUSE_SELF_LATE", "CAUSE_OFF"] or causes(world, 0)[-1] == "CAUSE_SELF_LATE"
    world.run_ms(500)
    assert world.drivers() == [1]
    assert world.overlap_ms() == 0


def test_d2_own_stall_is_not_the_peers_silence() -> None:
    world = steady()
    world.freeze(1)
    world.run_ms(400)
    world.thaw(1)
    world.run_ms(500)
    assert world.drivers() == [0]
    assert len(world.spans(0)) == 1


def test_d3_canary_holds_back_a_claim() -> None:
    world = steady()
    world.cut_all((0, 1))
    for _ in range(60):
        world.deliver(1, lambda now: ev.Late(now, code=3, late_ns=20 * MS))  # type: ignore[arg-type]
        world.run_ms(5)
    assert world.drivers() == [0]
    world.run_ms(100)
    assert 1 in world.drivers()                     # the signs have ended: silence counts again


@pytest.mark.parametrize("link", [0, 1])
@pytest.mark.parametrize("direction", [((0, 1), (1, 0)), ((0, 1),), ((1, 0),)])
def test_q3_loss_of_one_link_moves_no_role(link: int, direction: tuple[tuple[int, int], ...]) -> None:
    world = steady()
    world.cut_all((link,), direction)
    world.run_ms(3000)
    world.heal()
    world.run_ms(1000)
    assert world.drivers() == [0]
    assert len(world.spans(0)) == 1


@pytest.mark.parametrize(("loss", "seed"), [(0.1, 1), (0.1, 2), (0.3, 1), (0.3, 2)])
def test_q2_random_loss_costs_neither_role_nor_dropout(loss: float, seed: int) -> None:
    world = World(seed=seed, gate_late_ms=1)
    world.start_all()
    world.run_ms(1000)
    world.loss = loss
    world.run_ms(60_000)
    assert world.drivers() == [0]
    assert len(world.spans(0)) == 1
    assert world.spans(1) == []


def test_p4_one_way_faults_have_names() -> None:
    world = steady()
    world.cut_all((0,), ((0, 1),))
    world.run_ms(3000)
    seen = {i: {r.code for _, r in world.nodes[i].reports} for i in (0, 1)}
    assert ReportCode.RP_RX_DEAD in seen[1]
    assert ReportCode.RP_TX_DEAD in seen[0]
    world.heal()
    world.run_ms(1000)
    assert ReportCode.RP_LINK_OK in {r.code for _, r in world.nodes[1].reports}


def test_r3_healing_leaves_the_higher_epoch() -> None:
    world = steady()
    world.cut_all((0, 1))
    world.run_ms(1000)
    assert world.drivers() == [0, 1]                 # lone = takeover promises no more here (L3)
    world.heal()
    world.run_ms(500)
    assert world.drivers() == [1]
    assert "CAUSE_HIGHER_EPOCH" in causes(world, 0)


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
    for i in range(20):
        copy = frame._replace(stamp=1 + i)
        world.deliver(0, lambda now, f=copy: ev.Heard(now, 0, f))  # type: ignore[misc]
        world.run_ms(100)
    assert world.drivers() == []
    told = [r for _, r in world.nodes[0].reports if r.code == ReportCode.RP_CONFIG_MISMATCH]
    assert len(told) == 1


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
    assert (State(first.node), State(first.value), first.cause) == (State.LISTEN, State.STANDBY, Cause.CAUSE_LISTEN_OVER)
