"""The verbs that show what a running agent knows: their options."""
from __future__ import annotations

import argparse

from twinbeat.cli_options import Parser, add_control, add_verb, positive


def add_control_verbs(verbs: argparse._SubParsersAction[Parser]) -> None:
    """The verbs that show what a running agent knows."""
    views = add_view_verbs(verbs)
    for verb in views:
        add_control(verb)


def add_view_verbs(verbs: argparse._SubParsersAction[Parser]) -> list[Parser]:
    """The verbs that show: status, watch, why, events."""
    status = add_verb(verbs, "status", "control", "what the agent sees now; exit code 1 where nobody drives a group")
    status.add_argument("--groups", action="store_true", help="each shard on a line of its own, and every fault")
    watch = add_verb(verbs, "watch", "watch", "the same and more, live, until q is pressed")
    watch.add_argument("--every", type=every_s, default=0.25, metavar="S", help="seconds between looks (default 0.25)")
    why = add_verb(verbs, "why", "why", "the last role changes and their causes, with both nodes' halves")
    why.add_argument("group", metavar="GROUP", nargs="?", help="only this group, or this family of shards")
    why.add_argument("--count", type=positive, default=3, metavar="N", help="how many (default 3)")
    why.add_argument("--file", metavar="FILE", nargs="+", help="both nodes' verdict files, instead of asking an agent")
    events = add_verb(verbs, "events", "events", "what the agent reported lately")
    events.add_argument("--count", type=positive, metavar="N", help="how many (default 20, with a filter all)")
    events.add_argument("--follow", action="store_true", help="go on printing until interrupted")
    events.add_argument("--since", metavar="WHEN", help="only newer ones: 90s, 10min, 2h, 1d, 08:00, 2026-11-23T08:00")
    events.add_argument("--level", choices=("debug", "info", "warning", "error"), help="this one and graver ones")
    events.add_argument("--code", action="append", metavar="CODE", help="only this code, such as STATE; repeatable")
    events.add_argument("--group", metavar="GROUP", help="only what is about this group, or this family of shards")
    for verb in (status, watch, why, events):
        verb.add_argument("--color", choices=("auto", "always", "never"), default="auto",
                          help="colours (default auto: on a terminal, unless NO_COLOR is set)")
    return [status, watch, why, events]


def every_s(text: str) -> float:
    """A period of looks from the command line."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 60:
        raise argparse.ArgumentTypeError(f'"{text}" is no period; give seconds from 0.1 to 60')
    return seconds
