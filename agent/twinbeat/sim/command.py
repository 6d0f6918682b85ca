"""`twinbeat sim`: scenario files in virtual time, or a campaign of random faults."""
from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from twinbeat.cli_dispatch import print_json
from twinbeat.cli_options import Parser
from twinbeat.errors import UsageError
from twinbeat.sim.scenario import parse
from twinbeat.sim.scenario_actions import statement_list
from twinbeat.sim.scenario_play import Played, Player, difference, rewritten
from twinbeat.sim.scenario_words import ScenarioError
from twinbeat.sim.scenario_world import FIELDS, SEED_MOST
from twinbeat.sim.worlds import WORLDS

EXIT_OK, EXIT_DIFFERS = 0, 1
BIGGEST_FILE = 8 << 20
EPILOG = """\
A scenario file says what is done to a world and holds the expected output. Without an expectation the run is told,
and the exit code says whether anything was broken that is promised. A file, line by line ("#" begins a comment):

  title: ...                 may be left out
  pins: which rule or promise would be seen to break
  world NAME FIELD=VALUE ... names: {worlds}
                             fields: {fields}
  at TIME STATEMENT          +TIME: after the statement before; without "at TIME": at the same time as it
  run TIME                   or "run bound": after "heal all" for as long as settling may take
  expect:                    below it the expected output; "expect summary:" keeps its closing lines only
  ---                        another scenario in the same file

statements (NODE, LINK, GROUP: a name, or all; TIME: 20ms, 1.5s, 250us):
{statements}

exit codes: 0 as expected; 1 not as expected, or a campaign found a violation; 2 command line or scenario
"""


def main(words: list[str]) -> int:
    """The command line of `twinbeat sim`."""
    if any(word == "--campaign" or word.startswith("--campaign=") for word in words):
        from twinbeat.sim.campaign import main_campaign

        return int(main_campaign(words))
    given = build_parser().parse_args(words)
    if not given.files:
        raise UsageError("nothing to run; give scenario files, or --campaign N (twinbeat sim --help)")
    if given.rewrite and given.seed is not None:
        raise UsageError("--rewrite writes what comes with the file's own seed; leave --seed out, or change the file")
    texts = {path: read_text(path) for path in given.files}
    scenarios = {path: parse(text, path) for path, text in texts.items()}
    if given.plot is not None and sum(map(len, scenarios.values())) != 1:
        raise UsageError("--plot draws one scenario; give one file with one scenario in it")
    player = Player()
    played = {path: [player.play(one, given.seed) for one in listed] for path, listed in scenarios.items()}
    if given.plot is not None:
        draw(next(iter(played.values()))[0], given.plot)
    if given.rewrite:
        return rewrite(texts, played)
    if given.json:
        print_json([as_json(path, one, given.seed) for path, listed in played.items() for one in listed])
    else:
        for path, listed in played.items():
            tell_file(path, listed, given.seed)
    return EXIT_OK if all(passes(one, given.seed) for listed in played.values() for one in listed) else EXIT_DIFFERS


def build_parser() -> Parser:
    """The options of a run of scenario files."""
    parser = Parser(
        prog="twinbeat sim",
        usage="twinbeat sim FILE... [--rewrite] [--seed N] [--plot FILE] [--json]\n"
              "       twinbeat sim --campaign N [--jobs J] [--seed S] [--world W] ... (--campaign 1 --help)",
        description="Run the core in virtual time: scenarios from files, or a campaign of random faults.",
        epilog=epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="*", metavar="FILE", help="scenario files")
    parser.add_argument("--rewrite", action="store_true", help="write what came into the files as what is expected")
    parser.add_argument("--seed", type=seed, metavar="N", help="another seed than the file's; nothing is compared")
    parser.add_argument("--plot", metavar="FILE", help="draw the run's timeline, as .svg or .png")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def epilog() -> str:
    """The language in short, made from what the reader understands."""
    return EPILOG.format(
        worlds=", ".join(WORLDS), fields=", ".join((*FIELDS, "seed")),
        statements="\n".join(f"  {statement}" for statement in statement_list()))


