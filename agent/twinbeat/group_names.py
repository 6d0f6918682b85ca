"""Names of groups: those of a family of shards told together, and which belong to one."""
from __future__ import annotations


def belongs(group: object, wanted: str) -> bool:
    """Whether a group is the wanted one, or a shard of the wanted family."""
    if not isinstance(group, str):
        return False
    family, dot, shard = group.rpartition(".")
    return group == wanted or bool(dot and family == wanted and shard.isdigit())


def compact(names: list[str]) -> str:
    """Names of groups for a sentence, shards of a family as ranges: "lines.0-3, lines.6 and pump"."""
    shards: dict[str, list[int]] = {}
    order: list[str] = []
    for name in names:
        family, dot, number = name.rpartition(".")
        if dot and number.isascii() and number.isdigit() and str(int(number)) == number:
            if family not in shards:
                order.append(f"{family}.")
            shards.setdefault(family, []).append(int(number))
        elif name not in order:
            order.append(name)
    parts: list[str] = []
    for name in order:
        family = name.removesuffix(".")
        parts += [f"{family}.{run}" for run in runs(shards[family])] if name.endswith(".") else [name]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else "nothing"


def runs(numbers: list[int]) -> list[str]:
    """Numbers as ranges: 0, 1, 2, 5 are "0-2" and "5"."""
    found: list[list[int]] = []
    for number in sorted(set(numbers)):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return [f"{low}" if low == high else f"{low}-{high}" for low, high in found]
