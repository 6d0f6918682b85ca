"""Who owns a key: what the control socket answers and pushes, and how far ahead its deadlines may lie."""
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from owner_rig import LEASE_NS, MS, SHARDS, TERMS, DeskRig, World, units_of

from twinbeat.control import RequestError
from twinbeat.errors import RefusedError
from twinbeat.key_lease import hold_of, wait_for
from twinbeat.run_owner import KEY_BYTES_MAX, VIEW_LIMIT_NS, VIEW_SHARED_NS, WATCHERS_MAX
from twinbeat.sharding import shard_of

WAIT_MS = TERMS.wait_ns / MS


@pytest.fixture
def rig() -> DeskRig:
    return DeskRig()


def key_of(shard: int) -> str:
    """A key of that shard."""
    return next(key for key in map("dev-{}".format, range(1000)) if shard_of(key, SHARDS) == shard)


def test_a_key_of_this_node(rig: DeskRig) -> None:
    rig.world.drive(2, 17, ago_ms=500)
    answer = rig.ask("owner", key=key_of(2))
    assert (answer["unit"], answer["group"], answer["shard"], answer["owner"]) == ("lines.2", "lines", 2, "gw-a")
    assert (answer["epoch"], answer["mine"], answer["since_ms"]) == (17, True, 500.0)
    assert answer["authority_left_ms"] == pytest.approx(25.0, abs=0.01)
    assert answer["authority_until_boottime_ns"] <= rig.loop.now_ns + 25 * MS
    assert (answer["nobody_ms_max"], answer["nobody_slow_ms_max"]) == (72.5, 410.0)


def test_a_key_of_the_other_node_and_of_nobody(rig: DeskRig) -> None:
    rig.world.peer_epoch[1] = 33
    answer = rig.ask("owner", key=key_of(1))
    assert (answer["owner"], answer["epoch"], answer["mine"], answer["authority_left_ms"]) == ("gw-b", 33, False, None)
    answer = rig.ask("owner", group="lines", shard=0)
    assert (answer["owner"], answer["epoch"], answer["mine"]) == (None, 0, False)


def test_a_group_without_shards_has_one_owner_for_every_key(rig: DeskRig) -> None:
    rig.world.drive(SHARDS, 9, ago_ms=100)
    for more in ({}, {"key": "a"}, {"key": "b"}, {"shard": 0}):
        assert rig.ask("owner", group="pump", **more)["unit"] == "pump"
    assert rig.ask("owner", group="lines.3")["unit"] == "lines.3"


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({}, "name a key"),
        ({"key": 5}, "name a key"),
        ({"key": "x" * (KEY_BYTES_MAX + 1)}, "name a key, a text of at most 1024 bytes"),
        ({"key": "\ud800"}, "name a key"),
        ({"key": "a", "group": "tanks"}, r'no group "tanks"; the groups are lines \(lines.0 to lines.3\), pump'),
        ({"key": "a", "group": ["lines"]}, "there is no group"),
        ({"key": "a", "group": "lines.2"}, 'lines.2 is one shard: for a key name the group, "lines"'),
        ({"group": "lines", "shard": 4}, r'shard 4 of "lines" is out of range: 0 to 3'),
        ({"group": "lines", "shard": True}, "out of range"),
        ({"group": "lines", "shard": -1}, "out of range"),
    ],
)
def test_wrong_questions(rig: DeskRig, request_: dict[str, Any], text: str) -> None:
    with pytest.raises(RequestError, match=text):
        rig.ask("owner", **request_)


def test_after_taking_over_the_keys_wait_until_every_lease_told_elsewhere_has_run_out(rig: DeskRig) -> None:
    rig.world.drive(0, 5)
    answer = rig.ask("owner", group="lines", shard=0)
    assert (answer["owner"], answer["mine"]) == ("gw-a", False)
    assert answer["mine_from_boottime_ns"] - rig.loop.now_ns == pytest.approx(TERMS.wait_ns, abs=1000)
    assert rig.ask("lease")["held"] == []
    rig.loop.now_ns = answer["mine_from_boottime_ns"]
    assert rig.ask("owner", group="lines", shard=0)["mine"]
    assert [held[:2] for held in rig.ask("lease")["held"]] == [[0, 5]]


def test_a_group_driven_by_both_waits_for_nobody() -> None:
    rig = DeskRig(units_of(overlap=True))
    rig.world.drive(0, 5)
    rig.world.peer_epoch[0] = 6
    answer = rig.ask("owner", group="lines", shard=0)
    assert (answer["owner"], answer["mine"], answer["drivers"]) == ("gw-a", True, ["gw-a", "gw-b"])


def test_a_lease_is_never_longer_than_agreed_nor_than_the_authority(rig: DeskRig) -> None:
    rig.world.drive(0, 5, ago_ms=100)
    rig.world.authority_ns = 900 * MS        # a slow link alone is left: its promises are long
    ((_, _, until_ns),) = rig.ask("lease")["held"]
    assert until_ns == rig.loop.now_ns + LEASE_NS
    rig.loop.now_ns += VIEW_SHARED_NS + 1
    rig.world.authority_ns = 3 * MS
    ((_, _, until_ns),) = rig.ask("lease")["held"]
    assert 2.9 * MS < until_ns - rig.loop.now_ns <= 3 * MS
    rig.loop.now_ns += VIEW_SHARED_NS + 1
    rig.world.authority_ns = 0
    assert rig.ask("lease")["held"] == []


def test_many_applications_asking_at_once_cost_one_view(rig: DeskRig) -> None:
    rig.world.drive(0, 5, ago_ms=100)
    first = rig.ask("lease")
    assert all(rig.ask("lease") == first for _ in range(20))
    assert rig.world.looks == 1