def seed(text: str) -> int:
    """A seed from the command line."""
    if not text.isascii() or not text.isdigit() or int(text) > SEED_MOST:
        raise argparse.ArgumentTypeError(f'"{text}" is no seed; give a whole number from 0 to {SEED_MOST}')
    return int(text)


def read_text(path: str) -> str:
    """A scenario file; ScenarioError says why it cannot be read."""
    try:
        with open(path, "rb") as file:
            data = file.read(BIGGEST_FILE + 1)
        if len(data) > BIGGEST_FILE:
            raise ScenarioError(f"{path}: larger than {BIGGEST_FILE >> 20} MiB; this is no scenario")
        return data.decode("utf-8")
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read: {error.strerror}; check the name")
    except UnicodeDecodeError as error:
        line = data[:error.start].count(b"\n") + 1
        raise ScenarioError(f"{path}:{line}: not UTF-8 text; a scenario is a text file")


def draw(played: Played, path: str) -> None:
    """The timeline as a picture."""
    from twinbeat.sim import plot

    plot.draw(played.engine.spec, played.result, played.scenario.actions, path)


def rewrite(texts: dict[str, str], played: dict[str, list[Played]]) -> int:
    """Write the files anew where something came that was not expected; 1 when they now hold a broken promise."""
    broken = False
    for path, listed in played.items():
        text = rewritten(texts[path], listed)
        if text != texts[path]:
            replace_file(Path(path), text)
        print(f"{path}: {'rewritten' if text != texts[path] else 'unchanged'}")
        for one in listed:
            if one.result.violations:
                broken = True
                print(f"{path}:{one.scenario.line}: a promise is broken here: {one.scenario.name}")
    return EXIT_DIFFERS if broken else EXIT_OK


def replace_file(path: Path, text: str) -> None:
    """The whole file or nothing: an interrupted run must not leave half a scenario."""
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ScenarioError(f"{path}: cannot be written: {error.strerror}; check the folder's permissions")


# ---------------------------------------------------------------- telling
def passes(played: Played, other_seed: int | None) -> bool:
    """As expected; with another seed than the file's only what is promised counts."""
    return played.as_expected if other_seed is None else not played.result.violations


def tell_file(path: str, listed: list[Played], other_seed: int | None) -> None:
    """One file: a line when all is as expected, the difference or the story otherwise."""
    good = 0
    for one in listed:
        if one.scenario.expected is None or other_seed is not None:
            print(f"{path}:{one.scenario.line}: {one.scenario.name}")
            print("\n".join(one.lines))
        elif one.as_expected:
            good += 1
        else:
            print(f"{path}:{one.scenario.line}: not as expected: {one.scenario.name}")
            print("\n".join(difference(one, path)))
    if good:
        print(f"{path}: {good if len(listed) > 1 else ''}{' ' if len(listed) > 1 else ''}as expected")


def as_json(path: str, played: Played, other_seed: int | None) -> dict[str, Any]:
    """One scenario for a script."""
    scenario, result, spec = played.scenario, played.result, played.engine.spec
    return {
        "file": path,
        "line": scenario.line,
        "title": scenario.title,
        "pins": scenario.pins,
        "seed": scenario.seed if other_seed is None else other_seed,
        "passes": passes(played, other_seed),
        "compared": scenario.expected is not None and other_seed is None,
        "safe": result.safe,
        "violations": [finding(one) for one in result.violations],
        "excused": [finding(one) for one in result.excused],
        "drivers": {spec.groups_named[group]: [spec.nodes_named[node] for node in nodes]
                    for group, nodes in enumerate(result.drivers)},
        "gaps_ms": [round(gap.length_ns / 1e6, 3) for gap in result.gaps],
        "steps": result.steps,
        "run_ms": round(result.end_ns / 1e6, 3),
        "output": list(played.lines),
    }


def finding(violation: Any) -> dict[str, Any]:
    """A violation for a script."""
    return {
        "at_ms": round(violation.at_ns / 1e6, 3),
        "rule": violation.rule.name.lower(),
        "excuse": violation.excuse.name.lower(),
        "group": violation.group,
        "node": violation.node,
        "other": violation.other,
        "length_ms": round(violation.length_ns / 1e6, 3),
    }
