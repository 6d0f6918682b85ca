"""The tables of a configuration file, read one by one: types and ranges, not yet how they fit together."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from msgspec import Struct

from twinbeat.config_reader import Reader, suggestion, toml_text
from twinbeat.config_schema import (
    FAILBACK_AFTER_S,
    LINK_TYPES,
    THIRD_VOTER_TYPES,
    AgentConfig,
    BalanceConfig,
    GroupTable,
    LinkConfig,
    NodeConfig,
    PairConfig,
    PrepareTable,
    ThirdVoter,
    TimingConfig,
)
from twinbeat.config_warning import WarningConfig, load_warning
from twinbeat_core.errors import TwinbeatError
from twinbeat_hardware.spec import OutputSpec, switch_off_ms

if TYPE_CHECKING:
    from twinbeat.config_check import CheckConfig
    from twinbeat.config_operator import RemoteConfig

S = TypeVar("S", bound=Struct)

TABLES = ("pair", "node", "link", "third_voter", "group", "balance", "check", "warning", "operator", "remote",
          "timing", "agent")

OUTPUT_TYPES: dict[str, type[Any]] = {str(cls.__struct_config__.tag): cls for cls in get_args(OutputSpec)}
"""The Struct of each output type; the type is the Struct's tag."""
SHARD_MARK = "{shard}"
"""Stands for the number of the shard in the texts of outputs and prepare hooks."""
SHARD_KEYS = ("name", "start", "stop", "unit", "chip", "line", "readback", "port")
"""Keys of an output whose text may hold it."""


class GroupConfig(GroupTable, frozen=True, kw_only=True, omit_defaults=True):
    """A group with its outputs: as written in the file, or one unit of it as `config_modes.expand` makes them.

    shard_outputs  as written, with `shards`: the outputs of each shard (`outputs` are those of the first); units: none
    family         units: the group's name in the file
    shard          units: the number of the shard, None where the group has none
    drivers        units: the nodes that may drive it, best first
    """

    outputs: tuple[OutputSpec, ...] = ()
    prepare: tuple[PrepareTable, ...] = ()
    shard_outputs: tuple[tuple[OutputSpec, ...], ...] = ()
    family: str = ""
    shard: int | None = None
    drivers: tuple[str, ...] = ()

    @property
    def release_ms(self) -> float:
        """T_off: the slowest output's time from the off command to being off, wire time included."""
        return max((switch_off_ms(output) for output in self.outputs), default=0.0)

    @property
    def make_ms(self) -> float:
        """T_on: the fastest output's time from the on command to being on."""
        return min((output.make_ms for output in self.outputs), default=0.0)

    @property
    def prepare_ms(self) -> float:
        """How long the prepare hooks may take, one after the other; 0 without any."""
        return float(sum(hook.deadline_ms for hook in self.prepare))

    @property
    def failback_after_ms(self) -> float | None:
        """For how long a better node must have been ready before the group goes back to it; None: not by itself."""
        if (self.failback or self.usual_failback) != "after":
            return None
        return 1000.0 * (FAILBACK_AFTER_S if self.failback_after_s is None else self.failback_after_s)

    @property
    def usual_failback(self) -> Literal["never", "after"]:
        """What `failback` is where the file does not say it."""
        return "never" if self.shards is None else "after"


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
    remote: RemoteConfig | None = None
    balance: BalanceConfig | None = None
    warning: WarningConfig | None = None


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
    remote = load_operators(data, reader)
    balance = load_single(data, "balance", BalanceConfig, reader) if "balance" in data else None
    warning = load_warning(data, reader)
    if reader.problems or pair is None or timing is None or agent is None:
        return None
    return Tables(pair=pair, nodes=nodes, links=tuple(links), groups=tuple(groups), timing=timing, agent=agent,
                  third_voter=third_voter, checks=tuple(checks), balance=balance, remote=remote,
                  warning=warning)


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
        plain = {key: item for key, item in table.items() if key not in ("output", "prepare")}
        known_before = len(reader.problems)
        read = reader.struct(plain, GroupTable, place, "group")
        shards = read.shards if read is not None else None
        written = table.get("output")
        outputs = [tuple(load_outputs(written if shards is None else with_shard(written, 0), place, reader))]
        prepare = load_prepare(table.get("prepare"), place, reader)
        for shard in range(1, shards or 1):
            if len(reader.problems) == known_before:
                outputs.append(tuple(load_outputs(with_shard(written, shard), place, reader)))
        if read is not None and len(reader.problems) == known_before:
            fields = {name: getattr(read, name) for name in read.__struct_fields__}
            groups.append(GroupConfig(**fields, outputs=outputs[0], prepare=tuple(prepare),
                                      shard_outputs=() if shards is None else tuple(outputs)))
    return groups


def with_shard(value: Any, shard: int) -> Any:
    """A group's written outputs with "{shard}" replaced where a text may hold it, as one shard has them."""
    if isinstance(value, list):
        return [with_shard(item, shard) for item in value]
    if isinstance(value, dict):
        return {key: in_text(item, shard) if key in SHARD_KEYS else item for key, item in value.items()}
    return value


def in_text(value: Any, shard: int) -> Any:
    """A text, or a list of them, with "{shard}" replaced."""
    if isinstance(value, list):
        return [in_text(item, shard) for item in value]
    return value.replace(SHARD_MARK, str(shard)) if isinstance(value, str) else value


def load_prepare(value: object, place: str, reader: Reader) -> list[PrepareTable]:
    """The [[group.prepare]] tables of one group; none need be there."""
    if value is None or value == []:
        return []
    if not isinstance(value, list):
        reader.add(place, "prepare is a list of tables; write [[group.prepare]] with double brackets")
        return []
    hooks: list[PrepareTable] = []
    for number, raw in enumerate(value, start=1):
        hook_place = f"{place}, prepare {number}"
        table = reader.table(raw, hook_place)
        hook = reader.struct(table, PrepareTable, hook_place, "prepare") if table is not None else None
        if hook is not None:
            hooks.append(hook)
    return hooks


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


def load_operators(data: dict[str, Any], reader: Reader) -> RemoteConfig | None:
    """The [[operator]] and [remote] tables; None where nobody may command the pair over its brokers."""
    if "operator" not in data and "remote" not in data:
        return None
    from twinbeat.config_operator import load_remote

    return load_remote(data, reader)
