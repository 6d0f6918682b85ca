"""The rule, step by step: what one gateway says and does at given moments."""
from __future__ import annotations

import pytest
from rule_world import DRIFT_PPM, GRANT_MS, KEY

from twinbeat_bridge.contract import Code, VoteAnswer
from twinbeat_bridge.zookeeper_rule import Action, Create, Read, Rule, Write
from twinbeat_bridge.zookeeper_value import NOBODY, Held, Place, Seal
from twinbeat_core.errors import SettingsError

SEAL = Seal(KEY, "pump", "main")
WAIT_US = GRANT_MS * 1000 * (1_000_000 + DRIFT_PPM) // 1_000_000 + 1000
T0 = 5_000_000


def value(place: Place, **fields: int | bool) -> bytes:
    """What a gateway has written there."""
    held = Held(holder=1, incarnation=3, epoch=17, floor=17, stamp=99, grant_ms=GRANT_MS, released=False)
    return SEAL.write(held._replace(**fields), place)  # type: ignore[arg-type]


def connected() -> Rule:
    """Node 0 has sent its first read."""
    rule = Rule(0, SEAL, node=0, incarnation=7, grant_ms=GRANT_MS, drift_ppm=DRIFT_PPM)
    assert rule.connect(T0) == [Read()]
    return rule


def seen(**fields: int | bool) -> Rule:
    """Node 0 has seen the promise to node 1 change from version 4 to 5 at T0."""
    rule = connected()
    rule.observed(T0 - 10, value(Place(50, 4)), Place(50, 4))
    rule.look(T0)
    rule.observed(T0, value(Place(50, 5), **fields), Place(50, 5))
    return rule


def asked(rule: Rule, now_us: int, epoch: int = 24, version: int = 5, **fields: int | bool) -> list[Action]:
    """An ask, with the read that it causes answered by the same version as before."""
    assert rule.ask(now_us, epoch, now_us) == [Read()]
    return rule.observed(now_us, value(Place(50, version), **fields), Place(50, version))


def promised(rule: Rule, now_us: int = T0 + WAIT_US) -> Rule:
    """Node 0 holds epoch 24 from now on."""
    assert isinstance(asked(rule, now_us)[0], Write)
    assert rule.written(now_us + 500, Place(50, 6)) == [VoteAnswer(0, Code.PROMISED, 24, now_us, GRANT_MS)]
    return rule


def test_another_promise_lasts_from_when_it_was_read() -> None:
    rule = seen()
    assert asked(rule, T0 + WAIT_US - 1) == [VoteAnswer(0, Code.REFUSED, 17, T0 + WAIT_US - 1, 1)]
    (write,) = asked(rule, T0 + WAIT_US)
    assert isinstance(write, Write) and write.version == 5
    assert SEAL.read(write.value, Place(50, 6)) == Held(0, 7, 24, 24, T0 + WAIT_US, GRANT_MS, False)


def test_a_renewal_read_moves_the_end() -> None:
    rule = seen()
    rule.look(T0 + 50_000)
    rule.observed(T0 + 50_000, value(Place(50, 6), stamp=100), Place(50, 6))
    assert asked(rule, T0 + WAIT_US, version=6)[0] == VoteAnswer(0, Code.REFUSED, 17, T0 + WAIT_US, 50)


def test_returned_is_free_at_once_and_read_before_refusing() -> None:
    """Nobody told that the znode has changed."""
    rule = seen()
    assert rule.ask(T0 + 1000, 24, T0 + 1000) == [Read()]
    assert isinstance(rule.observed(T0 + 1000, value(Place(50, 6), released=True), Place(50, 6))[0], Write)


@pytest.mark.parametrize("new_session", [False, True])
def test_first_read_binds_whatever_it_says(new_session: bool) -> None:
    rule = seen(released=True) if new_session else connected()
    if new_session:
        rule.disconnect()
        rule.new_session()
        rule.connect(T0)
    rule.observed(T0, value(Place(50, 5), released=True), Place(50, 5))
    (answer,) = asked(rule, T0 + WAIT_US - 1000, released=True)
    assert answer == VoteAnswer(0, Code.GONE, 17, T0 + WAIT_US - 1000, 1)
    assert isinstance(asked(rule, T0 + WAIT_US, released=True)[0], Write)


def test_the_same_session_goes_on_counting() -> None:
    rule = seen()
    rule.disconnect()
    rule.connect(T0 + 90_000)
    rule.observed(T0 + 90_000, value(Place(50, 5)), Place(50, 5))
    assert isinstance(asked(rule, T0 + WAIT_US)[0], Write)


def test_a_death_notice_ends_that_life_only() -> None:
    rule = seen()
    rule.peer_dead(1, 2)
    assert isinstance(asked(rule, T0 + 1000)[0], VoteAnswer)
    rule.peer_dead(1, 3)
    assert isinstance(asked(rule, T0 + 2000)[0], Write)


