"""What a mode of the demo consists of: its nodes, the cables between them, its units, and who may drive each."""
from __future__ import annotations

import itertools
import json
from dataclasses import dataclass

from twinbeat.sharding import orders_of

NODES = ["gw-a", "gw-b"]
SPARE = "gw-s"
GROUP = "pump"
FAMILY = "lines"
OVERLAP_GROUP = "horn"
SPARED = {"press": (NODES[0], SPARE), "saw": (NODES[1], SPARE)}
MODES = ("hot-warm", "hot-hot", "overlap", "hot-spare")
DEFAULT_UNITS = {"hot-warm": 1, "hot-hot": 8, "overlap": 1, "hot-spare": len(SPARED)}
UNITS_MAX = 64
RELAY = "relay"
NETWORK = "direct"
CAPACITY = 100
BAUD, BAUD_UNITS, BAUD_FAST = 921600, 32, 3_000_000
"""Frames grow with the units; the wire of the demo has no baud rate, the timing that is computed from it has."""


@dataclass(frozen=True)
class Layout:
    """The nodes of a mode, and its units with the nodes that may drive each, best first.

    cables  port name of each serial cable, and the two nodes that it joins
    groups  the tables of the configuration file, without their outputs
    """

    mode: str
    nodes: list[str]
    cables: dict[str, tuple[str, str]]
    units: list[str]
    drivers: list[tuple[str, ...]]
    groups: list[list[str]]

    @property
    def goes_home(self) -> bool:
        """Whether units return by themselves to the node that is best for them."""
        return self.mode in ("hot-hot", "hot-spare")

    @property
    def has_network(self) -> bool:
        """Whether a network joins the nodes besides cables; a cable reaches two only."""
        return len(self.nodes) > len(NODES)

    def relay(self, unit: int) -> str:
        """What the nodes call the port of a unit's relay board."""
        return RELAY if len(self.units) == 1 else f"{RELAY}-{unit}"

    def written_relay(self, group: int) -> str:
        """The same as a group's table in the file has it; one table stands for all shards."""
        return f"{RELAY}-{{shard}}" if self.mode == "hot-hot" and len(self.units) > 1 else self.relay(group)

    def home(self, unit: int) -> frozenset[str]:
        """Who drives a unit when all is well."""
        return frozenset(self.drivers[unit] if self.mode == "overlap" else self.drivers[unit][:1])

    def links(self, period_ms: float) -> list[str]:
        """The tables of the links but for the broker's."""
        lines = []
        baud = BAUD if len(self.units) <= BAUD_UNITS else BAUD_FAST
        if self.has_network:
            lines += ["[[link]]", 'type = "udp"', f'address = "{NETWORK}"', f"period_ms = {period_ms:g}", ""]
        for port, (one, other) in self.cables.items():
            between = [f"between = {json.dumps([one, other])}"] if self.has_network else []
            lines += ["[[link]]", 'type = "serial"', f'port = "{port}"', *between, f"baud = {baud}",
                      f"period_ms = {period_ms:g}", ""]
        return lines


def make_layout(mode: str, units: int, failback_after_s: float, move_gap_s: float) -> Layout:
    """The layout of a mode with so many units (hot-hot: shards, hot-warm: groups)."""
    calm = ["hold_down_s = 0"]
    home = ['failback = "after"', f"failback_after_s = {failback_after_s:g}", *calm]
    pair = {"cross": (NODES[0], NODES[1])}
    if mode == "hot-hot":
        orders = orders_of(FAMILY, units, dict.fromkeys(NODES, CAPACITY))
        names = [f"{FAMILY}.{shard}" for shard in range(units)]
        group = [f'name = "{FAMILY}"', 'mode = "hot-hot"', f"shards = {units}", *home]
        # Here for its move_gap_s alone: no load of a trial lasts so long that it would move anything.
        balance = ["[balance]", "load_gap_percent = 100", "load_hold_s = 86400", f"move_gap_s = {move_gap_s:g}", ""]
        return Layout(mode, NODES, pair, names, list(orders), [[*balance, "[[group]]", *group]])
    if mode == "overlap":
        group = [f'name = "{OVERLAP_GROUP}"', 'mode = "hot-hot"', "overlap = true"]
        return Layout(mode, NODES, pair, [OVERLAP_GROUP], [tuple(NODES)], [["[[group]]", *group]])
    if mode == "hot-spare":
        groups = [["[[group]]", f'name = "{name}"', 'mode = "hot-spare"', f"prefer = {json.dumps(prefer)}", *home]
                  for name, prefer in SPARED.items()]
        return Layout(mode, [*NODES, SPARE], pair, list(SPARED), list(SPARED.values()), groups)
    names = [GROUP] if units == 1 else [f"{GROUP}-{number}" for number in range(units)]
    damping = calm if units > 1 else []
    groups = [["[[group]]", f'name = "{name}"', f"prefer = {json.dumps(NODES)}", *damping] for name in names]
    return Layout(mode, NODES, pair, names, list(itertools.repeat(tuple(NODES), units)), groups)
