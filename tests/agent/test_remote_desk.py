"""What the desk does with commands: the same verbs as the control socket, signed answers, bounded noise."""
from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from remote_rig import ALICE, BOB, NODE, NOW_NS, OFFERED, PAIR, SECOND_NS, Clock, body_of, judge, mail_of

from twinbeat.control import Answer, Reply, RequestError, Verb, failure
from twinbeat.errors import RefusedError
from twinbeat.links.mqtt_note import Note
from twinbeat.remote.desk import ANSWER_BYTES_MAX, GIVE_UP_S, TOLD_AT_ONCE, UNDER_WAY_MAX, RemoteDesk
from twinbeat.remote.envelope import ANSWER, answer_topic, is_signed, split, unpacked
from twinbeat.remote.keyring import Operator
from twinbeat.run_turn import CommandTurn, who_asks


class Rig:
    """A desk with verbs of the test's own; what it says is kept."""

    def __init__(self, **verbs: Verb) -> None:
        self.clock = Clock()
        self.sent: list[Note] = []
        self.events: list[tuple[str, str]] = []
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.requests: list[dict[str, Any]] = []
        known = dict.fromkeys(OFFERED, self._echo) | verbs
        self.desk = RemoteDesk(
            judge(), known, lambda code, text, level: self.events.append((code, text)),
            lambda delay_s, call: self.later.append((delay_s, call)), self.clock, {"version": "1"},
        )
        self._next = 0

    def _echo(self, request: dict[str, Any], reply: Reply) -> None:
        self.requests.append(request)
        reply({"ok": True, "took_ms": 1.5})

    def give(self, verb: str = "out", operator: Operator = ALICE, **changes: Any) -> str:
        """A new command; returns its id."""
        self._next += 1
        given = {"id": f"{self._next:032x}", "at_ns": self.clock.now_ns - SECOND_NS + self._next,
                 "reply": answer_topic(PAIR, operator.name, "c1")} | changes
        self.desk.take(mail_of(body_of(verb, **given), operator), self.sent.append)
        return str(given["id"])

    def answers(self, asked_id: str, operator: Operator = ALICE) -> list[Answer]:
        """The signed answers to a command."""
        found = []
        for note in self.sent:
            sealed = split(note.payload)
            if sealed is None or note.correlation != asked_id.encode():
                continue
            assert is_signed(sealed, operator.key, ANSWER) and sealed.operator == operator.name
            body = json.loads(unpacked(sealed) or b"")
            assert (body["pair"], body["node"], body["id"]) == (PAIR, NODE, asked_id)
            assert (note.topic, note.retain, note.qos) == (answer_topic(PAIR, operator.name, "c1"), False, 0)
            found.append(body["answer"])
        return found


def test_command_is_carried_out_in_the_operators_name_and_answered() -> None:
    rig = Rig()
    asked = rig.give("out", args={"group": "pump", "force": True, "count": 3})
    assert rig.requests == [{"verb": "out", "group": "pump", "force": True, "count": 3, "by": "operator alice"}]
    assert who_asks(rig.requests[0]) == "operator alice"
    assert rig.answers(asked) == [{"ok": True, "took_ms": 1.5}]
    assert rig.events == [
        ("REMOTE", "operator alice commands over a broker: out group=pump force=True count=3"),
        ("REMOTE", "out group=pump force=True count=3, by operator alice: done"),
    ]


def test_questions_are_no_events() -> None:
    rig = Rig()
    asked = rig.give("status", BOB, args={})
    assert rig.answers(asked, BOB) == [{"ok": True, "took_ms": 1.5}]
    assert rig.events == []


def test_hello_tells_session_clock_and_what_is_allowed() -> None:
    rig = Rig()
    hello = body_of("hello", reply=answer_topic(PAIR, "bob", "c1"), session=None, at_ns=None, args=None)
    rig.desk.take(mail_of(hello, BOB), rig.sent.append)
    (answer,) = rig.answers(hello["id"], BOB)
    assert answer == {
        "ok": True, "session": "5e" * 16, "at_ns": NOW_NS, "verbs": ["status", "events"], "version": "1",
    }


