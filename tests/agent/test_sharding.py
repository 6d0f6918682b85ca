"""Shards and their homes: pinned for ever, even, in proportion, and moving as little as possible."""
from __future__ import annotations

import math
from collections import Counter
from hashlib import blake2b

import pytest

from twinbeat.sharding import below_one, hash64, order_of, orders_of, shard_of

NODES = ("gw-a", "gw-b", "gw-c", "gw-d")


def equal(count: int) -> dict[str, int]:
    return dict.fromkeys(NODES[:count], 100)


def test_keys_belong_to_the_same_shard_for_ever() -> None:
    """Applications keep data by shard, in several languages: what this gives must never change."""
    pinned = {"": 4, "plc-1": 5, "plc-2": 6, "10.0.0.17:502": 4, "Förderband": 3, "\U0001f600": 0}
    assert {key: shard_of(key, 8) for key in pinned} == pinned
    assert [shard_of("plc-1", shards) for shards in (1, 2, 3, 16, 63, 64)] == [0, 1, 0, 13, 48, 45]


@pytest.mark.parametrize("key", ["plc-1", "Förderband", "x" * 1000])
def test_texts_are_their_utf8_and_the_rule_is_the_documented_one(key: str) -> None:
    data = key.encode()
    assert shard_of(key, 61) == shard_of(data, 61)
    assert shard_of(data, 61) == int.from_bytes(blake2b(data, digest_size=8).digest(), "big") % 61


def test_no_shards_is_an_error() -> None:
    with pytest.raises(ValueError, match="shards = 0"):
        shard_of("a", 0)


def test_keys_are_spread_evenly() -> None:
    counts = Counter(shard_of(f"device-{number}", 8) for number in range(8000))
    assert all(850 < counts[shard] < 1150 for shard in range(8))


def test_homes_are_pinned_for_ever() -> None:
    """Both gateways and every version must agree where a shard is at home."""
    assert homes("poll", 8, equal(2)) == "aababbab"
    assert homes("poll", 16, {"gw-a": 100, "gw-b": 300}) == "babbbbbbbbbabbaa"
    assert homes("poll", 9, equal(3)) == "caacbbcab"
    assert order_of("poll", 0, {"gw-a": 1, "gw-b": 1, "gw-c": 1}) == ("gw-c", "gw-b", "gw-a")


def homes(family: str, shards: int, capacities: dict[str, int]) -> str:
    """The last letter of each shard's home."""
    return "".join(order[0][-1] for order in orders_of(family, shards, capacities))


@pytest.mark.parametrize("nodes", [1, 2, 3, 4])
@pytest.mark.parametrize("shards", range(1, 65))
def test_equal_weights_are_within_one_shard_also_after_any_node_left(nodes: int, shards: int) -> None:
    capacities = equal(nodes)
    for family in ("poll", "cam"):
        orders = orders_of(family, shards, capacities)
        assert all(sorted(order) == sorted(capacities) for order in orders)
        counts = [sum(order[0] == node for order in orders) for node in capacities]
        assert max(counts) - min(counts) <= 1
        for gone in capacities if nodes > 1 else ():
            left = Counter(next(node for node in order if node != gone) for order in orders)
            counts = [left[node] for node in capacities if node != gone]
            assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize(("weights", "shards"), [((100, 200), 30), ((1, 1000), 64), ((100, 50, 25), 64),
                                                  ((300, 200, 100, 100), 49), ((7, 3), 10), ((999, 1), 1)])
def test_weights_are_kept_within_one_shard(weights: tuple[int, ...], shards: int) -> None:
    capacities = dict(zip(NODES, weights, strict=False))
    counts = Counter(order[0] for order in orders_of("poll", shards, capacities))
    for node, weight in capacities.items():
        assert abs(counts[node] - shards * weight / sum(weights)) < 1


@pytest.mark.parametrize("nodes", [2, 3, 4])
def test_only_the_shards_of_the_node_that_left_move(nodes: int) -> None:
    orders = orders_of("poll", 64, equal(nodes))
    for gone in NODES[:nodes]:
        moved = [order for order in orders if order[0] != next(node for node in order if node != gone)]
        assert moved == [order for order in orders if order[0] == gone]


def test_not_every_family_rounds_up_for_the_same_node() -> None:
    first = Counter(orders_of(f"family-{number}", 1, equal(2))[0][0] for number in range(200))
    assert min(first["gw-a"], first["gw-b"]) > 60


def test_scores_alone_are_in_proportion_to_the_weights() -> None:
    """What the homes are dealt out by: the weighted form -w / ln(u)."""
    wins = Counter(order_of("f", shard, {"gw-a": 100, "gw-b": 300})[0] for shard in range(4000))
    assert wins["gw-b"] / 4000 == pytest.approx(0.75, abs=0.025)


def test_a_new_node_takes_shards_and_moves_none_between_others() -> None:
    """The scores' property; the dealing out may move a few more where the file is changed."""
    for shard in range(500):
        before, after = (order_of("f", shard, equal(count))[0] for count in (3, 4))
        assert after in (before, "gw-d")


def test_the_order_of_nodes_in_the_file_does_not_matter() -> None:
    turned = dict(reversed(equal(3).items()))
    assert orders_of("poll", 40, equal(3)) == orders_of("poll", 40, turned)


@pytest.mark.parametrize("value", [0, 1, 12345, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - (1 << 20)])
def test_the_logarithm_is_right(value: int) -> None:
    assert below_one(value) / 2 ** 40 == pytest.approx(-math.log2((value + 1) / 2 ** 64), rel=1e-9, abs=2 ** -39)


def test_the_logarithm_is_never_zero() -> None:
    assert below_one((1 << 64) - 1) == 1


@pytest.mark.parametrize("capacities", [{}, {"gw-a": 0}, {"gw-a": 100, "gw-b": -1}])
def test_nodes_and_weights_are_needed(capacities: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least one node"):
        orders_of("poll", 8, capacities)


def test_parts_of_a_hash_do_not_run_into_each_other() -> None:
    assert hash64(b"ab", b"c") != hash64(b"a", b"bc")
