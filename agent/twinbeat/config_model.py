"""The tables of a configuration file, read one by one: types and ranges, not yet how they fit together."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, get_args

from msgspec import Struct

from twinbeat.config_reader import Reader, suggestion, toml_text
from twinbeat.config_schema import (
    LINK_TYPES,
    THIRD_VOTER_TYPES,
    AgentConfig,
    GroupTable,
    LinkConfig,
    NodeConfig,
    PairConfig,
    ThirdVoter,
    TimingConfig,
)
from twinbeat_core.errors import TwinbeatError
from twinbeat_hardware.spec import OutputSpec, switch_off_ms

if TYPE_CHECKING:
    from twinbeat.config_check import CheckConfig

S = TypeVar("S", bound=Struct)

TABLES = ("pair", "node", "link", "third_voter", "group", "check", "timing", "agent")

OUTPUT_TYPES: dict[str, type[Any]] = {str(cls.__struct_config__.tag): cls for cls in get_args(OutputSpec)}
"""The Struct of each output type; the type is the Struct's tag."""


class GroupConfig(GroupTable, frozen=True, kw_only=True, omit_defaults=True):
    """A group with its outputs."""

    outputs: tuple[OutputSpec, ...] = ()

    @property
    def release_ms(self) -> float:
        """T_off: the slowest output's time from the off command to being off, wire time included."""
        return max((switch_off_ms(output) for output in self.outputs), default=0.0)

    @property
    def make_ms(self) -> float:
        """T_on: the fastest output's time from the on command to being on."""
        return min((output.make_ms for output in self.outputs), default=0.0)


class Tables(Struct, frozen=True, kw_only=True):
    """The file, table by table."""

    pair: PairConfig
    nodes: dict[str, NodeConfig]
    links: tuple[LinkConfig, ...]
    groups: tuple[GroupConfig, ...]
    timing: TimingConfig
    agent: AgentConfig
    third_voter: ThirdVoter | None = None
    checks: tuple[CheckConfig, ...] = ()


def load_file(data: dict[str, Any], reader: Reader) -> Tables | None:
    """The Structs of a parsed file; None and noted faults where a table cannot be read."""
    for key in data:
        if key not in TABLES:
            reader.add("top level", f'unknown table or key "{key}"; {suggestion(key, TABLES, "tables")}')
    pair = load_single(data, "pair", PairConfig, reader)
    timing = load_single(data, "timing", TimingConfig, reader)
    agent = load_single(data, "agent", AgentConfig, reader)
    nodes = load_nodes(data.get("node"), reader)
    links = load_links(data.get("link"), reader)
    groups = load_groups(data.get("group"), reader)
    third_voter = load_third_voter(data, reader)
    checks = load_checks(data, reader)
    if reader.problems or pair is None or timing is None or agent is None:
        return None
    return Tables(pair=pair, nodes=nodes, links=tuple(links), groups=tuple(groups), timing=timing, agent=agent,
                  third_voter=third_voter, checks=tuple(checks))


def load_single(data: dict[str, Any], name: str, cls: type[S], reader: Reader) -> S | None:
    """One table that stands alone. Only [pair] must be there; the others have defaults for every key."""
    if name not in data and name == "pair":
        reader.add("[pair]", 'the table is missing; add [pair] with name = "..." and key_file = "..."')
        return None
    table = reader.table(data.get(name, {}), f"[{name}]")
    return None if table is None else reader.struct(table, cls, f"[{name}]", name)


def load_nodes(value: object, reader: Reader) -> dict[str, NodeConfig]:
    """The [node.NAME] tables, in the order of the file."""
    if value is None:
        reader.add("[node]", "no node is there; add one table [node.NAME] for each gateway")
        return {}
    nodes: dict[str, NodeConfig] = {}
    for name, raw in (reader.table(value, "[node]") or {}).items():
        place = f"[node.{name}]"
        table = reader.table(raw, place)
        node = reader.struct(table, NodeConfig, place, "node") if table is not None else None
        if node is not None:
            nodes[name] = node
    return nodes


