"""The client of the arbiter in the real-time part: what it asks, and what each answer makes of it."""
from __future__ import annotations

import itertools
import statistics
import struct

import pytest
from harness import PATIENCE_S, Child, Relay
from voter_player import (
    GRANT_MS,
    LIFE,
    NEVER_MS,
    VOTER,
    Ask,
    Player,
    Row,
    figures,
    figures_when,
    promises,
    says,
    silent,
    voted_node,
)

from twinbeat_bridge.arbiter import frames, lease
from twinbeat_core.frames import Frame
from twinbeat_core.model import Cause, FrameFlag, State

ON, OFF = 1, 0
INCARNATION = 1000


def claims(ask: Ask) -> bool:
    return ask.claims


def drives(relay: Relay) -> bool:
    return any(byte == ON for _, byte in relay.history)


def driving(child: Child, relay: Relay) -> int:
    """Wait until the node drives; the epoch."""
    relay.wait(ON)
    return int(child.wait("OutputChanged", lambda line: line["code"] == "OUTPUT_DRIVEN")["epoch"])


# ---------------------------------------------------------------- asks


def test_asks_come_with_the_heartbeats_that_ask_and_carry_their_stamp() -> None:
    with voted_node() as (child, relay, line, player):
        driving(child, relay)

        def both() -> list[tuple[Ask, Frame]]:
            sent = {frame.stamp: frame for frame in line.frames}
            return [(ask, sent[ask.stamp]) for ask in player.heard if ask.claims and ask.stamp in sent]

        line.wait_frame(lambda _frame: len(both()) >= 10)
        for ask, frame in both():
            assert frame.flags & FrameFlag.FLAG_ASK
            assert ask.rows == ((0, frame.rows[0].epoch),)
            assert (ask.node, ask.pair, ask.incarnation, ask.grant) == (0, 7, INCARNATION, GRANT_MS)
        stamps = [ask.stamp for ask in player.heard if ask.claims]
        assert stamps == sorted(stamps)


def test_sixteen_groups_fit_one_frame_each_way() -> None:
    with voted_node(groups=16) as (child, _relay, _line, player):
        asked = player.wait(lambda ask: ask.claims and len(ask.rows) == 16)
        assert [group for group, _ in asked.rows] == list(range(16))
        figures_when(child, lambda now: all(group["code"] == lease.PROMISED for group in now["groups"]))


def test_every_group_that_is_let_go_is_given_back() -> None:
    with voted_node(groups=16) as (child, relay, _line, player):
        relay.wait(ON)
        child.ask("Posted", do="command", code="CMD_STOP")
        returned: set[tuple[int, int]] = set()

        def all_given_back(ask: Ask) -> bool:
            returned.update(ask.rows if ask.kind == frames.RETURN else ())
            return {group for group, _ in returned} == set(range(16))

        player.wait(all_given_back)
        assert returned <= {row for ask in player.heard if ask.claims for row in ask.rows}


def test_an_idle_node_asks_for_the_floor_every_half_promise() -> None:
    with voted_node() as (child, relay, line, player):
        driving(child, relay)
        child.ask("Posted", do="command", code="CMD_OUT")
        child.wait_state(State.OUT)
        asks = player.wait_many(9, lambda ask: ask.kind == frames.ASK, player.mark() + 3)
        assert {ask.rows for ask in asks} == {((0, 0),)}
        gaps_ms = [(after.stamp - before.stamp) / 1000 for before, after in itertools.pairwise(asks)]
        assert 0.4 * GRANT_MS < statistics.median(gaps_ms) < 0.9 * GRANT_MS
        line.wait_frame(lambda frame: frame.stamp > asks[-1].stamp and bool(frame.flags & FrameFlag.FLAG_THIRD))
        player.act = silent
        gone = player.wait(lambda ask: ask.kind == frames.ASK, player.mark())
        line.wait_frame(
            lambda frame: frame.stamp > gone.stamp + GRANT_MS * 1000 and not frame.flags & FrameFlag.FLAG_THIRD
        )


