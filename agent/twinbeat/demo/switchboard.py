"""One page of shared memory with the cuts in force.

The wires, the proxies and the relay boards look at it before each byte they pass, the injector writes it. A cut and a
kill that belong to one fault thus happen within microseconds of one stamp, without messages on the way.
"""
from __future__ import annotations

import mmap
import os
from pathlib import Path

NODES = 3
"""As many as a layout has at most: a pair and a spare."""
WITNESS = NODES
"""The witness, behind the nodes, among those that the network to the broker carries."""
SIZE = mmap.PAGESIZE


def dark(node: int) -> int:
    """Place of the flag: this node has no power."""
    return node


def wire_cut(source: int) -> int:
    """Place of the flag: what this node sends on its serial cables goes nowhere."""
    return NODES + source


def apart(node: int) -> int:
    """Place of the flag: no link of this node carries anything, in either direction."""
    return 2 * NODES + node


def voter_cut(node: int) -> int:
    """Place of the flag: the cable between this node and the arbiter carries nothing."""
    return 3 * NODES + node


def mqtt_cut(client: int) -> int:
    """Place of the flag: this node's, or the witness's, MQTT connection is a black hole."""
    return 4 * NODES + client


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

    def wire_silent(self, source: int, target: int) -> bool:
        """Whether bytes between these nodes are lost: cut, either of them apart from all, or without power."""
        flags = self.flags
        return bool(flags[wire_cut(source)] or flags[dark(source)] or flags[dark(target)]
                    or flags[apart(source)] or flags[apart(target)])

    def mqtt_silent(self, client: int) -> bool:
        """Whether this MQTT connection carries nothing. The witness has a supply of its own."""
        flags = self.flags
        return bool(flags[mqtt_cut(client)] or (client < NODES and (flags[dark(client)] or flags[apart(client)])))

    def voter_silent(self, node: int) -> bool:
        """Whether the cable between this node and the arbiter carries nothing. The arbiter has a supply of its own."""
        return bool(self.flags[voter_cut(node)] or self.flags[dark(node)])

    def is_dark(self, node: int) -> bool:
        """Whether this node has no power."""
        return bool(self.flags[node])
