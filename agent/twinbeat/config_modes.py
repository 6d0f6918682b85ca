"""From the groups as the file writes them to the units that the core moves: shards, and who may drive what.

A group of mode hot-hot with `shards = N` becomes N units named NAME.0 to NAME.(N-1); every other group is one unit.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from twinbeat.config_model import GroupConfig, in_text
from twinbeat.config_schema import NodeConfig, SerialLink
from twinbeat.sharding import orders_of

if TYPE_CHECKING:
    from twinbeat.config_schema import Mode
    from twinbeat_hardware.spec import OutputSpec

CABLE_ENDS = 2


class Family(Struct, frozen=True, kw_only=True):
    """A group as the file writes it.

    shards   into how many it is split, None where it is not
    overlap  every node that may drive it does so all the time
    units    numbers into `Config.groups`
    """

    name: str
    mode: Mode
    shards: int | None
    overlap: bool
    units: tuple[int, ...]


def spare_of(nodes: Mapping[str, NodeConfig]) -> str | None:
    """The spare node, where there is one."""
    return next((name for name, node in nodes.items() if node.spare), None)


def working_nodes(nodes: Mapping[str, NodeConfig]) -> tuple[str, ...]:
    """The nodes that are no spare, in the order of the file."""
    return tuple(name for name, node in nodes.items() if not node.spare)


def joined(link: SerialLink, nodes: Mapping[str, NodeConfig]) -> tuple[str, ...]:
    """The nodes that a cable joins; none where three nodes are there and it does not say which two."""
    return link.between or (tuple(nodes) if len(nodes) == CABLE_ENDS else ())


def unit_names(group: GroupConfig) -> tuple[str, ...]:
    """The names of a group's units."""
    if group.shards is None:
        return (group.name,)
    return tuple(f"{group.name}.{shard}" for shard in range(group.shards))


def unit_count(groups: tuple[GroupConfig, ...]) -> int:
    """How many units these groups make together."""
    return sum(group.shards or 1 for group in groups)


def drivers_of(group: GroupConfig, nodes: Mapping[str, NodeConfig]) -> tuple[str, ...]:
    """The nodes that may drive a group without shards, best first; the others only vote.

    Of hot-spare those that `prefer` names, of any other the working nodes and whom `prefer` names besides.
    """
    if group.mode == "hot-spare":
        return group.prefer
    return (*group.prefer, *(name for name in working_nodes(nodes) if name not in group.prefer))


def may_drive(group: GroupConfig, nodes: Mapping[str, NodeConfig]) -> tuple[str, ...]:
    """The nodes that may drive a group as written, or any shard of it."""
    return working_nodes(nodes) if group.shards is not None else drivers_of(group, nodes)


def placed_outputs(groups: tuple[GroupConfig, ...]) -> Iterator[tuple[str, GroupConfig, OutputSpec]]:
    """(place, group as written, output) of every output; of shards those that differ from the first shard's."""
    for number, group in enumerate(groups, start=1):
        for shard, outputs in enumerate(group.shard_outputs or (group.outputs,)):
            for position, output in enumerate(outputs):
                if shard == 0 or output != group.outputs[position]:
                    of_shard = f", shard {shard}" if group.shard_outputs else ""
                    yield f"[[group]] {number}{of_shard}, output {position + 1}", group, output


def expand(groups: tuple[GroupConfig, ...], nodes: Mapping[str, NodeConfig]) -> tuple[GroupConfig, ...]:
    """The units of checked groups, in the order that gives them their numbers."""
    return tuple(unit for group in groups for unit in units_of(group, nodes))


def units_of(group: GroupConfig, nodes: Mapping[str, NodeConfig]) -> tuple[GroupConfig, ...]:
    """The units of one group."""
    failback = group.failback or group.usual_failback
    if group.shards is None:
        whole = msgspec.structs.replace(
            group, family=group.name, failback=failback, drivers=drivers_of(group, nodes)
        )
        return (whole,)
    capacities = {name: nodes[name].capacity for name in working_nodes(nodes)}
    orders = orders_of(group.name, group.shards, capacities)
    return tuple(
        msgspec.structs.replace(
            group,
            name=name,
            family=group.name,
            shard=shard,
            failback=failback,
            drivers=orders[shard],
            outputs=group.shard_outputs[shard],
            shard_outputs=(),
            prepare=tuple(
                msgspec.structs.replace(hook, command=tuple(in_text(list(hook.command), shard)))
                for hook in group.prepare
            ),
        )
        for shard, name in enumerate(unit_names(group))
    )


def families_of(groups: tuple[GroupConfig, ...]) -> tuple[Family, ...]:
    """The families of written groups, with the numbers of their units."""
    families: list[Family] = []
    first = 0
    for group in groups:
        count = group.shards or 1
        families.append(Family(name=group.name, mode=group.mode, shards=group.shards, overlap=group.overlap,
                               units=tuple(range(first, first + count))))
        first += count
    return tuple(families)
