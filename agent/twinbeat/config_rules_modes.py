"""How nodes, redundancy modes, shards and planned moves must fit together."""
from __future__ import annotations

from typing import TYPE_CHECKING

from twinbeat.config_model import SHARD_MARK, GroupConfig
from twinbeat.config_modes import may_drive, placed_outputs, spare_of, unit_names, working_nodes
from twinbeat.config_reader import Reader, number_text, suggestion
from twinbeat.config_rules import NODES_IN_A_PAIR, NODES_WITH_SPARE, twins
from twinbeat.config_schema import CAPACITY, SerialLink
from twinbeat_hardware.spec import ArbiterSpec, GpioSpec, SerialRelaySpec, SystemdSpec

if TYPE_CHECKING:
    from twinbeat.config_model import Tables

NAME_LONGEST = 63
PREPARE_MS_MAX = 300_000
"""All prepare hooks of a group together: an operator waits for them."""


def check_node_count(tables: Tables, reader: Reader) -> bool:
    """Two working nodes, or two and a spare. False: other rules would only repeat what is noted here."""
    names = list(tables.nodes)
    spares = [name for name, node in tables.nodes.items() if node.spare]
    listed = f"the file has {len(names)} node{'' if len(names) == 1 else 's'} ({', '.join(names)})"
    for name, node in tables.nodes.items():
        if node.spare and node.capacity != CAPACITY:
            reader.add(f"[node.{name}]", f"capacity = {node.capacity} is the weight in the spreading of shards, and a "
                                         "spare takes none: remove it")
    for name in spares[1:]:
        reader.add(f"[node.{name}]", f"spare = true stands in [node.{spares[0]}] already; one spare backs all groups: "
                                     "remove one of the two")
    if spares and tables.third_voter is not None:
        reader.add("[third_voter]", f"the spare node {spares[0]} is the pair's third vote already: remove [third_voter]"
                                    ", or spare = true and its node")
    if len(names) == NODES_WITH_SPARE and not spares:
        reader.add("[node]", f"{listed} and none of them is the spare; write spare = true into the one that backs the "
                             "others, or remove one")
    elif len(names) == NODES_IN_A_PAIR and spares:
        reader.add(f"[node.{spares[0]}]", f"spare = true, and {listed}; a spare is the third of three: add a second "
                                          "working node, or remove spare")
    elif not NODES_IN_A_PAIR <= len(names) <= NODES_WITH_SPARE:
        reader.add("[node]", f"{listed}; write two tables [node.NAME], or three of which one has spare = true")
    else:
        return len(spares) == len(names) - NODES_IN_A_PAIR and not (spares and tables.third_voter is not None)
    return False


def check_modes(tables: Tables, reader: Reader) -> None:
    """Note every rule about modes, shards, moves, and who may drive what."""
    for number, link in enumerate(tables.links, start=1):
        if isinstance(link, SerialLink):
            check_between(tables, link, f"[[link]] {number}", reader)
    check_fastest(tables, reader)
    for number, group in enumerate(tables.groups, start=1):
        place = f"[[group]] {number}"
        if group.mode == "hot-hot":
            check_hot_hot(group, place, reader)
        else:
            check_not_hot_hot(group, place, reader)
        if group.mode == "hot-spare":
            check_hot_spare(tables, group, place, reader)
        if group.overlap:
            check_overlap(group, place, reader)
        check_moves(group, place, reader)
        check_shard_outputs(group, place, reader)
    check_unit_names(tables, reader)
    check_lines(tables, reader)
    if tables.balance is not None and not any(group.shards for group in tables.groups):
        reader.add("[balance]", 'load moves shards only, and no group has any: remove the table, or write mode = '
                                '"hot-hot" and shards = N in a group')


def check_between(tables: Tables, link: SerialLink, place: str, reader: Reader) -> None:
    """A cable joins two nodes; with three it must say which."""
    names = list(tables.nodes)
    unknown = [name for name in link.between if name not in tables.nodes]
    for name in unknown:
        reader.add(place, f'between names "{name}", which is no node of the file; {suggestion(name, names, "nodes")}')
    example = f'between = ["{names[0]}", "{names[1]}"]'
    if not link.between and len(names) > NODES_IN_A_PAIR:
        reader.add(place, f"a serial cable joins two nodes, and the file has {len(names)}; say which: {example}")
    elif link.between and not unknown and len(set(link.between)) != NODES_IN_A_PAIR:
        reader.add(place, f"between names {', '.join(link.between)}; a cable joins two different nodes, such as "
                          f"{example}")


def check_fastest(tables: Tables, reader: Reader) -> None:
    """With three nodes the link by whose beats silence is judged must reach all of them."""
    if len(tables.nodes) <= NODES_IN_A_PAIR or not tables.links:
        return
    number, link = min(enumerate(tables.links, start=1), key=lambda item: (item[1].period_ms, item[0]))
    if isinstance(link, SerialLink):
        period = number_text(link.period_ms)
        reader.add(f"[[link]] {number}", f"it is the fastest link, and a cable does not reach all {len(tables.nodes)} "
                   f"nodes: put a udp link with period_ms = {period} or less before it, or raise period_ms here")


def check_hot_hot(group: GroupConfig, place: str, reader: Reader) -> None:
    """Split into shards or driven by all; then nobody is preferred."""
    if group.shards is None and not group.overlap:
        reader.add(place, 'mode = "hot-hot" needs shards = 2 to 64 (each shard driven by one node) or overlap = true '
                          "(all nodes drive, for outputs that are or-ed in the field)")
    if group.shards is not None and group.overlap:
        reader.add(place, f"shards = {group.shards} gives every shard to one node, overlap = true everything to all: "
                          "remove one of the two")
    if group.prefer and (group.overlap or group.shards is not None):
        why = "every node drives" if group.overlap else "the home of each shard follows from its hash and from capacity"
        reader.add(place, f'prefer means nothing with mode = "hot-hot": {why}; remove it')


