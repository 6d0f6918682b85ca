"""One page of shared memory with the cuts in force.

The wire, the proxy and the relay boards look at it before each byte they pass, the injector writes it. A cut and a
kill that belong to one fault thus happen within microseconds of one stamp, without messages on the way.
"""
from __future__ import annotations

import mmap
import os
from pathlib import Path

NODES = 2
SIZE = mmap.PAGESIZE


def dark(node: int) -> int:
    """Place of the flag: this node has no power."""
    return node


def wire_cut(source: int) -> int:
    """Place of the flag: what this node sends on the serial wire goes nowhere."""
    return 2 + source


def mqtt_cut(node: int) -> int:
    """Place of the flag: this node's MQTT connection is a black hole."""
    return 4 + node


class Switchboard:
    """The page itself; every process of the rig opens the same file."""

    def __init__(self, path: str | Path, create: bool = False) -> None:
        handle = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o600)
        try:
            if create:
                os.ftruncate(handle, SIZE)
            self.flags = mmap.mmap(handle, SIZE)
        finally:
            os.close(handle)

    def set(self, place: int, on: bool) -> None:
        """Writes one flag."""
        self.flags[place] = int(on)

    def wire_silent(self, source: int) -> bool:
        """Whether bytes of this node are lost on the two-node wire: cut, or either end without power."""
        flags = self.flags
        return bool(flags[2 + source] or flags[0] or flags[1])

    def mqtt_silent(self, node: int) -> bool:
        """Whether this node's MQTT connection carries nothing."""
        return bool(self.flags[4 + node] or self.flags[node])

    def is_dark(self, node: int) -> bool:
        """Whether this node has no power."""
        return bool(self.flags[node])
