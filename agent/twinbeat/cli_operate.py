"""The verbs by which an operator moves roles and takes a node out of service: their options."""
from __future__ import annotations

import argparse

from twinbeat.cli_options import Parser, add_control, add_verb, positive
from twinbeat.errors import UsageError

MODULE = "operate"
DRAIN_WAIT_S = 30.0
OPERATE_COMMANDS = ("handover", "failback", "drain", "maintenance", "out", "in")


def add_operate_verbs(verbs: argparse._SubParsersAction[Parser]) -> None:
    """handover, failback, drain, maintenance, out, in."""
    handover = add_verb(verbs, "handover", MODULE, "hand groups that this node drives over to another node now")
    handover.add_argument("group", metavar="GROUP", nargs="?", help="a group, a shard, or a family of shards")
    handover.add_argument("--to", metavar="NODE", help="the node that shall drive (default: the best that is ready)")
    handover.add_argument("--all", action="store_true", help="everything that is driven here")
    handover.add_argument("--count", type=positive, metavar="N", help="only so many of a family, or of all")
    handover.add_argument("--dry-run", action="store_true", help="only tell whether it would succeed, and if not why")
    failback = add_verb(verbs, "failback", MODULE, "send groups home, one by one: each to the best node that is ready")
    failback.add_argument("group", metavar="GROUP", nargs="?", help="a group or a family (default: all that may)")
    drain = add_verb(verbs, "drain", MODULE, "hand over everything and wait until this node drives nothing")
    drain.add_argument("--wait", type=seconds, default=DRAIN_WAIT_S, metavar="TIME", help="at most (default 30s)")
    maintenance = add_verb(verbs, "maintenance", MODULE, "take this node out of service for a time; it ends by itself")
    maintenance.add_argument("action", nargs="?", choices=("on", "off", "show"), default="show")
    maintenance.add_argument("--for", dest="for_s", type=seconds, metavar="TIME", help="90min, 2h, 1d; 1min to 7d")
    maintenance.add_argument("--reason", metavar="TEXT", help="for status and events")
    maintenance.add_argument("--force", action="store_true", help="even where nobody would drive a group then")
    added = [handover, failback, drain, maintenance]
    for name, text in (
        ("out", "take a group out of service on this node; it hands over first"),
        ("in", "put a group back into service on this node"),
    ):
        verb = add_verb(verbs, name, MODULE, text)
        verb.add_argument("group", metavar="GROUP", nargs="?", help="a group or a family (default: all of them)")
        added.append(verb)
    for verb in added:
        add_control(verb)


def seconds(text: str) -> float:
    """A time from the command line."""
    from twinbeat.maintenance import span_s

    try:
        return span_s(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
