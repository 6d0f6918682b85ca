"""Running scenarios: what comes of them, how that differs from what the file expects, and the file made new."""
from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from twinbeat.sim.engine import Engine
from twinbeat.sim.scenario import EXPECT, Scenario
from twinbeat.sim.scenario_report import Told, closing, story
from twinbeat.sim.scenario_words import Names
from twinbeat.sim.spec import RunResult
from twinbeat.sim.worlds import Shape

ENGINES_KEPT = 4


@dataclass(frozen=True)
class Played:
    """A scenario that was run; `lines` are its output, whole, and `kept` what its file keeps of them."""

    scenario: Scenario
    engine: Engine
    result: RunResult
    lines: tuple[str, ...]
    kept: tuple[str, ...]

    @property
    def as_expected(self) -> bool:
        """The output is what the file says; without an expectation, nothing that is promised was broken."""
        if self.scenario.expected is None:
            return not self.result.violations
        return self.kept == self.scenario.expected


class Player:
    """Runs scenarios; a few engines are kept, because files of one world stand together."""

    def __init__(self) -> None:
        self.engines: dict[Shape, Engine] = {}

    def engine(self, shape: Shape) -> Engine:
        """The engine of a world."""
        if shape not in self.engines:
            while len(self.engines) >= ENGINES_KEPT:
                del self.engines[next(iter(self.engines))]
            self.engines[shape] = Engine(shape.spec())
        return self.engines[shape]

    def play(self, scenario: Scenario, seed: int | None = None) -> Played:
        """Run a scenario, with another seed where one is given."""
        engine = self.engine(scenario.shape)
        result = engine.run(scenario.actions, scenario.seed if seed is None else seed, length_ns(scenario, engine),
                            log=True)
        told = Told(Names.of(engine.spec), scenario.actions, result, engine.bound_ns)
        lines = tuple(story(told))
        return Played(scenario, engine, result, lines, tuple(closing(told)) if scenario.brief else lines)


def length_ns(scenario: Scenario, engine: Engine) -> int:
    """How long the run is."""
    if scenario.run_ns is not None:
        return scenario.run_ns
    healed_ns = scenario.healed_ns
    return engine.bound_ns + (0 if healed_ns is None else healed_ns) + 1


def difference(played: Played, path: str) -> list[str]:
    """What the output lacks (-) and what it has that was not expected (+), with the line numbers of the file."""
    expected = played.scenario.expected or ()
    name = f"{path}:{played.scenario.line}"
    return [line.rstrip("\n") for line in difflib.unified_diff(
        expected, played.kept, f"{name} expected", f"{name} came", n=2, lineterm="")]


def rewritten(text: str, played: Sequence[Played]) -> str:
    """The file's text with every expectation as it came; what stands above stays as it was written."""
    lines = text.splitlines()
    made: list[str] = []
    for one in played:
        scenario = one.scenario
        head = lines[scenario.start_line - 1:scenario.expect_line - 1]
        while head and not head[-1].strip():
            head.pop()
        made += ["---"] if made else []
        made += [*head, "", EXPECT[scenario.brief], *one.kept, ""]
    return "\n".join(made).rstrip("\n") + "\n"
