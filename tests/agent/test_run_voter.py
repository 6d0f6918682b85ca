"""The third voter in the running agent: faults told once, votes to the core, the peer's death passed on."""
from __future__ import annotations

import logging
from typing import Any

import pytest
from run_fakes import FakeClient, FakeGate, FakeRuntime

from twinbeat.links.serial import SerialPort
from twinbeat.run_voter import COUNTED, ThirdVoter, attach_contacts, contacts_of
from twinbeat_bridge.contract import Code, VoteAnswer
from twinbeat_core.events import Vote
from twinbeat_core.frames import Echo, Frame, Row
from twinbeat_core.model import FrameKind, RowFlag, VoteCode
from twinbeat_core.wire import encode
from twinbeat_hardware.arbiter import GATED, OWN_CLOSED, OWN_STUCK, ArbiterOutput
from twinbeat_hardware.mock import MockOutput
from twinbeat_hardware.output import Output, OutputPlace
from twinbeat_hardware.spec import ArbiterSpec, MockSpec
from twinbeat_rt.messages import AskVoter, ReturnPromise

KEY, PAIR = bytes(range(16)), 7
GRANT_MS = 50.0
VOTER = 0xA0B1C2D3


class Bench:
    """A ThirdVoter with stand-ins around it."""

    def __init__(self, kind: str = "arbiter", client: FakeClient | None = None) -> None:
        self.rt = FakeRuntime(FakeGate())
        self.rt.arbiter = figures()
        self.told: list[tuple[str, str, int]] = []
        self.voter = ThirdVoter(
            kind, self.rt, KEY, PAIR, GRANT_MS, settle_s=0.0, client=client, tell=lambda *args: self.told.append(args)
        )

    def see(self, **changes: Any) -> list[tuple[str, str, int]]:
        """One more look, after these figures have changed; what was told because of it."""
        assert self.rt.arbiter is not None
        self.rt.arbiter.update(changes)
        mark = len(self.told)
        self.voter.look()
        return self.told[mark:]


def figures(**changes: Any) -> dict[str, Any]:
    """The arbiter as the real-time part sees it, healthy."""
    healthy = {
        "attached": True, "voter": VOTER, "voter_heard": VOTER, "life": 7, "heard_ago_ms": 4.0, "told": b"",
        "groups": [contact(0)],
    }
    return {**dict.fromkeys(COUNTED, 0), **healthy, **changes}


def contact(
    group: int, contacts: int | None = GATED | OWN_CLOSED, code: int = 1, ago_ms: float = 4.0
) -> dict[str, Any]:
    """One group's newest row."""
    return {"group": group, "code": code, "contacts": contacts, "ago_ms": None if contacts is None else ago_ms}


# ---------------------------------------------------------------- faults of an arbiter


def test_a_healthy_arbiter_is_not_spoken_of() -> None:
    bench = Bench()
    assert [bench.see(answers=count) for count in (0, 5, 9)] == [[], [], []]
    assert bench.voter.faults() == {}


@pytest.mark.parametrize(
    ("counter", "code", "text", "over"),
    [
        ("other_voter", "VOTER_OTHER", "answers is 00c0ffee, the configuration names a0b1c2d3: two arb", "other"),
        ("other_pair", "VOTER_OTHER_PAIR", "serves another pair; flash it for this one", "other pair"),
        ("wrong_side", "VOTER_WRONG_SIDE", "the other one's side of the board; swap the two cables", "wrong side"),
        ("no_group", "VOTER_GROUPS", "fewer groups than the configuration; use another board", "groups"),
    ],
)
def test_a_wrong_board_is_told_once_and_its_end_once(counter: str, code: str, text: str, over: str) -> None:
    bench = Bench()
    bench.see(voter_heard=0xC0FFEE)
    ((said, sentence, level),) = bench.see(**{counter: 3})
    assert (said, level) == (code, logging.WARNING) and text in sentence
    assert bench.see(**{counter: 8}) == [], "as long as it lasts it is told once"
    assert bench.see() == [(code, f"third voter: over: {over}", logging.INFO)]
    assert bench.see() == []
    assert [one[:1] for one in bench.see(**{counter: 9})] == [(code,)], "it may come again"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"attached": False}, "its serial port is gone; the pair goes on with two votes"),
        ({"bad_form": 2, "noise": 2}, "other frames come from its port: is it the crosslink"),
        ({"noise": 2}, "only noise comes from its port: other baud rate"),
        ({}, "it does not answer; the pair goes on with two votes; check supply and cable"),
    ],
)
def test_a_silent_arbiter_is_told_with_what_the_line_shows(changes: dict[str, Any], text: str) -> None:
    bench = Bench()
    assert bench.see(heard_ago_ms=4 * GRANT_MS) == [], "some promises may pass without an answer"
    ((code, sentence, level),) = bench.see(heard_ago_ms=4 * GRANT_MS + 1, **changes)
    assert (code, level) == ("VOTER_SILENT", logging.WARNING) and text in sentence
    assert bench.see(heard_ago_ms=None) == [], "the first sentence stands"
    assert bench.see(heard_ago_ms=1.0) == [("VOTER_SILENT", "third voter: over: silent", logging.INFO)]


