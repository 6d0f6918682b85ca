"""Before a planned handover: the taker runs its prepare hooks, and only then says that it is prepared.

The core reports that somebody is about to hand a group over; the group's hooks then run one after the other in a
thread of their own, each within its deadline. One that fails or overruns ends the preparation: nothing is said, and
the giver keeps the group. A newer report calls off the hooks of an older one; nothing is undone, because a
preparation must be harmless where no handover follows.
"""
from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from twinbeat.run_loop import boottime_ns
from twinbeat.run_node import NodeAgent
from twinbeat.run_words import Reported
from twinbeat_core.events import Command
from twinbeat_core.model import CommandCode, ReportCode
from twinbeat_hardware.command import CallOff, CommandResult, Outcome, run_command
from twinbeat_hardware.errors import OutputError
from twinbeat_hardware.output import inherited_environment
from twinbeat_hardware.programs import resolve_program

if TYPE_CHECKING:
    from twinbeat.config import Config

log = logging.getLogger("twinbeat")

CAUSE = "PREPARE"
"""TWINBEAT_CAUSE of a prepare hook."""


@dataclass(frozen=True)
class Hook:
    """One command with its longest run."""

    argv: tuple[str, ...]
    deadline_ms: float


class Asked(NamedTuple):
    """A preparation that was asked for."""

    epoch: int
    giver: str
    call_off: CallOff


class Lane:
    """The preparations of one group, one at a time; the newest one counts. `told(asked, result)` is called from its
    thread with the last hook's result: of the one that failed, or of the last one of all."""

    def __init__(
        self, hooks: Sequence[Hook], environment: Mapping[str, str], told: Callable[[Asked, CommandResult], None]
    ) -> None:
        self._hooks = tuple(hooks)
        self._environment = environment
        self._told = told
        self._lock = threading.Lock()
        self._running: Asked | None = None
        self._waiting: Asked | None = None
        self._closed = False
        self._thread: threading.Thread | None = None

    def begin(self, epoch: int, giver: str) -> None:
        """Prepare; one that runs for an older word is called off first."""
        with self._lock:
            if self._closed:
                return
            if self._waiting is not None:
                self._waiting.call_off.close()
            self._waiting = Asked(epoch, giver, CallOff())
            if self._running is not None:
                self._running.call_off.set()
                return
            self._running, self._waiting = self._waiting, None
            self._thread = threading.Thread(target=self._work, name="twinbeat-prepare", daemon=True)
            self._thread.start()

    def close(self, limit_s: float) -> bool:
        """Call off what runs. False: it was still there after `limit_s` seconds."""
        with self._lock:
            self._closed = True
            if self._running is not None:
                self._running.call_off.set()
            thread = self._thread
        if thread is None:
            return True
        thread.join(limit_s)
        return not thread.is_alive()

    def _work(self) -> None:
        while True:
            with self._lock:
                asked = self._running
            if asked is None:
                return
            result = self._run(asked)
            with self._lock:
                asked.call_off.close()
                self._running, self._waiting = self._waiting, None
            self._told(asked, result)

    def _run(self, asked: Asked) -> CommandResult:
        told = {**self._environment, "TWINBEAT_EPOCH": str(asked.epoch), "TWINBEAT_FROM": asked.giver}
        for hook in self._hooks:
            result = run_command(hook.argv, inherited_environment() | told, hook.deadline_ms, asked.call_off)
            if not result.ok:
                break
        return result


class Preparation:
    """All groups of a node that have prepare hooks. Only for the loop's thread."""

    def __init__(self, agent: NodeAgent, lanes: Mapping[int, Sequence[Hook]], environment: Mapping[str, str],
                 shards: Mapping[int, int | None]) -> None:
        self._agent = agent
        self._lanes = {
            group: Lane(hooks, {**environment, **told(agent, group, shards.get(group))}, self._teller(group))
            for group, hooks in lanes.items()
        }

    def reported(self, report: Reported) -> None:
        """A report of the core; only RP_PREPARE matters here."""
        if report.code != ReportCode.RP_PREPARE:
            return
        lane = self._lanes.get(report.group)
        if lane is None:
            # The giver's file has hooks and this one's has none. It would wait in vain for a word.
            self._prepared(report.group)
            return
        lane.begin(report.epoch, self._agent.names.node_name(report.node))

    def close(self, limit_s: float = 1.0) -> None:
        """Call off what runs."""
        for lane in self._lanes.values():
            lane.close(limit_s)

    def _teller(self, group: int) -> Callable[[Asked, CommandResult], None]:
        soon = self._agent.parts.loop.call_threadsafe
        return lambda asked, result: soon(lambda: self._ended(group, asked, result))

    def _ended(self, group: int, asked: Asked, result: CommandResult) -> None:
        name = self._agent.names.group_name(group)
        if asked.call_off.is_set:
            # Its word must not stand for the newer one, whose hooks have not run yet.
            log.info("group %s: preparing for epoch %d was called off: %s", name, asked.epoch, result)
        elif result.ok:
            self._prepared(group)
        else:
            last = f": {result.stderr[-1]}" if result.stderr else ""
            self._agent.events.add(
                "PREPARE_FAILED",
                f"{name}: not prepared to take over from {asked.giver}: {ending(result)}{last}; nothing moves. "
                f"Run {result.argv[0]} by hand as the agent's user to see why",
                logging.ERROR,
                group=name,
            )

    def _prepared(self, group: int) -> None:
        name = self._agent.names.group_name(group)
        if self._agent.post(Command(boottime_ns(), CommandCode.CMD_PREPARED, group)):
            self._agent.events.add("PREPARED", f"{name}: prepared to take over", group=name)


def ending(result: CommandResult) -> str:
    """How a hook that did not do its work ended."""
    program = result.argv[0]
    if result.outcome is Outcome.TIMED_OUT:
        return f"{program} ran past its deadline and was ended after {result.ran_ms:.0f} ms"
    if result.returncode is None:
        return f"{program} was not started"
    how = f"signal {-result.returncode}" if result.returncode < 0 else f"exit status {result.returncode}"
    return f"{program} ended with {how} after {result.ran_ms:.0f} ms"


def told(agent: NodeAgent, group: int, shard: int | None) -> dict[str, str]:
    """What a hook is told about its group."""
    return {
        "TWINBEAT_GROUP": agent.names.group_name(group),
        "TWINBEAT_SHARD": "" if shard is None else str(shard),
        "TWINBEAT_CAUSE": CAUSE,
        "TWINBEAT_NODE": agent.names.node,
    }


def hooks_of(cfg: Config) -> dict[int, tuple[Hook, ...]]:
    """The prepare hooks of the groups that this node may drive, with their programs' whole paths.

    Raises OutputError naming the group and the program that is not there.
    """
    found: dict[int, tuple[Hook, ...]] = {}
    for number, group in enumerate(cfg.groups):
        if not group.prepare or cfg.node not in group.drivers:
            continue

        def make(text: str, kind: type[OutputError], name: str = group.name) -> OutputError:
            return kind(f'group "{name}", prepare: {text}')

        found[number] = tuple(
            Hook((resolve_program("command", hook.command[0], make), *hook.command[1:]), hook.deadline_ms)
            for hook in group.prepare
        )
    return found
