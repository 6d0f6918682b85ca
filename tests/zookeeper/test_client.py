"""Gateways at a real ZooKeeper: promises, returns, and what a cut, a restart or a stranger does to them."""
from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from client_rig import GRANT_MS, LIMIT_S, SESSION_MS, Node, eventually, node, pair_name
from keeper import Keeper, free_ports, lonely_member
from tunnel import Tunnel

from twinbeat_bridge.contract import Code
from twinbeat_bridge.zookeeper import now_us
from twinbeat_bridge.zookeeper_link import Answer, Outcome
from twinbeat_bridge.zookeeper_rule import Read
from twinbeat_bridge.zookeeper_value import Place

pytestmark = pytest.mark.integration


@contextmanager
def stranger(keeper: Keeper, **options: Any) -> Iterator[Any]:
    """Anybody else with a ZooKeeper client."""
    from kazoo.client import KazooClient

    client = KazooClient(f"127.0.0.1:{keeper.port}", timeout=4.0, **options)
    client.start(LIMIT_S)
    try:
        yield client
    finally:
        client.stop()
        client.close()


def test_promise_and_renewal(keeper: Keeper) -> None:
    with node(keeper.port, pair_name()) as one:
        first = one.gets(8)
        assert (first.group, first.epoch, first.ms) == (0, 8, GRANT_MS)
        version = one.group("version")
        assert one.asked(8).code == Code.PROMISED
        assert one.group("version") == version + 1 and one.group("holder") == 0
        assert one.says("connected") and one.says("reason") is None and one.says("round_trip_ms") > 0


def test_a_new_znode_binds_for_one_promise(keeper: Keeper) -> None:
    with node(keeper.port, pair_name()) as one:
        eventually(lambda: one.group("version") is not None)
        began = now_us()
        assert one.asked(8).code == Code.GONE
        one.gets(8)
        assert now_us() - began > GRANT_MS * 900


def test_another_is_refused_until_the_promise_has_run_out(keeper: Keeper) -> None:
    pair = pair_name()
    with node(keeper.port, pair) as one, node(keeper.port, pair, node=1) as two:
        one.gets(8)
        held = one.asked(8)
        refused = two.asked(17)
        assert (refused.code, refused.epoch) == (Code.REFUSED, 8) and 0 < refused.ms <= GRANT_MS + 5
        taken = two.gets(17)
        assert two.told_us[taken] - held.stamp > GRANT_MS * 1000
        assert one.asked(8).code == Code.REFUSED


@pytest.mark.parametrize("by", ["watch", "look"])
def test_a_renewal_is_seen_without_any_ask(keeper: Keeper, by: str) -> None:
    pair = pair_name()
    with node(keeper.port, pair) as one, node(keeper.port, pair, node=1) as two:
        if by == "watch":
            two.client._look_every_s = 3600.0
        else:
            two.client._watches = [lambda event: None]  # type: ignore[list-item]
        one.gets(8)
        for _ in range(3):
            one.asked(8)
            version = one.group("version")
            eventually(lambda: two.group("version") == version)  # noqa: B023


def test_a_slow_read_counts_from_its_answer(keeper: Keeper, tunnel: Tunnel) -> None:
    """What it shows may have been written long after it was asked for."""
    pair = pair_name()
    with node(keeper.port, pair) as one, node(tunnel.port, pair, node=1) as two:
        two.client._watches = [lambda event: None]  # type: ignore[list-item]
        one.gets(8)
        eventually(lambda: two.group("epoch") == 8)
        tunnel.freeze("up")
        began = now_us()
        two.ask(17)
        done = one.keeps(8)
        eventually(lambda: now_us() - began > GRANT_MS * 500)
        done.set()
        held = one.asked(8)
        assert held.code == Code.PROMISED
        tunnel.mend()
        assert two.told_us[two.gets(17)] - held.stamp > GRANT_MS * 1000