def test_the_echo_is_the_newest_answers_life_and_clock() -> None:
    with voted_node(silent) as (child, _relay, _line, player):
        first = player.wait_many(3, claims)
        assert {(ask.life, ask.clock) for ask in first} == {(0, 0)}
        player.act = says(lease.ABSTAINS)
        player.wait(lambda ask: ask.claims and ask.life == LIFE)
        player.leases.life = LIFE + 1
        newer = player.wait(lambda ask: ask.claims and ask.life == LIFE + 1)
        assert newer.clock in {clock for _, clock in player.answered}
        assert not [ask for ask in player.heard[player.heard.index(newer):] if ask.life != LIFE + 1]
        now = figures(child)
        assert (now["lives"], now["life"]) == (2, LIFE + 1)


# ---------------------------------------------------------------- promises and refusals


def test_its_promise_alone_makes_the_node_drive_after_listening() -> None:
    with voted_node() as (child, relay, line, player):
        epoch = driving(child, relay)
        assert line.wait_frame(lambda frame: True).rows[0].state == State.LISTEN
        first, asked = player.wait(lambda ask: ask.kind == frames.ASK), player.wait(claims)
        assert first.rows == ((0, 0),)
        assert asked.stamp - first.stamp > 0.8 * GRANT_MS * 1000, "it abstains for its own longest promise"
        assert (0, epoch) in {row for ask in player.heard for row in ask.rows}
        assert (player.leases.group[0].holder, player.leases.group[0].incarnation) == (0, INCARNATION)
        player.act = silent
        relay.wait(OFF)
        child.wait_state(State.RELEASING)


@pytest.mark.parametrize("ms", [200, 0])
def test_refused_it_stands_back_or_claims_above(ms: int) -> None:
    refused: list[Ask] = []

    def once(ask: Ask) -> list[Row]:
        if not ask.claims:
            return promises(ask)
        if not refused or ask.rows == refused[0].rows:
            refused.append(ask)
            return [Row(0, lease.REFUSED, refused[0].rows[0][1] + 400, ms)]
        return promises(ask)

    with voted_node(once) as (child, relay, _line, player):
        if ms:
            back = child.wait("Reported", lambda line: line["code"] == "RP_STATE" and line["node"] == State.CLAIMING)
            assert (back["value"], back["extra"]) == (State.STANDBY, Cause.CAUSE_YIELD)
        epoch = driving(child, relay)
        again = player.wait(lambda ask: ask.claims and ask.rows != refused[0].rows)
        assert epoch > refused[0].rows[0][1] + 400, "the next claim is above the floor that was told"
        assert again.stamp >= refused[0].at_ns // 1000 + ms * 1000
        now = figures(child)
        assert now["refusals"] >= len(refused) and now["promises"] >= 1


@pytest.mark.parametrize(
    ("code", "counter"),
    [
        (lease.ABSTAINS, "abstains"),
        (lease.OTHER_PAIR, "other_pair"),
        (lease.WRONG_SIDE, "wrong_side"),
        (lease.WAITS, "answers"),
        (lease.NO_GROUP, "no_group"),
    ],
)
def test_what_is_no_promise_and_no_refusal_is_counted_and_gives_no_vote(code: int, counter: str) -> None:
    with voted_node(says(code, ms=GRANT_MS)) as (child, relay, _line, player):
        player.wait_many(10, claims)
        now = figures_when(child, lambda now: now[counter] >= 10)
        assert (now["promises"], now["refusals"], now["groups"][0]["code"]) == (0, 0, code)
        others = {"abstains", "other_pair", "wrong_side", "no_group", "unproven"} - {counter}
        assert not any(now[other] for other in others)
        assert not relay.read(0.0).count(ON) and not drives(relay)
        player.act = promises
        relay.wait(ON)


def test_what_it_will_refuse_after_abstaining_is_reserved_at_once_and_not_claimed_yet() -> None:
    with voted_node(silent) as (child, relay, _line, player):
        claim = player.wait(claims).rows[0][1]
        player.act = says(lease.ABSTAINS, epoch=5000, ms=GRANT_MS)
        child.wait("PersistCeiling", lambda line: line["epoch"] > 5000)
        player.wait_many(5, claims, player.mark())
        assert {ask.rows for ask in player.heard if ask.claims} == {((0, claim),)}
        player.act = promises
        assert driving(child, relay) == claim


