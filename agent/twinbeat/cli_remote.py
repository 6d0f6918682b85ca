"""`twinbeat remote`: its options."""
from __future__ import annotations

import argparse

from twinbeat.cli_options import CONFIG_PATH, Parser, add_json, add_verb

TIMEOUT_S = 10.0
EXAMPLES = """\
examples:
  twinbeat remote gw-a status --config pump-7.toml
  twinbeat remote gw-a handover group=pump node=gw-b --broker mqtts://broker.plant --pair pump-7 \\
      --operator alice --key alice.key --user alice --password-file alice.password
"""


def add_remote_verb(verbs: argparse._SubParsersAction[Parser]) -> None:
    """The verb that asks an agent over a broker."""
    remote = add_verb(verbs, "remote", "remote", "ask or command an agent over a broker, as an operator with a key")
    remote.epilog = EXAMPLES
    remote.formatter_class = argparse.RawDescriptionHelpFormatter
    remote.add_argument("target", metavar="NODE", help="the node whose agent is meant")
    remote.add_argument("command", metavar="VERB", help="status, why, events, handover, out, in ...")
    remote.add_argument("arguments", metavar="KEY=VALUE", nargs="*", help="of the verb, such as group=pump")
    where = remote.add_argument_group("which broker: from a configuration file, or named here")
    where.add_argument("--config", metavar="FILE", help=f"the pair's file (default {CONFIG_PATH}, without --broker)")
    where.add_argument("--link", metavar="NAME", help="the MQTT link of the file (default: one after the other)")
    where.add_argument("--broker", metavar="URL", help="mqtt://HOST[:PORT] or mqtts://HOST[:PORT]")
    where.add_argument("--pair", metavar="NAME", help="the pair, with --broker")
    where.add_argument("--user", metavar="NAME", help="this operator's user on the broker")
    where.add_argument("--password-file", metavar="FILE", help="its password")
    where.add_argument("--ca", metavar="FILE", help="certificate authority, for mqtts")
    who = remote.add_argument_group("who commands")
    who.add_argument("--operator", metavar="NAME", help='as the gateways know them; "pair": by the pair\'s own key')
    who.add_argument("--key", metavar="FILE", help="the operator's key (twinbeat keygen; default: as the file says)")
    remote.add_argument(
        "--timeout", type=seconds, default=TIMEOUT_S, metavar="S", help=f"for each answer (default {TIMEOUT_S:g})"
    )
    add_json(remote)


def seconds(text: str) -> float:
    """A time limit from the command line."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value <= 900:
        raise argparse.ArgumentTypeError(f'"{text}" is no time limit; give seconds from 1 to 900')
    return value
