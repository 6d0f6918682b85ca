"""What stands in the znode of one group: a promise as signed JSON, readable with any ZooKeeper tool.

The signature covers the place as well: the pair, the group, the znode's creation and the version under which the value
stands. So a value that anybody copies from elsewhere, or writes a second time, is noticed; and one that its own writer
placed on a znode that was deleted and created anew meanwhile, at a version that happens to match, is noticed too.
"""
from __future__ import annotations

import json
import struct
from typing import NamedTuple

from twinbeat_core.errors import SettingsError
from twinbeat_core.siphash import siphash24

NOBODY = -1
KEY_BYTES = 16
MAX_VALUE = 1024
MAX_EPOCH = 0xFFFFFFFF
MAX_INCARNATION = 0xFFFFFFFF
MAX_STAMP = (1 << 48) - 1
MAX_GRANT_MS = 65000

_PREFIX = b"\xd1\x60"          # first bytes that no frame of a pair has: a znode's value never passes for a frame
_SIGNED = ',"sign":"'
_FIELDS = {
    "holder": (NOBODY, 14), "incarnation": (0, MAX_INCARNATION), "epoch": (0, MAX_EPOCH), "floor": (0, MAX_EPOCH),
    "stamp": (0, MAX_STAMP), "grant_ms": (1, MAX_GRANT_MS),
}


class Place(NamedTuple):
    """Which write of which znode: `born` is its creation (czxid; 0 in the value it was created with), `version` that
    of its data."""

    born: int
    version: int


class Held(NamedTuple):
    """The promise of one group: to whom, for how long, and the highest epoch ever promised.

    `holder`: a node, or NOBODY in a znode that was just created. `stamp`: of the ask that earned it, in microseconds
    of the holder's clock. `released`: its holder has given it back.
    """

    holder: int
    incarnation: int
    epoch: int
    floor: int
    stamp: int
    grant_ms: int
    released: bool


class Seal:
    """Signs and reads the values of one group. SettingsError for a key that is not of 16 bytes."""

    def __init__(self, key: bytes, pair: str, group: str) -> None:
        if len(key) != KEY_BYTES:
            raise SettingsError([f"the pair's key has {len(key)} bytes; it has {KEY_BYTES}: write it with twinbeat"
                                 f" keygen"])
        self._key = key
        self._name = _PREFIX + pair.encode() + b"\0" + group.encode() + b"\0"

    def _sign(self, text: bytes, place: Place) -> str:
        where = struct.pack("<Qi", place.born & 0xFFFFFFFFFFFFFFFF, place.version)
        return f"{siphash24(self._key, self._name + where + text):016x}"

    def write(self, held: Held, place: Place) -> bytes:
        """The value that will stand at `place`."""
        text = json.dumps(held._asdict(), separators=(",", ":"))[:-1]
        return (text + _SIGNED + self._sign(text.encode(), place) + '"}').encode()

    def read(self, value: bytes, place: Place) -> Held | None:
        """What a gateway of this pair has written at this place; None for anything else."""
        if len(value) > MAX_VALUE:
            return None
        if place.version == 0:
            place = Place(0, 0)
        text, found, rest = value.partition(_SIGNED.encode())
        if not found or rest != f'{self._sign(text, place)}"}}'.encode():
            return None
        return _held(text + b"}")


def _held(text: bytes) -> Held | None:
    """Signed text as fields; None where another version of this program has written others."""
    try:
        data = json.loads(text)
    except ValueError:
        return None
    if not isinstance(data, dict) or data.keys() != {*_FIELDS, "released"} or type(data["released"]) is not bool:
        return None
    for name, (low, high) in _FIELDS.items():
        if type(data[name]) is not int or not low <= data[name] <= high:
            return None
    return Held(**data)
