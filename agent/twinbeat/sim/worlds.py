"""The worlds that documentation, scenarios, campaigns and the model check speak of, by name."""
from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace

from twinbeat.errors import UsageError
from twinbeat.sim.spec import LinkSpec, WorldSpec
from twinbeat_core.model import LinkKind, Lone
from twinbeat_core.settings import GroupSettings, LinkSettings, Settings

SERIAL = LinkSettings(kind=LinkKind.LINK_SERIAL, period_ms=10, rtt_ms=1.9, reask_ms=1.25)
MQTT = LinkSettings(kind=LinkKind.LINK_MQTT, period_ms=100, fast_period_ms=20, rtt_ms=8, reask_ms=8)
UDP = LinkSettings(kind=LinkKind.LINK_UDP, period_ms=10, rtt_ms=2, reask_ms=1.25)
KINDS = {
    "serial": (SERIAL, LinkSpec(latency_us=400, jitter_us=200)),
    "mqtt": (MQTT, LinkSpec(latency_us=1500, jitter_us=1500)),
    "udp": (UDP, LinkSpec(latency_us=150, jitter_us=150, fifo=False)),
}
"""What the core counts with and how the link behaves, by the link's name."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A world in few words; every field can be named after the world's name in a scenario (`world pair lone=hold`)."""

    nodes: int = 2
    links: tuple[str, ...] = ("serial", "mqtt")
    groups: int = 1
    lone: str = "takeover"
    voter: bool = False
    gated: bool = False
    third_period_ms: float = 0.0
    third_rtt_ms: float = 3.0
    third_reask_ms: float = 2.0
    third_way_ms: float = 0.5
    third_abstain_ms: float = 2000.0
    third_hears_gates: bool = True
    release_ms: float = 2.0
    make_ms: float = 0.0
    hold_ms: float = -1.0
    drift_ppm: float = 0.0
    lonely_ms: float = 2000.0
    grant_max_ms: float = 0.0
    stagger_ms: float = 20.0
    gate_late_ms: float = 4.9
    worst: bool = False
    spare: bool = False
    shared: int = 0
    failback_ms: float = -1.0
    hold_down_ms: float = 0.0
    hold_down_max_ms: float = 0.0
    prepare_ms: float = 0.0
    load_gap: int = 0
    load_hold_ms: float = 150.0
    move_gap_ms: float = 40.0

    @property
    def planned(self) -> bool:
        """Whether there are moves that nobody orders."""
        return self.failback_ms >= 0 or self.load_gap > 0 or self.prepare_ms > 0

    def _group(self, g: int) -> GroupSettings:
        """Group number g. Every further one releases slower: a death notice can name some and not yet others."""
        ranks = tuple(range(self.nodes))
        rank = ranks[g % self.nodes:] + ranks[:g % self.nodes]
        drivers = None
        if self.spare:
            # Its own node first, then the spare, the last one; the others only vote.
            own, last = g % (self.nodes - 1), self.nodes - 1
            order = [own, last, *(node for node in ranks if node not in (own, last))]
            rank = tuple(order.index(node) for node in ranks)
            drivers = (own, last)
        return GroupSettings(
            lone=Lone.LONE_TAKEOVER if self.lone == "takeover" else Lone.LONE_HOLD, rank=rank, drivers=drivers,
            release_ms=self.release_ms * (1 + g % 3), make_ms=self.make_ms, gated=self.gated,
            exclusive=g < self.groups - self.shared, balance=self.load_gap > 0,
            failback_ms=self.failback_ms if self.failback_ms >= 0 else None, hold_down_ms=self.hold_down_ms,
            hold_down_max_ms=self.hold_down_max_ms, prepare_ms=self.prepare_ms)

    def spec(self) -> WorldSpec:
        """The world itself; node n's clock is wrong by drift_ppm, every second one in the other direction."""
        ranks = tuple(range(self.nodes))
        groups = tuple(self._group(g) for g in range(self.groups))
        settings = tuple(
            Settings(node_count=self.nodes, self_node=node, links=tuple(KINDS[name][0] for name in self.links),
                     groups=groups, pair_id=7, config_digest=1, voters=ranks, third_voter=self.voter,
                     lonely_start_ms=self.lonely_ms, grant_max_ms=self.grant_max_ms or None,
                     stagger_ms=self.stagger_ms, third_period_ms=self.third_period_ms,
                     third_rtt_ms=self.third_rtt_ms, third_reask_ms=self.third_reask_ms,
                     load_gap_percent=self.load_gap, load_hold_ms=self.load_hold_ms, move_gap_ms=self.move_gap_ms)
            for node in ranks)
        return WorldSpec(
            settings=settings,
            links=tuple(replace(KINDS[name][1], fifo=False) if self.worst else KINDS[name][1] for name in self.links),
            nodes_named=tuple("abcdefgh"[:self.nodes]),
            links_named=self.links,
            groups_named=tuple(f"g{g}" for g in range(self.groups)),
            gate_late_us=round(self.gate_late_ms * 1000),
            hold_us=(round(self.hold_ms * 1000) if self.hold_ms >= 0 else -1,) * self.groups,
            drift_ppb=tuple(round(self.drift_ppm * 1000) * (1 - 2 * (node % 2)) for node in ranks),
            voter_us=(round(self.third_way_ms * 400), round(self.third_way_ms * 1000)),
            voter_abstain_ms=round(self.third_abstain_ms),
            voter_hears_gates=self.third_hears_gates,
            prepare_us=(round(self.prepare_ms * 100), round(self.prepare_ms * 500)),
            worst=self.worst,
        )