def test_a_write_of_the_dead_that_lands_late_binds_nobody() -> None:
    rule = seen()
    rule.peer_dead(1, 3)
    rule.look(T0 + 5000)
    rule.observed(T0 + 5000, value(Place(50, 6), stamp=100), Place(50, 6))
    assert isinstance(asked(rule, T0 + 6000, version=6, stamp=100)[0], Write)


def test_renewal_is_one_write_and_its_promise_has_the_stamp_of_the_ask() -> None:
    rule = promised(seen())
    now = T0 + WAIT_US + 30_000
    (write,) = rule.ask(now, 24, now)
    assert isinstance(write, Write) and write.version == 6
    assert rule.written(now + 800, Place(50, 7)) == [VoteAnswer(0, Code.PROMISED, 24, now, GRANT_MS)]


def test_lost_race_reads_again_and_is_refused() -> None:
    rule = promised(seen())
    now = T0 + WAIT_US + 30_000
    rule.ask(now, 24, now)
    assert rule.raced(now + 1000) == [Read()]
    (answer,) = rule.observed(now + 2000, value(Place(50, 8), epoch=33, floor=33), Place(50, 8))
    assert answer == VoteAnswer(0, Code.REFUSED, 33, now, WAIT_US // 1000)


@pytest.mark.parametrize("landed", [False, True])
def test_unknown_outcome_is_no_promise_before_it_is_read_back(landed: bool) -> None:
    rule = seen()
    (write,) = asked(rule, T0 + WAIT_US)
    assert isinstance(write, Write)
    assert [answer.code for answer in rule.disconnect() if isinstance(answer, VoteAnswer)] == [Code.GONE]
    assert rule.connect(T0 + WAIT_US + 9000) == [Read()]
    now = T0 + WAIT_US + 10_000
    stands, place = (write.value, Place(50, 6)) if landed else (value(Place(50, 5)), Place(50, 5))
    expected = [VoteAnswer(0, Code.PROMISED, 24, T0 + WAIT_US, GRANT_MS)] if landed else []
    assert rule.observed(now, stands, place) == expected


def test_a_server_that_refuses_the_write_gives_no_promise() -> None:
    rule = seen()
    asked(rule, T0 + WAIT_US)
    assert rule.unknown() == [VoteAnswer(0, Code.GONE, 17, T0 + WAIT_US, 0)]


def test_read_back_of_an_older_write_is_no_promise_for_the_newer_stamp() -> None:
    rule = promised(seen())
    now = T0 + WAIT_US + 30_000
    rule.ask(now, 24, now)
    rule.disconnect()
    rule.connect(now + 5000)
    mine = value(Place(50, 6), holder=0, incarnation=7, epoch=24, floor=24, stamp=T0 + WAIT_US)
    assert rule.observed(now + 6000, mine, Place(50, 6)) == []


def test_return_is_written_once_and_the_epoch_is_over() -> None:
    rule = promised(seen())
    now = T0 + WAIT_US + 10_000
    (write,) = rule.give_back(now, 24)
    assert isinstance(write, Write)
    released = SEAL.read(write.value, Place(50, 7))
    assert released is not None and released.released and released.floor == 24
    assert rule.written(now, Place(50, 7)) == [] and not rule.owes()
    assert rule.ask(now + 1, 24, now + 1) == [Read()]
    assert rule.observed(now + 1, write.value, Place(50, 7)) == [VoteAnswer(0, Code.REFUSED, 24, now + 1, 0)]
    assert isinstance(rule.ask(now + 2, 32, now + 2)[0], Read)
    assert isinstance(rule.observed(now + 2, write.value, Place(50, 7))[0], Write)


def test_return_of_an_earlier_claim_ends_no_later_one() -> None:
    rule = promised(seen())
    assert rule.give_back(T0 + WAIT_US + 10, 16) == []


def test_return_while_cut_off_is_made_up_for() -> None:
    rule = promised(seen())
    rule.disconnect()
    assert rule.give_back(T0 + WAIT_US + 10, 24) == []
    rule.connect(T0 + WAIT_US + 1000)
    mine = value(Place(50, 6), holder=0, incarnation=7, epoch=24, floor=24, stamp=T0 + WAIT_US)
    (write,) = rule.observed(T0 + WAIT_US + 2000, mine, Place(50, 6))
    assert isinstance(write, Write)


def test_epochs_only_rise() -> None:
    rule = seen(released=True)
    assert asked(rule, T0 + 1, epoch=17, released=True) == [VoteAnswer(0, Code.REFUSED, 17, T0 + 1, 0)]
    assert asked(rule, T0 + 2, epoch=0, released=True) == [VoteAnswer(0, Code.REFUSED, 17, T0 + 2, 0)]


def test_absent_is_created_with_what_is_known_and_binds() -> None:
    rule = seen()
    rule.look(T0 + 10)
    (create,) = rule.absent(T0 + 10)
    assert isinstance(create, Create)
    made = SEAL.read(create.value, Place(60, 0))
    assert made is not None and (made.holder, made.floor) == (NOBODY, 17)
    assert rule.written(T0 + 20, Place(60, 0)) == [Read()]
    rule.observed(T0 + 30, create.value, Place(60, 0))
    now = T0 + 30 + WAIT_US
    rule.ask(now - 1000, 24, now - 1000)
    assert rule.observed(now - 1000, create.value, Place(60, 0)) == [VoteAnswer(0, Code.GONE, 17, now - 1000, 1)]
    rule.ask(now, 16, now)
    assert rule.observed(now, create.value, Place(60, 0)) == [VoteAnswer(0, Code.REFUSED, 17, now, 0)]


def test_the_holder_of_a_scribbled_znode_gets_its_epoch_back_after_the_wait() -> None:
    rule = promised(seen())
    now = T0 + WAIT_US + 10_000
    rule.look(now)
    rule.observed(now, b"hello", Place(50, 7))
    rule.ask(now + 1000, 24, now + 1000)
    (answer,) = rule.observed(now + 1000, b"hello", Place(50, 7))
    assert isinstance(answer, VoteAnswer) and answer.code == Code.GONE and rule.counts["strange"] == 1
    rule.ask(now + WAIT_US, 24, now + WAIT_US)
    assert isinstance(rule.observed(now + WAIT_US, b"hello", Place(50, 7))[0], Write)


def test_a_released_value_written_again_frees_nothing() -> None:
    """Somebody copies what stood there before: it is signed, but not for this version."""
    rule = seen()
    rule.look(T0 + 10)
    rule.observed(T0 + 10, value(Place(50, 3), released=True), Place(50, 6))
    assert rule.held is None and rule.left_ms(T0 + 10) == WAIT_US // 1000


def test_newest_ask_wins_and_older_ones_are_dropped() -> None:
    rule = seen()
    assert rule.ask(T0 + 1000, 24, 1000) == [Read()]
    assert rule.ask(T0 + 1100, 24, 1100) == [] and rule.ask(T0 + 1200, 24, 1050) == []
    (answer,) = rule.observed(T0 + 2000, value(Place(50, 5)), Place(50, 5))
    assert isinstance(answer, VoteAnswer) and answer.stamp == 1100 and rule.counts["overtaken"] == 2


def test_without_a_connection_the_answer_is_gone() -> None:
    rule = seen()
    rule.disconnect()
    assert rule.ask(T0 + 10, 24, T0 + 10) == [VoteAnswer(0, Code.GONE, 17, T0 + 10, 0)]


def test_versions_that_would_turn_negative_are_left_alone() -> None:
    rule = connected()
    place = Place(50, 0x7FFFFFFE)
    rule.observed(T0, value(place), place)
    rule.ask(T0 + WAIT_US, 24, T0 + WAIT_US)
    (answer,) = rule.observed(T0 + WAIT_US, value(place), place)
    assert isinstance(answer, VoteAnswer) and answer.code == Code.GONE


@pytest.mark.parametrize(
    "other", [Seal(bytes(16), "pump", "main"), Seal(KEY, "pumpm", "ain"), Seal(KEY, "pump", "spare")]
)
def test_a_value_holds_for_its_key_and_name_alone(other: Seal) -> None:
    assert SEAL.read(value(Place(50, 5)), Place(50, 5)) is not None
    assert other.read(value(Place(50, 5)), Place(50, 5)) is None


@pytest.mark.parametrize("place", [Place(51, 5), Place(50, 6), Place(50, 0)])
def test_a_value_holds_at_its_place_alone(place: Place) -> None:
    assert SEAL.read(value(Place(50, 5)), place) is None


@pytest.mark.parametrize("field", ["holder", "incarnation", "epoch", "floor", "stamp", "grant_ms"])
def test_a_changed_field_is_noticed(field: str) -> None:
    text = value(Place(50, 5))
    start = text.index(field.encode()) + len(field) + 2
    changed = text[:start] + (b"2" if text[start:start + 1] != b"2" else b"3") + text[start + 1:]
    assert changed != text and SEAL.read(changed, Place(50, 5)) is None


@pytest.mark.parametrize("change", [{"grant_ms": 0}, {"holder": 15}, {"epoch": -1}, {"stamp": 1 << 48}])
def test_signed_nonsense_is_not_read(change: dict[str, int]) -> None:
    assert SEAL.read(value(Place(50, 5), **change), Place(50, 5)) is None


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(SettingsError, match="has 5 bytes"):
        Seal(b"short", "pump", "main")