def test_a_claim_that_begins_after_it_abstained_is_above_what_it_will_refuse() -> None:
    with voted_node(says(lease.ABSTAINS, epoch=5000, ms=GRANT_MS)) as (_child, _relay, _line, player):
        player.wait(lambda ask: ask.kind == frames.ASK and not ask.claims)
        assert player.wait(claims).rows[0][1] > 5000


# ---------------------------------------------------------------- unproven


def test_an_unproven_ask_is_repeated_once_with_its_own_stamp_and_the_new_echo() -> None:
    with voted_node(says(lease.UNPROVEN)) as (child, relay, _line, player):
        def of_stamp() -> dict[int, list[Ask]]:
            by_stamp: dict[int, list[Ask]] = {}
            for ask in list(player.heard):
                if ask.claims:
                    by_stamp.setdefault(ask.stamp, []).append(ask)
            return by_stamp

        player.wait(lambda ask: len([1 for asks in of_stamp().values() if len(asks) == 2]) >= 5)
        player.wait_many(20, claims, player.mark())
        now = figures(child)
        asks = of_stamp()
        assert {len(found) for found in asks.values()} <= {1, 2}, "once, and never again"
        for first, *rest in asks.values():
            for again in rest:
                said = [clock for ask, clock in player.answered if ask is first]
                assert again._replace(life=0, clock=0, at_ns=0) == first._replace(life=0, clock=0, at_ns=0)
                assert again.life == LIFE and again.clock >= said[0]
        assert now["repeats"] >= 5 and now["unproven"] > now["repeats"]
        assert now["promises"] == 0 and not relay.read(0.0).count(ON)
        player.act = player.by_the_rules
        relay.wait(ON)


def test_a_repeat_is_promised_for_the_stamp_of_the_first() -> None:
    proven: list[Ask] = []

    def only_repeats(ask: Ask) -> list[Row]:
        if not ask.claims:
            return []
        if [other.stamp for other in player.heard].count(ask.stamp) == 2:
            proven.append(ask)
            return promises(ask)
        return [Row(0, lease.UNPROVEN)]

    with voted_node(silent) as (child, relay, _line, player):
        player.act = only_repeats
        epoch = driving(child, relay)
        assert (0, epoch) in {row for ask in proven for row in ask.rows}


def test_an_ask_that_was_overtaken_is_not_repeated() -> None:
    with voted_node(silent) as (child, _relay, _line, player):
        player.act = lambda ask: player.answer(ask, [Row(0, lease.UNPROVEN)], stamp=ask.stamp - 1)
        assert figures_when(child, lambda now: now["unproven"] >= 10)["repeats"] == 0


def test_an_ask_for_a_claim_that_is_over_is_not_repeated() -> None:
    with voted_node(promises) as (child, relay, _line, player):
        driving(child, relay)
        player.returned = lambda _back: player.answer([ask for ask in player.heard if ask.claims][-1],
                                                      [Row(0, lease.UNPROVEN)])
        child.ask("Posted", do="command", code="CMD_STOP")
        assert figures_when(child, lambda now: now["unproven"])["repeats"] == 0


# ---------------------------------------------------------------- answers of others


@pytest.mark.parametrize(
    ("wrong", "counter"),
    [
        ({"voter": VOTER + 1}, "other_voter"),
        ({"incarnation": INCARNATION - 1}, "other_node"),
        ({"node": 1}, "other_node"),
    ],
)
def test_an_answer_of_or_to_another_is_counted_and_ignored(wrong: dict[str, int], counter: str) -> None:
    with voted_node(promises, head=wrong) as (child, relay, _line, player):
        asks = player.wait_many(10, claims)
        now = figures_when(child, lambda now: now[counter] >= 10)
        assert {(ask.life, ask.clock) for ask in asks} == {(0, 0)}, "nothing of it is echoed"
        assert (now["answers"], now["promises"], now["heard_ago_ms"]) == (0, 0, None)
        assert now["voter_heard"] == wrong.get("voter", 0) and now["voter"] == VOTER
        assert not relay.read(0.0).count(ON) and not drives(relay)
        player.head = {}
        relay.wait(ON)
        assert figures(child)["voter_heard"] == VOTER


