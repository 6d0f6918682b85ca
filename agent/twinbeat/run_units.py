"""The units that this node may drive, as commands need them: names, families, who may drive, how long a move takes."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twinbeat.control import RequestError

if TYPE_CHECKING:
    from twinbeat.config import Config


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One group of the core.

    number      its number in the core
    family      the name in the file; shards of one family share it
    shard       its number in the family, None where the family has no shards
    overlap     every node that may drives it all the time
    drivers     the nodes that may drive it, best first
    failback    never, manual or after
    gated       the third voter's contacts lie between its outputs and the load
    hooks       how many prepare hooks the taker runs before a planned handover; `prepare_ms` is their longest time
    release_ms  the slowest output's time to be off; `make_ms` the slowest one's time to be on
    """

    number: int
    name: str
    family: str
    shard: int | None = None
    overlap: bool = False
    drivers: tuple[str, ...]
    failback: str = "never"
    gated: bool = False
    hooks: int = 0
    prepare_ms: float = 0.0
    release_ms: float = 0.0
    make_ms: float = 0.0

    def ranks_before(self, node: str, other: str) -> bool:
        """Whether `node` comes before `other` among the nodes that may drive it."""
        order = self.drivers
        return node in order and (other not in order or order.index(node) < order.index(other))


@dataclass(frozen=True)
class Units:
    """All units of a configuration in the core's order, and the round trip of each link in ms."""

    items: tuple[Unit, ...]
    round_trips_ms: tuple[float, ...] = field(default=())

    def named(self, name: object) -> list[Unit]:
        """The unit of that name, or every unit of the family; None: all units. Raises RequestError."""
        if name is None:
            return list(self.items)
        found = [unit for unit in self.items if unit.name == name]
        found = found or [unit for unit in self.items if unit.family == name]
        if not found:
            raise RequestError(f'there is no group "{name}"; the groups are {self.known()}')
        return found

    def known(self) -> str:
        """The names that may be given, for a message."""
        families: dict[str, list[Unit]] = {}
        for unit in self.items:
            families.setdefault(unit.family, []).append(unit)
        return ", ".join(
            family if len(units) == 1 else f"{family} ({units[0].name} to {units[-1].name})"
            for family, units in families.items()
        )

    def longest_prepare_ms(self, units: Sequence[Unit]) -> float:
        """The longest that a taker of these may take to prepare."""
        return max((unit.prepare_ms for unit in units), default=0.0)


def units_of(cfg: Config) -> Units:
    """The units of a configuration."""
    from twinbeat.config_core import link_settings

    return Units(
        tuple(unit_of(cfg, number) for number in range(len(cfg.groups))),
        tuple(link_settings(cfg, link).rtt_ms for link in cfg.links),
    )


def unit_of(cfg: Config, number: int) -> Unit:
    """One unit."""
    group = cfg.groups[number]
    return Unit(
        number=number,
        name=group.name,
        family=group.family,
        shard=group.shard,
        overlap=group.overlap,
        drivers=group.drivers,
        failback=group.failback or group.usual_failback,
        gated=any(output.__struct_config__.tag == "arbiter" for output in group.outputs),
        hooks=len(group.prepare),
        prepare_ms=group.prepare_ms,
        release_ms=group.release_ms,
        make_ms=max((output.make_ms for output in group.outputs), default=0.0),
    )
