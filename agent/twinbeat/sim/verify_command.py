"""`twinbeat verify`: every single and double fault, tried on the user's own configuration in virtual time."""
from __future__ import annotations

import argparse
import math
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from twinbeat.cli_dispatch import print_json
from twinbeat.cli_options import CONFIG_PATH, Parser
from twinbeat.cli_parser import EXIT_CODES
from twinbeat.config import load_config
from twinbeat.errors import ConfigError, UsageError
from twinbeat.sim.verify_world import Subject, config_subjects, named_subject
from twinbeat.sim.worlds import WORLDS

if TYPE_CHECKING:
    from twinbeat.check_coverage import FaultRow
    from twinbeat.sim.verify import Progress
    from twinbeat.sim.verify_report import Again, Report

RUNS_DEFAULT = 50
RUNS_MAX = 100_000
JOBS_MAX = 256
SEED_MAX = (1 << 64) - 1
BUDGET_MAX_MS = 3_600_000
LOOK_EVERY = 5


def main(words: list[str]) -> int:
    """Print tables and judgement. 0: passed; 1: over the budget or a promise broken; 2, 3: command line, file."""
    options = parser().parse_args(words)
    targets = targets_of(options)
    reports = [examined(options, subject, rows) for subject, rows in targets]
    if options.html is not None:
        write_page(options, [subject for subject, _ in targets], reports)
    show(options, words, reports)
    return 0 if all(report.ok for report in reports) else 1


def parser() -> Parser:
    """The command line."""
    made = Parser(
        prog="twinbeat verify",
        description="Tries every single and double fault on your configuration, in virtual time and with the core "
                    "that the agents run; says how long nobody drives, whether two ever do, what is covered and what "
                    "is not, and passes or fails against outage_budget_ms. Needs no key file and no device.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("config", metavar="CONFIG", nargs="?", help=f"the configuration file (default {CONFIG_PATH})")
    made.add_argument("--world", metavar="NAME", action="append",
                      help=f"a named world instead of a file: {', '.join(WORLDS)}; may be given again")
    made.add_argument("--node", metavar="NAME", help="the node whose view is taken (default: as in twinbeat check)")
    made.add_argument("--budget-ms", metavar="N", type=budget, help="judge against N ms instead of outage_budget_ms")
    made.add_argument("--runs", metavar="N", type=whole("number of runs", 1, RUNS_MAX), default=RUNS_DEFAULT,
                      help=f"runs of each fault (default {RUNS_DEFAULT}); more find rarer cases")
    made.add_argument("--seed", metavar="S", type=whole("seed", 0, SEED_MAX), default=1,
                      help="the same seed gives the same tables on any machine (default 1)")
    made.add_argument("--jobs", metavar="J", type=whole("number of processes", 1, JOBS_MAX), default=processors(),
                      help="processes side by side (default: one for each processor)")
    form = made.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--markdown", action="store_true", help="print Markdown; docs/faults.md is made like this")
    made.add_argument("--html", metavar="FILE", type=Path, help="also write one page with tables and pictures")
    return made


def processors() -> int:
    """How many processors this process may use."""
    return min(len(os.sched_getaffinity(0)), JOBS_MAX)


def whole(what: str, low: int, high: int) -> Callable[[str], int]:
    """An argparse type: a whole number within limits."""

    def read(text: str) -> int:
        plain = text.isascii() and text.isdigit() and len(text) <= 20
        if not plain or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f'"{text}" is no {what}; give a whole number from {low} to {high}')
        return int(text)

    return read


def budget(text: str) -> float:
    """An argparse type: a budget in ms."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= BUDGET_MAX_MS:
        raise argparse.ArgumentTypeError(f'"{text}" is no budget; give ms, a number above 0, at most {BUDGET_MAX_MS}')
    return value


def targets_of(options: argparse.Namespace) -> list[tuple[Subject, Sequence[FaultRow]]]:
    """What is to be verified, each with the rows of `twinbeat check` where it is a file."""
    if options.world:
        if options.config is not None or options.node is not None:
            raise UsageError("--world takes the place of a configuration file; leave out CONFIG and --node, or --world")
        return [(named_subject(name, options.budget_ms), ()) for name in options.world]
    from twinbeat.check import build_report

    path = Path(options.config if options.config is not None else CONFIG_PATH)
    if not path.exists():
        raise ConfigError(f"{path}: there is no such file; name the configuration: twinbeat verify FILE")
    cfg = load_config(path, options.node, any_node=True)
    rows = build_report(cfg).faults
    return [(subject, rows) for subject in config_subjects(cfg, options.budget_ms)]


def examined(options: argparse.Namespace, subject: Subject, rows: Sequence[FaultRow]) -> Report:
    """All runs of one world, judged."""
    from twinbeat.sim.verify import verify
    from twinbeat.sim.verify_report import build_report

    singles, doubles = verify(subject, seed=options.seed, runs=options.runs, jobs=options.jobs,
                              progress=progress_of(subject.title))
    clear_progress()
    return build_report(subject, singles, doubles, seed=options.seed, runs=options.runs, checked=rows,
                        again=again_of(subject, options.seed))


def again_of(subject: Subject, seed: int) -> Again:
    """Tells a run in the words of a scenario; what that needs is made when the first one is asked for."""
    from twinbeat.sim.verify import cases_of
    from twinbeat.sim.verify_again import again_lines
    from twinbeat.sim.verify_run import Bench

    made: list[Bench] = []

    def again(key: str, run: int) -> list[str]:
        if not made:
            made.append(Bench(subject, seed))
        case = next(case for cases in cases_of(subject) for case in cases if case.key == key)
        return again_lines(made[0], case, run)

    return again


def show(options: argparse.Namespace, words: list[str], reports: Sequence[Report]) -> None:
    """On standard output, in the form that was asked for."""
    if options.json:
        from twinbeat.sim.verify_report import as_data

        print_json({"ok": all(report.ok for report in reports), "reports": [as_data(report) for report in reports]})
    elif options.markdown:
        from twinbeat.sim.verify_markdown import page

        print(page(reports, shlex.join(["twinbeat", "verify", *words])))
    else:
        from twinbeat.sim.verify_text import report_text

        print("\n\n".join(report_text(report) for report in reports))


def write_page(options: argparse.Namespace, subjects: Sequence[Subject], reports: Sequence[Report]) -> None:
    """The HTML page; UsageError where it cannot be written."""
    from twinbeat.sim.verify_html import Chapter, page
    from twinbeat.sim.verify_run import Bench

    benches = [Bench(subject, options.seed) for subject in subjects]
    text = page([Chapter(report, bench) for report, bench in zip(reports, benches, strict=True)])
    try:
        options.html.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--html {options.html}: cannot be written: {error.strerror}; name a file in a folder that "
                         "exists and that you may write to") from None


def progress_of(title: str) -> Progress:
    """Tells how far it is, on a terminal only."""
    if not sys.stderr.isatty():
        return lambda done, total: None

    def tell(done: int, total: int) -> None:
        if done % LOOK_EVERY == 0 or done == total:
            print(f"\r{title}: {done} of {total} faults ", end="", file=sys.stderr, flush=True)

    return tell


def clear_progress() -> None:
    """Take the progress line away again."""
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
