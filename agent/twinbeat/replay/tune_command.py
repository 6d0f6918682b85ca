"""`twinbeat tune FILE...`: which period meets a wished detection time and mistake rate, from recorded arrivals."""
from __future__ import annotations

import argparse
import itertools
import math
import re
from dataclasses import dataclass, replace

from twinbeat.cli_dispatch import print_json
from twinbeat.cli_options import Parser
from twinbeat.errors import RefusedError, UsageError
from twinbeat.replay.arrivals import Collected, Collector, Direction
from twinbeat.replay.load import Naming, load, naming, read_config, settings_of
from twinbeat.replay.measure import Measured, measure, merged, touches
from twinbeat.replay.tune import Link, Tuner, Wish
from twinbeat.replay.tune_text import Advice, as_data, as_text
from twinbeat_core.settings import Settings
from twinbeat_rt.recording import RecordingError

FRAMES_LEAST = 100
UNITS_MS = {
    "second": 1e3, "minute": 6e4, "hour": 3.6e6, "day": 8.64e7, "week": 6.048e8, "month": 2.592e9, "year": 3.15576e10,
}
DEFAULT_MISTAKES = "1/week"
EPILOG = """\
exit codes: 0 the wish can be met on every link; 1 on one of them it cannot, the best is printed; 2 command line, or
files that cannot be used; 3 configuration

Without --detect-ms the wish is the time that the present settings take.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = Parser(
        prog="twinbeat tune",
        description="Computes, from the arrival times in flight recordings, the heartbeat period and promise lengths "
        "that detect a silent node in a wished time with at most so many mistakes. Give recordings of both nodes.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("files", nargs="+", metavar="FILE", help="a recording (*.tbr) of one of the pair's nodes")
    made.add_argument("--detect-ms", type=milliseconds, metavar="D", help="wished time from a death to its detection")
    rate = made.add_mutually_exclusive_group()
    rate.add_argument("--mistakes", type=mistake_rate, metavar="N/UNIT",
                      help=f"at most so many lapses of a healthy driver: {DEFAULT_MISTAKES} (default), 2/day, 1/year")
    rate.add_argument("--mistake-exp", type=exponent, metavar="n", help="or at most 10^-n lapses a heartbeat, 2 to 12")
    made.add_argument("--link", type=link_number, metavar="N", help="only this link (default: every link)")
    made.add_argument("--config", metavar="FILE", help="the configuration, for the names of nodes and links")
    made.add_argument("--json", action="store_true", help="print JSON")
    return made


def main(words: list[str]) -> int:
    """Print the advice. 0: the wish can be met; 1: it cannot."""
    arguments = parser().parse_args(words)
    pair = read_pair(arguments.files)
    named = naming(read_config(arguments.config), pair.settings)
    advices = advise(pair, arguments, named)
    if arguments.json:
        print_json(as_data(pair.files, pair.settings, named, advices))
    else:
        print("\n".join(as_text(pair.files, pair.settings, named, advices)))
    return 0 if all(advice.answer.advised is not None for advice in advices) else 1


@dataclass(frozen=True)
class Pair:
    """What the files hold together; `settings` are those of the first, seen from any node."""

    files: list[str]
    settings: Settings
    collected: Collected


def read_pair(files: list[str]) -> Pair:
    """All recordings; RecordingError where one cannot be used or they are not of one pair and configuration."""
    collector = Collector()
    first: Settings | None = None
    for path in files:
        recording = load(path)
        try:
            settings = settings_of(recording)
            collector.take(recording, settings.self_node)
        except RecordingError as error:
            raise RecordingError(f"{path}: {error}") from None
        settings = replace(settings, self_node=0)
        first = first or settings
        if settings.pair_id != first.pair_id:
            raise RecordingError(f"{path}: of pair {settings.pair_id:04x}, {files[0]} is of pair {first.pair_id:04x}: "
                                 "tune one pair at a time")
        # What the gate needs may differ between the machines of a pair; the links may not.
        if (settings.links, settings.node_count) != (first.links, first.node_count):
            raise RecordingError(f"{path}: recorded with other links or periods (configuration "
                                 f"{settings.config_digest:04x}) than {files[0]} ({first.config_digest:04x}): give "
                                 "recordings of one configuration")
    assert first is not None
    return Pair(files, first, collector.found)


def advise(pair: Pair, arguments: argparse.Namespace, named: Naming) -> list[Advice]:
    """Advice for each link with enough frames; RefusedError where there is none."""
    links = range(len(pair.settings.links))
    if arguments.link is not None:
        if arguments.link not in links:
            raise UsageError(f"--link {arguments.link}: these recordings have links 0 to {links[-1]}")
        links = range(arguments.link, arguments.link + 1)
    found: list[Advice] = []
    few: list[str] = []
    for number, nodes in itertools.product(links, itertools.combinations(range(pair.settings.node_count), 2)):
        link = measured_link(pair, number, nodes)
        frames = max((way.got for way in link.ways), default=0)
        if frames < FRAMES_LEAST:
            few.append(f"link {named.names.link_name(number)}: {frames} frames are too few to say anything")
            continue
        tuner = Tuner(pair.settings, link)
        wish = wish_of(arguments, tuner)
        found.append(Advice(link, tuner, wish, tuner.answer(wish), pair.collected))
    if not found:
        raise RefusedError(f"{'; '.join(few)}: {FRAMES_LEAST} in one direction are needed; save a longer recording "
                           'with the control socket\'s verb "record", or give more files', exit_code=2)
    return found


def measured_link(pair: Pair, number: int, nodes: tuple[int, int]) -> Link:
    """One link between two nodes out of all files, each direction that was recorded."""
    collected = pair.collected
    ways: list[Measured] = []
    trips: list[float] = []
    left_out = 0
    link = pair.settings.links[number]
    # A slow link may miss some beats in a row without any being more than lost.
    outage_ns = int(max(pair.settings.compile().grant_max_ms, (link.missed + 1) * link.period_ms) * 1e6)
    for source, target in (nodes, nodes[::-1]):
        lives = collected.arrivals.get(Direction(source, target, number), {})
        late = collected.late_ns.get(target, set())
        way = measure(lives.values(), late, outage_ns)
        if not way.got:
            continue
        ways.append(way)
        spoiled = merged([*late, *way.outages])
        for (peer, _life, stamp), trip_ms in collected.trips_ms.get((target, number), {}).items():
            if peer != source:
                continue
            if trip_ms * 1e6 > outage_ns or touches(spoiled, stamp * 1000, int(stamp * 1000 + trip_ms * 1e6)):
                left_out += 1
            else:
                trips.append(trip_ms)
    return Link(number, nodes, tuple(ways), tuple(trips), left_out)


def wish_of(arguments: argparse.Namespace, tuner: Tuner) -> Wish:
    """The wish of the command line; the present detection time where none was given."""
    detect_ms = arguments.detect_ms if arguments.detect_ms is not None else tuner.now().detect_ms
    if arguments.mistake_exp is not None:
        return Wish(detect_ms, None, arguments.mistake_exp)
    return Wish(detect_ms, arguments.mistakes if arguments.mistakes is not None else mistake_rate(DEFAULT_MISTAKES))


# ---------------------------------------------------------------- words of the command line
def milliseconds(text: str) -> float:
    """A detection time."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1 <= value <= 600_000:
        raise argparse.ArgumentTypeError(f'"{text}" is no time; give milliseconds from 1 to 600000')
    return value


def mistake_rate(text: str) -> float:
    """The mean time between mistakes in ms, from "1/week"."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)/(\d*)\s*([a-z]+?)s?", text.strip().lower(), re.ASCII)
    unit = UNITS_MS.get(match[3]) if match else None
    if match is None or unit is None or float(match[1]) <= 0 or (match[2] and int(match[2]) == 0):
        units = ", ".join(UNITS_MS)
        raise argparse.ArgumentTypeError(f'"{text}" is no rate; write a count and a unit, such as 1/week ({units})')
    return unit * int(match[2] or 1) / float(match[1])


def exponent(text: str) -> int:
    """n of 10^-n."""
    if not text.isascii() or not text.isdigit() or not 2 <= int(text) <= 12:
        raise argparse.ArgumentTypeError(f'"{text}" is no exponent; give a whole number from 2 to 12: n means 10^-n')
    return int(text)


def link_number(text: str) -> int:
    """A link's number."""
    if not text.isascii() or not text.isdigit() or len(text) > 3:
        raise argparse.ArgumentTypeError(f'"{text}" is no number of a link; they are numbered from 0 on')
    return int(text)
