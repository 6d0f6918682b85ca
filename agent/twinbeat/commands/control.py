"""What a running agent sees now: status. Other commands find its socket by `find_socket` too."""
from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from twinbeat import screen
from twinbeat.cli_dispatch import print_json
from twinbeat.control_client import ControlClient
from twinbeat.errors import AgentNotRunning, ConfigError, TwinbeatError

if TYPE_CHECKING:
    import argparse


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
        from twinbeat.screen_paint import columns_for, paint_for
        from twinbeat.screen_status import status_text

        paint, width = paint_for(arguments.color, sys.stdout, os.environ), columns_for(sys.stdout)
        print(status_text(answer, paint=paint, width=width, every_group=arguments.groups))
    return 0 if all(group.get("driver") for group in screen.entries(answer, "groups")) else 1


VERBS = {"status": status}
