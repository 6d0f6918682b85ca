"""The state machine as a whole: deadlines, orders to the outputs, its view, floods and replays."""
from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from random_world import RandomWorld, random_run, recover
from world import MS, World, settings

from twinbeat_core import events as ev
from twinbeat_core.failover import Failover
from twinbeat_core.frames import Echo, Frame, Row
from twinbeat_core.model import CommandCode, DriveCode, FrameFlag, FrameKind, Lone, ReportCode, State
from twinbeat_core.wire import WireCode

Make = Callable[[World, int], Frame]


def steady(**config: Any) -> World:
    world = World(**config)
    world.start_all()
    world.run_ms(1000)
    assert world.drivers() == [0]
    return world


def count(world: World, node: int, code: ReportCode) -> int:
    return sum(report.code == code for _, report in world.nodes[node].reports)


def frame_of(world: World, i: int, **changes: Any) -> Frame:
    """A fresh frame of node i that echoes nobody."""
    return Frame(source=i, incarnation=world.nodes[i].incarnation, stamp=world.local(i) // 1000, pair_id=7,
                 config_digest=1)._replace(**changes)


# ---------------------------------------------------------------- deadlines and orders
@pytest.mark.parametrize("config", [
    {"nodes": 2}, {"nodes": 2, "lone": Lone.LONE_HOLD}, {"nodes": 3, "release_ms": 12.0}, {"nodes": 2, "groups": 4},
], ids=str)
@pytest.mark.parametrize("seed", range(6))
def test_random_run_keeps_deadlines_ahead_and_ends_with_one_driver(config: dict[str, Any], seed: int) -> None:
    """That no deadline lies behind the step that set it is asserted in every step (random_world.Watched)."""
    world = RandomWorld(seed=seed, gate_late_ms=4.9, **config)
    random_run(world, seed, 30)
    recover(world)
    assert [len(world.drivers(group)) for group in range(len(world.nodes[0].gates))] == [1] * config.get("groups", 1)
    assert sum(len(core.log) for core in world.cores) > 1000
    assert {core.view()["illegal"] for core in world.cores} == {0}


@pytest.mark.parametrize("seed", range(12))
def test_with_three_voters_no_random_run_overlaps_and_epochs_only_rise(seed: int) -> None:
    world = RandomWorld(seed=seed, nodes=3, release_ms=4.0, gate_late_ms=4.9)
    random_run(world, seed, 40)
    recover(world)
    assert world.overlap_ms() <= 0
    taken = [(i, order.epoch) for _, i, order in world.orders if order.code == DriveCode.DRIVE_ON]
    assert taken
    assert all(epoch & 7 == i for i, epoch in taken)
    epochs = [epoch for _, epoch in taken]
    assert epochs == sorted(set(epochs))


@pytest.mark.parametrize("seed", range(6))
def test_orders_to_one_nodes_outputs_make_sense(seed: int) -> None:
    """ON, then deadlines that never move back, then OFF; no ON while on, no EXTEND while off."""
    world = RandomWorld(seed=seed, nodes=2)
    random_run(world, seed, 40)
    for core in world.cores:
        deadline_ns, on = 0, False
        for event, effects in core.log:
            for order in (e for e in effects if isinstance(e, ev.Drive)):
                if order.code == DriveCode.DRIVE_OFF:
                    on = False
                    continue
                assert on is (order.code == DriveCode.DRIVE_EXTEND)
                assert order.deadline_ns > event.now_ns
                assert not on or order.deadline_ns >= deadline_ns
                deadline_ns, on = order.deadline_ns, True


def test_authority_ends_with_the_peers_answers_not_with_sending() -> None:
    world = steady(nodes=3)
    world.cut_all((0, 1), ((1, 0), (2, 0)))              # node 0 is heard, but hears nobody
    world.run_ms(200)
    assert 0 not in world.drivers()


def test_clock_that_stands_still_or_runs_back_moves_nothing_back() -> None:
    core = Failover(settings(0))
    core.step(ev.Start(5_000_000_000, 5))
    core.step(ev.Wake(5_010_000_000))
    core.step(ev.Wake(4_000_000_000))
    assert core.view()["now_ns"] == 5_010_000_000


def test_second_start_is_a_new_life_that_owns_nothing() -> None:
    world = steady()
    core = world.nodes[0].core
    core.step(ev.Start(world.local(0) + 1, 4711, ceiling=800))
    view = core.view()
    assert (view["incarnation"], view["ceiling"], view["groups"][0]["state"]) == (4711, 800, "LISTEN")
    assert (view["groups"][0]["floor"], view["groups"][0]["promise"]["holder"]) == (800, None)
    assert not any(peer["known"] for peer in view["peers"])


