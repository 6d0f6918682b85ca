"""A message of telemetry on its way to a broker; apart from the client, so that no broker means no paho."""
from __future__ import annotations

from dataclasses import dataclass

TOPIC_ROOT = "twinbeat/v1"


@dataclass(frozen=True)
class Note:
    """One message. Of a retained topic only the newest is kept; `expiry_s` 0 means that it never expires.

    `correlation`: of an answer, what the question carried.
    """

    topic: str
    payload: bytes
    retain: bool
    qos: int
    expiry_s: int = 0
    correlation: bytes = b""
