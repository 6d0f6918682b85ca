"""`twinbeat why`: the last role changes with both nodes' halves, from the agent or from verdict files."""
from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from twinbeat.cli_dispatch import print_json
from twinbeat.commands.control import find_socket
from twinbeat.control_client import ControlClient
from twinbeat.errors import ConfigError
from twinbeat.group_names import belongs
from twinbeat.screen_paint import columns_for, paint_for, utc_clock
from twinbeat.screen_why import NOTHING, stories_of, why_text

RECORDS_MOST = 512
RECORDS_OF_A_STORY = 64
RECORDS_OF_A_GROUP = 4


def main(arguments: argparse.Namespace) -> int:
    """Ask, or read, and print."""
    answer = of_files(arguments) if arguments.file else of_agent(arguments)
    found = stories_of(answer)[-arguments.count:]
    if arguments.json:
        print_json({**answer, "stories": [story.as_data() for story in found]})
    elif arguments.file and not found:
        print(f"No role change{f' of {arguments.group}' if arguments.group else ''} is in these files.")
    elif not found:
        print(NOTHING)
    else:
        paint = paint_for(arguments.color, sys.stdout, os.environ)
        print(why_text(answer, arguments.count, utc_clock(), paint=paint, width=columns_for(sys.stdout)))
    return 0


def of_agent(arguments: argparse.Namespace) -> dict[str, Any]:
    """The agent's answer, with enough records for the stories that are asked for."""
    each = RECORDS_OF_A_GROUP if arguments.group else RECORDS_OF_A_STORY
    with ControlClient(find_socket(arguments)) as client:
        return client.ask("why", group=arguments.group, count=min(RECORDS_MOST, each * arguments.count))


def of_files(arguments: argparse.Namespace) -> dict[str, Any]:
    """Both nodes' records from their files. Raises ConfigError for what is no file of verdicts."""
    records = [record for path in arguments.file for record in read_file(Path(path))]
    if arguments.group:
        records = [record for record in records if belongs(record.get("group"), arguments.group)]
    unique = {json.dumps(record, sort_keys=True): record for record in records}
    return {"verdicts": list(unique.values())}


def read_file(path: Path) -> list[dict[str, Any]]:
    """The records of a file; a line that a power cut left half is passed over."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name a file PAIR-NODE.verdicts.jsonl of an agent") from None
    records = []
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and isinstance(record.get("sentence"), str):
            records.append(record)
    if lines and not records:
        raise ConfigError(f"{path}: no line of it is a verdict; name a file PAIR-NODE.verdicts.jsonl of an agent")
    return records
