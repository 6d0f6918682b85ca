"""The role changes of a recording, each with the verdict that the agent would give, and what can be computed for it."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from twinbeat.replay.walk import Step, View, ms
from twinbeat.run_recordings import SETTLE_S
from twinbeat.run_view import evidence
from twinbeat.run_words import Names, Reported, cause_name, state_name
from twinbeat.verdict import is_role_change, sentence
from twinbeat_core.events import Drive, Heard, Output
from twinbeat_core.model import Cause, DriveCode, OutputCode, ReportCode, State
from twinbeat_core.settings import CoreSettings
from twinbeat_core.timing import lease_from_grant_ms

SETTLE_NS = int(SETTLE_S * 1e9)
OF_SILENCE = tuple(cause_name(cause) for cause in (
    Cause.CAUSE_SILENCE, Cause.CAUSE_ALONE, Cause.CAUSE_LAPSED, Cause.CAUSE_SELF_LATE, Cause.CAUSE_DEATH_NOTICE,
))
"""Causes for which it matters when the others were heard last."""


@dataclass
class Change:
    """One role change: `record` has the keys of a verdict, `measured` what the steps allow to compute."""

    at_ns: int
    group: int
    on: bool
    record: dict[str, Any]
    order_ns: int | None = None

    @property
    def sentence(self) -> str:
        """What happened and why, as the agent says it."""
        return str(self.record["sentence"])

    @property
    def measured(self) -> dict[str, Any]:
        """Figures in ms."""
        return dict(self.record["measured"])


@dataclass
class Lengths:
    """The promise lengths in use for a group: given to another holder, and got from a voter."""

    given_ms: float | None = None
    given_ns: int = 0
    got_ms: float | None = None
    got_ns: int = 0
    votes: dict[int, float] = field(default_factory=dict)


class Changes:
    """Collects the role changes while the steps go by."""

    def __init__(self, settings: CoreSettings, names: Names) -> None:
        self.found: list[Change] = []
        self._settings = settings
        self._names = names
        self._claims: dict[int, Reported] = {}
        self._lengths: dict[int, Lengths] = {}

    def take(self, step: Step) -> None:
        """One step."""
        for before, group in zip(step.before["groups"], step.after["groups"], strict=True):
            self._note_lengths(step, before, group)
        for report in step.reports():
            if report.code != ReportCode.RP_STATE:
                continue
            if report.value == State.CLAIMING:
                self._claims[report.group] = report
            if is_role_change(report.node, report.value):
                self.found.append(self._change(step, report))
        for effect in step.effects:
            if isinstance(effect, Drive) and effect.code != DriveCode.DRIVE_EXTEND:
                self._ordered(step.at_ns, effect.group, effect.code == DriveCode.DRIVE_ON)
        if isinstance(step.event, Output):
            self._confirmed(step.at_ns, step.event)

    # ------------------------------------------------------------ one change
    def _change(self, step: Step, report: Reported) -> Change:
        claim = self._claims.get(report.group) if report.value == State.ACTIVE else None
        claim = claim if claim is not None and claim.epoch == report.epoch else None
        cause = claim.extra if claim is not None else report.extra
        found = evidence(step.after, self._names, report.group)
        timers = found.pop("timers")
        record = {
            "boottime_ns": report.at_ns,
            "node": self._names.node,
            "group": self._names.group_name(report.group),
            "epoch": report.epoch,
            "from": state_name(report.node),
            "to": state_name(report.value),
            "cause": cause_name(cause),
            "by": cause_name(report.extra),
            "sentence": sentence(self._names, report, cause, found),
            "timers": timers,
            "measured": dict(self._measures(step, report, claim, cause)),
            "evidence": found,
        }
        return Change(report.at_ns, report.group, report.value == State.ACTIVE, record)

    def _measures(self, step: Step, report: Reported, claim: Reported | None,
                  cause: int) -> Iterator[tuple[str, Any]]:
        lengths = self._lengths.get(report.group, Lengths())
        if report.value == State.ACTIVE or report.node == State.ACTIVE:
            yield "silence_ms", silences(step.after, self._names)
        if report.value == State.ACTIVE:
            if claim is not None:
                yield "claim_ms", ms(report.at_ns - claim.at_ns)
            if cause == Cause.CAUSE_SILENCE and lengths.given_ms is not None:
                yield "promise_ms", lengths.given_ms
                yield "promise_lease_ms", lease_from_grant_ms(self._settings, lengths.given_ms)
                yield "renewed_ms_ago", ms(report.at_ns - lengths.given_ns)
            yield "authority_ms", step.after["groups"][report.group]["authority_ms"]
        alone = step.after["groups"][report.group]["alone"]
        if lengths.got_ms is not None and (report.node == State.ACTIVE or (report.value == State.ACTIVE and not alone)):
            yield "got_promise_ms", lengths.got_ms
            yield "got_lease_ms", lease_from_grant_ms(self._settings, lengths.got_ms)
            yield "answered_ms_ago", ms(report.at_ns - lengths.got_ns)

    def _note_lengths(self, step: Step, before: dict[str, Any], group: dict[str, Any]) -> None:
        if not isinstance(step.event, Heard):
            return
        own = step.after["node"]
        lengths = self._lengths.setdefault(group["group"], Lengths())
        old, new = before["promise"], group["promise"]
        passed = ms(step.after["now_ns"] - step.before["now_ns"])
        if new["holder"] not in (None, own) and new["left_ms"] is not None:
            if new["holder"] != old["holder"] or new["left_ms"] > (old["left_ms"] or 0) - passed + 0.01:
                lengths.given_ms, lengths.given_ns = new["left_ms"], step.at_ns
        echo = next((echo for echo in step.event.frame.echoes if echo.node == own), None)
        left = group["votes"].get(step.event.frame.source)
        known = before["votes"].get(step.event.frame.source) if before["epoch"] == group["epoch"] else None
        if echo is not None and echo.grant_ms and left is not None and left > (known or 0) - passed + 0.01:
            lengths.got_ms, lengths.got_ns = float(echo.grant_ms), step.at_ns

    # ------------------------------------------------------------ outputs
    def _ordered(self, at_ns: int, group: int, on: bool) -> None:
        for change in reversed(self.found):
            if change.group == group and change.on == on and change.order_ns is None and change.at_ns == at_ns:
                change.order_ns = at_ns
                return

    def _confirmed(self, at_ns: int, event: Output) -> None:
        wanted = {OutputCode.OUTPUT_DRIVEN: True, OutputCode.OUTPUT_OFF: False}.get(event.code)
        for change in reversed(self.found):
            if change.group == event.group and change.order_ns is not None:
                if change.on == wanted and at_ns - change.order_ns <= SETTLE_NS:
                    key = "ordered_to_on_ms" if change.on else "ordered_to_off_ms"
                    change.record["measured"].setdefault(key, ms(at_ns - change.order_ns))
                return


def silences(view: View, names: Names) -> dict[str, dict[str, float]]:
    """Since when each other node has not been heard, link by link, in ms; links on which it never was are left out."""
    return {
        names.node_name(peer["node"]): {
            names.link_name(path["link"]): path["silent_ms"] for path in peer["paths"] if path["silent_ms"] is not None
        }
        for peer in view["peers"]
    }


def episodes(changes: list[Change]) -> list[list[Change]]:
    """Changes that belong together: none is later after the one before than a recording waits for the rest."""
    found: list[list[Change]] = []
    for change in changes:
        if found and change.at_ns - found[-1][-1].at_ns <= SETTLE_NS:
            found[-1].append(change)
        else:
            found.append([change])
    return found


def anchor(episode: list[Change]) -> Change:
    """The change from which times are counted: the first that begins or ends driving, else the first."""
    for change in episode:
        if State.ACTIVE.name in (change.record["from"], change.record["to"]):
            return change
    return episode[0]


def evidence_text(change: Change) -> Iterator[str]:
    """What each other node said last and on which links it was heard, as this node knew it then."""
    for peer in change.record["evidence"]["peers"]:
        if peer["heard_ms_ago"] is None:
            yield f"evidence: {peer['node']} was never heard"
            continue
        epoch = f" (epoch {peer['said_epoch']})" if peer["said_epoch"] else ""
        links = ", ".join(f"{name} {path['state']}" for name, path in peer["links"].items())
        ago_ms = peer["proven_ms_ago"]
        proven = ", never proven" if ago_ms is None else f", proven {ago_ms:.1f} ms ago"
        dead = "; its gate said that its agent is dead" if peer["gate_said_dead"] else ""
        yield f"evidence: {peer['node']} last said {peer['said_state']}{epoch}{proven}{dead}; links: {links}"


def measures_text(change: Change) -> list[str]:
    """The figures of a change as sentences."""
    found, said = change.measured, []
    silent = found.get("silence_ms", {}) if change.record["cause"] in OF_SILENCE else {}
    for node, paths in silent.items():
        if not paths:
            continue
        links = ", ".join(f"{link} {length:.1f} ms" for link, length in paths.items())
        said.append(f"silence of {node}: {min(paths.values()):.1f} ms ({links})")
    if "promise_ms" in found:
        said.append(
            f"the promise that ran out: {found['promise_ms']:.1f} ms (T_G), given {found['renewed_ms_ago']:.1f} ms "
            f"before; its holder counted {found['promise_lease_ms']:.1f} ms (T_L) from when it sent"
        )
    if "got_promise_ms" in found:
        said.append(
            f"promise got: {found['got_promise_ms']:.1f} ms (T_G), {found['got_lease_ms']:.1f} ms of it to act (T_L); "
            f"last answer {found['answered_ms_ago']:.1f} ms before"
        )
    for key, words in (
        ("claim_ms", "from the claim to the right to drive"),
        ("authority_ms", "authority then"),
        ("ordered_to_on_ms", "from the order to the gate's word that the outputs are on"),
        ("ordered_to_off_ms", "from the order to the gate's word that the outputs are off"),
    ):
        if found.get(key) is not None:
            said.append(f"{words}: {found[key]:.3f} ms")
    return said
