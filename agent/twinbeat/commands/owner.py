"""`twinbeat owner`: which node owns a key, now or at every change."""
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from twinbeat.client import Client, Owner
from twinbeat.commands.control import find_socket
from twinbeat.control_client import ControlClient
from twinbeat.screen import duration

if TYPE_CHECKING:
    import argparse


def main(arguments: argparse.Namespace) -> int:
    """Ask and print. 1: nobody owns it; 2: no such group; 6: there is no agent, or it is silent."""
    path = find_socket(arguments)
    if arguments.key is None or arguments.watch:
        ControlClient(path).close()          # an agent that is not there is told at once
        with Client(path, group=arguments.group) as client:
            return follow(client, arguments) if arguments.watch else show_all(client, arguments)
    with ControlClient(path) as asked:
        answer = asked.ask("owner", key=arguments.key, group=arguments.group)
    print(json.dumps(answer, indent=2, ensure_ascii=False) if arguments.json else owner_text(answer))
    return 0 if answer.get("owner") else 1


def show_all(client: Client, arguments: argparse.Namespace) -> int:
    """Every unit, or those of one group."""
    found = [unit for unit in client.units() if arguments.group in (None, unit.group, unit.unit)]
    if not found:
        client.owner("", arguments.group)    # says which groups there are
    if arguments.json:
        print(json.dumps([unit._asdict() for unit in found], indent=2))
    else:
        print("\n".join(line(unit) for unit in found))
    return 0 if all(unit.node for unit in found) else 1


def follow(client: Client, arguments: argparse.Namespace) -> int:
    """The state now, then every change, each on a line at once. JSON is one object a line here."""
    client.wait_ready()
    changes = client.changes()
    wanted = client.owner(arguments.key).unit if arguments.key is not None else None
    for unit in client.units():
        show(unit, wanted, arguments)
    for unit in changes:
        show(unit, wanted, arguments)
    return 0


def show(unit: Owner, wanted: str | None, arguments: argparse.Namespace) -> None:
    """One line, if it is about what was asked for."""
    if wanted not in (None, unit.unit) or arguments.group not in (None, unit.group, unit.unit):
        return
    print(json.dumps(unit._asdict()) if arguments.json else line(unit), flush=True)


def line(unit: Owner) -> str:
    """One unit for people."""
    if unit.node is None:
        return f"{unit.unit}: nobody"
    return f"{unit.unit}: {unit.node}, epoch {unit.epoch}" + (", may be handled here" if unit.mine else "")


def owner_text(answer: dict[str, Any]) -> str:
    """The answer for people."""
    key, unit, owner = answer.get("key"), answer.get("unit"), answer.get("owner")
    bound = f"nobody for at most {answer.get('nobody_ms_max')} ms when a node fails"
    if owner is None:
        return f"{key}: {unit}: nobody owns it now; {bound}"
    since = duration((answer.get("since_ms") or 0) / 1000)
    here = ""
    if answer.get("mine"):
        here = f" (this node, its authority lasts {answer.get('authority_left_ms')} ms if nobody renews it)"
    elif owner == answer.get("node"):
        here = " (this node, but not to be handled yet)"
    return f"{key}: {unit}: {owner}{here}, epoch {answer.get('epoch')}, for {since}; {bound}"
