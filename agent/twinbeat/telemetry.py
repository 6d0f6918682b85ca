"""What is told to the world over MQTT: who lives, who drives, why it changed. Never on the path of a heartbeat.

Every broker gets the same messages. Retained topics carry the newest value only and are repeated by a fresh
connection; events are rate-limited, and what was held back is counted in the next event that goes out.
A shard has the topic shard/<unit> in place of role/<group>: there may be 64 of them, so they are repeated a third at a
time, and changes beyond a rate wait for the next second, the newest of each shard only.
"""
from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from twinbeat.links.mqtt_note import TOPIC_ROOT, Note
from twinbeat.run_loop import boottime_ns
from twinbeat.verdict import utc_now
from twinbeat.version import __version__

SCHEMA = 1
TTL_S = 60
REFRESH_S = TTL_S / 3
EVENTS_PER_S = 10.0
EVENTS_BURST = 40.0
SHARD_TURNS = 3
"""A shard is repeated at every third refresh, and so lives three times as long as a role."""
SHARD_TTL_S = TTL_S * SHARD_TURNS
SHARDS_PER_S = 32.0
SHARDS_BURST = 128.0
SETTLE_S = 1.0


class Channel(Protocol):
    """A broker's connection, as telemetry needs it."""

    def send_note(self, note: Note) -> None:
        """Publish without waiting."""

    def forget(self, topic: str) -> None:
        """Stop repeating a retained value."""


