"""The world that `twinbeat verify` tries its faults on: from a configuration file, or one of the named worlds."""
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from twinbeat.check_third import contact_of
from twinbeat.config_core import SERIAL_HOPS_MS, core_settings, uses_realtime
from twinbeat.config_rules_voter import ROWS_MAX, round_ms
from twinbeat.config_schema import ArbiterVoter, LinkConfig, SerialLink
from twinbeat.errors import ConfigError
from twinbeat.sim.spec import MS, LinkSpec, WorldSpec
from twinbeat.sim.worlds import shape
from twinbeat.wire_load import frame_ms
from twinbeat_core.model import LinkKind, Lone
from twinbeat_core.settings import GroupSettings, Settings
from twinbeat_hardware.spec import ArbiterSpec, GpioSpec, SerialRelaySpec

if TYPE_CHECKING:
    from twinbeat.config import Config
    from twinbeat.config_model import GroupConfig

US_PER_MS = 1000
KEEPS_LEVEL = -1
FALLS_WITH_KERNEL = 0
HOST_MS = 1.0
"""The least that a frame to a voter behind the network is under way."""
ABSTAINS_MS = {"arbiter": 2000, "witness": 10_000}
"""How long they abstain after a start, if nobody set it otherwise; an ensemble forgets nothing."""
CROSSLINKS = (LinkKind.LINK_SERIAL, LinkKind.LINK_UDP)
"""Links by which the gate itself can send its notice."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is verified.

    title        for headings
    spec         the world; every clock is wrong by the bound, neighbours in opposite directions
    groups       the groups that are judged. They agree in what is promised about them: in `lone` (where no third
                 vote decides), in whether their outputs keep their level, in whether the arbiter gates them, and in who
                 may drive them. A file with others has a subject for each sort, whose world treats all groups so
    budget_ms    longest outage allowed, None: nothing is judged
    late_make_ms per group: how much later than the first of its outputs the last one is on. The world's contact
                 is the first one, because two drivers begin there; an outage ends with the last one
    """

    title: str
    spec: WorldSpec
    groups: tuple[int, ...]
    budget_ms: float | None = None
    late_make_ms: tuple[float, ...]

    @property
    def nodes(self) -> int:
        """How many nodes there are."""
        return len(self.spec.settings)

    @property
    def third_voter(self) -> bool:
        """Whether a third voter votes."""
        return bool(self.spec.settings[0].third_voter)

    @property
    def gated(self) -> bool:
        """The third voter's contacts lie between the outputs and the load."""
        return self.spec.settings[0].groups[self.groups[0]].gated

    @property
    def all_drive(self) -> bool:
        """The groups are not exclusive: every node drives them."""
        return not self.spec.settings[0].groups[self.groups[0]].exclusive

    @property
    def alone_decides(self) -> bool:
        """Two voters only: what `lone` says counts."""
        return len(self.spec.settings[0].voters) + self.third_voter == 2

    @property
    def holds(self) -> bool:
        """The groups wait for proof of death instead of taking over."""
        return self.alone_decides and self.spec.settings[0].groups[self.groups[0]].lone == Lone.LONE_HOLD

    @property
    def has_crosslink(self) -> bool:
        """The gate can tell its agent's death."""
        return any(link.kind in CROSSLINKS for link in self.spec.settings[0].links)

    @property
    def keeps_level(self) -> bool:
        """The outputs stay on when their gateway stands still."""
        return keeps_level(self.spec, self.groups[0])

    @property
    def fast_link(self) -> int:
        """The link with the shortest period."""
        links = self.spec.settings[0].links
        return min(range(len(links)), key=lambda number: (links[number].period_ms, number))

    @property
    def listen_ns(self) -> int:
        """The longest promise of any voter: how long it abstains after a start."""
        core = self.spec.settings[0].compile()
        return round(max(core.grant_max_ms, core.third_grant_ms) * MS)

    @property
    def grant_ns(self) -> int:
        """T_G of the fastest link."""
        core = self.spec.settings[0].compile()
        return round(min(core.grant_ms(number) for number in range(len(self.spec.links))) * MS)

    def order(self, group: int) -> list[int]:
        """The nodes as the group prefers them; the first begins when all start together."""
        rank = self.spec.settings[0].groups[group].rank
        return sorted(range(self.nodes), key=lambda node: rank[node])