def test_an_arbiter_that_never_answered_is_silent() -> None:
    assert [one[0] for one in Bench().see(heard_ago_ms=None)] == ["VOTER_SILENT"]
    bench = Bench()
    bench.rt.arbiter = None
    bench.voter.look()
    assert [one[0] for one in bench.told] == ["VOTER_SILENT"], "the real-time part says nothing of it yet"


@pytest.mark.parametrize(("byte", "reads"), [(OWN_STUCK | OWN_CLOSED, "closed"), (OWN_STUCK, "open")])
def test_a_contact_that_does_not_follow_is_told_for_its_group(byte: int, reads: str) -> None:
    bench = Bench()
    assert bench.see(groups=[contact(0), contact(1, None)]) == []
    ((code, text, level),) = bench.see(groups=[contact(0), contact(1, GATED | byte)])
    assert (code, level) == ("VOTER_CONTACT_1", logging.WARNING)
    assert text.startswith(f"arbiter: the contact of group 2 reads {reads} and was ordered otherwise")
    assert bench.see() == []
    assert bench.see(groups=[contact(0), contact(1)]) == [
        ("VOTER_CONTACT_1", "third voter: over: contact 1", logging.INFO)
    ]


def test_status_shows_ids_as_the_configuration_has_them() -> None:
    bench = Bench()
    bench.see(told=b"\x01\xff", voter_heard=0xB)
    bench.voter.port = SerialPort(
        8, "arbiter", "/dev/ttyVOTE", 9600, lambda path, baud: 5, lambda link, fd: None, lambda call: None
    )
    shown = bench.voter.describe()
    assert (shown["type"], shown["voter"], shown["voter_heard"], shown["told"]) == (
        "arbiter", "a0b1c2d3", "0000000b", "01ff"
    )
    assert shown["port"] == {"path": "/dev/ttyVOTE", "plugged": False, "faults": 0}
    bench.rt.arbiter = None
    assert bench.voter.describe()["voter"] == "00000000"


# ---------------------------------------------------------------- a client over a network


def test_asks_and_returns_go_to_the_client() -> None:
    client = FakeClient()
    bench = Bench("witness", client)
    bench.voter.ask(AskVoter(1, 17, 1234, 5678))
    bench.voter.give_back(ReturnPromise(1, 17, 5679))
    assert client.said == [("ask", 1, 17, 1234), ("give_back", 1, 17)]
    served_elsewhere = Bench()
    served_elsewhere.voter.ask(AskVoter(1, 17, 1234, 5678))
    served_elsewhere.voter.give_back(ReturnPromise(1, 17, 5679))
    assert served_elsewhere.rt.posted == []


@pytest.mark.parametrize(
    ("code", "core"),
    [
        (Code.PROMISED, VoteCode.VOTE_PROMISED),
        (Code.REFUSED, VoteCode.VOTE_REFUSED),
        (Code.GONE, VoteCode.VOTE_GONE),
    ],
)
def test_votes_become_events_of_the_core(code: Code, core: VoteCode) -> None:
    bench = Bench("witness", FakeClient())
    bench.voter.vote(VoteAnswer(2, code, 25, 99, 50))
    (event,) = bench.rt.posted
    assert isinstance(event, Vote) and event.now_ns > 0
    assert (event.group, event.code, event.epoch, event.stamp, event.grant_ms) == (2, core, 25, 99, 50)


def test_a_client_without_connection_is_told_with_its_reason() -> None:
    client = FakeClient()
    bench = Bench("zookeeper", client)
    assert bench.see() == []
    client.state = {"connected": False, "reason": "h: connection refused"}
    assert bench.see() == [(
        "VOTER_SILENT", "third voter (zookeeper): h: connection refused; the pair goes on with two votes",
        logging.WARNING,
    )]
    assert bench.see() == []
    client.state = {"connected": False, "reason": None}
    assert bench.voter.faults()["VOTER_SILENT"].startswith("third voter (zookeeper): no connection; the pair goes on")
    client.state = {"connected": True}
    assert bench.see() == [("VOTER_SILENT", "third voter: over: silent", logging.INFO)]
    assert bench.voter.describe() is client.state


