"""Early warnings on MQTT: one retained topic for each figure, cleared when its warning ends.

twinbeat/v1/<pair>/alarm/EARLY_WARNING/<node>/<figure>; the node stands in the topic, so that two nodes do not clear
each other's. A value that nobody repeats vanishes after its time to live, as a status does.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

from twinbeat.links.mqtt_note import TOPIC_ROOT, Note
from twinbeat.telemetry import SCHEMA, TTL_S, Channel, encode
from twinbeat.verdict import utc_now
from twinbeat.warning.figures import Warned

CODE = "EARLY_WARNING"


class Alarms:
    """Publishes for one node on every broker that `channels()` names."""

    def __init__(self, pair: str, node: str, channels: Callable[[], Sequence[Channel]]) -> None:
        self._node = node
        self._root = f"{TOPIC_ROOT}/{pair}/alarm/{CODE}/{node}"
        self._channels = channels
        self._since: dict[str, str] = {}

    def stands(self, warned: Warned) -> None:
        """Publish a warning, or repeat it with its newest figures."""
        since = self._since.setdefault(warned.figure, utc_now())
        body = {"schema": SCHEMA, "code": CODE, "node": self._node, "active": True, "since": since, "time": utc_now(),
                "ttl_s": TTL_S, **warned.as_dict()}
        self._send(Note(f"{self._root}/{warned.figure}", encode(body), retain=True, qos=1, expiry_s=TTL_S))

    def ended(self, warned: Warned) -> None:
        """Clear its topic."""
        if self._since.pop(warned.figure, None) is not None:
            self._send(Note(f"{self._root}/{warned.figure}", b"", retain=True, qos=1))

    def _send(self, note: Note) -> None:
        for channel in self._channels():
            channel.send_note(note)