def drift_at_bound(spec: WorldSpec) -> WorldSpec:
    """Every clock as wrong as allowed, neighbours in opposite directions."""
    bound_ppb = spec.settings[0].drift_ppm * 1000
    return spec.with_drift([bound_ppb * (1 - 2 * (node % 2)) for node in range(len(spec.settings))])


def variants(spec: WorldSpec) -> tuple[WorldSpec, ...]:
    """The worlds among which runs change. Number & 1: clocks the other way round; & 2: everything at its longest."""
    turned = spec.with_drift([-ppb for ppb in spec.drift_ppb])
    return (spec, turned, replace(spec, worst=True), replace(turned, worst=True))


def named_subject(name: str, budget_ms: float | None = None) -> Subject:
    """A world by its name in `twinbeat.sim.worlds`. Raises UsageError for an unknown one.

    Its groups move for faults alone. Of a world with groups that every node drives only those are looked at, of one
    with groups for different nodes those of the first.
    """
    made = shape(name)
    spec = (shape(name, groups=made.shared) if made.shared else made).spec()
    spec = replace(spec, settings=tuple(
        replace(settings, groups=tuple(map(still, settings.groups)), load_gap_percent=0) for settings in spec.settings))
    every = spec.settings[0].groups
    groups = tuple(number for number, group in enumerate(every) if group.drivers == every[0].drivers)
    return Subject(title=name, spec=drift_at_bound(spec), groups=groups, budget_ms=budget_ms,
                   late_make_ms=(0.0,) * len(every))


def config_subjects(cfg: Config, budget_ms: float | None = None) -> list[Subject]:
    """The world of a configuration, once for each sort of groups; `budget_ms` replaces outage_budget_ms.

    Left out are groups with overlap, which every node drives by its own word, and with three nodes the cables between
    two of them: what holds without a cable holds with it. Raises ConfigError like `twinbeat check`, and where every
    group has overlap.
    """
    mine = core_settings(cfg, realtime=uses_realtime(cfg))
    groups = [group for group in cfg.groups if not group.overlap]
    if not groups:
        raise ConfigError([f"{cfg.path}: every group has overlap = true, so nothing is ever taken over and there is "
                           "nothing to verify; twinbeat check says what holds"])
    links = [number for number, link in enumerate(cfg.links) if all(cfg.reaches(link, node) for node in cfg.nodes)]
    mine = replace(
        mine,
        links=tuple(mine.links[number] for number in links),
        groups=tuple(still(group) for group in mine.groups if group.exclusive),
        load_gap_percent=0,
    )
    spec = WorldSpec(
        settings=tuple(replace(mine, self_node=node) for node in range(len(cfg.nodes))),
        links=tuple(link_spec(cfg, cfg.links[number]) for number in links),
        nodes_named=cfg.node_names,
        links_named=tuple(cfg.link_name(number) for number in links),
        groups_named=tuple(group.name for group in groups),
        gate_late_us=round(mine.check_ms * US_PER_MS),
        hold_us=tuple(hold_us(group) for group in groups),
        voter_us=voter_us(cfg),
        voter_abstain_ms=ABSTAINS_MS.get(cfg.third_voter.type, 0) if cfg.third_voter is not None else 0,
        voter_hears_gates=isinstance(cfg.third_voter, ArbiterVoter),
        select_us=select_us(cfg),
    )
    bare_pair = cfg.third_voter is None and cfg.spare is None
    sorts: dict[tuple[str, bool, bool, tuple[int, ...] | None], list[int]] = {}
    for number, group in enumerate(groups):
        of_core = mine.groups[number]
        lone = group.lone if bare_pair else ""
        sorts.setdefault((lone, keeps_level(spec, number), of_core.gated, of_core.drivers), []).append(number)
    return [Subject(
        title=(cfg.pair.name if len(sorts) == 1 else f"{cfg.pair.name}, group {named(spec, numbers)}") + left_out(cfg),
        spec=drift_at_bound(all_gated(spec, gated)),
        groups=tuple(numbers),
        budget_ms=cfg.pair.outage_budget_ms if budget_ms is None else budget_ms,
        late_make_ms=tuple(late_make_ms(group) for group in groups),
    ) for (_, _, gated, _), numbers in sorts.items()]


