"""Which messages are commands, and which are not: forged, changed, copied, held back, redirected, too late."""
from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from remote_rig import ALICE, BOB, NODE, NOW_NS, OPERATORS, PAIR, SECOND_NS, body_of, judge, mail_of

from twinbeat.remote.envelope import (
    ANSWER,
    ASK,
    PACKED,
    TEXT_BYTES_MAX,
    Sealed,
    answer_topic,
    cmd_stem,
    console_of,
    is_signed,
    mac_of,
    seal,
    signing_key,
    split,
    unpacked,
)
from twinbeat.remote.judge import IDS_KEPT, VALID_MS_MAX, Refused
from twinbeat.remote.keyring import Operator

BOBS = answer_topic(PAIR, "bob", "c1")


def refusal(mail: Any, now_ns: int = NOW_NS, **changes: Any) -> Refused:
    with pytest.raises(Refused) as refused:
        judge(**changes).admit(mail, now_ns)
    return refused.value


def test_good_command_is_admitted_once() -> None:
    desk = judge()
    mail = mail_of(body_of())
    order = desk.admit(mail, NOW_NS)
    assert (order.operator, order.verb, order.id, order.args) == (ALICE, "out", "0a" * 16, {"group": "pump"})
    for later_ns in (NOW_NS, NOW_NS + 3 * SECOND_NS, NOW_NS + 3600 * SECOND_NS):
        with pytest.raises(Refused) as refused:
            desk.admit(mail, later_ns)
        assert (refused.value.reason, refused.value.silent) == ("repeated", True)


GOOD = mail_of(body_of())


@given(st.integers(0, 8 * len(GOOD.payload) - 1))
def test_any_bit_changed_is_refused(bit: int) -> None:
    changed = bytearray(GOOD.payload)
    changed[bit // 8] ^= 1 << bit % 8
    refused = refusal(GOOD._replace(payload=bytes(changed)))
    assert refused.reason in ("unsigned", "operator", "signature") and refused.order is None


@given(st.binary(max_size=5000), st.binary(max_size=64), st.text(max_size=80), st.booleans())
def test_whatever_comes_is_refused_and_nothing_else_happens(
    payload: bytes, correlation: bytes, response_topic: str, retained: bool
) -> None:
    mail = GOOD._replace(payload=payload, correlation=correlation, response_topic=response_topic, retained=retained)
    assert refusal(mail).order is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(["pair", "node", "verb", "id", "reply", "session", "at_ns", "valid_ms", "args"]), JSON)
def test_no_signed_nonsense_gets_through(key: str, value: Any) -> None:
    """An operator's own broken program: whatever stands in a key, it is a refusal or what was meant, never a fault."""
    mail = mail_of(body_of(**{key: value}), topic=GOOD.topic)
    try:
        order = judge().admit(mail, NOW_NS)
    except Refused:
        return
    assert order.verb == "out"
    assert key in ("at_ns", "valid_ms", "args", "id") or value == body_of()[key]


@pytest.mark.parametrize("length", [0, 1, 40, 60, 70, 90, 200])
def test_truncated_is_refused(length: int) -> None:
    assert refusal(GOOD._replace(payload=GOOD.payload[:length])).reason in ("unsigned", "signature")


def test_unsigned_retained_and_oversized_are_refused_before_anything_is_read() -> None:
    assert refusal(GOOD._replace(payload=json.dumps(body_of()).encode())).reason == "unsigned"
    assert refusal(GOOD._replace(retained=True)).reason == "retained"
    assert "clear the topic" in refusal(GOOD._replace(retained=True)).text
    assert refusal(GOOD._replace(payload=GOOD.payload + b" " * 4096)).reason == "oversize"


def test_another_key_or_an_unknown_operator_is_refused_with_what_to_change() -> None:
    stranger = Operator("alice", signing_key(b"z" * 16))
    refused = refusal(mail_of(body_of(), stranger))
    assert refused.reason == "signature" and "use the key file that stands on the gateways" in refused.text
    refused = refusal(mail_of(body_of(), Operator("eve", ALICE.key)))
    assert refused.reason == "operator" and 'knows no operator "eve"; add an [[operator]]' in refused.text


def test_one_operators_signature_is_not_anothers() -> None:
    payload = mail_of(body_of(reply=BOBS), ALICE).payload.replace(b" alice ", b" bob ", 1)
    assert refusal(GOOD._replace(payload=payload, response_topic=BOBS)).reason == "signature"


def test_an_answer_sent_back_is_no_command() -> None:
    assert refusal(mail_of(body_of(), direction=ANSWER)).reason == "signature"


