"""How long a heartbeat occupies a serial line, and which baud rate or period leaves room on it."""
from __future__ import annotations

import math

from twinbeat_core.wire import frame_wire_bytes

BITS_PER_BYTE = 10
"""8N1: start bit, eight data bits, stop bit."""
FRAME_SHARE_MAX = 0.4
"""A heartbeat may take this part of its period: answers and re-asking need the rest."""
BAUD_RATES = (9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600, 1000000, 1500000, 2000000, 3000000, 4000000)
"""The rates that adapters and boards commonly offer."""


def heartbeat_bytes(nodes: int, groups: int) -> int:
    """Bytes of one heartbeat on the wire, framing included."""
    return int(frame_wire_bytes(nodes, groups))


def frame_ms(nodes: int, groups: int, baud: int) -> float:
    """Time of one heartbeat on the wire in ms."""
    return heartbeat_bytes(nodes, groups) * BITS_PER_BYTE * 1000.0 / baud


def baud_that_fits(nodes: int, groups: int, period_ms: float) -> int | None:
    """The smallest common baud rate at which a heartbeat leaves enough of the period; None when no rate does."""
    return next((baud for baud in BAUD_RATES if frame_ms(nodes, groups, baud) <= FRAME_SHARE_MAX * period_ms), None)


def period_that_fits(nodes: int, groups: int, baud: int) -> int:
    """The smallest whole period in ms at which a heartbeat leaves enough of it."""
    return math.ceil(frame_ms(nodes, groups, baud) / FRAME_SHARE_MAX)
