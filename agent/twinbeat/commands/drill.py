"""`twinbeat drill`: a failover rehearsed, dry or live, with a report."""
from __future__ import annotations

import getpass
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from twinbeat.cli_dispatch import EXIT_INTERRUPTED, print_json
from twinbeat.commands.control import find_socket
from twinbeat.config import load_config
from twinbeat.drill.conditions import Figures, Look, chosen_groups, figures_of
from twinbeat.drill.doors import Clock, Door, RemoteDoor, SocketDoor
from twinbeat.drill.live import Live
from twinbeat.drill.report import Report, check_writable, markdown, utc_now, write
from twinbeat.errors import ConfigError, RefusedError, UsageError
from twinbeat.screen import entries

if TYPE_CHECKING:
    import argparse

PLANS_SINCE = "command_limit_s"
"""An agent whose status has this knows rehearsals; an older one would take one for the real thing."""


def main(arguments: argparse.Namespace) -> int:
    """Do it and print the report. 0: passed, or would work; 1: not; 130: interrupted."""
    check_options(arguments)
    check_writable(arguments.report)
    door = SocketDoor(find_socket(arguments))
    report, other = prepare(arguments, door)
    if arguments.live and report.possible:
        signal.signal(signal.SIGTERM, interrupt)
        drill = Live(door, other, report, Clock(), tell, dwell_s=arguments.dwell, return_s=arguments.wait,
                     to=arguments.to)
        drill.run()
    elif arguments.live:
        report.passed, report.failure = False, "the conditions are not met"
    written = write(report, arguments.report)
    if arguments.json:
        print_json(report.data())
    else:
        print(markdown(report), end="")
    for path in written:
        tell(f"written: {path}")
    if report.interrupted:
        return EXIT_INTERRUPTED
    return 0 if report.data()["ok"] else 1


def check_options(arguments: argparse.Namespace) -> None:
    """Raises UsageError for what does not go together."""
    if arguments.live and arguments.fault == "kill" and not arguments.yes:
        raise UsageError("--fault kill really kills the agent of this node; say --yes if that is meant")
    if arguments.to and arguments.fault != "handover":
        raise UsageError(f"--to has no meaning with --fault {arguments.fault}: who takes over is not asked then")
    if (arguments.operator or arguments.key) and not arguments.remote:
        raise UsageError("--operator and --key belong to --remote")


def prepare(arguments: argparse.Namespace, door: Door) -> tuple[Report, Door | None]:
    """The report with all conditions, and the way to the other agent. Touches nothing."""
    status = door.ask("status")
    figures = read_figures(arguments)
    groups = chosen_groups(status, arguments.group)
    report = Report(kind="live" if arguments.live else "dry", fault=arguments.fault, time=utc_now(), by=user(),
                    groups=groups, node=str(status.get("node", "?")), pair=str(status.get("pair", "?")))
    plans = rehearse(door, status, groups, arguments.to)
    look = Look(status, None, plans, figures, arguments.fault)
    taker = next((look.taker(name) for name in groups if look.taker(name)), None)
    other = way_to(arguments, taker)
    if other is not None:
        look.other = other.ask("status")
        check_other(arguments, look, taker)
    report.conditions = look.conditions(groups, arguments.group)
    report.expected = look.expected(groups)
    report.possible = all(item.mark != "no" for item in report.conditions)
    report.versions = {report.node: str(status.get("version", "?"))}
    if look.other is not None:
        report.versions[str(look.other.get("node", "?"))] = str(look.other.get("version", "?"))
    if figures is not None:
        report.budget_ms = figures.worst_ms if figures.budget_ms is None else figures.budget_ms
        report.budget_from = "the worst outage that twinbeat check computes" if figures.budget_ms is None else (
            "outage_budget_ms")
    return report, other


def check_other(arguments: argparse.Namespace, look: Look, taker: str | None) -> None:
    """Raises UsageError where the way leads to somebody else."""
    other = look.other or {}
    if other.get("pair") != look.status.get("pair") or other.get("node") in (None, look.node):
        raise UsageError(
            f"--peer-socket {arguments.peer_socket}: this is {other.get('node')} of pair {other.get('pair')}, not the "
            f"other node of pair {look.status.get('pair')}; forward the socket of {taker or 'the other gateway'}"
        )


def way_to(arguments: argparse.Namespace, taker: str | None) -> Door | None:
    """How to ask the other agent, as the options say."""
    if arguments.peer_socket:
        return SocketDoor(Path(arguments.peer_socket))
    if arguments.remote and taker is not None:
        return RemoteDoor(taker, arguments.config, arguments.operator, arguments.key)
    return None


def rehearse(door: Door, status: dict[str, Any], groups: list[str], to: str | None) -> list[dict[str, Any]]:
    """The agent's own rehearsal of each handover; nothing from an agent that knows none."""
    if PLANS_SINCE not in status:
        return []
    plans: list[dict[str, Any]] = []
    for name in groups:
        try:
            plans += entries(door.ask("handover", group=name, node=to, dry_run=True), "plans")
        except RefusedError as error:
            plans.append({"group": name, "reasons": [str(error)]})
    return plans


def read_figures(arguments: argparse.Namespace) -> Figures | None:
    """The computed figures; None where this user cannot read the file."""
    try:
        return figures_of(load_config(arguments.config, arguments.node))
    except ConfigError:
        return None


def user() -> str:
    """Who does it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "?"


def tell(text: str) -> None:
    """Progress, beside the report."""
    print(f"drill: {text}", file=sys.stderr, flush=True)


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM ends a drill as Ctrl-C does: the roles are put back first."""
    raise KeyboardInterrupt