# ---------------------------------------------------------------- figures, who are you


def test_figures_show_what_was_heard() -> None:
    with voted_node(silent) as (child, relay, _line, player):
        empty = figures_when(child, lambda now: now["asks"])
        assert (empty["attached"], empty["answers"], empty["heard_ago_ms"], empty["told"]) == (True, 0, None, "")
        assert empty["groups"] == [{"group": 0, "code": 0, "contacts": None, "ago_ms": None}]
        player.head = {"heard": 17}
        player.act = lambda ask: [row._replace(contacts=3) for row in promises(ask)]
        driving(child, relay)
        before, now = figures(child), figures(child)       # read one after the other, not at one moment
        assert now["asks"] >= before["answers"] and now["answers"] >= before["promises"] >= 1
        assert (now["voter"], now["voter_heard"], now["life"], now["other_heard_ms"]) == (VOTER, VOTER, LIFE, 17)
        assert (now["groups"][0]["code"], now["groups"][0]["contacts"]) == (lease.PROMISED, 3)
        assert 0 <= now["groups"][0]["ago_ms"] < PATIENCE_S * 1000 and 0 <= now["heard_ago_ms"] < PATIENCE_S * 1000
        assert now["round_trip"]["count"] >= before["answers"]
        assert not any(now[name] for name in ("bad_form", "other_voter", "other_node", "noise", "faults", "votes_lost"))


def test_it_is_asked_who_it_is_about_once_a_second_and_the_answer_is_kept() -> None:
    tail = struct.pack(frames.TOLD_TAIL, 0, 9, 1, 1, 0xDEADBEEF, 1, 2, 3, 4, 5, 6, 1, 2, 2000, 0)
    with voted_node(silent) as (child, _relay, _line, player):
        bodies: list[bytes] = []

        def told(ask: Ask) -> bytes:
            bodies.append(player.head_of(ask, frames.TOLD, 0) + tail)
            return bodies[-1]

        player.told = told
        queries = player.wait_many(4, lambda ask: ask.kind == frames.QUERY)
        assert all(ask.rows == () and ask.incarnation == INCARNATION for ask in queries)
        gaps_ms = [(after.stamp - before.stamp) / 1000 for before, after in itertools.pairwise(queries)]
        assert min(gaps_ms) >= 999 and statistics.median(gaps_ms) < 3000
        now = figures_when(child, lambda now: bytes.fromhex(now["told"]) in bodies[3:])
        assert now["queries"] >= 4 and now["answers"] >= 4 and now["heard_ago_ms"] is not None
        assert now["other_heard_ms"] == NEVER_MS


def test_a_planned_stop_gives_the_promise_of_its_epoch_back() -> None:
    with voted_node() as (child, relay, _line, player):
        epoch = driving(child, relay)
        child.ask("Posted", do="command", code="CMD_STOP")
        child.wait_state(State.OUT)
        back = player.wait(lambda ask: ask.kind == frames.RETURN and ask.rows == ((0, epoch),))
        assert (back.node, back.incarnation) == (0, INCARNATION)
        player.wait_many(2, lambda ask: ask.kind == frames.ASK and not ask.claims, player.heard.index(back))
        assert player.leases.holder(Player.now_ms(), 0) == lease.NOBODY
        after = player.heard[max(at for at, ask in enumerate(player.heard) if ask.kind == frames.RETURN):]
        assert not any(ask.claims for ask in after), "what was given back is not asked for again"
        assert relay.read(0.0).endswith(bytes([OFF]))
        assert child.ask("Stopped", do="stop")["gate_alive"] is False
        assert not any(ask.kind == frames.DEATH for ask in player.heard), "a planned end is no death"


