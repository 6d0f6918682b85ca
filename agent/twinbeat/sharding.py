"""Which shard a key belongs to, and at which node a shard is at home: weighted rendezvous hashing.

Every node has a score for every shard, made from a hash of both names, and the highest wins (Thaler, Ravishankar:
Using name-based mappings to increase hit rates, IEEE/ACM ToN 6(1), 1998). With weights the score is -w / ln(u), u
being the hash as a number between 0 and 1: a node then wins in proportion to its weight. When a node leaves, only its
own shards move.

Scores alone spread few shards unevenly. The homes are therefore dealt out: the highest scores first, each node until
it has its quota, which is its part of the shards by weight, rounded by the largest remainder. The second in each
shard's order is dealt out in the same way over what is left without the first. Nobody's home depends on who is up.

Whole numbers only, so that every machine and every version computes the same; tests pin what comes out.
"""
from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

HASH_BITS = 64
LOG_BITS = 40
"""Bits behind the point of a logarithm."""


def hash64(*parts: bytes) -> int:
    """64 bits of BLAKE2b over the parts with a zero byte between: the same on every machine, in every version."""
    return int.from_bytes(hashlib.blake2b(b"\0".join(parts), digest_size=8).digest(), "big")


def shard_of(key: str | bytes, shards: int) -> int:
    """The shard of an application's key, 0 to shards - 1: BLAKE2b of 8 bytes, big-endian, modulo `shards`.

    Texts count as UTF-8. Raises ValueError for no shards.
    """
    if shards < 1:
        raise ValueError(f"shards = {shards}: a group has at least one")
    data = key.encode("utf-8") if isinstance(key, str) else key
    return hash64(data) % shards


def below_one(value: int) -> int:
    """-log2(u) for u = (value + 1) / 2^64, with LOG_BITS bits behind the point; at least 1.

    Bit by bit: squaring the mantissa doubles its logarithm, whose next bit is the carry.
    """
    whole = value + 1
    exponent = whole.bit_length() - 1
    mantissa = whole << (HASH_BITS - exponent)
    fraction = 0
    for _ in range(LOG_BITS):
        mantissa = (mantissa * mantissa) >> HASH_BITS
        carry = mantissa >> (HASH_BITS + 1)
        mantissa >>= carry
        fraction = fraction << 1 | carry
    return max(1, (HASH_BITS << LOG_BITS) - (exponent << LOG_BITS) - fraction)


def score(family: str, shard: int, node: str, capacity: int) -> int:
    """The node's score for a shard: its weight over -log2(u). Higher is better."""
    hashed = hash64(family.encode("utf-8"), str(shard).encode("ascii"), node.encode("utf-8"))
    return (capacity << HASH_BITS) // below_one(hashed)


def order_of(family: str, shard: int, capacities: Mapping[str, int]) -> tuple[str, ...]:
    """The nodes by score for one shard, best first, before homes are dealt out. `capacities`: weight by node."""
    ranked = sorted((-score(family, shard, node, weight), node) for node, weight in capacities.items())
    return tuple(node for _, node in ranked)


def orders_of(family: str, shards: int, capacities: Mapping[str, int]) -> tuple[tuple[str, ...], ...]:
    """For every shard the nodes, its home first, with equal weights within one shard of an equal spread.

    Raises ValueError without nodes or with a weight below 1.
    """
    if not capacities or min(capacities.values()) < 1:
        raise ValueError("shards need at least one node, and weights of 1 or more")
    homes = dealt(family, range(shards), capacities, {})
    if len(capacities) == 1:
        return tuple((homes[shard],) for shard in range(shards))
    seconds: dict[int, str] = {}
    for gone in capacities:
        left = {node: weight for node, weight in capacities.items() if node != gone}
        held = {node: sum(home == node for home in homes.values()) for node in left}
        seconds |= dealt(family, [shard for shard in range(shards) if homes[shard] == gone], left, held)
    return tuple(
        (homes[shard], seconds[shard],
         *(node for node in order_of(family, shard, capacities) if node not in (homes[shard], seconds[shard])))
        for shard in range(shards)
    )


def dealt(family: str, shards: Sequence[int], capacities: Mapping[str, int], held: Mapping[str, int]) -> dict[int, str]:
    """The node of each of these shards: highest scores first, each node until its quota is full."""
    room = quotas(family, len(shards), capacities, held)
    ranked = sorted(
        (-score(family, shard, node, weight), shard, node) for shard in shards for node, weight in capacities.items()
    )
    found: dict[int, str] = {}
    for _, shard, node in ranked:
        if shard not in found and room[node] > 0:
            found[shard] = node
            room[node] -= 1
    return found


def quotas(family: str, count: int, capacities: Mapping[str, int], held: Mapping[str, int]) -> dict[str, int]:
    """How many of `count` shards each node gets beside those that it holds: one by one to whom most is missing.

    What is missing is the part by weight of all shards, less what the node has. Where as much is missing at several,
    a hash of family and node decides, so that not every family rounds up for the same node.
    """
    total = count + sum(held.values())
    weights = sum(capacities.values())
    given = dict.fromkeys(capacities, 0)
    for _ in range(count):
        neediest = max(
            capacities,
            key=lambda node: (capacities[node] * total - (held.get(node, 0) + given[node]) * weights,
                              hash64(family.encode("utf-8"), node.encode("utf-8"))),
        )
        given[neediest] += 1
    return given