def test_packed_commands_are_not_read() -> None:
    payload = seal(ALICE.key, ASK, "alice", b" " * 3000, pack=True)
    assert payload.startswith(b"TB1z ") and refusal(GOOD._replace(payload=payload)).reason == "unsigned"


@pytest.mark.parametrize(
    "topic",
    [
        f"{cmd_stem(PAIR, NODE)}/in", f"{cmd_stem(PAIR, NODE)}/hello", f"{cmd_stem(PAIR, 'gw-b')}/out",
        f"{cmd_stem('pump-8', NODE)}/out", "out", "",
    ],
)
def test_on_another_topic_it_is_refused_in_silence(topic: str) -> None:
    refused = refusal(GOOD._replace(topic=topic))
    assert (refused.reason, refused.silent) == ("place", True)


def test_for_the_other_node_or_another_pair_it_is_refused() -> None:
    for changes in ({"node": "gw-b"}, {"pair": "pump-8"}):
        made = {"pair": PAIR, "node": NODE} | changes
        refused = refusal(GOOD._replace(topic=f"{cmd_stem(made['pair'], made['node'])}/out"), **changes)
        assert refused.reason in ("place", "reply")


@pytest.mark.parametrize(
    "reply",
    ["", f"twinbeat/v1/{PAIR}/role/pump", f"twinbeat/v1/{PAIR}/gw-a/status", answer_topic("pump-8", "alice", "c1"),
     BOBS, answer_topic(PAIR, "alice", "a/b"), answer_topic(PAIR, "alice", "+"), answer_topic(PAIR, "alice", "")],
)
def test_answers_go_to_the_operators_own_topics_only(reply: str) -> None:
    """Else whoever may command could have the agent write what only the agent may write."""
    refused = refusal(mail_of(body_of(reply=reply)))
    assert (refused.reason, refused.silent) == ("reply", True)
    assert console_of(PAIR, "alice", reply) is None


def test_answer_cannot_be_led_astray() -> None:
    assert refusal(GOOD._replace(response_topic=answer_topic(PAIR, "alice", "c2"))).reason == "reply"
    assert refusal(GOOD._replace(response_topic="")).reason == "reply"
    assert refusal(GOOD._replace(correlation=b"0b" * 16)).reason == "reply"


# ---------------------------------------------------------------- time


def test_after_a_restart_nothing_old_is_valid_again() -> None:
    refused = refusal(GOOD, session="6f" * 16)
    assert refused.reason == "session" and "restarted since" in refused.text
    assert refused.order is not None and not refused.silent


@pytest.mark.parametrize(
    ("at_s", "valid_ms", "reason"),
    [(-10.001, 10_000, "expired"), (-3600, VALID_MS_MAX, "expired"), (0.001, 10_000, "clock"), (30, 1000, "clock"),
     (-1, VALID_MS_MAX + 1, "form"), (-1, 0, "form"), (-1, 10.5, "form"), (-1, True, "form")],
)
def test_only_in_time_by_the_agents_own_clock(at_s: float, valid_ms: Any, reason: str) -> None:
    refused = refusal(mail_of(body_of(at_ns=NOW_NS + int(at_s * 1e9), valid_ms=valid_ms)))
    assert refused.reason == reason and refused.order is not None
    if reason == "expired":
        assert "give it again" in refused.text


def test_held_back_behind_a_newer_one_it_is_overtaken() -> None:
    desk = judge()
    desk.admit(mail_of(body_of("in", id="0b" * 16, at_ns=NOW_NS - 10)), NOW_NS)
    for at_ns in (NOW_NS - 11, NOW_NS - 10):
        with pytest.raises(Refused) as refused:
            desk.admit(mail_of(body_of("out", id="0c" * 16, at_ns=at_ns)), NOW_NS)
        assert refused.value.reason == "overtaken" and "newer command" in refused.value.text
    desk.admit(mail_of(body_of("out", id="0d" * 16, at_ns=NOW_NS - 9)), NOW_NS)


@pytest.mark.parametrize("issued", ["1970-01-01T00:00:00Z", "2099-12-31T23:59:59Z", "", 7, None])
def test_wall_clocks_decide_nothing(issued: Any) -> None:
    """An operator's clock may be off by decades, and the judge knows no other clock than the one it is given."""
    assert judge().admit(mail_of(body_of(issued=issued)), NOW_NS).verb == "out"


