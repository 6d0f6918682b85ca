"""Maintenance of this node: out of service for a time, with its links, its votes and its gate at work as ever.

Everything driven here is handed over first. The record is on disk before a group leaves service, so an agent that is
started anew in between is out of service too. At the end only what maintenance took out comes back: what an operator
or a fault took out stays out. The other nodes see all its groups OUT, which is how they know.
"""
from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any

from twinbeat.errors import RefusedError
from twinbeat.maintenance import LIMITS, Limits, MaintenanceFile, Record, boot_id, span_text
from twinbeat.run_course import Until
from twinbeat.run_loop import Timer, boottime_ns
from twinbeat.run_moves import Moves, names_of
from twinbeat.run_node import NodeAgent
from twinbeat.run_units import Unit
from twinbeat_core.events import Command
from twinbeat_core.model import CommandCode

LOOK_S = 1.0
AGAIN_S = 0.02
DISK_LIMIT_S = 5.0


class Maintenance:
    """Belongs to the loop's thread. `clock_ns`, `wall_s` and `boot` are the clocks; `limits` as of `Limits`."""

    def __init__(
        self,
        agent: NodeAgent,
        moves: Moves,
        file: MaintenanceFile,
        *,
        limits: Limits | None = None,
        clock_ns: Callable[[], int] = boottime_ns,
        wall_s: Callable[[], float] = time.time,
        boot: Callable[[], str] = boot_id,
    ) -> None:
        self.record: Record | None = None
        self._agent = agent
        self._moves = moves
        self._file = file
        self.limits = limits or LIMITS
        self._clock_ns = clock_ns
        self._wall_s = wall_s
        self._boot = boot
        self._timer: Timer | None = None
        self._warned: set[float] = set()
        self._saved_ns = 0
        self._lost: set[str] = set()
        self._doubtful: set[str] = set()

    # ------------------------------------------------------------ state

    def left_s(self) -> float:
        """Seconds until its end; 0 where it is off."""
        return 0.0 if self.record is None else max(0.0, (self.record.until_ns - self._clock_ns()) / 1e9)

    def describe(self) -> dict[str, Any] | None:
        """For status: None where it is off."""
        record = self.record
        if record is None:
            return None
        left_s = self.left_s()
        return {
            "left_s": round(left_s, 1),
            "until": utc(self._wall_s() + left_s),
            "length_s": record.length_s,
            "reason": record.reason,
            "by": record.by,
            "groups": list(record.groups),
        }

    def held(self) -> list[Unit]:
        """The units that it holds out of service."""
        groups = () if self.record is None else self.record.groups
        return [unit for unit in self._moves.units.items if unit.name in groups]

    def resume(self) -> None:
        """At the start of the agent, before anything is claimed: go on with what an earlier start has left."""
        try:
            found = self._file.load()
        except (OSError, ValueError) as error:
            found = self._unreadable(error)
        if found is None:
            return
        record = found.at(self._boot(), self._clock_ns(), self._wall_s())
        if record.left_s <= 0.0:
            self._clear()
            self.tell("MAINTENANCE_OVER", "maintenance ended while the agent was not running: this node is in service")
            return
        self.take_effect(record)
        for unit in self.held():
            self._agent.post(Command(boottime_ns(), CommandCode.CMD_OUT, unit.number))
        self.tell(
            "MAINTENANCE",
            f"maintenance goes on for {span_text(record.left_s)}: {names_of(self.held())} out of service here "
            f"({record.reason or 'no reason given'}); twinbeat maintenance off ends it",
        )

    def _unreadable(self, error: Exception) -> Record:
        """There was maintenance and nobody knows until when: stay out rather than go on somebody's hands."""
        longest_s = self.limits.longest_s
        self.tell(
            "MAINTENANCE_FILE",
            f"{self._file.path}: {error}: this node was in maintenance and its end is not known; it stays out of "
            "service until twinbeat maintenance off",
            logging.ERROR,
        )
        return self.new(longest_s, "its record was damaged", "the agent", self._moves.units.items)

    # ------------------------------------------------------------ its course

    def settled_by_hand(self, units: Sequence[Unit], into: bool) -> str:
        """An operator took single units out or put them back: they are no longer maintenance's to bring back.

        Returns what follows from that, in words. Nothing left: maintenance is over.
        """
        record = self.record
        names = {unit.name for unit in units}
        if record is None or not names & set(record.groups):
            return ""
        left = tuple(name for name in record.groups if name not in names)
        if not left and into:
            self._forget("maintenance is over: everything was put back into service by hand")
            return "maintenance is over"
        self.record = replace(record, groups=left)
        self._save()
        if into:
            return f"maintenance goes on for {', '.join(left)}"
        return "out of service by hand: it stays out when maintenance ends"

    def look(self) -> None:
        """Warn, end, keep on disk what is left; called again by itself while maintenance is on."""
        self._timer = None
        record = self.record
        if record is None:
            return
        left_s = self.left_s()
        if left_s <= 0.0:
            if not self.end("maintenance is over: its time has run out, this node is in service again"):
                self._schedule()
            return
        due = {warn_s for warn_s in self.limits.warn_s if left_s <= warn_s} - self._warned
        if due:
            self._warned |= due
            self._warn_of_end(left_s)
        self._warn_undriven()
        if self._clock_ns() - self._saved_ns >= self.limits.save_s * 1e9:
            self.record = record.at(self._boot(), self._clock_ns(), self._wall_s())
            self._save()
        self._schedule()

    def _warn_of_end(self, left_s: float) -> None:
        self.tell(
            "MAINTENANCE_ENDS",
            f"maintenance ends in {span_text(left_s)}: then this node may drive {names_of(self.held())} again; "
            "twinbeat maintenance on --for TIME makes it longer",
            logging.WARNING,
        )

    def _warn_undriven(self) -> None:
        """Once for each unit that nobody drives at two looks in a row: this node could, and must not."""
        nobody = {unit.name for unit in self._moves.undriven(self.held())}
        new = sorted((nobody & self._doubtful) - self._lost)
        self._lost = (self._lost & nobody) | set(new)
        self._doubtful = nobody
        if new:
            self.tell(
                "MAINTENANCE_UNDRIVEN",
                f"nobody drives {', '.join(new)}, and this node is in maintenance; twinbeat maintenance off ends it",
                logging.ERROR,
            )

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        left_s = self.left_s()
        ahead = [left_s - warn_s for warn_s in self.limits.warn_s if warn_s not in self._warned]
        self._timer = self._agent.parts.loop.call_later(max(AGAIN_S, min(LOOK_S, left_s, *ahead)), self.look)

    # ------------------------------------------------------------ changes

    def new(self, for_s: float, reason: str, by: str, units: Sequence[Unit]) -> Record:
        """A record that begins now."""
        now_ns, wall_s = self._clock_ns(), self._wall_s()
        return Record(
            boot=self._boot(), until_ns=now_ns + int(for_s * 1e9), until_wall_s=wall_s + for_s, wall_s=wall_s,
            left_s=for_s, length_s=for_s, reason=reason, by=by, groups=tuple(unit.name for unit in units),
        )

    def take_effect(self, record: Record) -> None:
        """This is how it is from now on. The commands to the core are the caller's."""
        self.record = record
        self._saved_ns = self._clock_ns()
        self._warned = {warn_s for warn_s in self.limits.warn_s if warn_s >= record.left_s}
        self._lost = {unit.name for unit in self._moves.undriven(self.held())}
        self._publish()
        self._schedule()

    def end(self, text: str) -> bool:
        """Put back what it holds and forget it. False: the decider takes nothing now; ask again."""
        for unit in self.held():
            if not self._agent.post(Command(boottime_ns(), CommandCode.CMD_IN, unit.number)):
                return False
        self._forget(text)
        return True

    def put_back(self) -> None:
        """It did not come off: back into service at once, and again until the decider has taken it."""
        if not self.end("maintenance was called off"):
            self.record = None if self.record is None else replace(self.record, until_ns=self._clock_ns())

    def _forget(self, text: str) -> None:
        self.record = None
        self._clear()
        self._publish()
        self.tell("MAINTENANCE_OVER", text)

    def _publish(self) -> None:
        """What the retained status on MQTT says of it."""
        shown = self.describe()
        told = None if shown is None else {key: shown[key] for key in ("until", "reason", "groups")}
        self._agent.parts.telemetry.fact("maintenance", told)

    def tell(self, code: str, text: str, level: int = logging.INFO) -> None:
        """Say it in the events."""
        self._agent.events.add(code, text, level)

    # ------------------------------------------------------------ the disk

    def written(self, record: Record) -> Generator[Until, bool, None]:
        """Put a record on disk. Raises RefusedError where that does not work."""
        result: list[str] = []
        self._submit(lambda: self._file.save(record), result.append)
        if not (yield Until(lambda: bool(result), DISK_LIMIT_S)) or result[0]:
            why = result[0] if result else "the disk does not answer"
            raise RefusedError(
                f"maintenance refused: {self._file.path}: {why}; without the file a restart would end it: mend the disk"
            )

    def _save(self) -> None:
        record = self.record
        self._saved_ns = self._clock_ns()
        if record is not None:
            self._submit(lambda: self._file.save(record), self._disk_trouble)

    def _clear(self) -> None:
        self._submit(self._file.clear, self._disk_trouble)

    def _disk_trouble(self, text: str) -> None:
        if text:
            self.tell("MAINTENANCE_FILE", f"{self._file.path}: {text}; a restart may find another end", logging.ERROR)

    def _submit(self, job: Callable[[], None], told: Callable[[str], None]) -> None:
        """Run a job where it may wait; `told` hears in the loop's thread what went wrong, "" for nothing."""
        soon = self._agent.parts.loop.call_threadsafe

        def guarded() -> None:
            try:
                job()
                text = ""
            except OSError as error:
                text = str(error.strerror or error)
            soon(lambda: told(text))
            soon(self._agent.look)

        if not self._agent.parts.disk.submit("maintenance", guarded):
            told("the disk is too slow")


def utc(wall_s: float) -> str:
    """A moment of the wall clock, for people."""
    moment = datetime.datetime.fromtimestamp(wall_s, datetime.UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
