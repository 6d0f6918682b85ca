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

    def spec(self) -> WorldSpec:
        """The world itself; node n's clock is wrong by drift_ppm, every second one in the other direction."""
        ranks = tuple(range(self.nodes))
        # Every further group releases slower, so that a death notice can name some groups and not yet others.
        groups = tuple(
            GroupSettings(lone=Lone.LONE_TAKEOVER if self.lone == "takeover" else Lone.LONE_HOLD,
                          rank=ranks[g % self.nodes:] + ranks[:g % self.nodes],
                          release_ms=self.release_ms * (1 + g % 3), make_ms=self.make_ms, gated=self.gated)
            for g in range(self.groups))
        settings = tuple(
            Settings(node_count=self.nodes, self_node=node, links=tuple(KINDS[name][0] for name in self.links),
                     groups=groups, pair_id=7, config_digest=1, voters=ranks, third_voter=self.voter,
                     lonely_start_ms=self.lonely_ms, grant_max_ms=self.grant_max_ms or None,
                     stagger_ms=self.stagger_ms, third_period_ms=self.third_period_ms,
                     third_rtt_ms=self.third_rtt_ms, third_reask_ms=self.third_reask_ms)
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
            worst=self.worst,
        )


WITNESS = {"third_period_ms": 1000.0, "third_rtt_ms": 100.0, "third_reask_ms": 100.0, "third_way_ms": 20.0,
           "third_abstain_ms": 10000.0, "third_hears_gates": False}
"""A third voter over a network: asked once a second, with the witness's own defaults."""

WORLDS: dict[str, Callable[..., Shape]] = {
    "pair": lambda **more: Shape(**more),
    "hold": lambda **more: Shape(**{"lone": "hold", **more}),
    "three": lambda **more: Shape(**{"nodes": 3, **more}),
    "voter": lambda **more: Shape(**{"voter": True, **more}),
    "gated": lambda **more: Shape(**{"voter": True, "gated": True, **more}),
    "witness": lambda **more: Shape(**{"voter": True, **WITNESS, **more}),
    "solo": lambda **more: Shape(**{"nodes": 1, **more}),
}
"""pair: lone = takeover; hold: lone = hold; three: three nodes vote; voter: pair and arbiter; gated: the arbiter's
contacts gate the outputs; witness: pair and a third voter over a network, renewed once a second; solo: one node."""


def shape(name: str, **more: object) -> Shape:
    """The named world with some fields changed. UsageError names the nearest world."""
    if name not in WORLDS:
        near = difflib.get_close_matches(name, WORLDS, n=1)
        raise UsageError(f'unknown world "{name}"; ' + (f'did you mean "{near[0]}"?' if near else
                                                        f"worlds: {', '.join(WORLDS)}"))
    return WORLDS[name](**more)
