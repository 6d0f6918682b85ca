"""The core's parameters as plain values, and every relation between them that must hold."""
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .settings import CoreSettings

MAX_NODES, MAX_GROUPS, MAX_LINKS = 8, 64, 8
WIRE_VERSIONS = (1, 2)
"""Oldest and newest layout of the frames that this program speaks."""


class Term(NamedTuple):
    """One term of a link's timing sum: link index, name, length in ms, meaning."""

    link: int
    name: str
    ms: float
    text: str


@dataclass(frozen=True, kw_only=True)
class LinkSettings:
    """One link. `rtt_ms` is the round trip the sizing counts with, `reask_ms` the least distance of two asks.

    `kind` is a LinkKind; `fast_period_ms` is how fast the link may go while a faster one is silent; `nodes` are those
    that it joins (None: all).
    """

    kind: int
    period_ms: float
    missed: int = 3
    fast_period_ms: float | None = None
    rtt_ms: float
    reask_ms: float
    nodes: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class GroupSettings:
    """One group of outputs: `rank[node]` (0 is preferred), T_off and T_on of its outputs in ms.

    `gated`: the third voter's contacts lie between the outputs and the load. `exclusive` False: every node that may
    drives it, by its own word. `drivers` are the nodes that may drive it (None: all); the others only vote.

    Planned moves: `failback_ms`: to a better ranked node that has been ready for so long (None: never by itself);
    `hold_down_ms`: how long the first change of driver holds moves down, doubled by each further one up to
    `hold_down_max_ms` (0: not at all); `balance`: load may move it; `prepare_ms`: how long a taker may take to
    prepare (0: nothing to prepare).
    """

    lone: int
    rank: tuple[int, ...]
    release_ms: float = 0.0
    make_ms: float = 0.0
    exclusive: bool = True
    gated: bool = False
    drivers: tuple[int, ...] | None = None
    failback_ms: float | None = None
    hold_down_ms: float = 0.0
    hold_down_max_ms: float = 0.0
    balance: bool = False
    prepare_ms: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that the core must know. Times in ms, `drift_ppm` is the clocks' largest rate error.

    `voters` are node indices; `mistake_exp` n sizes promises for 10^-n lapses per heartbeat;
    `epoch_block` is how many claims one write to disk reserves. The third voter is asked again for what it promised
    after `third_period_ms` (0: with every beat), for what it has not after `third_reask_ms`; `third_grant_ms` is how
    long its promise is asked to last (None: what `third_missed` renewals need).
    A load that is `load_gap_percent` above another node's for `load_hold_ms` moves a group (0: never); this node begins
    moves by load or failback at least `move_gap_ms` apart. `wire_version_max` keeps to an older layout of the frames.
    """

    node_count: int
    self_node: int
    links: tuple[LinkSettings, ...]
    groups: tuple[GroupSettings, ...]
    pair_id: int
    config_digest: int
    voters: tuple[int, ...]
    third_voter: bool = False
    drift_ppm: int = 1000
    check_ms: float = 5.0
    late_ms: float = 1.0
    lost_asks: int = 1
    mistake_exp: int = 9
    lonely_start_ms: float = 2000.0
    stagger_ms: float = 20.0
    epoch_block: int = 64
    grant_max_ms: float | None = None
    third_period_ms: float = 0.0
    third_missed: int = 3
    third_rtt_ms: float = 3.0
    third_reask_ms: float = 2.0
    third_grant_ms: float | None = None
    load_gap_percent: int = 0
    load_hold_ms: float = 30_000.0
    move_gap_ms: float = 1000.0
    wire_version_max: int | None = None

    def compile(self) -> CoreSettings:
        """The settings as the core reads them. Raises SettingsError naming every relation that fails."""
        from .settings import CoreSettings

        return CoreSettings(self)


def _range(problems: list[str], name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        problems.append(f"{name} = {value:g} is out of range: {low:g} to {high:g}")


def _link_problems(problems: list[str], i: int, link: LinkSettings, s: Settings) -> None:
    _range(problems, f"link {i}: period_ms", link.period_ms, 1, 60_000)
    _range(problems, f"link {i}: missed", link.missed, 2, 20)
    _range(problems, f"link {i}: rtt_ms", link.rtt_ms, 0.01, 60_000)
    _range(problems, f"link {i}: reask_ms", link.reask_ms, 0.1, 60_000)
    if link.reask_ms > link.period_ms:
        problems.append(f"link {i}: reask_ms = {link.reask_ms:g} is longer than period_ms = {link.period_ms:g}:"
                        " an ask repeated later than the next beat repeats nothing")
    if link.nodes is not None and (len(set(link.nodes)) < 2 or not set(link.nodes) <= set(range(s.node_count))):
        problems.append(f"link {i}: nodes {link.nodes} must name at least two of nodes 0 to {s.node_count - 1}")
    fast = link.fast_period_ms
    if fast is not None and not 1 <= fast <= link.period_ms:
        problems.append(f"link {i}: fast_period_ms = {fast:g} must be from 1 to period_ms = {link.period_ms:g}")
    fastest = min(other.period_ms for other in s.links if other.nodes is None or len(other.nodes) == s.node_count)
    beat_ms = link.period_ms if link.period_ms == fastest else (fast or link.period_ms)
    window_ms = (link.missed - 1) * beat_ms + link.rtt_ms + s.late_ms
    need_ms = s.lost_asks * link.reask_ms + link.rtt_ms + s.late_ms
    if need_ms > window_ms:
        problems.append(
            f"link {i}: {s.lost_asks} lost asks {link.reask_ms:g} ms apart, a round trip of {link.rtt_ms:g} ms and"
            f" {s.late_ms:g} ms of lateness take {need_ms:g} ms, but only {window_ms:g} ms are left after a beat of"
            f" {beat_ms:g} ms with missed = {link.missed}: raise missed or lower lost_asks"
        )


def _group_problems(problems: list[str], i: int, group: GroupSettings, s: Settings) -> None:
    _range(problems, f"group {i}: release_ms", group.release_ms, 0, 10_000)
    _range(problems, f"group {i}: make_ms", group.make_ms, 0, 10_000)
    if sorted(group.rank) != list(range(s.node_count)):
        problems.append(f"group {i}: rank {group.rank} must order the {s.node_count} nodes from 0 on, each once")
    if group.gated and not s.third_voter:
        problems.append(f"group {i}: its outputs are gated by a third voter, and there is none")
    if group.gated and not group.exclusive:
        problems.append(f"group {i}: its outputs are gated by a third voter, which lets one node drive, and every node"
                        " drives it: set exclusive or leave gated out")
    if group.drivers is not None and (not group.drivers or not set(group.drivers) <= set(s.voters)):
        problems.append(f"group {i}: drivers {group.drivers} must name voting nodes, at least one")
    if group.failback_ms is not None:
        _range(problems, f"group {i}: failback_ms", group.failback_ms, 0, 604_800_000)
    _range(problems, f"group {i}: hold_down_ms", group.hold_down_ms, 0, 3_600_000)
    _range(problems, f"group {i}: prepare_ms", group.prepare_ms, 0, 600_000)
    if group.hold_down_ms:
        _range(problems, f"group {i}: hold_down_max_ms", group.hold_down_max_ms, group.hold_down_ms, 86_400_000)
    if group.lone not in (0, 1):
        problems.append(f"group {i}: lone = {group.lone} is neither takeover (0) nor hold (1)")


def problems_of(s: Settings) -> list[str]:
    """One sentence with the numbers for each relation that does not hold; empty when all do."""
    problems: list[str] = []
    _range(problems, "node_count", s.node_count, 1, MAX_NODES)
    _range(problems, "self_node", s.self_node, 0, s.node_count - 1)
    _range(problems, "number of links", len(s.links), 1, MAX_LINKS)
    _range(problems, "number of groups", len(s.groups), 1, MAX_GROUPS)
    _range(problems, "drift_ppm", s.drift_ppm, 0, 50_000)
    _range(problems, "check_ms", s.check_ms, 0.1, 1000)
    _range(problems, "late_ms", s.late_ms, 0, 1000)
    _range(problems, "lost_asks", s.lost_asks, 0, 50)
    _range(problems, "mistake_exp", s.mistake_exp, 2, 11)
    _range(problems, "lonely_start_ms", s.lonely_start_ms, 0, 3_600_000)
    _range(problems, "stagger_ms", s.stagger_ms, 0, 60_000)
    _range(problems, "epoch_block", s.epoch_block, 16, 1 << 16)
    _range(problems, "pair_id", s.pair_id, 0, 0xFFFF)
    _range(problems, "config_digest", s.config_digest, 0, 0xFFFF)
    _range(problems, "third_period_ms", s.third_period_ms, 0, 20_000)
    _range(problems, "third_missed", s.third_missed, 2, 20)
    _range(problems, "third_rtt_ms", s.third_rtt_ms, 0.01, 20_000)
    _range(problems, "third_reask_ms", s.third_reask_ms, 0.1, 20_000)
    _range(problems, "load_gap_percent", s.load_gap_percent, 0, 100)
    _range(problems, "load_hold_ms", s.load_hold_ms, 0, 86_400_000)
    _range(problems, "move_gap_ms", s.move_gap_ms, 0, 86_400_000)
    if s.wire_version_max is not None:
        _range(problems, "wire_version_max", s.wire_version_max, WIRE_VERSIONS[0], WIRE_VERSIONS[1])
    if not s.voters or len(set(s.voters)) != len(s.voters) or not set(s.voters) <= set(range(s.node_count)):
        problems.append(f"voters {s.voters} must name nodes 0 to {s.node_count - 1}, each once, at least one")
    if problems:
        return problems  # the relations below would only repeat them
    if not any(link.nodes is None or len(set(link.nodes)) == s.node_count for link in s.links):
        problems.append(f"no link joins all {s.node_count} nodes: add one that does")
    for i, link in enumerate(s.links):
        _link_problems(problems, i, link, s)
    for i, group in enumerate(s.groups):
        _group_problems(problems, i, group, s)
    return problems
