"""Signed messages for tests: good ones, and ways to spoil one part of them."""
from __future__ import annotations

import json
from typing import Any

from twinbeat.links.mqtt_mail import Mail
from twinbeat.remote.envelope import ASK, answer_topic, cmd_stem, seal, signing_key
from twinbeat.remote.judge import Judge
from twinbeat.remote.keyring import Operator

PAIR, NODE, SESSION = "pump-7", "gw-a", "5e" * 16
ALICE = Operator("alice", signing_key(b"a" * 16))
BOB = Operator("bob", signing_key(b"b" * 16), ("status", "events"))
OPERATORS = {"alice": ALICE, "bob": BOB}
OFFERED = ("status", "events", "handover", "out", "in")
NOW_NS = 1_000_000_000_000
SECOND_NS = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now_ns = NOW_NS

    def __call__(self) -> int:
        return self.now_ns


def judge(**changes: Any) -> Judge:
    """A judge of gw-a."""
    made = {"pair": PAIR, "node": NODE, "session": SESSION, "operators": OPERATORS, "offered": OFFERED} | changes
    return Judge(**made)


def body_of(verb: str = "out", **changes: Any) -> dict[str, Any]:
    """What a command says; `None` leaves a key out."""
    body = {
        "pair": PAIR, "node": NODE, "verb": verb, "id": "0a" * 16, "reply": answer_topic(PAIR, "alice", "c1"),
        "session": SESSION, "at_ns": NOW_NS - SECOND_NS, "valid_ms": 10_000, "args": {"group": "pump"},
    } | changes
    return {key: value for key, value in body.items() if value is not None}


def mail_of(body: dict[str, Any], operator: Operator = ALICE, direction: str = ASK, **changes: Any) -> Mail:
    """A message as an operator's console would send it."""
    payload = seal(operator.key, direction, operator.name, json.dumps(body, separators=(",", ":")).encode())
    fields = {
        "topic": f"{cmd_stem(body.get('pair', PAIR), body.get('node', NODE))}/{body.get('verb', 'out')}",
        "payload": payload,
        "retained": False,
        "response_topic": body.get("reply", ""),
        "correlation": str(body.get("id", "")).encode(),
    }
    return Mail(**(fields | changes))
