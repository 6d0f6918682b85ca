"""What a client knows: units, owners, deadlines. One state for each connection; changed by the thread that reads."""
from __future__ import annotations

import queue
import time
from typing import Any, NamedTuple

from twinbeat.errors import UsageError
from twinbeat.sharding import shard_of

CHANGES_MAX = 4096
KEYS_REMEMBERED = 65536
NS_PER_MS = 1_000_000

Row = dict[str, Any]


class Owner(NamedTuple):
    """Who owns a key.

    unit      what moves as one: "lines.3" is shard 3 of the group "lines"
    node      the node that drives it as far as this one knows; None: nobody
    epoch     of its claim, which only ever rises; 0 where nobody drives
    mine      it is this node's as the agent told last; before each use ask `Client.lease`, which looks at the deadline
    cause     why the unit last changed its state on this node, for people
    since_ns  CLOCK_BOOTTIME of this machine when this node saw that owner first
    """

    unit: str
    group: str
    shard: int | None
    node: str | None
    epoch: int
    mine: bool
    cause: str
    since_ns: int


class Lease(NamedTuple):
    """The right to handle the keys of a unit until `until_ns` (CLOCK_BOOTTIME). `epoch` is the fencing token."""

    unit: str
    epoch: int
    until_ns: int

    def left_ms(self) -> float:
        """How long it still lasts; 0 or less: it is over."""
        return (self.until_ns - boottime_ns()) / NS_PER_MS


class State:
    """From the agent's first answer. A state whose connection was lost holds no deadline and gets none."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.node = str(answer["node"])
        self.lease_ns = int(float(answer["lease_ms"]) * NS_PER_MS)
        self.nobody_ms_max = float(answer["nobody_ms_max"])
        self.rows: list[Row] = list(answer["units"])
        self._families: dict[str, list[int]] = {}
        self._keys: dict[tuple[str | None, str], int] = {}
        self._held: dict[int, tuple[int, int]] = {}
        for row in self.rows:
            self._families.setdefault(row["group"], []).append(row["number"])
            self._note(row)

    def unit(self, key: str, group: str | None) -> int:
        """The number of a key's unit. Raises UsageError for a group that is not there, or where one must be named."""
        number = self._keys.get((group, key))
        if number is not None:
            return number
        numbers = self._families.get(group if group is not None else self._usual())
        if numbers is None:
            raise UsageError(f'there is no group "{group}"; the groups are {", ".join(self._families)}')
        if not isinstance(key, str):
            raise UsageError(f"a key is a text, not {type(key).__name__}")
        number = numbers[shard_of(key, len(numbers))]
        if len(self._keys) >= KEYS_REMEMBERED:
            self._keys.clear()
        self._keys[(group, key)] = number
        return number

    def lease(self, number: int, need_ns: int) -> Lease | None:
        """The lease of a unit if it lasts for more than `need_ns` from now."""
        held = self._held.get(number)
        if held is None or boottime_ns() + need_ns >= held[1]:
            return None
        return Lease(self.rows[number]["unit"], *held)

    def take(self, row: Row) -> None:
        """A unit has changed."""
        self.rows[row["number"]] = row
        self._note(row)

    def renew(self, held: list[tuple[int, int, int]]) -> None:
        """Fresh deadlines of all that is this node's; what is not among them is not."""
        self._held = {number: (epoch, until_ns) for number, epoch, until_ns in held}

    def lose(self) -> list[Row]:
        """The connection is gone: nothing is ours. Returns what was."""
        self._held = {}
        gone = [row for row in self.rows if row["mine"]]
        self.rows = [{**row, "mine": False} for row in self.rows]
        return gone

    def _note(self, row: Row) -> None:
        if row["mine"]:
            self._held[row["number"]] = (row["epoch"], row["authority_until_boottime_ns"])
        else:
            self._held.pop(row["number"], None)

    def _usual(self) -> str:
        split = [name for name, numbers in self._families.items() if self.rows[numbers[0]]["shard"] is not None]
        names = split or list(self._families)
        if len(names) != 1:
            raise UsageError(f"name the group of the key: {', '.join(self._families)}")
        return names[0]


class News:
    """A bounded queue of changes; where it is full the oldest is lost."""

    def __init__(self, size: int = CHANGES_MAX) -> None:
        self._queue: queue.Queue[Owner | None] = queue.Queue(size)

    def put(self, told: Owner | None) -> None:
        """Add a change; None: there will be no more."""
        while True:
            try:
                self._queue.put_nowait(told)
            except queue.Full:
                try:
                    self._queue.get_nowait()
                except queue.Empty:
                    pass
            else:
                return

    def get(self, limit_s: float | None) -> Owner | None:
        """The oldest change; None: no more, or none within `limit_s` seconds."""
        try:
            return self._queue.get(timeout=limit_s)
        except queue.Empty:
            return None


def told(row: Row) -> Owner:
    """A row as applications see it."""
    return Owner(row["unit"], row["group"], row["shard"], row["owner"], row["epoch"], bool(row["mine"]), row["cause"],
                 row["at_boottime_ns"])


def boottime_ns() -> int:
    """Now on the clock of all deadlines."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
