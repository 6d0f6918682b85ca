"""Rules of docs/protocol.md that a schedule can break, as schedules. The rule's name stands in the test's name."""
from __future__ import annotations

import pytest
from world import MS, World

from twinbeat_core import events as ev
from twinbeat_core.frames import Echo, Frame, Row
from twinbeat_core.model import CommandCode, FrameKind, ReportCode, RowFlag


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


def test_r7_cold_start_prefers_who_drove_last_then_the_higher_position() -> None:
    world = World()
    world.start_all()
    for i in (0, 1):
        world.deliver(i, lambda now: ev.Command(now, CommandCode.CMD_LAST_DRIVER, 0, 1))
    world.run_ms(1000)
    assert world.drivers() == [1]
    world = World()
    world.start_all()
    world.deliver(1, lambda now: ev.Sync(now, position=7))
    world.run_ms(1000)
    assert world.drivers() == [1]
    assert world.overlap_ms() == 0


def test_r7_who_drove_last_and_is_gone_holds_nobody_up() -> None:
    world = World(lonely_start_ms=100.0)
    world.start(0)
    world.deliver(0, lambda now: ev.Command(now, CommandCode.CMD_LAST_DRIVER, 0, 1))
    world.run_ms(600)
    assert world.drivers() == [0]


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
    world.nodes[0].alive = False                      # the gate still holds the output and does not name the group
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