def test_refusal_of_a_verb_is_the_answer() -> None:
    def sick(request: dict[str, Any], reply: Reply) -> None:
        reply(failure("handover of pump refused: gw-b is not fit: process check plc failed", 1))

    def wrong(request: dict[str, Any], reply: Reply) -> None:
        raise RequestError('there is no group "pmp"; the groups are pump')

    def broken(request: dict[str, Any], reply: Reply) -> None:
        raise KeyError("x")

    rig = Rig(handover=sick, out=wrong, status=broken)
    (answer,) = rig.answers(rig.give("handover"))
    assert (answer["ok"], answer["exit_code"]) == (False, 1) and "gw-b is not fit" in answer["error"]
    assert rig.events[-1][1].endswith("not done: handover of pump refused: gw-b is not fit: process check plc failed")
    (answer,) = rig.answers(rig.give("out"))
    assert (answer["error"], answer["exit_code"]) == ('there is no group "pmp"; the groups are pump', 2)
    (answer,) = rig.answers(rig.give("status"))
    assert answer["exit_code"] == 70
    assert rig.desk.describe()["under_way"] == 0


def test_two_operators_at_once_the_second_is_told_who_and_how_long() -> None:
    clock = Clock()
    turn = CommandTurn(clock)
    waiting: list[Reply] = []

    def handover(request: dict[str, Any], reply: Reply) -> None:
        release = turn.take("handover of pump", who_asks(request), 4.0)
        waiting.append(lambda answer: (release(), reply(answer))[1])

    rig = Rig(handover=handover)
    first = rig.give("handover")
    clock.now_ns += SECOND_NS
    (answer,) = rig.answers(rig.give("handover"))
    assert "handover of pump by operator alice is under way and over in 3.0 s at the latest" in answer["error"]
    assert rig.answers(first) == []
    waiting[0]({"ok": True})
    assert rig.answers(first) == [{"ok": True}]


def test_copies_are_passed_over_in_silence_while_the_first_is_under_way() -> None:
    """The refusal of a copy would reach the console before the outcome, and pass for it."""
    waiting: list[Reply] = []
    rig = Rig(out=lambda request, reply: waiting.append(reply))
    mail = mail_of(body_of())
    for _ in range(3):
        rig.desk.take(mail, rig.sent.append)
    assert rig.sent == [] and len(waiting) == 1
    waiting[0]({"ok": True})
    waiting[0]({"ok": False})
    assert len(rig.sent) == 1
    rig.desk.take(mail, rig.sent.append)
    assert len(rig.sent) == 1 and rig.desk.counts["refused_repeated"] == 3


def test_signed_refusals_are_answered_and_signed() -> None:
    rig = Rig()
    (answer,) = rig.answers(rig.give("out", session="00" * 16))
    assert (answer["ok"], answer["reason"]) == (False, "session")
    (answer,) = rig.answers(rig.give("out", BOB), BOB)
    assert answer["reason"] == "forbidden"
    assert rig.requests == []


def test_commands_under_way_are_bounded_and_do_not_stay_for_ever() -> None:
    rig = Rig(out=lambda request, reply: None)
    asked = [rig.give("out") for _ in range(UNDER_WAY_MAX)]
    (answer,) = rig.answers(rig.give("out"))
    assert answer["reason"] == "busy"
    rig.clock.now_ns += int(GIVE_UP_S * 1e9)
    assert rig.answers(rig.give("status")) == [{"ok": True, "took_ms": 1.5}]
    assert [rig.answers(one)[0]["ok"] for one in asked] == [False] * UNDER_WAY_MAX


