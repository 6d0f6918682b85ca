"""`twinbeat replay FILE...`: recordings through the core again, and why the decision fell."""
from __future__ import annotations

import argparse
import math
import sys
from typing import Any

from twinbeat.cli_dispatch import print_json
from twinbeat.cli_options import Parser
from twinbeat.config import Config
from twinbeat.errors import UsageError
from twinbeat.replay.compare import compare
from twinbeat.replay.load import load, naming, read_config, settings_of
from twinbeat.replay.present import Told, as_data, as_text
from twinbeat.replay.story import Story, Window, read_story, window
from twinbeat_core.errors import TwinbeatError
from twinbeat_rt.recording import RecordingError, replay

AROUND_MOST_S = 86_400.0
EPILOG = """\
exit codes: 0 every recording replays to the same effects and states; 1 one does not; 2 command line, or a file that
is no whole recording of this version; 3 configuration
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = Parser(
        prog="twinbeat replay",
        description="Runs flight recordings through the core again, compares bit for bit, and explains role changes.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("files", nargs="+", metavar="FILE", help="a recording (*.tbr)")
    made.add_argument("--config", metavar="FILE", help="the configuration, for the names of nodes, links and groups")
    made.add_argument("--change", type=change_number, metavar="N", help="explain role change N (default: the last)")
    made.add_argument("--around", type=seconds, metavar="SECONDS",
                      help="how much to tell before and after it (default: 1, or three promises)")
    made.add_argument("--all", action="store_true", help="every event with its effects, of the whole recording unless "
                      "--around or --change is given")
    made.add_argument("--json", action="store_true", help="print JSON")
    return made


def main(words: list[str]) -> int:
    """Replay every file; the exit code is the highest of theirs."""
    arguments = parser().parse_args(words)
    config = read_config(arguments.config)
    answers: list[dict[str, Any]] = []
    code = 0
    for number, path in enumerate(arguments.files):
        try:
            told = tell(path, arguments, config)
        except TwinbeatError as error:
            code = max(code, error.exit_code)
            answers.append({"file": path, "exit_code": error.exit_code, "error": str(error)})
            print(f"twinbeat: {error}", file=sys.stderr)
            continue
        code = max(code, told.exit_code)
        if arguments.json:
            answers.append(as_data(told))
        else:
            print("\n".join([*([""] if number else []), *as_text(told)]))
    if arguments.json:
        print_json({"exit_code": code, "recordings": answers})
    return code


def tell(path: str, arguments: argparse.Namespace, config: Config | None) -> Told:
    """One recording: read, replayed, explained. TwinbeatError where it cannot be."""
    recording = load(path)
    try:
        settings = settings_of(recording)
        named = naming(config, settings)
        result = replay(recording)
        story = read_story(recording, settings, named.names)
    except RecordingError as error:
        raise RecordingError(f"{path}: {error}") from None
    verdict = compare(recording, result, named.names, story.begins_ns)
    chosen = choose(path, story, arguments.change)
    around_ms = None if arguments.around is None else arguments.around * 1000
    part = window(story, settings, None if chosen < 0 else chosen, around_ms)
    if arguments.all and arguments.around is None and arguments.change is None:
        part = Window(part.zero_ns, story.begins_ns, story.ends_ns)
    return Told(path, recording, settings, named, story, verdict, part, chosen, arguments.all)


def choose(path: str, story: Story, number: int | None) -> int:
    """Index of the role change to explain, -1 where there is none. UsageError for a number that is not there."""
    count = len(story.episodes)
    if number is None:
        return count - 1
    if number > count:
        have = "no role changes" if not count else f"{count} role change{'' if count == 1 else 's'}"
        raise UsageError(f"{path}: --change {number}: this recording has {have}; leave --change out to see them")
    return number - 1


def seconds(text: str) -> float:
    """A length from the command line."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= AROUND_MOST_S:
        raise argparse.ArgumentTypeError(f'"{text}" is no length; give seconds above 0, such as 0.5')
    return value


def change_number(text: str) -> int:
    """The number of a role change from the command line."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f'"{text}" is no number of a role change; they are numbered from 1 on')
    return int(text)
