"""Fixed seeds of random fault schedules. Never two drivers where the arrangement promises it; one driver afterwards."""
from __future__ import annotations

import pytest
from campaign import Campaign

from twinbeat_core.model import Lone


def judge(run: Campaign, seed: int) -> None:
    told = f"seed {seed}: {run.done}"
    assert run.world.overlap_ms() <= 0, told
    assert len(run.world.drivers()) == 1, told
    assert all(node.core.view()["illegal"] == 0 for node in run.world.nodes), told


@pytest.mark.parametrize("release_ms", [0.0, 12.0, 300.0])
@pytest.mark.parametrize("seed", range(12))
def test_three_voters_survive_any_faults(seed: int, release_ms: float) -> None:
    run = Campaign(seed, nodes=3, lone=Lone.LONE_TAKEOVER, release_ms=release_ms)
    run.wild(4.0)
    judge(run, seed)


@pytest.mark.parametrize("seed", range(40))
def test_pair_with_hold_survives_any_faults(seed: int) -> None:
    run = Campaign(seed, nodes=2, lone=Lone.LONE_HOLD, release_ms=2.0)
    run.wild(5.0)
    judge(run, seed)


@pytest.mark.parametrize("seed", range(40))
def test_pair_with_takeover_survives_one_fault_after_the_other(seed: int) -> None:
    run = Campaign(seed, nodes=2, lone=Lone.LONE_TAKEOVER, release_ms=2.0)
    run.single(6.0)
    judge(run, seed)
