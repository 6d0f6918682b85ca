"""The simulator's third voter answers as firmware_bridge/arbiter/lease.py does, which boards and witness run.

Campaign runs note everything that reached the voter; the same is told to lease.py, in microseconds instead of
milliseconds, and every answer must be the same. Two moments less than that apart may come in the other order.
"""
from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from twinbeat.sim.chance import BLOCK, Ground, draw_shape
from twinbeat.sim.engine import Engine
from twinbeat.sim.spec import MS, LogEntry, LogKind
from twinbeat_bridge.arbiter import lease as real_lease

RUNS = 40
HEAL_NS = 6000 * MS
REST_NS = 1000 * MS
OVERTAKEN, RETURN, DEATH, START = 16, 17, 18, 19
GONE, UNPROVEN = 3, 4
CLOSE_US = 3
SAME = {1: 1, 2: 2, 3: 3, 4: 4}
"""The simulator's code of an answer in lease.py's words: PROMISED, REFUSED, ABSTAINS, UNPROVEN."""


def logs(world: str, first: int, runs: int) -> Iterator[tuple[int, int, int, list[LogEntry]]]:
    """(groups, promise and abstention in us, what the voter did) of each run."""
    for seed in range(first, first + runs):
        of = draw_shape(world, seed * BLOCK)
        spec = of.spec()
        grant_us = round(spec.settings[0].compile().third_grant_ms * 1000)
        actions = Ground(of, "wild").draw(seed, HEAL_NS).actions
        result = Engine(spec).run(actions, seed, HEAL_NS + REST_NS, log=True)
        did = [entry for entry in result.log if entry.kind == LogKind.VOTER]
        yield len(spec.groups_named), grant_us, spec.voter_abstain_ms * 1000, did


def differences(
    lease: ModuleType, groups: int, grant_us: int, abstain_us: int, entries: list[LogEntry]
) -> list[str]:
    """Answers of `lease` that differ from those of the simulator's voter."""
    voter = fresh(lease, groups, abstain_us, 1, 0, -2 * abstain_us)
    found: list[str] = []
    for entry in entries:
        now, did, told = entry.at_ns // 1000, entry.a >> 32, entry.a & 0xFFFFFFFF
        incarnation, epoch = entry.b >> 32, entry.b & 0xFFFFFFFF
        if did == START:
            voter = fresh(lease, groups, abstain_us, entry.link, entry.d, now)
        elif did == RETURN:
            voter.give_back(entry.node, incarnation, entry.group, epoch)
        elif did == DEATH:
            voter.dead(entry.node, entry.c, entry.group)
        else:
            held = voter.group[entry.group]
            edges = (held.until - now, voter.listen_until - now, now - entry.d // 1000 - grant_us)
            answer = voter.ask(now, entry.node, incarnation, entry.c, entry.link,
                               entry.d // 1000 & lease.CLOCK_MASK, grant_us, entry.group, epoch)
            wanted = None if did == OVERTAKEN else (SAME[did], told)
            if (answer if answer is None else answer[:2]) != wanted:
                if min(abs(edge) for edge in edges) <= CLOSE_US:
                    return found                 # from here on the two may go different ways
                found.append(f"{now} us, node {entry.node}, epoch {epoch}: {answer}, not {wanted}")
    return found


def fresh(lease: ModuleType, groups: int, abstain_us: int, life: int, floor: int, now: int) -> Any:
    voter = lease.Leases(groups, abstain_us, life, floor, 0xFFFFFFFF, now)
    voter.listen_until = now + abstain_us          # the simulator's begins at the very moment
    return voter


@pytest.mark.parametrize("world", ["voter", "gated", "witness"])
def test_the_model_answers_as_the_firmware(world: str) -> None:
    answers = 0
    for groups, grant_us, abstain_us, entries in logs(world, 1, RUNS):
        assert differences(real_lease, groups, grant_us, abstain_us, entries) == []
        answers += len(entries)
    assert answers > 1_000
