"""How [[check]] tables must fit together and to the rest of the file."""
from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from twinbeat.config_check import (
    CHECKS_MAX,
    CheckConfig,
    CheckTable,
    CommandCheck,
    DiskCheck,
    FileCheck,
    MqttCheck,
    ProcessCheck,
)
from twinbeat.config_reader import Reader, number_text, suggestion, toml_text
from twinbeat.config_rules import named_links, twins
from twinbeat.config_schema import MqttLink
from twinbeat_hardware.spec import GpioSpec

if TYPE_CHECKING:
    from twinbeat.config_model import Tables

TOPIC_BYTES_MAX = 1024
HOW = ("name", "every_ms", "deadline_ms", "rise", "fall", "flaps_per_min", "initial", "effect", "points", "nodes")
"""How it is looked and what follows; the other keys say at what."""


def check_checks(tables: Tables, reader: Reader) -> None:
    """Note every rule that the [[check]] tables break."""
    placed = [(f"[[check]] {number}", check) for number, check in enumerate(tables.checks, start=1)]
    for (place, check), (first, _) in twins(placed, lambda item: item[1].name):
        reader.add(place, f'name = "{check.name}" is taken by {first}; give every check a name of its own')
    for place, check in placed:
        check_common(tables, check, place, reader)
        check_subject(tables, check, place, reader)
    for node in tables.nodes:
        mine = [(place, check) for place, check in placed if not check.nodes or node in check.nodes]
        if len(mine) > CHECKS_MAX:
            reader.add("[[check]]", f"{node} has {len(mine)} checks; at most {CHECKS_MAX} are possible")
        for (place, check), (first, _) in twins(mine, lambda item: subject(item[1])):
            reader.add(
                place, f'"{check.name}" looks at the same as {first} on {node}, with the same effect: it can change '
                "nothing; remove one of them"
            )


def subject(check: CheckTable) -> str:
    """Equal for two checks that look at the same with the same limit and the same effect."""
    kept = {name: value for name, value in msgspec.structs.asdict(check).items() if name not in HOW}
    return repr((sorted(kept.items()), check.effect))


def check_common(tables: Tables, check: CheckTable, place: str, reader: Reader) -> None:
    """Nodes that are there, a deadline within the interval, points where they count."""
    for node in check.nodes:
        if node not in tables.nodes:
            hint = suggestion(node, tables.nodes, "nodes")
            reader.add(place, f'nodes names "{node}", which is no node of the file; {hint}')
    for node, _ in twins(list(check.nodes), str):
        reader.add(place, f'nodes names "{node}" twice; name every node once')
    if check.deadline_ms is not None and check.deadline_ms > check.every_ms:
        reader.add(
            place, f"deadline_ms = {check.deadline_ms} is longer than every_ms = {check.every_ms}; a check is not "
            "started again before it has answered: lower the one or raise the other"
        )
    if check.effect == "score" and check.points is None:
        reader.add(place, 'effect = "score" needs points = 1 to 100: what it takes off the score of 100')
    if check.effect != "score" and check.points is not None:
        reader.add(
            place, f'points = {check.points} has no meaning with effect = "{check.effect}"; remove it, or write '
            'effect = "score"'
        )


def check_subject(tables: Tables, check: CheckConfig, place: str, reader: Reader) -> None:
    """What a check looks at can be found."""
    if isinstance(check, ProcessCheck) and check.pid_file is None and check.command is None:
        reader.add(place, "a process check needs pid_file, or command, or both (then the process must have that name)")
    paths = {
        "path": check.path if isinstance(check, FileCheck | DiskCheck) else None,
        "pid_file": check.pid_file if isinstance(check, ProcessCheck) else None,
    }
    for key, path in paths.items():
        if path is not None and not path.startswith("/"):
            reader.add(place, f'{key} = "{path}" must be written in full, from / on: the agent has no place of its own')
    if isinstance(check, ProcessCheck) and check.command is not None and "/" in check.command:
        reader.add(place, f'command = "{check.command}" is compared with the program\'s name alone; leave the path out')
    if isinstance(check, CommandCheck) and "/" in check.argv[0] and not check.argv[0].startswith("/"):
        reader.add(place, f'argv[0] = "{check.argv[0]}" must be written in full, or as a name that is found in PATH')
    if isinstance(check, FileCheck | MqttCheck) and check.max_age_s * 1000 < check.every_ms:
        reader.add(
            place, f"max_age_s = {number_text(check.max_age_s)} is shorter than every_ms = {check.every_ms}; look more "
            "often, or allow a higher age"
        )
    if isinstance(check, MqttCheck):
        check_topic(tables, check, place, reader)
    for group in tables.groups:
        for output in group.outputs:
            if isinstance(output, GpioSpec) and (output.chip, output.line) == (
                getattr(check, "chip", None), getattr(check, "line", None)
            ):
                line = toml_text(output.line)
                reader.add(place, f"line = {line} is an output of group {group.name}; use the output's readback")


def check_topic(tables: Tables, check: MqttCheck, place: str, reader: Reader) -> None:
    """One plain topic that is not the pair's own, on a broker of the file."""
    own = f"twinbeat/v1/{tables.pair.name}/"
    if any(sign in check.topic for sign in "+#\0"):
        reader.add(place, f"topic = {toml_text(check.topic)} must be one topic, without + and #: a check has one age")
    elif check.topic.startswith(own):
        reader.add(place, f"topic = {toml_text(check.topic)} is the pair's own; name a topic of the application")
    if len(check.topic.encode()) > TOPIC_BYTES_MAX:
        reader.add(place, f"topic has {len(check.topic.encode())} bytes; at most {TOPIC_BYTES_MAX} are possible")
    links = [str(link.name) for link in named_links(tables.links) if isinstance(link, MqttLink)]
    if not links:
        reader.add(place, 'there is no [[link]] with type = "mqtt" whose broker it could ask; add one, or remove this')
    elif check.link is not None and check.link not in links:
        hint = suggestion(check.link, links, "MQTT links")
        reader.add(place, f'link = "{check.link}" is no MQTT link of the file; {hint}')
    elif check.link is None and len(links) > 1:
        reader.add(place, f"there are {len(links)} MQTT links; say which broker is meant with link = \"{links[0]}\"")
