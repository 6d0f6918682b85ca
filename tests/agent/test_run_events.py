"""Claims that come to nothing are told a few times and then counted."""
from __future__ import annotations

from twinbeat.run_events import VAIN_PAUSE_NS, VAIN_SHOWN, EventLog, VainClaims
from twinbeat.run_words import Names, Reported, about_group
from twinbeat_core.model import Cause, ReportCode, State


def change(old: State, new: State, at_ns: int, group: int = 0) -> Reported:
    return Reported(at_ns, ReportCode.RP_STATE, group, int(old), 0, 8, int(new), int(Cause.CAUSE_SILENCE))


def back_and_forth(claims: VainClaims, count: int, begin_ns: int = 0) -> list[bool]:
    told = []
    for number in range(count):
        old, new = (State.STANDBY, State.CLAIMING) if number % 2 == 0 else (State.CLAIMING, State.STANDBY)
        told.append(claims.take(change(old, new, begin_ns + number * 100_000_000))[0])
    return told


def test_the_first_are_told_and_the_rest_counted() -> None:
    claims = VainClaims()
    told = back_and_forth(claims, 101)
    assert told == [True] * VAIN_SHOWN + [False] * (101 - VAIN_SHOWN)
    assert claims.take(change(State.CLAIMING, State.ACTIVE, 10**10)) == (True, 101 - VAIN_SHOWN)
    assert claims.take(change(State.ACTIVE, State.RELEASING, 10**10)) == (True, 0)


def test_a_claim_long_after_is_a_new_one() -> None:
    claims = VainClaims()
    back_and_forth(claims, 20)
    later = 2_000_000_000 + VAIN_PAUSE_NS
    assert claims.take(change(State.STANDBY, State.CLAIMING, later)) == (True, 20 - VAIN_SHOWN)
    assert claims.take(change(State.CLAIMING, State.ACTIVE, later + 1)) == (True, 0)


def test_groups_are_counted_apart() -> None:
    claims = VainClaims()
    back_and_forth(claims, 50)
    assert claims.take(change(State.STANDBY, State.CLAIMING, 0, group=1)) == (True, 0)


def test_events_say_which_group_they_are_about() -> None:
    names = Names("gw-a", ("gw-a", "gw-b"), ("pump", "fan"), ("cross",))
    state = Reported(1, ReportCode.RP_STATE, 1, 2, 0, 0, 3, 0)
    assert about_group(state, names) == "fan"
    assert about_group(state._replace(code=ReportCode.RP_HANDOVER_REFUSED), names) == "fan"
    assert about_group(state._replace(code=ReportCode.RP_PEER_DEAD), names) is None
    assert about_group(state._replace(code=ReportCode.RP_LINK_UP), names) is None
    log = EventLog(lambda code, text, at_ns: None)
    log.add("A", "about one", at_ns=1, group="fan")
    log.add("B", "about none", at_ns=2)
    assert [event.get("group") for event in log.last(2)] == ["fan", None]
