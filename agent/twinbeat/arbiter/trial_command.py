"""`twinbeat arbiter test`: a guided trial of an arbiter and its cables, before a pair relies on it."""
from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from twinbeat.arbiter.lines import Target, data_of, find_target, opened, require_lines
from twinbeat.arbiter.trial import Step, Trial
from twinbeat.cli_dispatch import print_json
from twinbeat.errors import UsageError

if TYPE_CHECKING:
    import argparse

MARKS = {True: "ok  ", False: "FAIL", None: "--  "}


def main(arguments: argparse.Namespace) -> int:
    """Run the trial and print it. 1: a step failed."""
    if arguments.group is not None and arguments.group < 1:
        raise UsageError(f"--group {arguments.group}: groups are counted from 1")
    target = find_target(arguments)
    require_lines(target)
    if arguments.close and not arguments.yes:
        confirm(target)
    say = None if arguments.json else print_step
    with opened(target) as lines:
        trial = Trial(target, lines, group=arguments.group, told=say, hint=print_hint)
        steps = trial.run(close=arguments.close, reset=arguments.reset)
    failed = [step for step in steps if step.ok is False]
    if arguments.json:
        print_json({"lines": [data_of(line) for line in target.lines], "ok": not failed, "steps": as_data(steps)})
    elif failed:
        print(f"{len(failed)} of {len(steps)} steps failed")
    return 1 if failed else 0


def confirm(target: Target) -> None:
    """UsageError unless the person at the keyboard types the pair's name: contacts are about to close."""
    name = target.pair_name
    if name is None:
        raise UsageError("--close needs the pair's name: give --config or --pair, so that the right board is switched")
    print(
        f"The contacts of pair {name} will close and open, and what hangs on them is switched. "
        "Stop both agents first.\n"
        "Type the pair's name to go on: ",
        end="",
        file=sys.stderr,
        flush=True,
    )
    if sys.stdin.readline().strip() != name:
        raise UsageError("the name was not typed; nothing was closed")


def print_step(step: Step) -> None:
    """A step as soon as it is done."""
    print(f"{MARKS[step.ok]} {step.name}: {step.text}", flush=True)


def print_hint(text: str) -> None:
    """What the person has to do now."""
    print(text, file=sys.stderr, flush=True)


def as_data(steps: list[Step]) -> list[dict[str, Any]]:
    """The steps as plain data; `ok` null: not tried, the text says why."""
    return [{"name": step.name, "ok": step.ok, "text": step.text, "figures": step.figures} for step in steps]