WITNESS = {"third_period_ms": 1000.0, "third_rtt_ms": 100.0, "third_reask_ms": 100.0, "third_way_ms": 20.0,
           "third_abstain_ms": 10000.0, "third_hears_gates": False}
"""A third voter over a network: asked once a second, with the witness's own defaults."""

PLANNED = {"failback_ms": 300.0, "hold_down_ms": 100.0, "hold_down_max_ms": 400.0}
"""Groups go home by themselves; short times, so that much happens in a short run."""

WORLDS: dict[str, Callable[..., Shape]] = {
    "pair": lambda **more: Shape(**more),
    "hold": lambda **more: Shape(**{"lone": "hold", **more}),
    "three": lambda **more: Shape(**{"nodes": 3, **more}),
    "voter": lambda **more: Shape(**{"voter": True, **more}),
    "gated": lambda **more: Shape(**{"voter": True, "gated": True, **more}),
    "witness": lambda **more: Shape(**{"voter": True, **WITNESS, **more}),
    "hothot": lambda **more: Shape(**{"groups": 4, "load_gap": 30, "prepare_ms": 60.0, **PLANNED, **more}),
    "spare": lambda **more: Shape(**{"nodes": 3, "groups": 2, "spare": True, **PLANNED, **more}),
    "overlap": lambda **more: Shape(**{"groups": 2, "shared": 1, **more}),
    "many": lambda **more: Shape(**{"groups": 8, **more}),
    "solo": lambda **more: Shape(**{"nodes": 1, **more}),
}
"""pair: lone = takeover; hold: lone = hold; three: three nodes vote; voter: pair and arbiter; gated: the arbiter's
contacts gate the outputs; witness: pair and a third voter over a network, renewed once a second; hothot: a pair that
shares four groups, which go home and follow the load, the taker prepares first; spare: two nodes with a group each
and a third that backs both and votes; overlap: a pair with one exclusive group and one that both drive; many: a
pair with so many groups that links are spared (Q5); solo: one node."""


def shape(name: str, **more: object) -> Shape:
    """The named world with some fields changed. UsageError names the nearest world."""
    if name not in WORLDS:
        near = difflib.get_close_matches(name, WORLDS, n=1)
        raise UsageError(f'unknown world "{name}"; ' + (f'did you mean "{near[0]}"?' if near else
                                                        f"worlds: {', '.join(WORLDS)}"))
    return WORLDS[name](**more)
