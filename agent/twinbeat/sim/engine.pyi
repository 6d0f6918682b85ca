from collections.abc import Sequence

from twinbeat.sim.spec import Action, RunResult, WorldSpec
from twinbeat_core.errors import TwinbeatError

class SimulatorError(TwinbeatError):
    """A world or a schedule that the simulator cannot run."""

class Engine:
    """One world that can be run again and again. Memory is taken once; nothing is kept from run to run."""

    spec: WorldSpec
    bound_ns: int
    def __init__(self, spec: WorldSpec) -> None: ...
    def run(self, actions: Sequence[Action], seed: int, until_ns: int, *, log: bool = False) -> RunResult: ...

class Rng:
    """SplitMix64: the same numbers on every machine and in every version of Python."""

    def __init__(self, seed: int) -> None: ...
    def next(self) -> int: ...
    def below(self, limit: int) -> int: ...
    def between(self, low: int, high: int) -> int: ...