def left_out(cfg: Config) -> str:
    """What of the file is not in its world, as the second half of a title."""
    names = [family.name for family in cfg.families if family.overlap]
    names += [cfg.link_name(number) for number, link in enumerate(cfg.links)
              if not all(cfg.reaches(link, node) for node in cfg.nodes)]
    return f" (without {', '.join(names)})" if names else ""


def still(group: GroupSettings) -> GroupSettings:
    """A group that moves for faults and commands alone: nothing goes back, is held down, balanced or prepared."""
    return replace(group, failback_ms=None, hold_down_ms=0.0, hold_down_max_ms=0.0, balance=False, prepare_ms=0.0)


def all_gated(spec: WorldSpec, gated: bool) -> WorldSpec:
    """The third voter's contacts hold every group of a world, or none."""

    def like(settings: Settings) -> Settings:
        return replace(settings, groups=tuple(replace(group, gated=gated) for group in settings.groups))

    return replace(spec, settings=tuple(map(like, spec.settings)))


def voter_us(cfg: Config) -> tuple[int, int]:
    """Least and longest way to the third voter, one way: at most half of the round trip that the timing counts with."""
    voter = cfg.third_voter
    if voter is None:
        return WorldSpec.voter_us
    most_us = int(voter.rtt_ms / 2 * US_PER_MS)
    least_ms = HOST_MS
    if isinstance(voter, ArbiterVoter):
        least_ms = round_ms(min(len(cfg.groups), ROWS_MAX), voter.baud) / 2
    return min(int(least_ms * US_PER_MS), most_us), most_us


def select_us(cfg: Config) -> tuple[int, int]:
    """Make and release of the arbiter's contacts, the slowest of each."""
    contacts = [contact for contact in map(contact_of, cfg.groups) if contact is not None]
    if not contacts:
        return WorldSpec.select_us
    return (round(max(contact.make_ms for contact in contacts) * US_PER_MS),
            round(max(contact.release_ms for contact in contacts) * US_PER_MS))


def named(spec: WorldSpec, groups: list[int]) -> str:
    """Groups by name."""
    return ", ".join(spec.groups_named[group] for group in groups)


def keeps_level(spec: WorldSpec, group: int) -> bool:
    """Whether the group's output stays on when its gateway stands still."""
    return spec.hold_us is None or spec.hold_us[group] == KEEPS_LEVEL


def link_spec(cfg: Config, link: LinkConfig) -> LinkSpec:
    """How long frames are under way: at most half the round trip that the timing counts with."""
    if isinstance(link, SerialLink):
        wire_ms = frame_ms(len(cfg.nodes), len(cfg.groups), link.baud)
        # Rounded down: a link slower than its rtt_ms counts as impaired.
        return LinkSpec(latency_us=int(wire_ms * US_PER_MS), jitter_us=int(SERIAL_HOPS_MS / 2 * US_PER_MS))
    most_us = int(link.rtt_ms / 2 * US_PER_MS)
    return LinkSpec(latency_us=most_us // 2, jitter_us=most_us - most_us // 2, fifo=link.type != "udp")


def hold_us(group: GroupConfig) -> int:
    """What the group's outputs do while their gateway stands still; one that keeps its level decides.

    A contact of the arbiter's does, until the arbiter opens it.
    """
    keeps = any(isinstance(output, ArbiterSpec | GpioSpec | SerialRelaySpec) for output in group.outputs)
    return KEEPS_LEVEL if keeps else FALLS_WITH_KERNEL


def late_make_ms(group: GroupConfig) -> float:
    """From the group's first output being on to its last one."""
    return float(max(output.make_ms for output in group.outputs) - group.make_ms)
