"""The command line of `twinbeat arbiter`."""
from __future__ import annotations

import argparse
import importlib

from twinbeat.cli_options import CONFIG_PATH, Parser

EPILOG = """\
Without --port the ports are those of [third_voter] in the configuration. --port FIRST --port SECOND names the ports to
both sides of a board on the bench, that of the file's first node first.

exit codes: 0 all is well; 1 something is wrong with the arbiter, or a test failed; 2 command line; 3 configuration;
5 no arbiter answers on the port, or the board cannot be written
"""
GATED_MOST = 2
SIDES = 2
MODULES = {"flash": "flash_command", "status": "status_command", "test": "trial_command"}


def parser() -> argparse.ArgumentParser:
    """The three verbs and their options."""
    made = Parser(
        prog="twinbeat arbiter",
        description="Puts the arbiter's firmware on its board, shows what the arbiter says, and tries it out.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = made.add_subparsers(metavar="VERB", required=True, dest="verb")
    flash = verbs.add_parser("flash", help="put the firmware on a board and verify it")
    add_lines(flash)
    add_flash(flash)
    status = verbs.add_parser("status", help="what the arbiter says: who holds what, contacts, counters")
    add_lines(status)
    status.add_argument("--run-dir", metavar="DIR", help="directory of the running agent's socket")
    test = verbs.add_parser("test", help="try identity, wiring, times and exclusion; closes no contact unless asked to")
    add_lines(test)
    add_test(test)
    for verb in (flash, status, test):
        verb.add_argument("--json", action="store_true", help="print JSON")
    return made


def add_lines(verb: argparse.ArgumentParser) -> None:
    """Which arbiter, and by which port."""
    verb.add_argument("--config", metavar="FILE",
                      help=f"configuration (default {CONFIG_PATH} where neither --port nor --pair is given)")
    verb.add_argument("--node", metavar="NAME", help="which node of the file this machine is")
    verb.add_argument("--port", metavar="PATH", action="append", default=[], help="serial port to the arbiter")
    verb.add_argument("--side", type=int, choices=range(SIDES), help="which side a single --port is on (default 0)")
    verb.add_argument("--baud", type=int, metavar="N", help="baud rate (default as configured, else 921600)")
    verb.add_argument("--pair", metavar="NAME", help="name of the pair, where no configuration is given")


def add_flash(verb: argparse.ArgumentParser) -> None:
    """What is put where."""
    verb.add_argument("--board", choices=("rp2", "microbit"), required=True, help="the kind of board")
    verb.add_argument("--device", metavar="PATH", help="the board's own USB port (default: the only one that is there)")
    verb.add_argument("--contacts", type=int, choices=range(GATED_MOST + 1), metavar="N",
                      help="rp2: the first N groups have relays on this board, 0 to 2 (default 0)")
    verb.add_argument("--no-read-back", action="store_true", help="the relays have no contacts that sense them")
    verb.add_argument("--interpreter", metavar="HEX",
                      help="microbit: MicroPython's .hex file, to which the firmware is added")
    verb.add_argument("--out", metavar="FILE", help="microbit: the file to write (default twinbeat-arbiter.hex)")
    verb.add_argument("--no-verify", action="store_true", help="do not ask the board afterwards what it runs")
    verb.add_argument("--dry-run", action="store_true", help="only list the files and their sizes")


def add_test(verb: argparse.ArgumentParser) -> None:
    """How far the test may go."""
    verb.add_argument("--close", action="store_true", help="also close and open the contacts: THE OUTPUTS SWITCH")
    verb.add_argument("--yes", action="store_true", help="do not ask for the pair's name before contacts are closed")
    verb.add_argument("--reset", action="store_true", help="wait for the board's reset button; check that it abstains")
    verb.add_argument("--group", type=int, metavar="N", help="try only this group, counted from 1 as in the file")


def main(words: list[str]) -> int:
    """Do what the command line says."""
    arguments = parser().parse_args(words)
    module = importlib.import_module(f"twinbeat.arbiter.{MODULES[arguments.verb]}")
    return int(module.main(arguments))
