"""Frames as Python values: what tests, tools and the simulator read and build. The C form stands in model.pxd."""
from __future__ import annotations

from typing import NamedTuple

WIRE_VERSION = 2
"""The newest layout that this program speaks."""


class Echo(NamedTuple):
    """What the sender has heard of one node: links (mask), promise length (ms), incarnation, newest stamp (us)."""

    node: int
    hears: int
    grant_ms: int
    incarnation: int
    stamp: int


class Row(NamedTuple):
    """One group as its sender sees it: own state, whom it promises (15: nobody), RowFlag mask, epoch.

    `prepare` (from version 2): of a driver 1 + the node that it asks to prepare, of a standby 15 once that is done.
    """

    state: int
    vote: int
    flags: int
    epoch: int
    prepare: int = 0


class Frame(NamedTuple):
    """One heartbeat or death notice. Stamps are microseconds of the sender's monotonic clock (48 bit)."""

    source: int
    incarnation: int
    stamp: int
    pair_id: int
    kind: int = 0
    flags: int = 0
    link_seq: int = 0
    health: int = 100
    load: int = 0
    config_digest: int = 0
    sync_position: int = 0
    version: int = WIRE_VERSION
    version_max: int = WIRE_VERSION
    echoes: tuple[Echo, ...] = ()
    rows: tuple[Row, ...] = ()