def check_not_hot_hot(group: GroupConfig, place: str, reader: Reader) -> None:
    """Keys that only hot-hot knows."""
    for key, shown in (("shards", group.shards), ("overlap", "true" if group.overlap else None)):
        if shown is not None:
            reader.add(place, f'{key} = {shown} belongs to mode = "hot-hot", and the mode is "{group.mode}": remove '
                              "it, or change the mode")


def check_hot_spare(tables: Tables, group: GroupConfig, place: str, reader: Reader) -> None:
    """One or both working nodes first, the spare last."""
    spare = spare_of(tables.nodes)
    if spare is None:
        reader.add(place, 'mode = "hot-spare" needs a spare node, and the file has none: add a third table [node.NAME] '
                          'with spare = true, or write mode = "hot-warm"')
        return
    example = f'prefer = ["{working_nodes(tables.nodes)[0]}", "{spare}"]'
    if not group.prefer:
        reader.add(place, f'mode = "hot-spare" needs prefer: the nodes that may drive it, the spare last, such as '
                          f"{example}")
    elif group.prefer[-1] != spare:
        reader.add(place, f'mode = "hot-spare", and prefer ends with "{group.prefer[-1]}"; the spare stands last, such '
                          f"as {example}")
    elif len(group.prefer) == 1:
        reader.add(place, f'prefer names the spare alone; name the node that it backs first, such as {example}')


def check_overlap(group: GroupConfig, place: str, reader: Reader) -> None:
    """What makes no sense where every node drives by its own word."""
    if group.lone == "hold":
        reader.add(place, 'lone = "hold" waits for proof before a takeover, and with overlap = true nothing is taken '
                          "over, because every node drives already: remove it")
    for key, value in (("failback", group.failback), ("failback_after_s", group.failback_after_s)):
        if value is not None:
            reader.add(place, f"{key} means nothing with overlap = true: every node that is fit drives; remove it")
    if group.prepare:
        reader.add(place, "[[group.prepare]] is run before a handover, and with overlap = true there is none: remove "
                          "it")
    for position, output in enumerate(group.outputs, start=1):
        if isinstance(output, ArbiterSpec):
            reader.add(f"{place}, output {position}", 'type = "arbiter" closes its contact for one node at a time, and '
                       "with overlap = true all drive: use another type of output")


def check_moves(group: GroupConfig, place: str, reader: Reader) -> None:
    """Failback, damping and preparation."""
    failback = group.failback or group.usual_failback
    if group.failback_after_s is not None and failback != "after" and not group.overlap:
        why = f'failback is "{failback}"' if group.failback else 'failback is not set, which means "never"'
        reader.add(place, f"failback_after_s = {number_text(group.failback_after_s)} is set, and {why}: write "
                          'failback = "after", or remove it')
    if group.hold_down_s > group.hold_down_max_s:
        reader.add(place, f"hold_down_s = {number_text(group.hold_down_s)} is longer than hold_down_max_s = "
                          f"{number_text(group.hold_down_max_s)}: lower the one or raise the other")
    if group.prepare_ms > PREPARE_MS_MAX:
        reader.add(place, f"the prepare hooks may take {number_text(group.prepare_ms)} ms one after the other, and a "
                          f"handover waits for at most {PREPARE_MS_MAX} ms: lower their deadline_ms")


def check_shard_outputs(group: GroupConfig, place: str, reader: Reader) -> None:
    """Every shard switches something of its own."""
    if group.shards in (None, 1) or group.mode != "hot-hot":
        return
    for position, output in enumerate(group.outputs):
        same = group.shard_outputs[1][position] == output
        if isinstance(output, GpioSpec):
            what, example = "line", f'line = "relay-{SHARD_MARK}"'
        elif isinstance(output, SerialRelaySpec):
            what, example = "port", f'port = "relay-{SHARD_MARK}"'
        elif isinstance(output, SystemdSpec):
            what, example = "unit", f'unit = "poller@{SHARD_MARK}.service"'
        else:
            continue
        if same:
            reader.add(f"{place}, output {position + 1}", f"all {group.shards} shards would switch the same {what}; "
                       f"write {SHARD_MARK} where they differ, such as {example}")


def check_unit_names(tables: Tables, reader: Reader) -> None:
    """The names of shards are those of no other group, and short enough."""
    placed = {group.name: f"[[group]] {number}" for number, group in enumerate(tables.groups, start=1)}
    for group in tables.groups:
        if group.shards is None:
            continue
        names = unit_names(group)
        for name in names:
            if name in placed:
                reader.add(placed[name], f'name = "{name}" is that of a shard of {placed[group.name]} '
                                         f"({group.name}); give one of the two another name")
        if len(names[-1]) > NAME_LONGEST:
            reader.add(placed[group.name], f'the last shard would be called "{names[-1]}", {len(names[-1])} characters '
                                           f"of at most {NAME_LONGEST}: shorten the name")


def check_lines(tables: Tables, reader: Reader) -> None:
    """No two groups or shards switch one GPIO line of one node: the second could not take it."""
    lines = [
        (node, place, output)
        for place, group, output in placed_outputs(tables.groups)
        if isinstance(output, GpioSpec)
        for node in may_drive(group, tables.nodes)
    ]
    told: set[str] = set()
    for (node, place, output), (_, first, _) in twins(lines, lambda item: repr((item[0], item[2].chip, item[2].line))):
        if place not in told:
            told.add(place)
            reader.add(place, f"{output.chip} {output.line} is switched by {first} already, and {node} may drive both: "
                              "give it a line of its own")