def test_answers_are_bounded() -> None:
    import os

    rig = Rig(events=lambda request, reply: reply({"ok": True, "events": os.urandom(ANSWER_BYTES_MAX).hex()}),
              status=lambda request, reply: reply({"ok": True, "groups": ["pump"] * 20_000}))
    (answer,) = rig.answers(rig.give("events"))
    assert not answer["ok"] and "ask for less" in answer["error"]
    (answer,) = rig.answers(rig.give("status"))
    assert len(answer["groups"]) == 20_000
    assert all(len(note.payload) <= ANSWER_BYTES_MAX for note in rig.sent)


# ---------------------------------------------------------------- strangers


def test_stranger_gets_an_unsigned_hint_seldom_and_on_an_answers_topic_only() -> None:
    rig = Rig()
    forged = mail_of(body_of(), Operator("alice", b"wrong"))
    for _ in range(50):
        rig.desk.take(forged, rig.sent.append)
    assert len(rig.sent) == 5
    said = json.loads(rig.sent[0].payload)
    assert (said["ok"], said["reason"]) == (False, "signature") and "use the key file" in said["error"]
    rig.clock.now_ns += 2 * SECOND_NS
    rig.desk.take(forged, rig.sent.append)
    assert len(rig.sent) == 6
    rig.clock.now_ns += 60 * SECOND_NS
    for topic in ("", f"twinbeat/v1/{PAIR}/role/pump", f"twinbeat/v1/{PAIR}/gw-a/beat", "twinbeat/v1/x/answer/alice/c1",
                  f"twinbeat/v1/{PAIR}/answer/alice/c1/x", f"twinbeat/v1/{PAIR}/answer/alice/#"):
        rig.desk.take(forged._replace(response_topic=topic), rig.sent.append)
    assert len(rig.sent) == 6
    assert rig.desk.counts["refused_signature"] == 57 and rig.requests == []


def test_a_flood_of_refusals_is_a_few_events_and_one_number() -> None:
    rig = Rig()
    forged = mail_of(body_of(), Operator("alice", b"wrong"))
    for number in range(1000):
        rig.desk.take(forged if number % 2 else forged._replace(retained=True), rig.sent.append)
    assert len(rig.events) == TOLD_AT_ONCE
    assert len(rig.later) == 1
    rig.later.pop()[1]()
    code, text = rig.events[-1]
    assert (code, text) == ("REMOTE_REFUSED", "more remote commands refused within 60 s: 498 signature, 497 retained")
    rig.desk.take(forged, rig.sent.append)
    assert len(rig.events) == TOLD_AT_ONCE + 2
    rig.later.pop()[1]()
    assert len(rig.events) == TOLD_AT_ONCE + 2, "nothing was held back: nothing is added up"


def test_flooded_mailbox_is_an_event_with_the_remedy() -> None:
    rig = Rig()
    rig.desk.flooded('broker "b"', 10, 51)
    code, text = rig.events[0]
    assert code == "REMOTE_FLOOD" and "closed for 10 s" in text and "access list" in text


def test_describe_shows_who_may_what() -> None:
    rig = Rig()
    rig.give("out")
    described = rig.desk.describe()
    assert described["operators"] == {"alice": list(OFFERED), "bob": ["status", "events"]}
    assert described["counters"] == {"taken": 1, "done": 1}


def test_refused_by_the_verb_with_an_exit_code() -> None:
    def refuse(request: dict[str, Any], reply: Reply) -> None:
        raise RefusedError("both nodes would be in maintenance", 1)

    rig = Rig(**{"in": refuse})
    (answer,) = rig.answers(rig.give("in"))
    assert answer == failure("both nodes would be in maintenance", 1)


@pytest.mark.parametrize("verb", ["status", "out"])
def test_a_verb_that_answers_and_then_fails_is_answered_once(verb: str) -> None:
    def odd(request: dict[str, Any], reply: Reply) -> None:
        reply({"ok": True})
        raise ValueError("afterwards")

    rig = Rig(**{verb: odd})
    assert rig.answers(rig.give(verb)) == [{"ok": True}]
