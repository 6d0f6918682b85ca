"""The verb that rehearses a failover: its options."""
from __future__ import annotations

import argparse

from twinbeat.cli_options import Parser, add_control, add_verb

DWELL_S = 2.0
RETURN_S = 60.0
EXAMPLES = """\
examples, on the gateway that drives:
  twinbeat drill --dry                                        look only
  twinbeat drill --live pump --peer-socket /tmp/gw-b.sock     there and back; the socket forwarded with ssh -L
  twinbeat drill --live --remote --operator alice --key alice.key --report drill.md
  twinbeat drill --live --fault kill --yes --report drill.md  the agent's process is really killed
"""


def add_drill_verbs(verbs: argparse._SubParsersAction[Parser]) -> None:
    """drill."""
    drill = add_verb(verbs, "drill", "drill", "rehearse a failover, put the roles back, write the report")
    drill.epilog = EXAMPLES
    drill.formatter_class = argparse.RawDescriptionHelpFormatter
    kind = drill.add_mutually_exclusive_group(required=True)
    kind.add_argument("--dry", action="store_true", help="look at all conditions and touch nothing")
    kind.add_argument("--live", action="store_true", help="do it")
    drill.add_argument("group", metavar="GROUP", nargs="?", help="the group (default: all that this node drives)")
    drill.add_argument("--fault", choices=("handover", "stop", "kill"), default="handover",
                       help="planned handover (default), planned stop of this agent, or SIGKILL to it (needs --yes)")
    drill.add_argument("--yes", action="store_true", help="with --fault kill: yes, kill it")
    drill.add_argument("--to", metavar="NODE", help="who shall take over (default: the best candidate)")
    drill.add_argument("--dwell", type=seconds, default=DWELL_S, metavar="S",
                       help=f"how long the other node drives before the way back (default {DWELL_S:g})")
    drill.add_argument("--wait", type=seconds, default=RETURN_S, metavar="S",
                       help=f"how long to wait for an agent or a role to come back (default {RETURN_S:g})")
    drill.add_argument("--report", metavar="FILE", help="write the report as Markdown; as JSON beside it")
    back = drill.add_argument_group("the way to the other agent, which hands back; without one somebody does it there")
    way = back.add_mutually_exclusive_group()
    way.add_argument("--peer-socket", metavar="PATH", help="its control socket, forwarded with ssh -L")
    way.add_argument("--remote", action="store_true", help="over a broker of the file, signed as an operator")
    back.add_argument("--operator", metavar="NAME", help="with --remote: as the gateways know them")
    back.add_argument("--key", metavar="FILE", help="with --remote: the operator's key")
    add_control(drill)


def seconds(text: str) -> float:
    """A time from the command line."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 86400:
        raise argparse.ArgumentTypeError(f'"{text}" is no time; give seconds from 0 to 86400')
    return value
