"""What is published: topics, retention, expiry, limits."""
from __future__ import annotations

import json
from typing import Any

import pytest

from twinbeat.links.mqtt_note import Note
from twinbeat.run_events import KEPT, LOGGED_BURST, EventLog
from twinbeat.telemetry import EVENTS_BURST, SHARD_TTL_S, SHARD_TURNS, SHARDS_BURST, TTL_S, Telemetry


class Wire:
    """A broker's connection that keeps what it is given."""

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self.forgotten: list[str] = []

    def send_note(self, note: Note) -> None:
        self.notes.append(note)

    def forget(self, topic: str) -> None:
        self.forgotten.append(topic)

    def newest(self, rest: str) -> tuple[Note, dict[str, Any]]:
        note = next(note for note in reversed(self.notes) if note.topic == f"twinbeat/v1/pump-7/{rest}")
        return note, json.loads(note.payload)


class Clock:
    def __init__(self) -> None:
        self.now_ns = 10**12

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def telemetry(clock: Clock, wire: Wire) -> Telemetry:
    telemetry = Telemetry("pump-7", "gw-a", 12, clock)
    telemetry.attach([wire])
    return telemetry


def test_birth_is_retained_and_expires_unless_repeated(telemetry: Telemetry, wire: Wire) -> None:
    note, body = wire.newest("gw-a/status")
    assert (note.retain, note.qos, note.expiry_s) == (True, 1, TTL_S)
    assert (body["state"], body["session"], body["ttl_s"], body["node"]) == ("online", 12, TTL_S, "gw-a")
    assert body["version"] and body["time"].endswith("Z")


def test_will_and_farewell_stay_until_somebody_says_otherwise(telemetry: Telemetry) -> None:
    will, farewell = telemetry.will(), telemetry.farewell()
    assert will.topic == farewell.topic == "twinbeat/v1/pump-7/gw-a/status"
    assert (will.retain, will.qos, will.expiry_s, farewell.expiry_s) == (True, 1, 0, 0)
    said = json.loads(will.payload)
    assert (said["state"], said["reason"], said["session"]) == ("offline", "connection lost", 12)
    assert "time" not in said, "a will is written long before it is published"
    assert json.loads(farewell.payload)["reason"] == "stopped"


def test_role_is_repeated_with_its_first_since(telemetry: Telemetry, wire: Wire) -> None:
    telemetry.role("pump", "gw-a", 17, "SILENCE")
    note, body = wire.newest("role/pump")
    assert (note.retain, note.expiry_s) == (True, TTL_S)
    assert (body["driver"], body["epoch"], body["cause"]) == ("gw-a", 17, "SILENCE")
    telemetry.refresh()
    assert wire.newest("role/pump")[1]["since"] == body["since"]
    assert len([note for note in wire.notes if note.topic.endswith("role/pump")]) == 2


def test_a_role_that_is_no_longer_ours_is_not_repeated(telemetry: Telemetry, wire: Wire) -> None:
    telemetry.role("pump", "gw-a", 17, "SILENCE")
    telemetry.not_ours("pump")
    assert wire.forgotten == ["twinbeat/v1/pump-7/role/pump", "twinbeat/v1/pump-7/verdict/pump"]
    count = len(wire.notes)
    telemetry.refresh()
    assert [note.topic for note in wire.notes[count:]] == ["twinbeat/v1/pump-7/gw-a/status"]
    telemetry.not_ours("pump")
    assert len(wire.forgotten) == 2


def test_a_verdict_never_expires(telemetry: Telemetry, wire: Wire) -> None:
    telemetry.verdict({"group": "pump", "sentence": "because"})
    note, body = wire.newest("verdict/pump")
    assert (note.retain, note.expiry_s, body["sentence"]) == (True, 0, "because")


def test_events_are_limited_and_what_was_held_back_is_counted(
    telemetry: Telemetry, wire: Wire, clock: Clock
) -> None:
    for number in range(int(EVENTS_BURST) + 25):
        telemetry.event("LINK_UP", f"event {number}", clock.now_ns)
    events = [note for note in wire.notes if note.topic == "twinbeat/v1/pump-7/gw-a/event"]
    assert len(events) == EVENTS_BURST
    assert all((note.retain, note.qos, note.expiry_s) == (False, 0, TTL_S) for note in events)
    assert telemetry.events_held_back == 25
    clock.now_ns += 10**9
    telemetry.event("LINK_UP", "later", clock.now_ns)
    assert wire.newest("gw-a/event")[1]["held_back"] == 25
    telemetry.event("LINK_UP", "last", clock.now_ns)
    assert "held_back" not in wire.newest("gw-a/event")[1]


