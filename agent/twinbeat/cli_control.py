"""The verbs that ask a running agent: their options."""
from __future__ import annotations

import argparse

from twinbeat.cli_options import Parser, add_control, add_verb, positive


def add_control_verbs(verbs: argparse._SubParsersAction[Parser]) -> None:
    """The verbs that ask a running agent."""
    status = add_verb(verbs, "status", "control", "what the agent sees now; exit code 1 where nobody drives a group")
    why = add_verb(verbs, "why", "control", "the last role changes and their causes")
    why.add_argument("group", metavar="GROUP", nargs="?", help="only this group")
    why.add_argument("--count", type=positive, default=3, metavar="N", help="how many (default 3)")
    handover = add_verb(verbs, "handover", "control", "hand a group over to the other node now")
    handover.add_argument("group", metavar="GROUP", nargs="?", help="the group; not needed where there is one")
    handover.add_argument("--to", metavar="NODE", help="the node that shall drive (default: the best candidate)")
    for name, text in (
        ("out", "take a group out of service on this node; it hands over first"),
        ("in", "put a group back into service on this node"),
    ):
        verb = add_verb(verbs, name, "control", text)
        verb.add_argument("group", metavar="GROUP", nargs="?", help="the group (default: all of them)")
        add_control(verb)
    events = add_verb(verbs, "events", "control", "what the agent reported lately")
    events.add_argument("--count", type=positive, default=20, metavar="N", help="how many (default 20)")
    events.add_argument("--follow", action="store_true", help="go on printing until interrupted")
    for verb in (status, why, handover, events):
        add_control(verb)
