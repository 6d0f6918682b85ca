"""What goes over the broker: a line that says who signed, then a JSON text exactly as it was signed.

    TB1 alice 5f0c...e1\\n{"pair":"pump-7","node":"gw-a","verb":"handover",...}

The signature is over bytes, so there is no second way to write the same message, and nothing is parsed before it was
found right. `TB1z` instead of `TB1`: the text is compressed (zlib), which only answers are.
"""
from __future__ import annotations

import hmac
import re
from typing import NamedTuple

from twinbeat.config_schema import NAME_PATTERN
from twinbeat.links.mqtt_note import TOPIC_ROOT

PLAIN = "TB1"
PACKED = "TB1z"
ASK = "ask"
ANSWER = "answer"
HELLO = "hello"
"""The question that precedes every command: which start of which agent is this, and what does its clock say?"""

MAC_HEX_DIGITS = 64
HEAD_BYTES_MAX = 160
ASK_BYTES_MAX = 4096
ANSWER_BYTES_MAX = 48 * 1024
"""On the wire. An answer delays the heartbeats behind it by its length over the line's rate."""
TEXT_BYTES_MAX = 4 << 20
"""Of an answer once it is unpacked."""
PACK_FROM_BYTES = 2048
ID_HEX_DIGITS = 32

_HEAD = re.compile(rb"(TB1z?) ([A-Za-z0-9][A-Za-z0-9._-]{0,62}) ([0-9a-f]{64})")
_NAME = re.compile(NAME_PATTERN.removesuffix("$") + r"\Z")
_ID = re.compile(r"[0-9a-f]{32}\Z")


class Sealed(NamedTuple):
    """A message whose signature has not been looked at. `body`: what was signed, still packed if it was packed."""

    form: str
    operator: str
    mac: str
    body: bytes


def cmd_stem(pair: str, node: str) -> str:
    """The topic of a node's commands but for the last level, the verb."""
    return f"{TOPIC_ROOT}/{pair}/cmd/{node}"


def answer_topic(pair: str, operator: str, console: str) -> str:
    """Where an operator's console is answered."""
    return f"{TOPIC_ROOT}/{pair}/answer/{operator}/{console}"


def console_of(pair: str, operator: str, topic: str) -> str | None:
    """The console in an answer's topic; None for any other topic, whereto nothing is ever sent."""
    stem = answer_topic(pair, operator, "")
    console = topic.removeprefix(stem)
    return console if topic.startswith(stem) and is_name(console) else None


def is_name(text: object) -> bool:
    """Whether it can be a name, and so one level of a topic."""
    return isinstance(text, str) and _NAME.match(text) is not None


def is_id(text: object) -> bool:
    """Whether it is the id of a question: 128 random bits in hex."""
    return isinstance(text, str) and _ID.match(text) is not None


def signing_key(secret: bytes) -> bytes:
    """The key of remote messages from the bytes of a key file, which may sign other things too."""
    return hmac.digest(secret, b"twinbeat remote commands 1", "sha256")


def mac_of(key: bytes, form: str, direction: str, operator: str, body: bytes) -> str:
    """The signature. No part before the body can hold the sign that separates them."""
    return hmac.digest(key, f"{form}\0{direction}\0{operator}\0".encode() + body, "sha256").hex()


def seal(key: bytes, direction: str, operator: str, body: bytes, *, pack: bool = False) -> bytes:
    """The message with its signature. `pack`: compress a long body."""
    form = PLAIN
    if pack and len(body) > PACK_FROM_BYTES:
        import zlib

        form, body = PACKED, zlib.compress(body, 6)
    return f"{form} {operator} {mac_of(key, form, direction, operator, body)}\n".encode() + body


def split(payload: bytes) -> Sealed | None:
    """The parts of a message; None where it is none."""
    head, separator, _ = payload[:HEAD_BYTES_MAX].partition(b"\n")
    found = _HEAD.fullmatch(head)
    if found is None or not separator:
        return None
    form, operator, mac = (part.decode("ascii") for part in found.groups())
    return Sealed(form, operator, mac, payload[len(head) + 1 :])


def is_signed(sealed: Sealed, key: bytes, direction: str) -> bool:
    """Whether the signature is right, in a time that tells nothing about it."""
    return hmac.compare_digest(sealed.mac, mac_of(key, sealed.form, direction, sealed.operator, sealed.body))


def unpacked(sealed: Sealed) -> bytes | None:
    """The text of a message whose signature is right; None where it cannot be unpacked, or is too long."""
    if sealed.form == PLAIN:
        return sealed.body
    import zlib

    engine = zlib.decompressobj()
    try:
        text = engine.decompress(sealed.body, TEXT_BYTES_MAX)
    except zlib.error:
        return None
    return text if engine.eof else None
