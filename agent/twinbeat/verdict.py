"""The verdict: one record for each role change, with its cause, the evidence and what was measured.

A draft is made when the core reports the change and is completed when the gate confirms the outputs, or
after `SETTLE_S` without that. Completed records go to a file of bounded size, to telemetry and to the log.
"""
from __future__ import annotations

import datetime
import json
import logging
import os
from collections import deque
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from twinbeat.run_words import CAUSES, Names, Reported, cause_name, state_name
from twinbeat_core.model import Cause, OutputCode, State

log = logging.getLogger("twinbeat")

SCHEMA = 1
KEPT = 256
FILE_BYTES_MAX = 512 * 1024
LINE_BYTES_MAX = 32 * 1024
LOADED_BYTES = 512 * 1024
SETTLE_S = 1.0
DRIVING = (State.ACTIVE,)

Record = dict[str, Any]


class Verdicts:
    """The role changes of this node. All methods belong to the loop's thread.

    `evidence(group)` says what links and voters last said; `later(seconds, call)` calls back;
    `save(call)` runs a call where it may wait for the disk; `publish(record)` is told of each complete record.
    `overlap` names the groups that every node drives: there nobody takes over from anybody.
    """

    def __init__(
        self,
        names: Names,
        pair: str,
        path: Path,
        evidence: Callable[[int], Record],
        later: Callable[[float, Callable[[], None]], object],
        save: Callable[[Callable[[], None]], object],
        publish: Callable[[Record], None],
        overlap: Collection[str] = (),
    ) -> None:
        self._names = names
        self._pair = pair
        self._path = path
        self._evidence = evidence
        self._later = later
        self._save = save
        self._publish = publish
        self._overlap = frozenset(overlap)
        self._drafts: dict[int, Record] = {}
        self._claims: dict[int, Reported] = {}
        self._orders: dict[int, tuple[int, bool, int]] = {}
        self._confirms: dict[int, tuple[int, int, int]] = {}
        self.records: deque[Record] = deque(load(path), maxlen=KEPT)
        self.count = 0

    # ------------------------------------------------------------ what happens

    def state_changed(self, report: Reported) -> None:
        """A group changed its state (RP_STATE)."""
        old, new = report.node, report.value
        if new == State.CLAIMING:
            self._claims[report.group] = report
        if not is_role_change(old, new):
            return
        self._complete(report.group)
        claim = self._claims.get(report.group) if new == State.ACTIVE else None
        self._drafts[report.group] = self._draft(report, claim)
        if not self._try_complete(report.group):
            self._later(SETTLE_S, lambda: self._settle(report.group, report.at_ns))

    def drive_changed(self, group: int, epoch: int, on: bool, at_ns: int) -> None:
        """The decider ordered the outputs of a group on or off."""
        self._orders[group] = (epoch, on, at_ns)
        self._try_complete(group)

    def output_changed(self, group: int, epoch: int, code: int, at_ns: int) -> None:
        """The gate confirmed an order, with its own time stamp."""
        self._confirms[group] = (epoch, code, at_ns)
        self._try_complete(group)

    def flush(self) -> None:
        """Complete every draft as it is, before the agent ends."""
        for group in list(self._drafts):
            self._complete(group)

    def last(self, count: int, groups: Collection[str] | None = None) -> list[Record]:
        """The newest records, oldest first; of these groups only where some are named."""
        fitting = [record for record in self.records if groups is None or record.get("group") in groups]
        return fitting[-count:] if count > 0 else []

    # ------------------------------------------------------------ drafts

    def _draft(self, report: Reported, claim: Reported | None) -> Record:
        cause = claim.extra if claim is not None and claim.epoch == report.epoch else report.extra
        evidence = self._evidence(report.group)
        measured: Record = {}
        if claim is not None and claim.epoch == report.epoch:
            measured["claim_ms"] = ms(report.at_ns - claim.at_ns)
        record: Record = {
            "schema": SCHEMA,
            "time": utc_now(),
            "boottime_ns": report.at_ns,
            "pair": self._pair,
            "node": self._names.node,
            "group": self._names.group_name(report.group),
            "epoch": report.epoch,
            "from": state_name(report.node),
            "to": state_name(report.value),
            "cause": cause_name(cause),
            "by": cause_name(report.extra),
            "timers": evidence.pop("timers", {}),
            "measured": measured,
            "evidence": evidence,
        }
        overlap = record["group"] in self._overlap
        if overlap:
            record["overlap"] = True
        record["sentence"] = sentence(self._names, report, cause, evidence, overlap)
        return record

    def _try_complete(self, group: int) -> bool:
        """Complete the group's draft when order and confirmation of its epoch are there."""
        draft = self._drafts.get(group)
        if draft is None:
            return False
        on = draft["to"] == State.ACTIVE.name
        order, confirm = self._orders.get(group), self._confirms.get(group)
        if order is None or order[0] != draft["epoch"] or order[1] != on:
            return False
        wanted = OutputCode.OUTPUT_DRIVEN if on else OutputCode.OUTPUT_OFF
        # The gate may be quicker than the decider's own note of the order, so the decision is what it must not precede.
        if confirm is None or confirm[:2] != (draft["epoch"], wanted) or confirm[2] < draft["boottime_ns"]:
            return False
        self._complete(group)
        return True

    def _settle(self, group: int, at_ns: int) -> None:
        draft = self._drafts.get(group)
        if draft is not None and draft["boottime_ns"] == at_ns:
            self._complete(group)

    def _complete(self, group: int) -> None:
        draft = self._drafts.pop(group, None)
        if draft is None:
            return
        self._measure(group, draft)
        self.count += 1
        self.records.append(draft)
        log.info("verdict: %s", draft["sentence"])
        line = json.dumps(draft, separators=(",", ":")).encode() + b"\n"
        if len(line) > LINE_BYTES_MAX:
            line = json.dumps(draft | {"evidence": {}}, separators=(",", ":")).encode() + b"\n"
        self._save(lambda: append(self._path, line))
        self._publish(draft)

    def _measure(self, group: int, draft: Record) -> None:
        on = draft["to"] == State.ACTIVE.name
        order, confirm = self._orders.get(group), self._confirms.get(group)
        if order is None or order[0] != draft["epoch"] or order[1] != on:
            return
        measured, word = draft["measured"], "on" if on else "off"
        wanted = OutputCode.OUTPUT_DRIVEN if on else OutputCode.OUTPUT_OFF
        if confirm is None or confirm[:2] != (draft["epoch"], wanted) or confirm[2] < draft["boottime_ns"]:
            measured["decided_to_ordered_ms"] = ms(order[2] - draft["boottime_ns"])
            return
        ordered_ns = min(order[2], confirm[2])       # what was carried out had been ordered, whenever that was noted
        measured["decided_to_ordered_ms"] = ms(ordered_ns - draft["boottime_ns"])
        measured[f"ordered_to_{word}_ms"] = ms(confirm[2] - ordered_ns)