def test_a_decider_that_does_not_answer_lends_nothing(rig: DeskRig) -> None:
    rig.world.drive(0, 5, ago_ms=100)
    assert rig.ask("lease")["held"]
    rig.loop.now_ns += 10 * MS

    def stall() -> None:
        rig.loop.now_ns += VIEW_LIMIT_NS + 1

    rig.world.pause = stall
    with pytest.raises(RequestError, match="the decider does not answer"):
        rig.ask("lease")


# ------------------------------------------------------------ the promise itself


@given(
    let_go_ms=st.floats(0, 200), read_ms=st.floats(0, 200), taken_ms=st.floats(0, 50), authority_ms=st.floats(0, 5000),
    slow=st.floats(-200, 200), fast=st.floats(-200, 200),
)
def test_no_deadline_of_the_giver_reaches_into_the_takers_time(
    let_go_ms: float, read_ms: float, taken_ms: float, authority_ms: float, slow: float, fast: float
) -> None:
    """The giver's last view was taken before it let go, the taker drives no sooner than that, and clocks are wrong."""
    read_ms = min(read_ms, let_go_ms)
    giver = World(lambda: int(read_ms * MS / (1 - slow / 1e6)))
    giver.drive(0, 5, ago_ms=1000)
    giver.authority_ns = int(authority_ms * MS)
    until_true_ns = hold_of(giver(), 0, TERMS, exclusive=True).until_ns * (1 - slow / 1e6)
    begin_true_ns = (let_go_ms + taken_ms) * MS
    taker = World(lambda: 0)
    taker.drive(0, 6)
    wait_true_ns = hold_of(taker(), 0, TERMS, exclusive=True).from_ns / (1 + fast / 1e6)
    assert until_true_ns <= begin_true_ns + wait_true_ns + 1


@given(st.integers(1, 10**12), st.floats(0, 10_000))
def test_the_wait_outlasts_the_lease_for_any_clock_within_the_drift(lease_ns: int, drift_ppm: float) -> None:
    drift = drift_ppm / 1e6
    assert wait_for(lease_ns, drift_ppm) / (1 + drift) > lease_ns / (1 - drift) * (1 - 1e-12)


def test_a_state_that_is_not_driving_holds_nothing() -> None:
    world = World(lambda: 10**9)
    for state in ("LISTEN", "STANDBY", "CLAIMING", "RELEASING", "OUT"):
        view = world()
        view["groups"][0] |= {"state": state, "epoch": 4, "authority_ms": 20.0, "since_ms": 900.0}
        assert hold_of(view, 0, TERMS, exclusive=True) == (4, 0, 0)


# ------------------------------------------------------------ watching


def test_a_watcher_gets_everything_and_then_every_change_once(rig: DeskRig) -> None:
    rig.world.drive(0, 5, ago_ms=100)
    stream, first = rig.watch()
    assert [row["unit"] for row in first["units"]] == ["lines.0", "lines.1", "lines.2", "lines.3", "pump"]
    assert (first["node"], first["lease_ms"], first["units"][0]["mine"]) == ("gw-a", 30.0, True)
    rig.message()
    assert stream.lines == []
    rig.world.leave(0)
    rig.message()
    rig.message()
    (line,) = stream.lines
    assert (line["push"], line["unit"], line["owner"], line["mine"]) == ("owner", "lines.0", None, False)
    assert line["authority_until_boottime_ns"] is None


def test_a_takeover_is_told_at_once_and_mine_when_the_wait_is_over(rig: DeskRig) -> None:
    stream, _ = rig.watch()
    rig.world.drive(1, 8)
    rig.message()
    assert [(line["owner"], line["mine"]) for line in stream.lines] == [("gw-a", False)]
    rig.loop.advance((WAIT_MS - 1) / 1000)
    assert len(stream.lines) == 1
    rig.loop.advance(0.002)
    assert [(line["owner"], line["mine"], line["epoch"]) for line in stream.lines[1:]] == [("gw-a", True, 8)]
    assert stream.lines[1]["authority_until_boottime_ns"] > rig.loop.now_ns


def test_the_other_nodes_takeover_is_found_without_a_message(rig: DeskRig) -> None:
    rig.world.drive(1, 8, ago_ms=100)
    stream, _ = rig.watch()
    rig.world.leave(1)
    rig.message()
    rig.world.peer_epoch[1] = 9
    rig.loop.advance(0.05)
    assert [(line["owner"], line["epoch"]) for line in stream.lines] == [(None, 0), ("gw-b", 9)]
    looks = rig.world.looks
    rig.loop.advance(30)
    assert rig.world.looks - looks <= 60, "it goes on looking for about a second"


def test_no_watcher_costs_nothing(rig: DeskRig) -> None:
    stream, _ = rig.watch()
    assert len(rig.hooks) == 1
    stream.leave()
    rig.message()
    looks = rig.world.looks
    assert rig.hooks == []
    rig.loop.advance(10)
    assert rig.world.looks == looks
    rig.watch()
    assert len(rig.hooks) == 1


def test_watchers_are_bounded(rig: DeskRig) -> None:
    streams = [rig.watch()[0] for _ in range(WATCHERS_MAX)]
    assert rig.watch()[1]["error"] == "8 applications are watching already; close one of them"
    assert rig.desk.watching == WATCHERS_MAX
    streams[0].leave()
    assert rig.desk.watching == WATCHERS_MAX - 1
    assert rig.watch()[1]["ok"]
    with pytest.raises(RequestError, match="watching already"):
        rig.desk.table()["watch"].serve({}, lambda answer: None, streams[1])  # type: ignore[attr-defined]
    with pytest.raises(RefusedError, match="stays open"):
        rig.ask("watch")
