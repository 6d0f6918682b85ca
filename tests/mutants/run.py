"""`make mutants`: every mutant is built in a copy of the project, and campaign or model check must catch it.

Exit codes: 0 all caught; 1 one survives, does not build, or the unchanged source does not pass; 2 command line;
130 interrupted.
"""
from __future__ import annotations

import argparse
import json
import os
import queue
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from checks import CheckError, campaign, prove, scenarios
from mutants import ROOT, Mutant, load
from report import CONTROL, PAGE, Outcome, as_json, line, page
from workshop import BuildError, Workshop

RUNS = 40_000
SEED = 1 << 20
EXIT_OK, EXIT_SURVIVOR, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130


def options(words: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make mutants", allow_abbrev=False, description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAME", action="append", default=[], help="this mutant; may be repeated")
    parser.add_argument("--jobs", type=count, metavar="N", default=len(os.sched_getaffinity(0)),
                        help="copies worked in side by side (default: processors)")
    parser.add_argument("--runs", type=count, metavar="N", default=RUNS, help=f"campaign runs at most ({RUNS})")
    parser.add_argument("--seed", type=count, metavar="S", default=SEED, help=f"seed of the first run ({SEED})")
    parser.add_argument("--every", action="store_true", help="two faults in the model check for every mutant")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE}")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(words)
    if given.write and given.only:
        parser.error("--write needs every mutant; leave --only out")
    return given


def count(text: str) -> int:
    """A whole number above 0 from the command line."""
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 1 << 40:
        raise argparse.ArgumentTypeError(f'"{text}" is no count; give a whole number from 1 on')
    return int(text)


def chosen(names: list[str]) -> list[Mutant]:
    """The mutants asked for; all without a name. SystemExit 2 for a name that is none."""
    listed = load()
    unknown = set(names) - {mutant.name for mutant in listed}
    if unknown:
        print(f"make mutants: no mutant is called {', '.join(sorted(unknown))}; mutants: "
              + ", ".join(mutant.name for mutant in listed), file=sys.stderr)
        raise SystemExit(EXIT_USAGE)
    return [mutant for mutant in listed if not names or mutant.name in names]


def judged(shop: Workshop, mutant: Mutant, given: argparse.Namespace) -> Outcome:
    """All checks on what stands in the workshop now. The unchanged source is searched as deep as any mutant."""
    began = time.monotonic()
    every = given.every or (mutant is CONTROL and not given.only)
    by_campaign = campaign(shop, given.seed, given.runs)
    by_prove = prove(shop, deep=every or (mutant is not CONTROL and not by_campaign.caught))
    by_scenarios = scenarios(shop)
    return Outcome(mutant, by_campaign, by_prove, by_scenarios, seconds=time.monotonic() - began)


def tried(free: queue.SimpleQueue[Workshop], mutant: Mutant, given: argparse.Namespace) -> Outcome:
    """One mutant in the next free workshop; told when it is done."""
    shop = free.get()
    try:
        with shop.with_mutant(mutant):
            outcome = judged(shop, mutant, given)
    except (BuildError, CheckError, ValueError) as error:
        outcome = Outcome(mutant, fault=str(error))
    finally:
        free.put(shop)
    if not given.json:
        print(line(outcome), flush=True)
    return outcome


def all_tried(mutants: list[Mutant], shops: list[Workshop], given: argparse.Namespace) -> tuple[Outcome, list[Outcome]]:
    """The unchanged source and beside it every mutant, in the list's order; none where the former does not pass."""
    free: queue.SimpleQueue[Workshop] = queue.SimpleQueue()
    for shop in shops:
        free.put(shop)
    pool = ThreadPoolExecutor(len(shops))
    try:
        first = pool.submit(tried, free, CONTROL, given)
        rest = [pool.submit(tried, free, mutant, given) for mutant in mutants]
        control = first.result()
        return control, [one.result() for one in rest] if control.clean else []
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def work(given: argparse.Namespace, shops: list[Workshop]) -> int:
    """Control, mutants, and what is to be told."""
    mutants = chosen(given.only)
    shops.append(Workshop())
    for _ in range(min(given.jobs, 1 + len(mutants)) - 1):
        shops.append(Workshop(copy_of=shops[0]))
    control, outcomes = all_tried(mutants, shops, given)
    bad = [one.mutant.name for one in outcomes if not one.caught]
    if given.json:
        print(json.dumps({"control": as_json(control), "mutants": [as_json(one) for one in outcomes]}, indent=1))
    elif control.clean:
        print(f"{len(outcomes) - len(bad)} of {len(outcomes)} mutants caught"
              + (f"; not caught: {', '.join(bad)}" if bad else ""))
    if not control.clean:
        print("make mutants: the unchanged source does not pass, so no mutant says anything", file=sys.stderr)
        return EXIT_SURVIVOR
    if given.write:
        (ROOT / PAGE).write_text(page(outcomes, given.seed, given.runs), encoding="utf-8")
    return EXIT_SURVIVOR if bad else EXIT_OK


def main(words: list[str]) -> int:
    """Run, and remove the copies whatever happens."""
    given = options(words)
    shops: list[Workshop] = []
    try:
        return work(given, shops)
    except (BuildError, CheckError) as error:
        print(f"make mutants: {error}", file=sys.stderr)
        return EXIT_SURVIVOR
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    finally:
        for shop in shops:
            shop.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
