"""The layouts of the frames that this program speaks, and the pin that keeps a node to an older one."""
from __future__ import annotations

import os

from twinbeat.errors import ConfigError
from twinbeat_core import frames

PIN = "TWINBEAT_PROTOCOL_MAX"
"""Environment: the newest layout that the agent speaks, for a staged roll-out (docs/upgrade.md)."""
OLDEST: int = getattr(frames, "WIRE_VERSION_OLDEST", 1)
NEWEST: int = frames.WIRE_VERSION


def pinned_layout() -> int | None:
    """What TWINBEAT_PROTOCOL_MAX says; None where it says nothing. Raises ConfigError."""
    text = os.environ.get(PIN, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and OLDEST <= int(text) <= NEWEST):
        spoken = f"{OLDEST}" if OLDEST == NEWEST else f"{OLDEST} to {NEWEST}"
        raise ConfigError(
            f'environment: {PIN} = "{text}" is no layout of frames that this version speaks ({spoken}); '
            "correct it in the unit, or remove it to speak the newest that both gateways know"
        )
    return int(text)


def protocol_range() -> dict[str, int | None]:
    """Oldest and newest layout, and the pin, for status and `twinbeat version --json`."""
    return {"oldest": OLDEST, "newest": NEWEST, "pinned": pinned_layout()}