def test_operators_do_not_overtake_each_other() -> None:
    desk = judge()
    desk.admit(mail_of(body_of(at_ns=NOW_NS)), NOW_NS)
    late = body_of("status", id="0b" * 16, at_ns=NOW_NS - SECOND_NS, reply=BOBS, args=None)
    assert desk.admit(mail_of(late, BOB), NOW_NS).operator == BOB


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 20)), max_size=60))
def test_no_schedule_of_copies_carries_one_out_twice_or_out_of_order(steps: list[tuple[int, int]]) -> None:
    """`steps`: which of 41 commands arrives next, and after how many seconds."""
    desk, now_ns, done = judge(), NOW_NS, []
    for number, pause_s in steps:
        now_ns += pause_s * SECOND_NS
        at_ns = NOW_NS + number * SECOND_NS
        mail = mail_of(body_of(id=f"{number:032x}", at_ns=at_ns, valid_ms=VALID_MS_MAX))
        try:
            desk.admit(mail, now_ns)
        except Refused:
            continue
        assert at_ns <= now_ns <= at_ns + VALID_MS_MAX * 1_000_000
        done.append(number)
    assert done == sorted(set(done))


def test_memory_of_ids_is_bounded_and_still_nothing_comes_twice() -> None:
    desk = judge()
    mails = [mail_of(body_of(id=f"{number:032x}", at_ns=NOW_NS - 5000 + number)) for number in range(3 * IDS_KEPT)]
    for mail in mails:
        desk.admit(mail, NOW_NS)
    assert sum(len(book.ids) for book in desk._books.values()) == IDS_KEPT
    for mail in mails:
        with pytest.raises(Refused) as refused:
            desk.admit(mail, NOW_NS)
        assert refused.value.reason in ("repeated", "overtaken")


# ---------------------------------------------------------------- verbs and arguments


def test_unknown_and_forbidden_verbs_are_refused_with_the_remedy() -> None:
    refused = refusal(mail_of(body_of("handove")))
    assert refused.reason == "verb" and 'did you mean "handover"?' in refused.text
    refused = refusal(mail_of(body_of("record")))
    assert refused.reason == "verb"
    refused = refusal(mail_of(body_of("out", reply=BOBS), BOB))
    assert refused.reason == "forbidden"
    assert 'operator bob may not ask for "out", only for status, events; add it to `verbs`' in refused.text


@pytest.mark.parametrize(
    "args",
    [{"by": "somebody else"}, {"verb": "in"}, {"group": ["pump"]}, {"group": {"a": 1}}, {"group": None},
     {"group": "x" * 257}, {"k" * 257: 1}, {str(number): 1 for number in range(17)}],
)
def test_arguments_that_are_none(args: dict[str, Any]) -> None:
    refused = refusal(mail_of(body_of(args=args)))
    assert refused.reason == "arguments" and refused.order is not None


def test_hello_needs_a_signature_and_nothing_more() -> None:
    hello = body_of("hello", session=None, at_ns=None, valid_ms=None, args=None)
    desk = judge()
    assert desk.admit(mail_of(hello), NOW_NS).verb == "hello"
    assert desk.admit(mail_of(hello), NOW_NS).verb == "hello"
    assert refusal(mail_of(hello, Operator("alice", b"k"))).reason == "signature"


# ---------------------------------------------------------------- the envelope


def test_layout_and_signature_are_pinned() -> None:
    """Two versions that disagree here could not talk to each other."""
    payload = seal(signing_key(bytes(range(16))), ASK, "alice", b'{"a":1}')
    assert payload == (
        b"TB1 alice 22bc03d5362e678969e133e36a4e1a8fc6976fc724965d3c973a4d6af95fd143" b'\n{"a":1}'
    )


def test_long_answers_are_packed_and_come_out_whole() -> None:
    text = json.dumps({"k": list(range(3000))}).encode()
    payload = seal(ALICE.key, ANSWER, "alice", text, pack=True)
    sealed = split(payload)
    assert sealed is not None and sealed.form == PACKED and len(payload) < len(text) / 2
    assert is_signed(sealed, ALICE.key, ANSWER) and unpacked(sealed) == text
    assert unpacked(sealed._replace(body=sealed.body[:-9])) is None
    assert unpacked(sealed._replace(body=b"none")) is None


def test_what_unpacks_to_too_much_is_dropped() -> None:
    import zlib

    body = zlib.compress(bytes(TEXT_BYTES_MAX + 1))
    assert unpacked(Sealed(PACKED, "alice", mac_of(ALICE.key, PACKED, ANSWER, "alice", body), body)) is None


def test_a_packed_form_cannot_be_passed_off_as_plain() -> None:
    payload = seal(ALICE.key, ANSWER, "alice", b" " * 3000, pack=True)
    sealed = split(payload.replace(b"TB1z", b"TB1", 1))
    assert sealed is not None and not is_signed(sealed, ALICE.key, ANSWER)


def test_operators_are_known_by_name() -> None:
    assert set(OPERATORS) == set(judge().operators)