# ---------------------------------------------------------------- view
def test_view_of_a_core_that_has_not_started() -> None:
    view = Failover(settings(0, groups=2)).view()
    assert [group["state"] for group in view["groups"]] == ["LISTEN", "LISTEN"]
    assert view["deadline_ms"] is None
    assert [group["promise"]["holder"] for group in view["groups"]] == [None, None]


def test_view_of_driver_and_standby() -> None:
    world = steady(groups=2)
    driver, standby = (node.core.view() for node in world.nodes)
    assert set(driver) >= {
        "now_ns", "node", "incarnation", "started_ms", "ceiling", "fit", "health", "load", "stopping", "self_frames",
        "illegal", "grant_max_ms", "deadline_ms", "groups", "peers",
    }
    assert (driver["node"], driver["incarnation"]) == (0, world.nodes[0].incarnation)
    assert (driver["fit"], driver["health"], driver["stopping"]) == (True, 100, False)
    for group, other in zip(driver["groups"], standby["groups"], strict=True):
        assert (group["state"], group["cause"], other["state"]) == ("ACTIVE", "CAUSE_MAJORITY", "STANDBY")
        assert group["promise"] == {"holder": 0, "epoch": group["epoch"], "left_ms": None}
        assert other["promise"]["holder"] == 0
        assert other["promise"]["epoch"] == group["epoch"]
        # What the voter keeps outlasts what the holder counts.
        assert 0 < group["authority_ms"] < other["promise"]["left_ms"] + 11
        assert set(group["votes"]) == {1}
    peer, = standby["peers"]
    assert (peer["node"], peer["known"], peer["dead"]) == (0, True, False)
    assert (peer["suspect"], peer["silent"]) == (False, False)
    assert [row["state"] for row in peer["rows"]] == ["ACTIVE", "ACTIVE"]
    assert [(path["link"], path["up"]) for path in peer["paths"]] == [(0, True), (1, True)]
    assert peer["silent_ms"] < 11 and peer["proven_ms"] < 11


def test_view_shows_what_was_put_in() -> None:
    world = steady()
    world.deliver(1, lambda now: ev.Health(now, False, 33, 44))
    world.deliver(1, lambda now: ev.Command(now, CommandCode.CMD_STOP))
    world.run_ms(50)
    view = world.nodes[1].core.view()
    assert (view["fit"], view["health"], view["load"], view["stopping"]) == (False, 33, 44, True)
    peer = world.nodes[0].core.view()["peers"][0]
    assert (peer["health"], peer["load"]) == (33, 44)
    assert peer["flags"] & FrameFlag.FLAG_UNFIT and peer["flags"] & FrameFlag.FLAG_STOPPING


# ---------------------------------------------------------------- floods
def stale(world: World, i: int) -> Frame:
    return frame_of(world, i, stamp=1)


def stranger(world: World, i: int) -> Frame:
    return frame_of(world, i, incarnation=world.random.randrange(1, 1 << 32), flags=FrameFlag.FLAG_ASK)


def other_configuration(world: World, i: int) -> Frame:
    return frame_of(world, i, config_digest=2, flags=FrameFlag.FLAG_ASK)


def asks(world: World, i: int) -> Frame:
    return frame_of(world, i, flags=FrameFlag.FLAG_ASK, rows=(Row(State.STANDBY, 15, 0, 0),))


def own_name(world: World, i: int) -> Frame:
    return frame_of(world, 1 - i, incarnation=4711)


@pytest.mark.parametrize("make", [stale, stranger, other_configuration, asks, own_name], ids=lambda f: f.__name__)
@pytest.mark.parametrize("flooded", [0, 1])
@pytest.mark.parametrize("link", [0, 1])
def test_flooded_receiver_does_not_postpone_its_own_beats(make: Make, flooded: int, link: int) -> None:
    world = steady()
    sent: dict[int, list[int]] = {0: [world.now], 1: [world.now]}
    performed = world.perform

    def watch(i: int, effect: object) -> None:
        if i == flooded and isinstance(effect, ev.Send):
            for on in effect.links:
                sent[on].append(world.now)
        performed(i, effect)

    world.perform = watch  # type: ignore[method-assign]
    for _ in range(4000):
        frame = make(world, 1 - flooded)
        world.deliver(flooded, lambda now, f=frame: ev.Heard(now, link, f))  # type: ignore[misc]
        world.run_ms(0.25)
    for on, period_ms in ((0, 10), (1, 100)):
        gaps_ms = [(b - a) / MS for a, b in zip(sent[on], sent[on][1:] + [world.now], strict=True)]
        assert max(gaps_ms) <= period_ms * 1.25 + 0.01
        assert len(sent[on]) >= 1000 / (period_ms * 1.25)
    assert world.overlap_ms() == 0


