"""Options that several verbs of the command line share."""
from __future__ import annotations

import argparse

CONFIG_PATH = "/etc/twinbeat/twinbeat.toml"


class Parser(argparse.ArgumentParser):
    """Refuses shortened options: a script must not change its meaning when an option is added."""

    def __init__(self, **options: object) -> None:
        options.setdefault("allow_abbrev", False)
        super().__init__(**options)  # type: ignore[arg-type]


def add_verb(verbs: argparse._SubParsersAction[Parser], name: str, module: str, text: str) -> Parser:
    """A subcommand that `twinbeat.commands.<module>` does."""
    parser = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(module=module, verb=name)
    return parser


def add_config(parser: Parser) -> None:
    """Which file, which node."""
    parser.add_argument("--config", metavar="FILE", default=CONFIG_PATH, help=f"default {CONFIG_PATH}")
    parser.add_argument("--node", metavar="NAME", help="this node's name (default: TWINBEAT_NODE, else the host name)")


def add_run_dir(parser: Parser) -> None:
    """Where the control socket is."""
    parser.add_argument("--run-dir", metavar="DIR", help="socket and lock (default TWINBEAT_RUN_DIR, /run/twinbeat)")


def add_control(parser: Parser) -> None:
    """How to find the agent, and in which form to answer."""
    add_config(parser)
    add_run_dir(parser)
    parser.add_argument("--socket", metavar="PATH", help="the agent's control socket, instead of looking for it")
    add_json(parser)


def add_json(parser: Parser) -> None:
    """Output for scripts."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def positive(text: str) -> int:
    """A count from the command line."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 512:
        raise argparse.ArgumentTypeError(f'"{text}" is no count; give a number from 1 to 512')
    return int(text)
