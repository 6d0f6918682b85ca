"""`twinbeat events`: what the agent reported lately, filtered, and followed."""
from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from twinbeat.commands.control import find_socket
from twinbeat.control_client import ControlClient
from twinbeat.screen import entries
from twinbeat.screen_events import Wanted, event_line, since_of
from twinbeat.screen_paint import paint_for, utc_clock

FOLLOW_S = 0.5
COUNT_MOST = 512
"""As many as an agent keeps."""


def main(arguments: argparse.Namespace) -> int:
    """Ask and print; with --follow until interrupted. JSON is one object a line here."""
    since = since_of(arguments.since, utc_clock()) if arguments.since else None
    wanted = Wanted(since, arguments.level, arguments.code, arguments.group)
    count = arguments.count or (20 if wanted.all else COUNT_MOST)
    show = printer(arguments)
    with ControlClient(find_socket(arguments)) as client:
        if arguments.group:
            client.ask("why", group=arguments.group, count=1)      # refuses a group that there is not
        found = entries(client.ask("events", count=count if wanted.all else COUNT_MOST), "events")
        for event in [event for event in found if wanted(event)][-count:]:
            show(event)
        after = last_number(found, 0)
        while arguments.follow:
            time.sleep(FOLLOW_S)
            found = entries(client.ask("events", count=COUNT_MOST, after=after), "events")
            for event in found:
                if wanted(event):
                    show(event)
            after = last_number(found, after)
    return 0


def printer(arguments: argparse.Namespace) -> Callable[[dict[str, Any]], None]:
    """How an event is printed: at once, each on a line. Followed ones are new, so their age says nothing."""
    if arguments.json:
        return lambda event: print(json.dumps(event, ensure_ascii=False), flush=True)
    paint = paint_for(arguments.color, sys.stdout, os.environ)
    now = None if arguments.follow else utc_clock()
    return lambda event: print(event_line(event, now, paint), flush=True)


def last_number(found: list[dict[str, Any]], before: int) -> int:
    """The sequence number of the newest event, `before` when there is none."""
    return max((event["seq"] for event in found if isinstance(event.get("seq"), int)), default=before)