class Telemetry:
    """Publishes for one node. `session` is the start counter: a status with a lower one is of an earlier start."""

    def __init__(self, pair: str, node: str, session: int, clock_ns: Callable[[], int] = boottime_ns) -> None:
        self.events_held_back = 0
        self._pair = pair
        self._node = node
        self._session = session
        self._clock_ns = clock_ns
        self._channels: Sequence[Channel] = ()
        self.shards: Mapping[str, tuple[str, int]] = {}
        self._roles: dict[str, dict[str, Any]] = {}
        self._facts: dict[str, Any] = {}
        self._late: dict[str, None] = {}
        self._shard_tokens = SHARDS_BURST
        self._shard_ns = clock_ns()
        self._turn = 0
        self._tokens = EVENTS_BURST
        self._refilled_ns = clock_ns()
        self._reported = 0

    def attach(self, channels: Sequence[Channel]) -> None:
        """Say where to publish, and publish the birth."""
        self._channels = channels
        self.refresh()

    def will(self) -> Note:
        """The message that the broker publishes when this node vanishes from it."""
        body = self._status("offline", reason="connection lost")
        payload = encode({key: body[key] for key in body if key not in ("time", "boottime_ns")})
        return Note(self._topic(f"{self._node}/status"), payload, retain=True, qos=1)

    def farewell(self) -> Note:
        """The status that a planned stop leaves behind."""
        payload = encode(self._status("offline", reason="stopped"))
        return Note(self._topic(f"{self._node}/status"), payload, retain=True, qos=1)

    def refresh(self) -> None:
        """Repeat what expires; due every `REFRESH_S` seconds. A value nobody repeats vanishes from the broker."""
        self._tell_status()
        self._turn = (self._turn + 1) % SHARD_TURNS
        for group, role in self._roles.items():
            if group not in self.shards:
                self._retain(f"role/{group}", encode(role | {"time": utc_now()}))
            elif self.shards[group][1] % SHARD_TURNS == self._turn:
                self._retain_shard(group)

    def fact(self, key: str, value: Any) -> None:
        """Say one thing more in this node's status, now and until it is None."""
        self._facts.pop(key, None)
        if value is not None:
            self._facts[key] = value
        self._tell_status()

    def _tell_status(self) -> None:
        self._retain(f"{self._node}/status", encode(self._status("online", **self._facts)))

    def role(self, group: str, driver: str | None, epoch: int, cause: str) -> None:
        """Say who drives a group or owns a shard. `driver` None: nobody that this node knows of."""
        if group in self.shards:
            self._shard(group, driver, epoch, cause)
            return
        role = {
            "schema": SCHEMA,
            "group": group,
            "driver": driver,
            "epoch": epoch,
            "since": utc_now(),
            "cause": cause,
            "by": self._node,
            "ttl_s": TTL_S,
        }
        self._roles[group] = role
        self._retain(f"role/{group}", encode(role | {"time": role["since"]}))

    def not_ours(self, group: str) -> None:
        """Another node speaks for the group now: repeat our last word about it no longer."""
        if self._roles.pop(group, None) is not None:
            self._late.pop(group, None)
            kind = "shard" if group in self.shards else "role"
            for channel in self._channels:
                channel.forget(self._topic(f"{kind}/{group}"))
                channel.forget(self._topic(f"verdict/{group}"))

    def settle(self) -> None:
        """Publish the shards whose change came too fast after others; due every `SETTLE_S` seconds."""
        while self._late and self._shard_token():
            unit = next(iter(self._late))
            del self._late[unit]
            self._retain_shard(unit)

    def _shard(self, unit: str, owner: str | None, epoch: int, cause: str) -> None:
        family, number = self.shards[unit]
        self._roles[unit] = {
            "schema": SCHEMA,
            "group": family,
            "shard": number,
            "owner": owner,
            "epoch": epoch,
            "since": utc_now(),
            "cause": cause,
            "by": self._node,
            "ttl_s": SHARD_TTL_S,
        }
        self._late[unit] = None
        self.settle()

    def _shard_token(self) -> bool:
        now_ns = self._clock_ns()
        self._shard_tokens = min(SHARDS_BURST, self._shard_tokens + (now_ns - self._shard_ns) / 1e9 * SHARDS_PER_S)
        self._shard_ns = now_ns
        if self._shard_tokens < 1.0:
            return False
        self._shard_tokens -= 1.0
        return True

    def _retain_shard(self, unit: str) -> None:
        self._retain(f"shard/{unit}", encode(self._roles[unit] | {"time": utc_now()}), SHARD_TTL_S)

    def verdict(self, record: dict[str, Any]) -> None:
        """Publish the record of a role change, retained: as the pair's newest, and as this node's for the other one."""
        payload = encode(record)
        self._retain(f"verdict/{record['group']}", payload, expiry_s=0)
        self._retain(f"{self._node}/verdict/{record['group']}", payload, expiry_s=0)

    def event(self, code: str, text: str, at_ns: int) -> None:
        """Publish something that happened, unless too much happens."""
        now_ns = self._clock_ns()
        self._tokens = min(EVENTS_BURST, self._tokens + (now_ns - self._refilled_ns) / 1e9 * EVENTS_PER_S)
        self._refilled_ns = now_ns
        if self._tokens < 1.0:
            self.events_held_back += 1
            return
        self._tokens -= 1.0
        held_back, self._reported = self.events_held_back - self._reported, self.events_held_back
        body = {"schema": SCHEMA, "time": utc_now(), "boottime_ns": at_ns, "code": code, "text": text}
        if held_back:
            body["held_back"] = held_back
        self._send(Note(self._topic(f"{self._node}/event"), encode(body), retain=False, qos=0, expiry_s=TTL_S))

    def _retain(self, rest: str, payload: bytes, expiry_s: int = TTL_S) -> None:
        self._send(Note(self._topic(rest), payload, retain=True, qos=1, expiry_s=expiry_s))

    def _send(self, note: Note) -> None:
        for channel in self._channels:
            channel.send_note(note)

    def _topic(self, rest: str) -> str:
        return f"{TOPIC_ROOT}/{self._pair}/{rest}"

    def _status(self, state: str, **more: Any) -> dict[str, Any]:
        body: dict[str, Any] = {
            "schema": SCHEMA,
            "state": state,
            "pair": self._pair,
            "node": self._node,
            "session": self._session,
            "version": __version__,
            "ttl_s": TTL_S,
            "time": utc_now(),
            "boottime_ns": self._clock_ns(),
        }
        return body | more


def encode(body: dict[str, Any]) -> bytes:
    """A payload: JSON without blanks."""
    return json.dumps(body, separators=(",", ":")).encode()
