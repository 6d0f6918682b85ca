"""The redundancy modes' part of `twinbeat check`: who drives what, who backs it, when it goes back."""
from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

from twinbeat.config_model import SHARD_MARK
from twinbeat.config_schema import CAPACITY
from twinbeat_hardware.spec import HookSpec

if TYPE_CHECKING:
    from twinbeat.config import Config, Family
    from twinbeat.config_model import GroupConfig
    from twinbeat.config_schema import Mode


class ModeRow(Struct, frozen=True, kw_only=True):
    """One group of the file.

    homes     by node: the units that it drives when everybody is well; with overlap every driver has them
    drivers   by unit: the nodes that may drive it, best first
    votes     nodes that only vote on it
    failback  "never", "manual" or "after"; failback_after_s: for how long the better node was ready, None: never
    prepare_ms  how long its prepare hooks may take, 0 without any
    """

    name: str
    mode: Mode
    shards: int | None
    overlap: bool
    homes: dict[str, list[str]]
    drivers: dict[str, list[str]]
    votes: list[str]
    spare: str | None
    failback: str
    failback_after_s: float | None
    hold_down_s: float
    hold_down_max_s: float
    balance: bool
    prepare_ms: float


def mode_rows(cfg: Config) -> list[ModeRow]:
    """One row for each group of the file, in its order."""
    return [mode_row(cfg, family) for family in cfg.families]


def mode_row(cfg: Config, family: Family) -> ModeRow:
    """What follows for one group."""
    units = [cfg.groups[number] for number in family.units]
    first = units[0]
    after_ms = first.failback_after_ms
    return ModeRow(
        name=family.name,
        mode=family.mode,
        shards=family.shards,
        overlap=family.overlap,
        homes={node: [unit.name for unit in units if at_home(unit, node)] for node in cfg.nodes
               if node in first.drivers},
        drivers={unit.name: list(unit.drivers) for unit in units},
        votes=[node for node in cfg.nodes if node not in first.drivers],
        spare=cfg.spare if cfg.spare in first.drivers else None,
        failback=first.failback or first.usual_failback,
        failback_after_s=None if after_ms is None else after_ms / 1000,
        hold_down_s=first.hold_down_s,
        hold_down_max_s=first.hold_down_max_s,
        balance=cfg.balance is not None and family.shards is not None,
        prepare_ms=first.prepare_ms,
    )


def at_home(unit: GroupConfig, node: str) -> bool:
    """Whether a node drives a unit when everybody is well."""
    return node in unit.drivers if unit.overlap else unit.drivers[0] == node


def mode_lines(rows: list[ModeRow]) -> Iterator[tuple[str, str]]:
    """(head, text) of each group."""
    for row in rows:
        yield f"  {row.name:<20} ", "; ".join((who_text(row), *moves_text(row)))


def who_text(row: ModeRow) -> str:
    """Who drives, who is next, who only votes."""
    only = f", {', '.join(row.votes)} only {'votes' if len(row.votes) == 1 else 'vote'}" if row.votes else ""
    if row.overlap:
        return f"{row.mode} with overlap: {', '.join(row.homes)} drive all the time{only}"
    if row.shards is not None:
        homes = "; ".join(
            f"{len(units)} at home on {node} ({shard_ranges(units)})" for node, units in row.homes.items()
        )
        return f"{row.mode}, {row.shards} shard{'' if row.shards == 1 else 's'}: {homes}{only}"
    best, *rest = next(iter(row.drivers.values()))
    then = ", then ".join(f"{node} (the spare)" if node == row.spare else node for node in rest)
    return f"{row.mode}: {best} drives, then {then}{only}"


def shard_ranges(units: list[str]) -> str:
    """The numbers of shards, runs of three and more written with a dash."""
    numbers = [int(unit.rpartition(".")[2]) for unit in units]
    parts: list[str] = []
    while numbers:
        count = next((at for at, number in enumerate(numbers) if number != numbers[0] + at), len(numbers))
        run, numbers = numbers[:count], numbers[count:]
        parts += [f"{run[0]}-{run[-1]}"] if count > 2 else map(str, run)
    return ", ".join(parts) or "none"


def moves_text(row: ModeRow) -> Iterator[str]:
    """What moves it besides faults and operators, and what holds that down."""
    if row.overlap:
        return
    back = f"back to {next(iter(row.drivers.values()))[0]}" if row.shards is None else "each home again"
    if row.failback_after_s is not None:
        yield f"{back} {row.failback_after_s:g} s after that node is ready"
    elif row.failback == "manual":
        yield f"{back} when an operator says so"
    else:
        yield "no failback"
    if row.balance:
        yield "load moves shards"
    if row.hold_down_s:
        yield (f"after a change planned moves wait {row.hold_down_s:g} s, doubled by each further change up to "
               f"{row.hold_down_max_s:g} s")
    else:
        yield "changes are not damped"
    if row.prepare_ms:
        yield f"the taker may prepare for {row.prepare_ms:g} ms"


def each_once(cfg: Config) -> Iterator[tuple[str, GroupConfig]]:
    """(name, unit) of each group of the file: of shards the first, which speaks for all."""
    for family in cfg.families:
        name = f'group "{family.name}"' if family.shards is None else f'group "{family.name}" (each shard)'
        yield name, cfg.groups[family.units[0]]


def mode_warnings(cfg: Config) -> Iterator[str]:
    """What is allowed but doubtful about modes, nodes and shards."""
    if cfg.spare is not None:
        for number, family in enumerate(cfg.families, start=1):
            lone = cfg.groups[family.units[0]].lone
            if lone != "takeover":
                yield (
                    f'[[group]] {number} ({family.name}): lone = "{lone}" says what a pair without third vote does; '
                    "with a spare node it has no effect: remove it"
                )
        if not any(cfg.may_drive(group, cfg.spare) for group in cfg.groups):
            yield (
                f"the spare {cfg.spare} backs no group, it only votes: write mode = \"hot-spare\" where it shall drive"
            )
    if not any(family.shards for family in cfg.families):
        for name, node in cfg.nodes.items():
            if node.capacity != CAPACITY:
                yield f"[node.{name}]: capacity = {node.capacity} has no effect, because no group has shards; remove it"
    for family in cfg.families:
        group = cfg.groups[family.units[0]]
        marked = [
            output.label for output in group.outputs
            if isinstance(output, HookSpec) and any(SHARD_MARK in word for word in (*output.start, *output.stop))
        ]
        if family.shards is None and marked:
            yield (
                f'group "{family.name}", output {marked[0]}: {SHARD_MARK} is replaced in groups with shards only, and '
                "this has none"
            )
