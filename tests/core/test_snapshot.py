"""A core's state is one copy: restored it goes on exactly as it would have, and equal events give equal bytes."""
from __future__ import annotations

import pytest
from random_world import RandomWorld, Watched, random_run
from world import SERIAL, settings

from twinbeat_core import events as ev
from twinbeat_core.errors import SnapshotError, TwinbeatError
from twinbeat_core.failover import Failover, view_state
from twinbeat_core.settings import CoreSettings

CONFIGS = [
    {"nodes": 2}, {"nodes": 3, "release_ms": 4.0}, {"nodes": 2, "groups": 5}, {"nodes": 2, "links": (SERIAL,)},
    {"nodes": 2, "lone": 1}, {"nodes": 2, "third_voter": True},
]
SEEDS = range(4)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("seed", SEEDS)
def test_restored_core_goes_on_with_identical_effects(config: dict[str, object], seed: int) -> None:
    steps = 0

    def shadow(core: Watched) -> None:
        twin = Failover(core.settings)

        def compare(event: ev.Event, effects: list[ev.Effect]) -> None:
            nonlocal twin, steps
            steps += 1
            assert twin.step(event) == effects
            assert twin.deadline_ns == core.deadline_ns
            assert twin.snapshot() == core.snapshot()
            if steps % 7 == 0:
                twin = Failover(core.settings)
                twin.restore(core.snapshot())
                assert twin.snapshot() == core.snapshot()
                assert twin.view() == core.view()

        core.listeners.append(compare)

    world = RandomWorld(seed=seed, on_core=shadow, **config)
    random_run(world, seed, 25)
    assert steps > 200


@pytest.mark.parametrize("seed", SEEDS)
def test_equal_events_give_equal_snapshots(seed: int) -> None:
    """The same world twice: every core of the one equals its counterpart in the other, bit for bit."""
    def run() -> list[bytes]:
        world = RandomWorld(seed=seed, nodes=3, groups=3, release_ms=2.0)
        random_run(world, seed, 25)
        return [core.snapshot() for core in world.cores]

    first = run()
    assert first == run()
    assert len(first) >= 3


@pytest.mark.parametrize("seed", SEEDS)
def test_recorded_events_replay_to_the_same_effects(seed: int) -> None:
    world = RandomWorld(seed=seed, nodes=2)
    random_run(world, seed, 25)
    for core in world.cores:
        fresh = Failover(CoreSettings.from_bytes(core.settings.to_bytes()))
        for event, effects in core.log:
            assert fresh.step(event) == effects
        assert fresh.snapshot() == core.snapshot()


def test_going_back_undoes_everything_after_the_snapshot() -> None:
    world = RandomWorld()
    world.start_all()
    world.run_ms(1000)
    core = world.cores[0].core
    before, view = core.snapshot(), core.view()
    world.power(1)
    world.run_ms(500)
    assert core.snapshot() != before
    core.restore(before)
    assert core.snapshot() == before
    assert core.view() == view


def test_snapshot_is_a_copy() -> None:
    core = Failover(settings(0))
    taken = core.snapshot()
    core.step(ev.Start(1_000_000_000, 5))
    assert taken == Failover(settings(0)).snapshot() != core.snapshot()


def test_view_state_reads_a_snapshot() -> None:
    core = Failover(settings(0, nodes=3, groups=2))
    core.step(ev.Start(1_000_000_000, 5))
    assert view_state(core.settings, core.snapshot()) == core.view()


@pytest.mark.parametrize("groups", [2, 64])
def test_snapshot_of_settings_with_other_groups_is_refused_and_changes_nothing(groups: int) -> None:
    core, other = Failover(settings(0)), Failover(settings(0, groups=groups))
    core.step(ev.Start(1_000_000_000, 5))
    before = core.snapshot()
    with pytest.raises(SnapshotError, match=f"snapshot of {len(other.snapshot())} bytes is none of a core with"
                                            f" these settings, which has {len(before)}") as caught:
        core.restore(other.snapshot())
    assert isinstance(caught.value, TwinbeatError)
    assert core.snapshot() == before
    with pytest.raises(SnapshotError):
        view_state(core.settings, other.snapshot())


@pytest.mark.parametrize("cut", [0, 1, -1])
def test_snapshot_of_another_size_is_refused(cut: int) -> None:
    core = Failover(settings(0))
    size = len(core.snapshot())
    with pytest.raises(SnapshotError):
        core.restore(bytes(size + cut if cut else 0))


def test_snapshot_holds_only_the_groups_in_use() -> None:
    sizes = [len(Failover(settings(0, groups=n)).snapshot()) for n in (1, 2, 3)]
    assert sizes[2] - sizes[1] == sizes[1] - sizes[0] > 0