def test_returned_is_free_at_once(keeper: Keeper) -> None:
    pair = pair_name()
    with node(keeper.port, pair) as one, node(keeper.port, pair, node=1) as two:
        two.gets(0, Code.REFUSED)
        two.gets(17)
        eventually(lambda: one.group("holder") == 1)
        two.asked(17)
        two.client.give_back(0, 17)
        eventually(lambda: one.group("version") == two.group("version") and one.group("holder") is None)
        assert one.asked(24).code == Code.PROMISED


def test_return_at_the_last_moment_is_written(keeper: Keeper) -> None:
    pair = pair_name()
    with node(keeper.port, pair, node=1) as two:
        with node(keeper.port, pair) as one:
            one.gets(8)
            eventually(lambda: two.group("epoch") == 8)
            one.asked(8)
            one.client.give_back(0, 8)
        assert two.asked(17).code == Code.PROMISED


def test_a_death_notice_ends_the_promise_at_once(keeper: Keeper) -> None:
    pair = pair_name()
    with node(keeper.port, pair) as one, node(keeper.port, pair, node=1, incarnation=5) as two:
        two.gets(17)
        eventually(lambda: one.group("epoch") == 17)
        two.asked(17)
        one.client.peer_dead(1, 4, frozenset({0}), b"")
        assert one.asked(24).code == Code.REFUSED
        one.client.peer_dead(1, 5, frozenset({0, 9}), b"")
        assert one.asked(24).code == Code.PROMISED


def test_groups_are_apart(keeper: Keeper) -> None:
    pair = pair_name()
    with node(keeper.port, pair, groups=["a", "b"]) as one, node(keeper.port, pair, node=1, groups=["a", "b"]) as two:
        one.gets(8)
        stamps = []

        def promised() -> bool:
            stamps.append(two.ask(17, group=1))
            return two.answer_to(stamps[-1]).code == Code.PROMISED

        eventually(promised)
        assert one.asked(8).code == Code.PROMISED


def test_a_new_life_waits_for_the_old_ones_promise(keeper: Keeper) -> None:
    pair = pair_name()
    with node(keeper.port, pair) as one:
        held = one.gets(8)
    with node(keeper.port, pair, incarnation=2) as again:
        assert again.told_us[again.gets(16)] - held.stamp > GRANT_MS * 1000


def test_a_cut_is_told_and_mends(keeper: Keeper, tunnel: Tunnel) -> None:
    with node(tunnel.port, pair_name()) as one:
        one.gets(8)
        session = one.says("life")
        tunnel.refuses = True
        tunnel.cut()
        eventually(lambda: not one.says("connected"))
        assert one.asked(8).code == Code.GONE
        eventually(lambda: f"127.0.0.1:{tunnel.port}" in one.says("reason"))
        tunnel.mend()
        one.gets(8)
        assert one.says("life") == session and one.says("reason") is None


@pytest.mark.parametrize("landed", [True, False])
def test_a_cut_in_mid_write(keeper: Keeper, tunnel: Tunnel, landed: bool) -> None:
    """The outcome is not known: no promise before it is read back; and none at all when it never landed."""
    with node(tunnel.port, pair_name()) as one:
        one.gets(8)
        before = one.group("version")
        eventually(lambda: one.client._rules[0].doing is None and not one.client._rules[0].stale)
        tunnel.freeze("down" if landed else "up")
        stamp = one.ask(8)
        with stranger(keeper) as other:
            path = f"/twinbeat/{one.pair}/main"
            if landed:
                eventually(lambda: other.get(path)[1].version == before + 1)
            else:
                eventually(lambda: one.client._rules[0].doing is not None)
            tunnel.cut()
            tunnel.mend()
            assert one.answer_to(stamp).code == Code.GONE
            if landed:
                assert one.answer_to(stamp, Code.PROMISED).epoch == 8
            else:
                eventually(lambda: one.says("connected") and one.client._rules[0].doing is None)
                assert other.get(path)[1].version == before
                assert [vote.code for vote in one.votes if vote.stamp == stamp] == [Code.GONE]
            assert one.gets(8).code == Code.PROMISED