# ---------------------------------------------------------------- replays
def recorded(world: World, source: int, ms: float = 1000) -> list[tuple[int, Frame]]:
    """What the source sends in the next while, newest first, with the link it went by."""
    frames: list[tuple[int, Frame]] = []
    transmit = world.transmit

    def record(i: int, link: int, frame: Frame) -> None:
        if i == source:
            frames.insert(0, (link, frame))
        transmit(i, link, frame)

    world.transmit = record  # type: ignore[method-assign]
    world.run_ms(ms)
    world.transmit = transmit  # type: ignore[method-assign]
    assert frames
    return frames


def replay(world: World, frames: list[tuple[int, Frame]], target: int, *, turns: int, every_ms: float = 1.0) -> None:
    for turn in range(turns):
        link, frame = frames[turn % min(50, len(frames))]
        world.deliver(target, lambda now, k=link, f=frame: ev.Heard(now, k, f))  # type: ignore[misc]
        world.run_ms(every_ms)


def still(world: World, i: int) -> dict[str, Any]:
    """The node's view at this very moment, so that what comes next is the only difference."""
    world.nodes[i].core.step(ev.Wake(world.local(i)))
    return world.nodes[i].core.view()


def test_recorded_asks_earn_no_promise() -> None:
    world = steady()
    frames = recorded(world, 0)
    world.power(0)
    replay(world, frames, 1, turns=60)
    assert world.drivers() == [1]                        # the promise ran out all the same
    assert world.nodes[1].core.view()["peers"][0]["paths"][0]["late_frames"] > 10


def test_recorded_answers_earn_no_authority() -> None:
    world = steady(nodes=3)
    frames = recorded(world, 1)
    world.cut_all((0, 1), ((1, 0), (2, 0)))
    replay(world, frames, 0, turns=60)
    assert 0 not in world.drivers()
    assert world.overlap_ms() <= 0


def test_frames_of_a_past_life_earn_nothing() -> None:
    world = steady()
    old = [frame for link, frame in recorded(world, 0) if link == 0]
    world.power(0)
    world.run_ms(100)
    assert world.drivers() == [1]
    world.restart(0)
    world.run_ms(1000)
    before = still(world, 1)
    for frame in old[:30]:
        world.deliver(1, lambda now, f=frame: ev.Heard(now, 0, f))  # type: ignore[misc]
    after = world.nodes[1].core.view()
    assert after["groups"] == before["groups"]
    late = after["peers"][0]["paths"][0].pop("late_frames")
    assert late - before["peers"][0]["paths"][0].pop("late_frames") == 30
    assert after["peers"] == before["peers"]


def test_frame_held_up_for_longer_than_the_longest_promise_proves_nothing() -> None:
    world = steady()
    frame = next(frame for link, frame in recorded(world, 0, 20) if link == 0)
    core = world.nodes[1].core
    world.cut_all((0, 1))
    world.run_ms(core.settings.grant_max_ms + 50)
    proven_ms = core.view()["peers"][0]["proven_ms"]
    held = frame._replace(stamp=frame.stamp + 1)         # one that never arrived
    core.step(ev.Heard(world.local(1), 0, held))
    assert core.view()["peers"][0]["proven_ms"] >= proven_ms
    assert core.view()["peers"][0]["grant_ms"] == 0


