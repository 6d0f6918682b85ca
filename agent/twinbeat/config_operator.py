"""The [[operator]] and [remote] tables: who may command the pair over its brokers. Loaded where there is one."""
from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct

from twinbeat.config_reader import Reader, suggestion
from twinbeat.config_schema import MqttLink, Name, Text
from twinbeat.remote import PAIR_OPERATOR, REMOTE_VERBS

if TYPE_CHECKING:
    from twinbeat.config_model import Tables

OPERATORS_MAX = 32


class OperatorConfig(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """[[operator]]: somebody with a key of their own. `verbs`: what they may ask for; unset: all remote verbs."""

    name: Name
    key_file: Text
    verbs: Annotated[tuple[str, ...], Meta(min_length=1)] | None = None


class RemoteTable(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """[remote]: whether the pair's own key may command it too."""

    pair_key: bool = False


class RemoteConfig(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Both tables. No remote command is taken where nobody could have signed it."""

    pair_key: bool = False
    operators: tuple[OperatorConfig, ...] = ()


def load_remote(data: dict[str, Any], reader: Reader) -> RemoteConfig | None:
    """What the file says of operators; None where it says nothing that allows a remote command."""
    from twinbeat.config_model import load_list, load_single

    operators: list[OperatorConfig] = []
    for place, table in load_list(data["operator"], "operator", reader) if data.get("operator") else []:
        operator = reader.struct(table, OperatorConfig, place, "operator")
        if operator is not None:
            operators.append(operator)
    remote = load_single(data, "remote", RemoteTable, reader)
    pair_key = remote is not None and remote.pair_key
    return RemoteConfig(pair_key=pair_key, operators=tuple(operators)) if operators or pair_key else None


def check_remote(tables: Tables, remote: RemoteConfig, reader: Reader) -> None:
    """Note every rule that the tables break."""
    from twinbeat.config_rules import twins

    placed = [(f"[[operator]] {number}", item) for number, item in enumerate(remote.operators, start=1)]
    for place, operator in placed:
        check_operator(operator, place, reader)
    for (place, operator), (first, _) in twins(placed, lambda item: item[1].name.lower()):
        reader.add(place, f'name = "{operator.name}" is taken by {first}; give every operator a name of their own')
    for (place, operator), (first, _) in twins(placed, lambda item: item[1].key_file):
        reader.add(
            place, f'key_file = "{operator.key_file}" is the key of {first} too: nobody could tell who gave a command; '
            "make one for each with twinbeat keygen"
        )
    for place, operator in placed:
        if operator.key_file == tables.pair.key_file:
            reader.add(
                place, f'key_file = "{operator.key_file}" is the pair\'s own key; make another with twinbeat keygen, '
                f'or write [remote] pair_key = true and command the pair as operator "{PAIR_OPERATOR}"'
            )
    if len(placed) > OPERATORS_MAX:
        reader.add("[[operator]]", f"there are {len(placed)} operators; at most {OPERATORS_MAX} are possible")
    if not any(isinstance(link, MqttLink) for link in tables.links):
        reader.add(
            placed[0][0] if placed else "[remote]",
            'there is no [[link]] with type = "mqtt" over which a command could come; add one, or remove this',
        )


def check_operator(operator: OperatorConfig, place: str, reader: Reader) -> None:
    """A name that is free, and verbs that exist."""
    if operator.name.lower() == PAIR_OPERATOR:
        reader.add(
            place, f'name = "{operator.name}" is what whoever has the pair\'s own key is called; choose another name'
        )
    for verb in operator.verbs or ():
        if verb not in REMOTE_VERBS:
            hint = suggestion(verb, REMOTE_VERBS, "verbs")
            reader.add(place, f'verbs names "{verb}", which is no remote verb; {hint}')
    if operator.verbs is not None and len(set(operator.verbs)) < len(operator.verbs):
        reader.add(place, "verbs names a verb twice; name each once")
