"""How evenly shards are spread, and how many keys move when a node leaves: computed, nothing is run."""
from __future__ import annotations

from collections import Counter
from typing import Any

from twinbeat.sharding import orders_of, shard_of

FAMILIES = (200, 20)              # names of groups; full, quick
SHARDS = (2, 3, 7, 8, 16, 31, 64)
NODE_COUNTS = (2, 3, 4)
KEYS = 20_000
CAPACITY = 100


def measure(quick: bool) -> dict[str, Any]:
    """Over many group names, numbers of shards and of nodes with equal weights, keys hashed as `twinbeat owner` does.

    uneven   by how many shards two nodes differ at most, all well
    moved    keys that change their node when one leaves, by those that it had: 1.0 is the least there can be; the worst
    uneven_left  by how many shards those that are left differ at most after that
    """
    places: dict[int, Counter[int]] = {}
    for shards in SHARDS:
        places[shards] = Counter(shard_of(f"device-{key}", shards) for key in range(KEYS))
    found = [_one(f"group-{name}", shards, [f"gw-{place}" for place in range(count)], places[shards])
             for name in range(FAMILIES[quick]) for shards in SHARDS for count in NODE_COUNTS]
    return {"cases": len(found), "keys": KEYS, "uneven": max(case[0] for case in found),
            "moved": max(case[1] for case in found), "uneven_left": max(case[2] for case in found)}


def _one(family: str, shards: int, nodes: list[str], keys: Counter[int]) -> tuple[int, float, int]:
    orders = orders_of(family, shards, dict.fromkeys(nodes, CAPACITY))
    before = [order[0] for order in orders]
    worst, uneven_left = 1.0, 0
    for gone in nodes:
        after = [next(node for node in order if node != gone) for order in orders]
        moved = sum(keys[shard] for shard in range(shards) if after[shard] != before[shard])
        least = sum(keys[shard] for shard in range(shards) if before[shard] == gone)
        worst = max(worst, moved / least) if least else worst
        uneven_left = max(uneven_left, _differ(after, [node for node in nodes if node != gone]))
    return _differ(before, nodes), worst, uneven_left


def _differ(homes: list[str], nodes: list[str]) -> int:
    held = [homes.count(node) for node in nodes]
    return max(held) - min(held)