# ---------------------------------------------------------------- who is heard at all
def test_other_configuration_is_reported_once_and_bars_a_claim_for_ten_seconds() -> None:
    world = World(lonely_start_ms=0.0)
    world.start(0)
    world.run_ms(50)
    for n in range(30):
        echo = Echo(0, 1, 0, world.nodes[0].incarnation, world.local(0) // 1000 - 15_000)
        frame = Frame(source=1, incarnation=9, stamp=n + 1, pair_id=7, config_digest=2, echoes=(echo,))
        world.deliver(0, lambda now, f=frame: ev.Heard(now, 1, f))  # type: ignore[misc]
        world.run_ms(100)
    report, = [r for _, r in world.nodes[0].reports if r.code == ReportCode.RP_CONFIG_MISMATCH]
    assert (report.node, report.value, report.extra) == (1, 2, 1)
    assert world.nodes[0].core.view()["peers"][0]["config_mismatch"] is True
    world.run_ms(9_800)
    assert world.drivers() == []
    world.run_ms(300)
    assert world.drivers() == [0]


def test_other_version_is_reported_once_and_bars_a_claim() -> None:
    world = World(lonely_start_ms=0.0)
    world.start(0)
    for _ in range(10):
        frame = Frame(source=1, incarnation=0, stamp=0, pair_id=0, version=2, version_max=3)
        world.deliver(0, lambda now, f=frame: ev.Heard(now, 1, f, code=WireCode.WIRE_UNKNOWN_VERSION))  # type: ignore[misc]
        world.run_ms(200)
    report, = [r for _, r in world.nodes[0].reports if r.code == ReportCode.RP_VERSION_MISMATCH]
    assert (report.node, report.link, report.value, report.extra) == (1, 1, 2, 3)
    assert world.nodes[0].core.view()["peers"][0]["version_mismatch"] is True
    assert world.drivers() == []


def test_other_configuration_does_not_disturb_the_driver() -> None:
    world = steady()
    for _ in range(100):
        world.deliver(0, lambda now: ev.Heard(now, 0, other_configuration(world, 1)))
        world.run_ms(10)
    assert world.drivers() == [0]
    assert len(world.spans(0)) == 1


def test_own_name_with_another_incarnation_is_counted_and_changes_nothing_else() -> None:
    world = steady()
    core = world.nodes[0].core
    before = still(world, 0)
    twin = frame_of(world, 0, incarnation=4711, rows=(Row(State.ACTIVE, 0, 0, 9999 * 8),))
    echo = frame_of(world, 0)
    for frame in (twin, echo, twin):
        core.step(ev.Heard(world.local(0), 0, frame))
    after = core.view()
    assert (before.pop("self_frames"), after.pop("self_frames")) == (0, 2)
    assert after["groups"] == before["groups"]
    assert after["peers"] == before["peers"]


@pytest.mark.parametrize("source", [2, 5, 7])
def test_node_beyond_the_configured_ones_is_ignored(source: int) -> None:
    world = steady()
    core = world.nodes[1].core
    before = still(world, 1)
    row = Row(State.ACTIVE, source & 7, 0, 9999 * 8)
    frame = frame_of(world, 0, source=source, rows=(row,), flags=FrameFlag.FLAG_ASK)
    assert not any(isinstance(e, ev.Send) for e in core.step(ev.Heard(world.local(1), 0, frame)))
    assert core.view()["groups"] == before["groups"]
    assert core.view()["peers"] == before["peers"]


@pytest.mark.parametrize("seed", range(3))
def test_any_sequence_of_wild_frames_leaves_a_core_that_still_works(seed: int) -> None:
    """Authentic but senseless frames: a peer with a fault, or tests of one's own."""
    choose = random.Random(seed)
    world = steady(seed=seed)
    for _ in range(3000):
        incarnation = choose.choice([world.nodes[0].incarnation, choose.randrange(1 << 32)])
        frame = Frame(
            source=choose.randrange(8), incarnation=incarnation, stamp=choose.randrange(world.local(0) // 500),
            pair_id=7, config_digest=1, kind=choose.choice([FrameKind.FRAME_HEARTBEAT] * 9 + [FrameKind.FRAME_DEATH]),
            flags=choose.randrange(256), link_seq=choose.randrange(256), health=choose.randrange(256),
            echoes=tuple(Echo(choose.randrange(8), choose.randrange(256), choose.randrange(1 << 16),
                              choose.choice([world.nodes[1].incarnation, 5]), choose.randrange(world.local(1) // 500))
                         for _ in range(choose.randrange(8))),
            rows=tuple(Row(choose.randrange(6), choose.choice([*range(9), 15]), choose.randrange(16),
                           choose.randrange(1 << 16)) for _ in range(choose.randrange(4))),
        )
        world.deliver(1, lambda now, f=frame: ev.Heard(now, choose.randrange(2), f))  # type: ignore[misc]
        world.run_ms(choose.choice([0.0, 0.1, 3.0]))
    assert world.nodes[1].core.view()["illegal"] == 0
    world.restart(0)
    world.restart(1)
    world.run_ms(6000)
    assert len(world.drivers()) == 1