def is_role_change(old: int, new: int) -> bool:
    """Whether a node begins to drive, ceases to drive, or leaves or re-enters service."""
    if new == State.ACTIVE:
        return old != State.ACTIVE
    if old == State.ACTIVE:
        return True
    return old != new and bool(State.OUT in (old, new))


def sentence(names: Names, report: Reported, cause: int, evidence: Record, overlap: bool = False) -> str:
    """What happened and why, in one plain English sentence."""
    group, node = names.group_name(report.group), names.node
    reason = reason_text(cause, evidence)
    if report.value == State.ACTIVE and overlap:
        return f"{node} drives {group} too (epoch {report.epoch}), as every node does that may."
    if report.value == State.ACTIVE:
        alone = report.extra == Cause.CAUSE_ALONE and cause != Cause.CAUSE_ALONE
        more = f"; it drives alone, because {CAUSES[Cause.CAUSE_ALONE]}" if alone else ""
        return f"{node} took over {group} (epoch {report.epoch}): {reason}{more}."
    if report.node == State.ACTIVE:
        return f"{node} let go of {group} (epoch {report.epoch}): {reason}."
    if report.value == State.OUT:
        return f"{node} took {group} out of service here: {reason}."
    return f"{node} put {group} back into service here: {reason}."


def reason_text(cause: int, evidence: Record) -> str:
    """The cause in words, with the silence measured where silence is the cause."""
    text = CAUSES.get(cause, cause_name(cause))
    if cause == Cause.CAUSE_UNFIT and evidence.get("unfit"):
        return f"{text} ({'; '.join(evidence['unfit'])})"
    if cause == Cause.CAUSE_LOAD and evidence.get("load") is not None:
        others = [f"{peer['node']} {peer['load']} %" for peer in evidence.get("peers", [])
                  if peer.get("load") is not None]
        return f"{text} (here {evidence['load']} %, {', '.join(others)})"
    if cause not in (Cause.CAUSE_SILENCE, Cause.CAUSE_ALONE):
        return text
    heard = [peer for peer in evidence.get("peers", []) if peer.get("heard_ms_ago") is not None]
    quiet = [f"{peer['node']} last heard {peer['heard_ms_ago']:.1f} ms ago" for peer in heard]
    return f"{text} ({', '.join(quiet)})" if quiet else text


# ---------------------------------------------------------------- the file


def load(path: Path) -> list[Record]:
    """The newest records of an earlier run; lines that are not records (a power cut) are passed over."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOADED_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return []
    records = []
    for line in lines[-KEPT:]:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and isinstance(record.get("sentence"), str):
            records.append(record)
    return records


def append(path: Path, line: bytes) -> None:
    """Write a record behind the others; a full file becomes `.1` and a new one is begun. Raises OSError."""
    try:
        if path.stat().st_size + len(line) > FILE_BYTES_MAX:
            os.replace(path, path.with_name(path.name + ".1"))
    except FileNotFoundError:
        pass
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    try:
        os.write(fd, line)
        os.fsync(fd)
    finally:
        os.close(fd)


def ms(ns: int) -> float:
    """Nanoseconds as milliseconds with microseconds kept."""
    return round(ns / 1e6, 3)


def utc_now() -> str:
    """The wall clock for people who read the record; no decision looks at it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