def test_a_renewal_that_was_overtaken_is_refused(keeper: Keeper, tunnel: Tunnel) -> None:
    """It is on its way while another, who knows this life to be dead, is promised."""
    pair = pair_name()
    with node(tunnel.port, pair) as one, node(keeper.port, pair, node=1) as two:
        one.gets(8)
        eventually(lambda: one.client._rules[0].doing is None and not one.client._rules[0].stale)
        eventually(lambda: two.group("epoch") == 8)
        tunnel.freeze("up")
        stamp = one.ask(8)
        two.client.peer_dead(0, 1, frozenset({0}), b"")
        two.gets(17)
        tunnel.mend()
        assert one.answer_to(stamp).code != Code.PROMISED
        assert two.asked(17).code == Code.PROMISED
        assert one.gets(8, Code.REFUSED).epoch == 17


def test_an_answer_to_what_was_given_up_is_dropped() -> None:
    pytest.importorskip("kazoo")
    one = Node(2181, pair_name(), start=False)
    assert one.client._rules[0].connect(now_us()) == [Read()]
    one.client._tickets[0] = 5
    one.client._take_answer(0, 4, Answer(Outcome.DONE, b"", Place(7, 7)), now_us())
    assert one.client._rules[0].place is None and one.client._rules[0].doing == Read()


def test_silence_is_noticed_within_the_session(keeper: Keeper, tunnel: Tunnel) -> None:
    """Nothing is closed, nothing answers, and asks go on."""
    with node(tunnel.port, pair_name()) as one:
        one.gets(8)
        began = now_us()
        tunnel.freeze()
        done = one.keeps(8)
        eventually(lambda: not one.says("connected"))
        assert now_us() - began < 2 * SESSION_MS * 1000
        done.set()
        tunnel.mend()
        one.gets(8)


def test_an_expired_session_waits_for_what_it_reads(keeper: Keeper, tunnel: Tunnel) -> None:
    pair = pair_name()
    with node(keeper.port, pair) as one, node(tunnel.port, pair, node=1) as two:
        one.gets(8)
        eventually(lambda: two.group("epoch") == 8)
        session = two.says("life")
        tunnel.freeze()
        eventually(lambda: f"Expiring session 0x{session.lstrip('0')}" in keeper.log())
        one.client.give_back(0, 8)
        eventually(lambda: one.group("holder") is None)
        tunnel.cut()
        tunnel.mend()
        eventually(lambda: two.says("life") not in (None, session))
        eventually(lambda: two.group("version") == one.group("version"))
        assert two.asked(17).code == Code.GONE
        two.gets(17)


def test_two_gateways_through_cuts_never_hold_together(keeper: Keeper, tunnel: Tunnel) -> None:
    """The holder is cut off: the other is promised after the holder's time has run out on the same clock."""
    pair = pair_name()
    with node(tunnel.port, pair) as one, node(keeper.port, pair, node=1) as two:
        one.gets(8)
        eventually(lambda: two.group("epoch") == 8)
        done = one.keeps(8)
        for _ in range(3):
            assert two.asked(17).code == Code.REFUSED
        tunnel.freeze()
        taken = two.gets(17)
        done.set()
        last = max(vote.stamp for vote in one.votes if vote.code == Code.PROMISED)
        assert two.told_us[taken] > last + GRANT_MS * 1000
        tunnel.cut()
        tunnel.mend()
        keeping = two.keeps(17)
        one.gets(8, Code.REFUSED)
        keeping.set()


def test_restarted_server_has_forgotten_nothing(tmp_path: Path) -> None:
    own = Keeper(tmp_path)
    own.start()
    pair = pair_name()
    try:
        with node(own.port, pair) as one, node(own.port, pair, node=1) as two:
            one.gets(8)
            eventually(lambda: two.group("epoch") == 8)
            own.stop()
            eventually(lambda: not one.says("connected") and not two.says("connected"))
            eventually(lambda: "refused" in one.says("reason"))
            assert one.asked(8).code == Code.GONE
            own.start()
            one.gets(8)
            assert two.gets(0, Code.REFUSED).epoch == 8
    finally:
        own.stop()