def test_a_promise_that_is_shorter_than_asked_for_is_told() -> None:
    bench = Bench("witness", FakeClient())
    for answer in (VoteAnswer(0, Code.PROMISED, 9, 1, 49), VoteAnswer(0, Code.REFUSED, 9, 1, 3)):
        bench.voter.vote(answer)
    assert bench.see() == [], "a millisecond is rounding, and a refusal's time is another's"
    bench.voter.vote(VoteAnswer(0, Code.PROMISED, 9, 2, 30))
    ((code, text, level),) = bench.see()
    assert (code, level) == ("VOTER_SHORT", logging.WARNING)
    assert "it promises 30 ms where 50 are asked for; raise its grant_max_ms, or lower renew_ms" in text
    assert bench.see() == []


# ---------------------------------------------------------------- the peer's death


def notice(stamp: int, dropped: tuple[int, ...] = (0,), **changes: Any) -> bytes:
    """A gate's signed word about two groups."""
    key = changes.pop("key", KEY)
    fields: dict[str, Any] = {
        "source": 1, "incarnation": 77, "stamp": stamp, "pair_id": PAIR, "config_digest": 11,
        "kind": FrameKind.FRAME_DEATH, "echoes": (Echo(0, 1, 100, 1000, 1),),
        "rows": tuple(Row(0, 15, RowFlag.ROW_DROPPED if group in dropped else 0, 9) for group in range(2)),
    }
    return bytes(encode(Frame(**(fields | changes)), key))


def passed_on(*notices: bytes) -> list[tuple[Any, ...]]:
    """What the client hears when life 77 of node 1 has died and these notices are kept."""
    client = FakeClient()
    bench = Bench("witness", client)
    bench.rt.notices = {1: list(notices)}
    bench.voter.peer_dead(1, 77)
    return client.said


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_newest_notice_of_that_life_is_passed_on(order: tuple[int, ...]) -> None:
    kept = [notice(10), notice(30, (0, 1)), notice(40, (0, 1), incarnation=78)]
    assert passed_on(*(kept[i] for i in order)) == [("peer_dead", 1, 77, frozenset({0, 1}), kept[1])]


@pytest.mark.parametrize(
    "other",
    [
        notice(50)[:-3],
        b"",
        notice(50, key=bytes(16)),
        notice(50, pair_id=PAIR + 1),
        notice(50, kind=FrameKind.FRAME_HEARTBEAT),
        notice(50, incarnation=76),
    ],
    ids=["half", "empty", "forged", "other pair", "heartbeat", "life before"],
)
def test_what_is_no_notice_of_that_life_is_passed_over(other: bytes) -> None:
    good = notice(20, (1,))
    assert passed_on(other, good) == [("peer_dead", 1, 77, frozenset({1}), good)]
    assert passed_on(good, other) == [("peer_dead", 1, 77, frozenset({1}), good)]
    assert passed_on(other) == []


def test_a_notice_that_names_no_group_frees_nothing() -> None:
    assert passed_on(notice(20, ())) == []
    assert passed_on() == []


def test_of_an_arbiter_the_gate_tells_itself() -> None:
    bench = Bench()
    bench.rt.notices = {1: [notice(20)]}
    bench.voter.peer_dead(1, 77)
    assert bench.rt.posted == []


# ---------------------------------------------------------------- contacts


@pytest.mark.parametrize(
    ("row", "byte"),
    [
        (contact(0), GATED | OWN_CLOSED),
        (contact(0, GATED | OWN_STUCK), GATED | OWN_STUCK),
        (contact(0, GATED), None),                                 # promised, and the relay is on its way
        (contact(0, None), None),
        (contact(0, ago_ms=GRANT_MS), GATED | OWN_CLOSED),
        (contact(0, ago_ms=GRANT_MS + 1), None),
        (contact(0, code=2), None),                                # open, as it should be without a promise
        (contact(0, GATED | OWN_CLOSED | OWN_STUCK, code=2), None),  # an alarm, not this node's fault
    ],
)
def test_contacts_say_something_of_an_output_while_it_is_promised(row: dict[str, Any], byte: int | None) -> None:
    bench = Bench()
    bench.rt.arbiter = figures(groups=[row])
    assert contacts_of(bench.voter, 0) == byte
    assert contacts_of(bench.voter, 1) is None, "a group without a row"
    bench.rt.arbiter = None
    assert contacts_of(bench.voter, 0) is None


def test_outputs_on_the_arbiter_read_their_own_group() -> None:
    bench = Bench()
    bench.rt.arbiter = figures(groups=[contact(0, GATED), contact(1)])
    places = [OutputPlace(group=group, group_name="pump", node="gw-a", pair="p") for group in range(2)]
    contacts = [ArbiterOutput(ArbiterSpec(), place) for place in places]
    drivers: list[Output[Any]] = [*contacts, MockOutput(MockSpec(), places[0])]
    attach_contacts(drivers, None)
    assert [driver.contacts() for driver in contacts] == [None, None]
    attach_contacts(drivers, bench.voter)
    assert [driver.contacts() for driver in contacts] == [None, GATED | OWN_CLOSED]
