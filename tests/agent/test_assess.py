"""Who could take a unit, at home where, and what is said of it: looked at in one view of the core."""
from __future__ import annotations

from typing import Any

import pytest
from run_fakes import core_view, peer_view

from twinbeat.control import RequestError
from twinbeat.run_assess import Assessor
from twinbeat.run_units import Unit, Units
from twinbeat.run_words import Names, Reported, sentence
from twinbeat.verdict import reason_text
from twinbeat_core.model import Cause, FrameFlag, ReportCode, State

NAMES = Names("gw-a", ("gw-a", "gw-b", "gw-c"), ("pump",), ("cross", "mqtt"))


def unit(**changes: Any) -> Unit:
    return Unit(**({"number": 0, "name": "pump", "family": "pump", "drivers": ("gw-b", "gw-a", "gw-c")} | changes))


def assessor(only: Unit, *peers: dict[str, Any], state: str = "ACTIVE") -> Assessor:
    shown = list(peers) or [peer_view(1, links=2), peer_view(2, links=2)]
    return Assessor(core_view(state, peers=shown), NAMES, Units((only,), (5.0, 1.0)))


def test_the_best_ranked_ready_node_is_taken() -> None:
    pump = unit()
    look = assessor(pump)
    assert (look.best(pump), look.home(pump)) == ("gw-b", "gw-b")
    look = assessor(pump, peer_view(1, silent=True), peer_view(2))
    assert (look.best(pump), look.home(pump)) == ("gw-c", "gw-a"), "this node ranks before gw-c"
    assert look.plan(pump, None).taker == "gw-c"


def test_a_node_that_only_votes_takes_nothing() -> None:
    pump = unit(drivers=("gw-a", "gw-b"))
    plan = assessor(pump).plan(pump, "gw-c")
    assert plan.would is False
    assert plan.reasons == ("gw-c may not drive pump, it only votes; name one of gw-a, gw-b",)
    assert plan.facts[0]["may_drive"] is False and plan.gap == {}
    assert assessor(pump, peer_view(1, silent=True), peer_view(2)).best(pump) is None


def test_where_nobody_else_may_drive() -> None:
    pump = unit(drivers=("gw-a",))
    assert assessor(pump).plan(pump, None).reasons == ("no other node may drive pump",)


def test_two_hops_are_those_of_the_fastest_link_that_is_up() -> None:
    pump = unit(release_ms=8.0, make_ms=2.0)
    assert assessor(pump).gap(pump, "gw-b")["all_ms"] == 11.0
    deaf = peer_view(1, links=2)
    deaf["paths"][1]["tx_dead"] = True
    assert assessor(pump, deaf).gap(pump, "gw-b") == {
        "release_ms": 8.0, "make_ms": 2.0, "two_hops_ms": 5.0, "all_ms": 15.0
    }


def test_notes_do_not_refuse() -> None:
    pump = unit(gated=True, failback="after", drivers=("gw-a", "gw-b"), hooks=1, prepare_ms=700.0)
    plan = assessor(pump).plan(pump, None)
    assert plan.would is True
    assert plan.notes == (
        "gw-b does not reach the arbiter: what it drives would not reach the load",
        "gw-b first runs 1 prepare hook, for at most 700 ms; if one fails, nothing moves",
        'it comes back by itself: failback = "after", and gw-a ranks before gw-b',
    )
    reaches = peer_view(1, flags=FrameFlag.FLAG_THIRD)
    plan = assessor(pump, reaches).plan(pump, None)
    assert len(plan.notes) == 2 and plan.facts[0]["reaches_third_voter"] is True


def test_maintenance_is_all_that_a_node_may_drive_out_of_service() -> None:
    two = (unit(), unit(number=1, name="fan", family="fan", drivers=("gw-a", "gw-c")))
    names = NAMES._replace(groups=("pump", "fan"))

    def look(first: str, second: str, **more: Any) -> Assessor:
        rows = [{"state": state, "vote": 15, "epoch": 8} for state in (first, second)]
        groups = [core_view("ACTIVE")["groups"][0] for _ in two]
        view = core_view(peers=[peer_view(1, rows=rows, **more)]) | {"groups": groups}
        return Assessor(view, names, Units(two, (1.0,)))

    assert look("OUT", "STANDBY").in_maintenance("gw-b") is True, "it may not drive the fan"
    assert look("STANDBY", "OUT").in_maintenance("gw-b") is False
    assert look("OUT", "OUT", silent=True).in_maintenance("gw-b") is False
    assert look("OUT", "OUT").in_maintenance("gw-c") is False


def test_a_move_by_load_names_the_loads() -> None:
    peers = [{"node": "gw-b", "load": 12, "heard_ms_ago": 4.0}]
    assert reason_text(Cause.CAUSE_LOAD, {"load": 91, "peers": peers}) == (
        "its load was above the other node's for load_hold_s (here 91 %, gw-b 12 %)"
    )
    assert reason_text(Cause.CAUSE_LOAD, {}) == "its load was above the other node's for load_hold_s"


def test_names_and_families() -> None:
    shards = tuple(unit(number=n, name=f"poll.{n}", family="poll", shard=n) for n in range(3))
    units = Units((*shards, unit(number=3)))
    assert [item.name for item in units.named("poll")] == ["poll.0", "poll.1", "poll.2"]
    assert [item.number for item in units.named("poll.1")] == [1]
    assert len(units.named(None)) == 4
    with pytest.raises(RequestError, match=r'no group "poll\.7"; the groups are poll \(poll\.0 to poll\.2\), pump'):
        units.named("poll.7")


@pytest.mark.parametrize(
    ("report", "text"),
    [
        (Reported(1, ReportCode.RP_PREPARE, 0, 1, 0, 17, 0, 0),
         "pump: gw-b is about to hand it over (epoch 17): preparing"),
        (Reported(1, ReportCode.RP_HELD, 0, 0, 0, 17, 20_000_000_000, 3),
         "pump: moves are held down for 20.0 s (changes of driver: 3); faults and operators move it all the same"),
        (Reported(1, ReportCode.RP_HANDOVER_REFUSED, 0, 1, 0, 17, 5, 0),
         "pump: handover refused: moves are held down after changes of driver; a handover by an operator is not"),
        (Reported(1, ReportCode.RP_STATE, 0, State.ACTIVE, 0, 17, State.RELEASING, Cause.CAUSE_FAILBACK),
         "pump: ACTIVE -> RELEASING: failback: a better ranked node has been ready for failback_after_s"),
        (Reported(1, ReportCode.RP_STATE, 0, State.ACTIVE, 0, 17, State.RELEASING, Cause.CAUSE_LOAD),
         "pump: ACTIVE -> RELEASING: its load was above the other node's for load_hold_s"),
        (Reported(1, ReportCode.RP_STATE, 0, State.ACTIVE, 0, 17, State.RELEASING, Cause.CAUSE_WARNING),
         "pump: ACTIVE -> RELEASING: an early warning proposed the move"),
    ],
)
def test_sentences_of_planned_moves(report: Reported, text: str) -> None:
    assert sentence(report, NAMES) == text
