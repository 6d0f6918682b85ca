"""The command line: verbs and options. What they do is in `twinbeat.commands`."""
from __future__ import annotations

import argparse

from twinbeat.cli_control import add_control_verbs
from twinbeat.cli_drill import add_drill_verbs
from twinbeat.cli_operate import OPERATE_COMMANDS, add_operate_verbs
from twinbeat.cli_options import Parser, add_config, add_json, add_run_dir, add_verb
from twinbeat.cli_owner import add_owner_verb
from twinbeat.cli_remote import add_remote_verb
from twinbeat.cli_upgrade import add_upgrade_verbs
from twinbeat.cli_warnings import add_warnings_verb
from twinbeat.errors import UsageError
from twinbeat.version import __version__

EXIT_CODES = """\
exit codes: 0 done; 1 the answer is no (check found a problem, nobody drives, refused); 2 command line;
3 configuration; 4 key file; 5 device; 6 agent not running or silent; 7 already running; 70 internal error
"""
PASSED_ON = {
    "arbiter": "put the firmware on the arbiter's board, show its state, try it",
    "witness": "the third vote of many pairs in one process, over a broker",
    "demo": "two agents on this machine, one wire, one fault: watch what happens",
    "sim": "run a scenario or a campaign of random faults in virtual time",
    "verify": "try every fault on your own configuration; judge against its outage budget",
    "prove": "search every schedule of faults within bounds for two drivers",
    "replay": "run a flight recording through the core again and explain the decision",
    "tune": "period and timeout for a wished detection time, from recorded arrivals",
    "bench": "measure takeover times and cost",
}
"""Commands with a command line of their own."""

COMMANDS = (
    "run", "check", "status", "watch", "why", "events", "owner", *OPERATE_COMMANDS, "keygen", "version",
    "upgrade-check", "warnings", "drill", "remote", *PASSED_ON,
)


def check_command(words: list[str]) -> None:
    """UsageError for a first word that is no command, naming the nearest one."""
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(words[0], COMMANDS, n=1)
        hint = f'did you mean "{near[0]}"?' if near else f"commands: {', '.join(COMMANDS)}"
        raise UsageError(f'unknown command "{words[0]}"; {hint}')


def build_parser() -> argparse.ArgumentParser:
    """The parser of everything but the commands of PASSED_ON, which read their own options."""
    parser = Parser(
        prog="twinbeat",
        description="Failover for two gateways: one drives the outputs, the other is ready.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"twinbeat {__version__}")
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)
    add_agent_verbs(verbs)
    add_control_verbs(verbs)
    add_warnings_verb(verbs)
    add_owner_verb(verbs)
    add_operate_verbs(verbs)
    add_upgrade_verbs(verbs)
    add_drill_verbs(verbs)
    add_remote_verb(verbs)
    for name, text in PASSED_ON.items():
        verbs.add_parser(name, help=f"{text} (twinbeat {name} --help)", add_help=False)
    return parser


def add_agent_verbs(verbs: argparse._SubParsersAction[Parser]) -> None:
    """run, check, keygen, version."""
    run = add_verb(verbs, "run", "run", "run the agent in the foreground; systemd starts it like this")
    add_config(run)
    add_run_dir(run)
    run.add_argument("--state-dir", metavar="DIR", help="epochs, verdicts, recordings (default /var/lib/twinbeat)")

    check = add_verb(verbs, "check", "check", "check the configuration; print timing, wire load and covered faults")
    add_config(check)
    check.add_argument("--devices", action="store_true", help="also open the ports and outputs of this node")
    check.add_argument("--no-key", action="store_true", help="do not look at the key file, for a machine without it")
    add_json(check)

    keygen = add_verb(verbs, "keygen", "keygen", "write a new key, of a pair or of an operator; every gateway needs it")
    keygen.add_argument("path", metavar="PATH", help="the file to write, mode 0600")
    keygen.add_argument("--force", action="store_true", help="replace an existing key")

    version = add_verb(verbs, "version", "version", "print versions")
    version.add_argument("--config", metavar="FILE", help="with --json: also the digest of this configuration file")
    add_json(version)