def test_read_only_server_gives_no_vote_and_says_so(tmp_path: Path) -> None:
    own = lonely_member(tmp_path)
    own.start()
    try:
        with node(own.port, pair_name()) as one:
            eventually(lambda: "read-only" in (one.says("reason") or ""), 40.0)
            assert one.asked(8).code == Code.GONE
    finally:
        own.stop()


def test_absent_ensemble(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("kazoo")
    (port,) = free_ports(1)
    with caplog.at_level(logging.WARNING), node(port, pair_name()) as one:
        eventually(lambda: "refused" in one.says("reason"))
        assert one.asked(8).code == Code.GONE
        eventually(lambda: caplog.records)
    assert [record.name for record in caplog.records] == ["twinbeat.zookeeper"]
    assert f"127.0.0.1:{port}" in caplog.records[0].getMessage()


def test_unknown_host() -> None:
    pytest.importorskip("kazoo")
    with node(0, pair_name(), hosts="no-such-host.invalid:2181") as one:
        eventually(lambda: "no-such-host.invalid is not found" in one.says("reason"))


def test_wrong_password(keeper: Keeper) -> None:
    pair = pair_name()
    with node(keeper.port, pair, user="gw", password="right") as one:
        one.gets(8)
        with node(keeper.port, pair, node=1, user="gw", password="wrong") as two:
            assert two.asked(17).code == Code.GONE
            eventually(lambda: 'user "gw" may not read' in (two.says("reason") or ""))
        with stranger(keeper) as other:
            from kazoo.exceptions import NoAuthError

            with pytest.raises(NoAuthError):
                other.set(f"/twinbeat/{pair}/main", b"mine")


def test_no_right_to_create(keeper: Keeper) -> None:
    from kazoo.security import make_digest_acl

    with stranger(keeper) as other:
        other.create("/closed", b"", acl=[make_digest_acl("somebody", "else", all=True)])
    with node(keeper.port, pair_name(), path="/closed") as one:
        eventually(lambda: "may not create /closed" in (one.says("reason") or ""))
        assert one.asked(8).code == Code.GONE


def test_the_granted_session_is_told(keeper: Keeper) -> None:
    with node(keeper.port, pair_name(), session_ms=9000) as one:
        eventually(lambda: "4000 ms instead of session_ms = 9000" in (one.says("reason") or ""))
        assert one.says("session_ms") == {"asked": 9000, "granted": 4000}


@pytest.mark.parametrize("how", ["delete", "scribble", "again"])
def test_a_stranger_costs_votes_and_nothing_else(keeper: Keeper, how: str) -> None:
    pair = pair_name()
    with node(keeper.port, pair) as one, node(keeper.port, pair, node=1) as two, stranger(keeper) as other:
        path = f"/twinbeat/{pair}/main"
        one.gets(8)
        eventually(lambda: two.group("epoch") == 8)
        held = one.asked(8)
        if how == "delete":
            other.delete(path)
        else:
            other.set(path, b"hello" if how == "scribble" else other.get(path)[0])
        eventually(lambda: two.client._rules[0].counts["absent" if how == "delete" else "strange"]
                   or one.client._rules[0].counts["absent" if how == "delete" else "strange"])
        assert two.asked(17).code != Code.PROMISED
        if how != "delete":
            eventually(lambda: "was not written by a gateway" in (two.says("reason") or ""))
        assert two.told_us[two.gets(17)] - held.stamp > GRANT_MS * 1000
        assert one.asked(8).epoch == 17 and two.says("reason") is None


def test_stop_is_bounded_while_nothing_answers(keeper: Keeper, tunnel: Tunnel) -> None:
    one = Node(tunnel.port, pair_name())
    one.gets(8)
    tunnel.freeze()
    one.client.give_back(0, 8)
    began = now_us()
    one.client.stop()
    assert now_us() - began < 5_000_000
