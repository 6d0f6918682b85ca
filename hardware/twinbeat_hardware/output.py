"""What every output driver is: the interface, its contract, and the place it is used in.

The gate switches; a driver opens and checks. Contract of `Output`, held by every driver and checked by
`twinbeat_hardware.contract`:

1. `open` checks everything that can be known before the first switch and reports the first thing wrong as one
   OutputError that names the output, the value and the remedy. A failed `open` leaves nothing behind.
2. `open` switches nothing on. A device that takes its first level together with its direction takes "off" there;
   for all others the gate writes "off" when it receives the FastOutput.
3. The descriptor in the FastOutput belongs to the caller from then on: a copy of the driver's own, without any
   second copy kept here, because a descriptor that outlives the gate could keep a line held. `close` never
   touches it.
4. `open` on an open driver, and everything but `close` and `describe` on a closed one, raise OutputStateError.
   `close` may be called any number of times. A closed driver may be opened again.
5. No driver switches by itself at `close`, at garbage collection or at interpreter exit. What remains then is the
   `exit` policy, which the gate carries out: "off" writes off at a planned end, "hold" leaves the level as it is.
   When the agent dies, the gate writes off, whatever `exit` says.
6. Levels are logical: True is "on", this node drives. Polarity and bytes stay inside the driver.
"""
from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from twinbeat_core.outputs import FastOutput

from .command import CallOff, CommandResult, run_command
from .errors import OutputError, OutputStateError
from .spec import OutputSpec, switch_off_ms

SpecT = TypeVar("SpecT", bound=OutputSpec)

_NOT_FOR_CHILDREN = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")


@dataclass(frozen=True, kw_only=True)
class OutputPlace:
    """Where an output is used.

    group         the group's index in the core, from 0
    group_name    its name in the configuration
    node, pair    names of this node and of the pair
    serial_ports  the node's names for its serial ports, each with its device path
    """

    group: int
    group_name: str
    node: str
    pair: str
    serial_ports: Mapping[str, str] = field(default_factory=dict)


class Output(ABC, Generic[SpecT]):
    """One output of one group. See the contract at the head of this file. Not for use from several threads at once."""

    kind: str
    senses_later = False
    """True: `read_back` may know nothing yet and still sense a contact later."""

    def __init__(self, spec: SpecT, place: OutputPlace) -> None:
        self.spec = spec
        self.place = place
        self.name = spec.label
        self.is_open = False
        self.warnings: list[str] = []
        """What `open` found doubtful but not wrong, in whole sentences."""

    def open(self) -> FastOutput:
        """Opens and checks the device; returns what the gate needs. Raises OutputError."""
        if self.is_open:
            raise OutputStateError(f"{self.where()} is open already: close it before it is opened again")
        self.warnings = []
        fast = self._open()
        self.is_open = True
        return fast

    def close(self) -> None:
        """Lets go of what the driver holds itself; switches nothing."""
        if self.is_open:
            self.is_open = False
            self._close()

    def read_back(self) -> bool | None:
        """The level that was sensed at the far side; None: this output has no way to sense it. Raises OutputError."""
        self.require_open()
        return self._read_back()

    def describe(self) -> dict[str, object]:
        """Plain figures and names for status; works open or closed."""
        spec = self.spec
        return {
            "type": self.kind,
            "name": self.name,
            "group": self.place.group_name,
            "open": self.is_open,
            "exit": spec.exit,
            "off_ms": switch_off_ms(spec),
            "make_ms": spec.make_ms,
            "warnings": list(self.warnings),
        } | self._describe()

    def where(self) -> str:
        """The output's place, with which every message begins."""
        return f'group "{self.place.group_name}", output "{self.name}" ({self.kind})'

    def error(self, text: str, kind: type[OutputError] = OutputError) -> OutputError:
        """An error of this output, ready to be raised."""
        return kind(f"{self.where()}: {text}")

    def require_open(self) -> None:
        """Raises OutputStateError when the driver is closed."""
        if not self.is_open:
            raise OutputStateError(f"{self.where()} is closed: open it first")

    @abstractmethod
    def _open(self) -> FastOutput:
        """`open` without the bookkeeping."""

    @abstractmethod
    def _describe(self) -> dict[str, object]:
        """The driver's own entries of `describe`."""

    def _close(self) -> None:
        """`close` without the bookkeeping."""

    def _read_back(self) -> bool | None:
        """`read_back` without the bookkeeping."""
        return None


class SlowOutput(Output[SpecT]):
    """An output that is switched by commands, in the worker, after the fast outputs of its group.

    `start` and `stop` block for at most the deadline and the time to end a command that will not go; they never
    raise for what the command does. They are made for a worker thread: `lane.SlowLane` runs those of one group in
    order. Both must bear being repeated. After `open` the caller runs `stop` once, because what an earlier agent
    started may still be running.
    """

    def __init__(self, spec: SpecT, place: OutputPlace) -> None:
        super().__init__(spec, place)
        self.counts: dict[str, int] = {}

    def start(self, epoch: int, cause: str, call_off: CallOff | None = None) -> CommandResult:
        """Runs the start command; `epoch` is the fencing token, `cause` the cause code's name."""
        self.require_open()
        return self._run(self.start_argv(), epoch, cause, call_off)

    def stop(self, epoch: int, cause: str, call_off: CallOff | None = None) -> CommandResult:
        """Runs the stop command."""
        self.require_open()
        return self._run(self.stop_argv(), epoch, cause, call_off)

    def environment(self, epoch: int | None, cause: str) -> dict[str, str]:
        """What a command is told about its reason; epoch None (the gate after a death): an empty TWINBEAT_EPOCH."""
        return {
            "TWINBEAT_GROUP": self.place.group_name,
            "TWINBEAT_EPOCH": "" if epoch is None else str(epoch),
            "TWINBEAT_CAUSE": cause,
            "TWINBEAT_NODE": self.place.node,
            "TWINBEAT_PAIR": self.place.pair,
        }

    @property
    @abstractmethod
    def deadline_ms(self) -> float:
        """Longest run of one command."""

    @abstractmethod
    def start_argv(self) -> tuple[str, ...]:
        """The resolved start command."""

    @abstractmethod
    def stop_argv(self) -> tuple[str, ...]:
        """The resolved stop command."""

    def fast_output(self, stop_argv: tuple[str, ...]) -> FastOutput:
        """What the gate gets: no descriptor, only the command to run when the worker has died."""
        return FastOutput(
            name=self.name,
            group=self.place.group,
            kind="none",
            fd=-1,
            exit=self.spec.exit_level,
            stop_argv=stop_argv,
        )

    def _run(self, argv: tuple[str, ...], epoch: int, cause: str, call_off: CallOff | None) -> CommandResult:
        result = run_command(argv, inherited_environment() | self.environment(epoch, cause), self.deadline_ms, call_off)
        self.counts[result.outcome.value] = self.counts.get(result.outcome.value, 0) + 1
        return result

    def _describe(self) -> dict[str, object]:
        return {"deadline_ms": self.deadline_ms, "commands": dict(self.counts)}


def inherited_environment() -> dict[str, str]:
    """The agent's environment without what would let a command speak to the service manager in the agent's name."""
    return {key: value for key, value in os.environ.items() if key not in _NOT_FOR_CHILDREN}
