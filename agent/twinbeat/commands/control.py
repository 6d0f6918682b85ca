"""The commands that ask a running agent: status, why, events, handover, out, in."""
from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinbeat import screen
from twinbeat.cli_dispatch import print_json
from twinbeat.control_client import ControlClient
from twinbeat.errors import AgentNotRunning, ConfigError, TwinbeatError

if TYPE_CHECKING:
    import argparse

COMMAND_LIMIT_S = 6.0
"""A handover waits for its outcome; the agent itself gives up earlier and says so."""
FOLLOW_S = 0.5
FOLLOW_COUNT = 500


def main(arguments: argparse.Namespace) -> int:
    """Ask and print. 1: the agent's answer is no; 6: there is no agent, or it is silent."""
    with ControlClient(find_socket(arguments)) as client:
        return VERBS[arguments.verb](client, arguments)


def find_socket(arguments: argparse.Namespace) -> Path:
    """The control socket: --socket, else as the configuration says, else the only one in the run directory.

    The configuration may be readable to root alone while the socket's group may ask, hence the third way.
    """
    if arguments.socket:
        return Path(arguments.socket)
    from twinbeat.config import DEFAULT_PATH, DEFAULT_RUN_DIR, load_config

    try:
        return load_config(arguments.config, arguments.node).socket_path(arguments.run_dir)
    except ConfigError as error:
        problem: TwinbeatError = error
    if arguments.config != DEFAULT_PATH:
        raise problem
    run_dir = Path(arguments.run_dir or os.environ.get("TWINBEAT_RUN_DIR") or DEFAULT_RUN_DIR)
    found = sorted(run_dir.glob(f"*-{arguments.node}.sock" if arguments.node else "*.sock"))
    if len(found) == 1:
        return found[0]
    if not found:
        raise AgentNotRunning(f"{run_dir}: no agent is running here, and the configuration does not help: {problem}")
    listed = ", ".join(str(path) for path in found)
    raise ConfigError(f"several agents run here ({listed}); name one with --socket, --node or --config")


def status(client: ControlClient, arguments: argparse.Namespace) -> int:
    """What the agent sees; 1 where a group has no driver."""
    answer = client.ask("status")
    if arguments.json:
        print_json(answer)
    else:
        print(screen.status_text(answer))
    return 0 if all(group.get("driver") for group in screen.entries(answer, "groups")) else 1


def why(client: ControlClient, arguments: argparse.Namespace) -> int:
    """The last role changes."""
    answer = client.ask("why", group=arguments.group, count=arguments.count)
    if arguments.json:
        print_json(answer)
    else:
        print(screen.why_text(answer))
    return 0


def events(client: ControlClient, arguments: argparse.Namespace) -> int:
    """What was reported lately; with --follow until interrupted. JSON is one object a line here."""
    found = screen.entries(client.ask("events", count=arguments.count), "events")
    print_events(found, as_json=arguments.json)
    after = last_number(found, 0)
    while arguments.follow:
        time.sleep(FOLLOW_S)
        found = screen.entries(client.ask("events", count=FOLLOW_COUNT, after=after), "events")
        print_events(found, as_json=arguments.json)
        after = last_number(found, after)
    return 0


def print_events(found: list[dict[str, Any]], *, as_json: bool) -> None:
    """Each event on a line, at once."""
    import json

    for event in found:
        print(json.dumps(event, ensure_ascii=False) if as_json else screen.event_line(event), flush=True)


def last_number(found: list[dict[str, Any]], before: int) -> int:
    """The sequence number of the newest event, `before` when there is none."""
    return max((event["seq"] for event in found if isinstance(event.get("seq"), int)), default=before)


def handover(client: ControlClient, arguments: argparse.Namespace) -> int:
    """Hand over and report who drives."""
    answer = client.ask("handover", limit_s=COMMAND_LIMIT_S, group=arguments.group, node=arguments.to)
    if arguments.json:
        print_json(answer)
    else:
        print(screen.handover_text(answer))
    return 0


def service(client: ControlClient, arguments: argparse.Namespace) -> int:
    """Take out of service, or put back."""
    answer = client.ask(arguments.verb, limit_s=COMMAND_LIMIT_S, group=arguments.group)
    if arguments.json:
        print_json(answer)
    else:
        print(screen.service_text(answer, arguments.verb))
    return 0


VERBS = {"status": status, "why": why, "events": events, "handover": handover, "out": service, "in": service}