def load_list(value: object, name: str, reader: Reader) -> list[tuple[str, dict[str, Any]]]:
    """The tables of a list with the place of each; [name] instead of [[name]] is explained."""
    if isinstance(value, dict):
        reader.add(f"[{name}]", f"this is a list of tables; write [[{name}]] with double brackets")
        return []
    if value is None or value == []:
        reader.add(f"[[{name}]]", f"no {name} is there; add at least one [[{name}]]")
        return []
    if not isinstance(value, list):
        reader.add(name, f"expected tables [[{name}]], found {toml_text(value)}")
        return []
    placed = [(f"[[{name}]] {number}", item) for number, item in enumerate(value, start=1)]
    return [(place, item) for place, item in placed if reader.table(item, place) is not None]


def load_links(value: object, reader: Reader) -> list[LinkConfig]:
    """The [[link]] tables."""
    links: list[LinkConfig] = []
    for place, table in load_list(value, "link", reader):
        kind = typed(table, place, LINK_TYPES, reader)
        link = reader.struct(table, LINK_TYPES[kind], place, "link") if kind else None
        if link is not None:
            links.append(link)
    return links


def load_groups(value: object, reader: Reader) -> list[GroupConfig]:
    """The [[group]] tables with their outputs."""
    groups: list[GroupConfig] = []
    for place, table in load_list(value, "group", reader):
        plain = {key: item for key, item in table.items() if key != "output"}
        outputs = load_outputs(table.get("output"), place, reader)
        known_before = len(reader.problems)
        read = reader.struct(plain, GroupTable, place, "group")
        if read is not None and len(reader.problems) == known_before:
            fields = {name: getattr(read, name) for name in read.__struct_fields__}
            groups.append(GroupConfig(**fields, outputs=tuple(outputs)))
    return groups


def load_outputs(value: object, place: str, reader: Reader) -> list[OutputSpec]:
    """The [[group.output]] tables of one group."""
    if value is None or value == []:
        reader.add(place, "the group has no output; add at least one [[group.output]] below it")
        return []
    if not isinstance(value, list):
        reader.add(place, "output is a list of tables; write [[group.output]] with double brackets")
        return []
    outputs: list[OutputSpec] = []
    for number, raw in enumerate(value, start=1):
        output_place = f"{place}, output {number}"
        table = reader.table(raw, output_place)
        kind = typed(table, output_place, OUTPUT_TYPES, reader) if table is not None else None
        if table is None or kind is None:
            continue
        keys = {key: item for key, item in table.items() if key != "type"}
        try:
            output = reader.struct(keys, OUTPUT_TYPES[kind], output_place, "output")
        except TwinbeatError as error:
            reader.add(output_place, str(error))
            continue
        if output is not None:
            outputs.append(output)
    return outputs


def typed(table: dict[str, Any], place: str, types: dict[str, type[Any]], reader: Reader) -> str | None:
    """The table's type if it is a known one."""
    known = ", ".join(f'"{name}"' for name in sorted(types))
    if "type" not in table:
        reader.add(place, f'key "type" is missing; it takes one of {known}')
        return None
    kind = table["type"]
    if not isinstance(kind, str) or kind not in types:
        hint = suggestion(kind, types, "types") if isinstance(kind, str) else f"known types: {known}"
        reader.add(place, f"type = {toml_text(kind)} is unknown; {hint}")
        return None
    return kind


def load_third_voter(data: dict[str, Any], reader: Reader) -> ThirdVoter | None:
    """The [third_voter] table, where there is one."""
    if "third_voter" not in data:
        return None
    place = "[third_voter]"
    table = reader.table(data["third_voter"], place)
    kind = typed(table, place, THIRD_VOTER_TYPES, reader) if table is not None else None
    if table is None or kind is None:
        return None
    return reader.struct(table, THIRD_VOTER_TYPES[kind], place, "third_voter")


def load_checks(data: dict[str, Any], reader: Reader) -> list[CheckConfig]:
    """The [[check]] tables; none need be there."""
    if not data.get("check"):
        return []
    from twinbeat.config_check import CHECK_TYPES

    checks: list[CheckConfig] = []
    for place, table in load_list(data["check"], "check", reader):
        kind = typed(table, place, CHECK_TYPES, reader)
        check = reader.struct(table, CHECK_TYPES[kind], place, "check") if kind else None
        if check is not None:
            checks.append(check)
    return checks