def test_every_broker_is_told(telemetry: Telemetry, wire: Wire) -> None:
    second = Wire()
    telemetry.attach([wire, second])
    telemetry.role("pump", None, 17, "STOP")
    assert wire.newest("role/pump")[1]["driver"] is None
    assert second.newest("role/pump")[1]["driver"] is None


def test_the_event_ring_is_bounded_and_numbered(clock: Clock) -> None:
    published: list[str] = []
    events = EventLog(lambda code, text, at_ns: published.append(code), clock)
    for number in range(KEPT + 10):
        events.add("LINK_UP", f"event {number}", at_ns=number)
    assert len(events.last(10_000)) == KEPT
    newest = events.last(1)[0]
    assert (newest["seq"], newest["text"], newest["boottime_ns"]) == (KEPT + 10, f"event {KEPT + 9}", KEPT + 9)
    assert [event["seq"] for event in events.last(500, after=KEPT + 8)] == [KEPT + 9, KEPT + 10]
    assert events.unlogged == KEPT + 10 - LOGGED_BURST
    assert len(published) == KEPT + 10


def test_debug_events_stay_in_the_ring(clock: Clock) -> None:
    published: list[str] = []
    events = EventLog(lambda code, text, at_ns: published.append(code), clock)
    events.add("GRANT", "promises are 40 ms long", level=10)
    assert published == [] and events.last(1)[0]["code"] == "GRANT"


# ------------------------------------------------------------ shards


@pytest.fixture
def shards(telemetry: Telemetry) -> Telemetry:
    telemetry.shards = {f"lines.{number}": ("lines", number) for number in range(64)}
    return telemetry


def of_shards(wire: Wire) -> list[Note]:
    return [note for note in wire.notes if "/shard/" in note.topic]


def test_a_shard_has_a_topic_of_its_own_and_no_role(shards: Telemetry, wire: Wire) -> None:
    shards.role("lines.3", "gw-a", 17, "SILENCE")
    shards.role("pump", "gw-a", 9, "SILENCE")
    note, body = wire.newest("shard/lines.3")
    assert (note.retain, note.qos, note.expiry_s) == (True, 1, SHARD_TTL_S)
    assert (body["group"], body["shard"], body["owner"], body["epoch"], body["cause"], body["by"]) == (
        "lines", 3, "gw-a", 17, "SILENCE", "gw-a")
    assert body["since"] <= body["time"] and body["ttl_s"] == SHARD_TTL_S
    assert [note.topic.rpartition("/")[2] for note in wire.notes if "/role/" in note.topic] == ["pump"]


def test_shards_are_repeated_a_third_at_a_time(shards: Telemetry, wire: Wire) -> None:
    for number in range(64):
        shards.role(f"lines.{number}", "gw-a", 17, "START")
    del wire.notes[:]
    counts = []
    for _ in range(SHARD_TURNS):
        before = len(of_shards(wire))
        shards.refresh()
        counts.append(len(of_shards(wire)) - before)
    assert max(counts) <= 22
    assert len({note.topic for note in of_shards(wire)}) == 64
    assert max(len(note.topic) + len(note.payload) for note in of_shards(wire)) < 300


def test_changes_beyond_the_rate_wait_and_only_the_newest_is_told(
    shards: Telemetry, wire: Wire, clock: Clock
) -> None:
    for turn in range(1, 6):
        for number in range(64):
            shards.role(f"lines.{number}", "gw-a", turn, "SILENCE")
    assert len(of_shards(wire)) == SHARDS_BURST
    for _ in range(2):
        clock.now_ns += 10**9
        shards.settle()
    assert len(of_shards(wire)) == SHARDS_BURST + 64
    assert {wire.newest(f"shard/lines.{number}")[1]["epoch"] for number in range(64)} == {5}
    clock.now_ns += 10**9
    shards.settle()
    assert len(of_shards(wire)) == SHARDS_BURST + 64


def test_a_shard_that_is_no_longer_ours_is_not_repeated(shards: Telemetry, wire: Wire, clock: Clock) -> None:
    for number in [*range(64), *range(64), 7]:
        shards.role(f"lines.{number}", "gw-a", 17, "SILENCE")
    shards.not_ours("lines.7")
    assert wire.forgotten == ["twinbeat/v1/pump-7/shard/lines.7", "twinbeat/v1/pump-7/verdict/lines.7"]
    del wire.notes[:]
    clock.now_ns += 10**10
    shards.settle()
    for _ in range(SHARD_TURNS):
        shards.refresh()
    assert not any(note.topic.endswith("/lines.7") for note in wire.notes)
    shards.role("lines.7", None, 18, "STOP")
    assert wire.newest("shard/lines.7")[1]["owner"] is None
