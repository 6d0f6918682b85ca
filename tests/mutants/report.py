"""What came of the mutants: a table for people, JSON, and the page docs/mutants.md."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from checks import Found
from mutants import Mutant

PAGE = "docs/mutants.md"
CONTROL = Mutant("unchanged source", "-", "what it should", ())
NOTHING = "-"
HEAD = """\
# Mutants

Proof that the checks can fail. Each row is a fault that a programmer could have made, put into a copy of the core's
source ([tests/mutants/mutants.toml](../tests/mutants/mutants.toml)), built and run. `make mutants` tries them all and
fails when the campaign and the model check let one pass, or find anything in the unchanged source.
`make mutants ARGS='--write'` writes this page.

- **campaign**: the number of the run that broke a promise, the rule that the simulator saw broken, and where: repeat it
  in the changed copy with `twinbeat sim --campaign 1 --world WORLD --profile PROFILE --seed SEED`. Worlds and profiles
  take turns, beginning with seed {seed}; at most {runs} runs.
- **model check**: with how few faults `twinbeat prove` has a counterexample, which rule it breaks and in which world.
  One fault is tried for every mutant, from even beating and from the cold start; two, in the
  worlds of one group, where the campaign found nothing.
- **scenarios**: how many of the golden scenarios come out otherwise than written. They are no part of the claim.

The unchanged source passes {runs} campaign runs, the model check (with two faults in the worlds of one group) and all
scenarios.

| mutant | rule | what the core then does | campaign | model check | scenarios |
|---|---|---|---|---|---|
"""


class Outcome(NamedTuple):
    """One mutant and what each check said of it; None: not asked. `fault`: why it could not be tried."""

    mutant: Mutant
    campaign: Found | None = None
    prove: Found | None = None
    scenarios: Found | None = None
    fault: str = ""
    seconds: float = 0.0

    @property
    def caught(self) -> bool:
        """Campaign or model check caught it."""
        return any(found is not None and found.caught for found in (self.campaign, self.prove))

    @property
    def clean(self) -> bool:
        """No check found anything."""
        return not (self.fault or self.caught or (self.scenarios is not None and self.scenarios.caught))


def words(found: Found | None) -> str:
    """A cell of the table."""
    return found.words if found is not None and found.words else NOTHING


def line(outcome: Outcome) -> str:
    """One line for the terminal."""
    if outcome.fault:
        return f"FAULT    {outcome.mutant.name}: {outcome.fault}"
    if outcome.mutant is CONTROL:
        verdict = "passes" if outcome.clean else "FAILS"
    else:
        verdict = "caught" if outcome.caught else "SURVIVES"
    return (f"{verdict:8} {outcome.mutant.name:32} {outcome.mutant.rule:9}"
            f" campaign: {words(outcome.campaign)}; prove: {words(outcome.prove)};"
            f" scenarios: {words(outcome.scenarios)}; {outcome.seconds:.1f} s")


def as_json(outcome: Outcome) -> dict[str, Any]:
    """One mutant for a script."""
    mutant = outcome.mutant
    told = {
        name: None if found is None else {"found": found.words, "seconds": found.seconds, "data": found.data}
        for name, found in (("campaign", outcome.campaign), ("prove", outcome.prove), ("scenarios", outcome.scenarios))
    }
    return {"mutant": mutant.name, "rule": mutant.rule, "meaning": mutant.meaning, "caught": outcome.caught,
            "fault": outcome.fault or None, "seconds": round(outcome.seconds, 1), **told}


def page(outcomes: Sequence[Outcome], seed: int, runs: int) -> str:
    """docs/mutants.md."""
    rows = [
        f"| {one.mutant.name} | {one.mutant.rule} | {one.mutant.meaning} | {words(one.campaign)} | {words(one.prove)} |"
        f" {words(one.scenarios)} |"
        for one in outcomes
    ]
    return HEAD.format(seed=seed, runs=f"{runs:,}") + "\n".join(rows) + "\n"
