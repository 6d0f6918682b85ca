"""What an operator does on a node: handover, failback, drain, maintenance, out, in."""
from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from twinbeat import screen_operate as screen
from twinbeat.cli_dispatch import print_json
from twinbeat.commands.control import find_socket
from twinbeat.control_client import ControlClient
from twinbeat.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

COMMAND_LIMIT_S = 6.0
"""How long an agent that does not say it may take for a command."""
MARGIN_S = 3.0
MAINTENANCE_MORE_S = 12.0
"""Maintenance looks twice for its outcome and waits for the disk, besides handing over."""
FAILBACK_LIMIT_S = 600.0
DRAIN_EVERY_S = 0.5


def main(arguments: argparse.Namespace) -> int:
    """Ask and print. 1: the agent's answer is no; 6: there is no agent, or it is silent."""
    if arguments.verb == "maintenance":
        check_maintenance(arguments)
    with ControlClient(find_socket(arguments)) as client:
        return VERBS[arguments.verb](client, arguments)


def command_limit_s(client: ControlClient) -> float:
    """How long a command may take; an agent that is frozen is found out here, soon."""
    limit_s = client.ask("ping").get("command_limit_s", COMMAND_LIMIT_S)
    return float(limit_s) + MARGIN_S


def shown(answer: dict[str, Any], arguments: argparse.Namespace, text: Callable[[dict[str, Any]], str]) -> None:
    """The answer, as JSON or as text."""
    if arguments.json:
        print_json(answer)
    else:
        print(text(answer))


def handover(client: ControlClient, arguments: argparse.Namespace) -> int:
    """Hand over and report who drives; with --dry-run tell what would become of it."""
    asked = {"group": arguments.group, "node": arguments.to, "count": arguments.count, "all": arguments.all or None}
    if arguments.dry_run:
        # A verb of its own: an older agent, not restarted yet, must not take a rehearsal for the real thing.
        answer = client.ask("handover-plan", **asked)
        shown(answer, arguments, screen.plan_text)
        return 0 if answer.get("would") else 1
    answer = client.ask("handover", limit_s=command_limit_s(client), **asked)
    shown(answer, arguments, screen.handover_text)
    return 0


def failback(client: ControlClient, arguments: argparse.Namespace) -> int:
    """Send groups home; 1 where one that should go cannot."""
    command_limit_s(client)
    answer = client.ask("failback", limit_s=FAILBACK_LIMIT_S, group=arguments.group)
    shown(answer, arguments, screen.failback_text)
    return 1 if answer.get("left") else 0


def drain(client: ControlClient, arguments: argparse.Namespace) -> int:
    """Hand over again and again until nothing is driven here; 1 when something still is after the time given."""
    limit_s = command_limit_s(client)
    end_s = time.monotonic() + arguments.wait
    moved: list[Any] = []
    told = ""
    while True:
        answer = client.ask("drain", limit_s=limit_s)
        moved += answer.get("moved") or []
        answer["moved"] = moved
        if answer.get("drained") or time.monotonic() >= end_s:
            break
        remains = screen.remaining_text(answer)
        if remains != told and not arguments.json:
            print(f"still driven here:\n{remains}", flush=True)
        told = remains
        time.sleep(min(DRAIN_EVERY_S, max(0.0, end_s - time.monotonic())))
    shown(answer, arguments, screen.drain_text)
    return 0 if answer.get("drained") else 1


def maintenance(client: ControlClient, arguments: argparse.Namespace) -> int:
    """Begin, end or show maintenance."""
    limit_s = command_limit_s(client) + MAINTENANCE_MORE_S
    answer = client.ask("maintenance", limit_s=limit_s, action=arguments.action, for_s=arguments.for_s,
                        reason=arguments.reason, force=arguments.force or None)
    shown(answer, arguments, screen.maintenance_text)
    return 0


def check_maintenance(arguments: argparse.Namespace) -> None:
    """UsageError where the words do not fit together."""
    given = [name for name, value in (("--for", arguments.for_s), ("--reason", arguments.reason),
                                      ("--force", arguments.force)) if value]
    if arguments.action == "on" and arguments.for_s is None:
        raise UsageError("maintenance on needs an end: twinbeat maintenance on --for 2h")
    if arguments.action != "on" and given:
        raise UsageError(f"{given[0]} belongs to: twinbeat maintenance on --for TIME")


def service(client: ControlClient, arguments: argparse.Namespace) -> int:
    """Take out of service, or put back."""
    answer = client.ask(arguments.verb, limit_s=command_limit_s(client), group=arguments.group)
    shown(answer, arguments, lambda answer: screen.service_text(answer, arguments.verb))
    return 0


VERBS = {"handover": handover, "failback": failback, "drain": drain, "maintenance": maintenance, "out": service,
         "in": service}
