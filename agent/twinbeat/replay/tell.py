"""What is notable in a step: what came in, what the core ordered and reported, how its knowledge changed."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twinbeat.replay.frames import Unanswered, said
from twinbeat.replay.walk import Entry, Step, View, ms
from twinbeat.run_view import bars_text
from twinbeat.run_words import CAUSES, LATES, Names, code_name
from twinbeat.run_words import sentence as report_sentence
from twinbeat_core.events import (
    NOBODY,
    Command,
    Drive,
    Health,
    Heard,
    Late,
    LinkChange,
    Output,
    Persist,
    Persisted,
    Start,
    Sync,
    Vote,
)
from twinbeat_core.model import (
    Cause,
    CommandCode,
    DriveCode,
    FrameFlag,
    FrameKind,
    Lone,
    OutputCode,
    ReportCode,
    RowFlag,
    State,
    VoteCode,
)
from twinbeat_core.settings import Settings

COMMANDS: dict[int, str] = {
    CommandCode.CMD_HANDOVER: "command: hand {group} over to {node}",
    CommandCode.CMD_OUT: "command: take {group} out of service here",
    CommandCode.CMD_IN: "command: put {group} back into service here",
    CommandCode.CMD_STOP: "command: planned stop of the agent",
    CommandCode.CMD_CLEAR: "command: clear the output fault of {group}",
    CommandCode.CMD_LAST_DRIVER: "remembered from the life before: {node} drove {group} last",
}
OUTPUTS: dict[int, str] = {
    OutputCode.OUTPUT_DRIVEN: "the gate says: every output of {group} is on",
    OutputCode.OUTPUT_OFF: "the gate says: the outputs of {group} are off",
    OutputCode.OUTPUT_FAILED: "an output of {group} could not be switched",
    OutputCode.OUTPUT_MISMATCH: "the read-back of {group} disagrees",
}
VOTES: dict[int, str] = {
    VoteCode.VOTE_PROMISED: "the third voter promises {group} at epoch {epoch} for {ms} ms",
    VoteCode.VOTE_REFUSED: "the third voter refuses {group} at epoch {epoch}",
    VoteCode.VOTE_GONE: "the third voter does not answer",
}
FLAGS: dict[int, str] = {
    FrameFlag.FLAG_UNFIT: "is not fit to drive",
    FrameFlag.FLAG_STOPPING: "is stopping as planned",
    FrameFlag.FLAG_BEHIND: "is behind with its replication",
}


class Teller:
    """Turns steps into entries, one after the other."""

    def __init__(self, settings: Settings, names: Names, view: View) -> None:
        self._settings = settings
        self._names = names
        self._unanswered = Unanswered()
        self._ordered_ns: dict[int, int] = {}
        self._offered: set[tuple[int, int, int]] = set()
        self._noticed: set[tuple[int, tuple[int, ...]]] = set()
        self._health: tuple[bool, int] | None = (view["fit"], view["health"])
        self._in_step: bool | None = None

    def entries(self, step: Step) -> Iterator[Entry]:
        """The notable things of a step, in the order in which they happened."""
        yield from self._came_in(step)
        for peer_before, peer in zip(step.before["peers"], step.after["peers"], strict=True):
            yield from self._peer(step, peer_before, peer)
        for group_before, group in zip(step.before["groups"], step.after["groups"], strict=True):
            yield from self._promise(step, group_before, group)
            yield from self._votes(step, group_before, group)
        yield from self._answered(step)
        for group_before, group in zip(step.before["groups"], step.after["groups"], strict=True):
            yield from self._own_word(step, group_before, group)
        self._unanswered.take(step)

    # ------------------------------------------------------------ events
    def _came_in(self, step: Step) -> Iterator[Entry]:
        event, at = step.event, step.at_ns
        if isinstance(event, Heard):
            yield from self._heard(step, event)
        elif isinstance(event, Output):
            yield self._output(at, event)
        elif isinstance(event, Command):
            text = COMMANDS[event.code].format(group=self._names.group_name(event.group), node=self._taker(event.node))
            yield Entry(at, "command", text, {"command": event.code.name.removeprefix("CMD_")})
        elif isinstance(event, Late):
            text = f"{LATES[event.code]} by {ms(event.late_ns):.1f} ms: silence in that time proves nothing"
            yield Entry(at, "self-doubt", text, {"late_ms": ms(event.late_ns)})
        elif isinstance(event, LinkChange):
            way = "up" if event.up else "down, a hint: the other links are probed at once"
            yield Entry(at, "link", f"the transport of link {self._names.link_name(event.link)} went {way}")
        elif isinstance(event, Start):
            lost = ", its disk was lost" if event.disk_lost else ""
            text = f"the agent starts as incarnation {event.incarnation}{lost}"
            yield Entry(at, "start", f"{text}; it abstains for {self._listen_ms():.0f} ms",
                        {"incarnation": event.incarnation, "ceiling": event.ceiling})
        elif isinstance(event, Vote):
            text = VOTES[event.code].format(group=self._names.group_name(event.group), epoch=event.epoch,
                                            ms=event.grant_ms)
            yield Entry(at, "vote", text)
        else:
            yield from self._condition(step)

    def _condition(self, step: Step) -> Iterator[Entry]:
        """Health, replication, epochs on disk."""
        event, at = step.event, step.at_ns
        if isinstance(event, Health):
            if self._health is not None and self._health[0] != event.fit:
                word = "fit" if event.fit else "not fit"
                yield Entry(at, "health", f"this node is {word} to drive (score {event.score})")
            self._health = (event.fit, event.score)
        elif isinstance(event, Sync):
            if self._in_step is not None and self._in_step != event.in_step:
                yield Entry(at, "sync", f"replication is {'in step' if event.in_step else 'behind'}")
            self._in_step = event.in_step
        elif isinstance(event, Persisted):
            yield Entry(at, "persisted", f"epochs up to {event.ceiling} are on disk")

    def _heard(self, step: Step, event: Heard) -> Iterator[Entry]:
        frame = event.frame
        node, link = self._names.node_name(frame.source), self._names.link_name(event.link)
        if frame.kind == FrameKind.FRAME_DEATH:
            off = tuple(number for number, row in enumerate(frame.rows) if row.flags & RowFlag.ROW_DROPPED)
            if (frame.incarnation, off) in self._noticed:
                return       # the gate says it again and again
            self._noticed.add((frame.incarnation, off))
            dropped = [self._names.group_name(number) for number in off]
            what = f"the outputs of {', '.join(dropped)} are off" if dropped else "no outputs are off yet"
            yield Entry(step.at_ns, "death notice", f"death notice of {node}'s gate on link {link}: {what}",
                        {"node": node, "link": link, "groups": dropped})
            return
        for number, row in enumerate(frame.rows):
            key = (frame.source, number, row.epoch)
            if row.flags & RowFlag.ROW_TARGET and row.vote == step.after["node"] and key not in self._offered:
                self._offered.add(key)
                group = self._names.group_name(number)
                yield Entry(step.at_ns, "offer", f"{node} has let go and offers {group} to this node at epoch "
                            f"{row.epoch}", {"node": node, "epoch": row.epoch})

    def _output(self, at_ns: int, event: Output) -> Entry:
        text = OUTPUTS[event.code].format(group=self._names.group_name(event.group))
        data: dict[str, Any] = {"code": event.code.name.removeprefix("OUTPUT_"), "epoch": event.epoch}
        ordered = self._ordered_ns.pop(event.group, None)
        if ordered is not None:
            data["after_order_ms"] = ms(at_ns - ordered)
            text += f", {data['after_order_ms']:.3f} ms after the order"
        return Entry(at_ns, "output", text, data)

    # ------------------------------------------------------------ knowledge
    def _peer(self, step: Step, before: dict[str, Any], peer: dict[str, Any]) -> Iterator[Entry]:
        node = self._names.node_name(peer["node"])
        data = {"node": node}
        if peer["suspect"] and not before["suspect"]:
            text = f"{node} is suspected: silent on its fastest link; the other links are probed and go faster"
            yield Entry(step.at_ns, "suspicion", text, data | {"silent_ms": peer["silent_ms"]})
        elif before["suspect"] and not peer["suspect"]:
            yield Entry(step.at_ns, "suspicion over", f"{node} is no longer suspected", data)
        if not isinstance(step.event, Heard) or step.event.frame.source != peer["node"]:
            return
        for flag, words in FLAGS.items():
            if peer["flags"] & flag and not before["flags"] & flag and peer["known"]:
                yield Entry(step.at_ns, "peer", f"{node} says: it {words}", data)
        # An epoch beside a state that drives nothing is a floor or a promise, and moves with every claim.
        told = [(row["state"], row["epoch"] if State[row["state"]] in (State.CLAIMING, State.ACTIVE) else 0)
                for row in peer["rows"]]
        told_before = [(row["state"], row["epoch"] if State[row["state"]] in (State.CLAIMING, State.ACTIVE) else 0)
                       for row in before["rows"]]
        if told != told_before and step.event.frame.kind == FrameKind.FRAME_HEARTBEAT:
            yield Entry(step.at_ns, "peer", f"{node} says: {said(step.event.frame, self._names)}", data)

    def _promise(self, step: Step, before: dict[str, Any], group: dict[str, Any]) -> Iterator[Entry]:
        """How this node's own promise to another one came, went and ended."""
        name = self._names.group_name(group["group"])
        old, new = before["promise"], group["promise"]
        own = step.after["node"]
        had, has = (None if promise["holder"] == own else promise["holder"] for promise in (old, new))
        if had is not None and old["left_ms"] is not None and (has != had or new["left_ms"] is None):
            yield self._ended(step, group, old, has == had)
        if has is not None and (had, old["epoch"]) != (has, new["epoch"]):
            node = self._names.node_name(has)
            length = f" for {new['left_ms']:.1f} ms" if new["left_ms"] is not None else ""
            yield Entry(step.at_ns, "promise", f"promises {name} to {node} at epoch {new['epoch']}{length}",
                        {"to": node, "epoch": new["epoch"], "ms": new["left_ms"]})

    def _ended(self, step: Step, group: dict[str, Any], old: dict[str, Any], stands: bool) -> Entry:
        """A promise that ran out by time, or ended before."""
        name, node = self._names.group_name(group["group"]), self._names.node_name(old["holder"])
        at_ns = step.before["now_ns"] + int(old["left_ms"] * 1e6)
        if at_ns <= step.at_ns + 1000:
            text = f"the promise of {name} to {node} ran out"
            if stands and self._settings.groups[group["group"]].lone == Lone.LONE_HOLD:
                text += '; with lone = "hold" it stands nevertheless'
            return Entry(min(at_ns, step.at_ns), "promise ran out", text, {"to": node, "epoch": old["epoch"]})
        why = CAUSES[Cause.CAUSE_RELEASED]
        if isinstance(step.event, Heard) and step.event.frame.kind == FrameKind.FRAME_DEATH:
            why = CAUSES[Cause.CAUSE_DEATH_NOTICE]
        return Entry(step.at_ns, "promise ended", f"the promise of {name} to {node} ends: {why}", {"to": node})

    def _votes(self, step: Step, before: dict[str, Any], group: dict[str, Any]) -> Iterator[Entry]:
        known = before["votes"] if before["epoch"] == group["epoch"] else {}
        name = self._names.group_name(group["group"])
        for voter, left in group["votes"].items():
            if voter in known or left is None:
                continue
            node = self._names.node_name(int(voter))
            text = f"{node}'s promise of {name} at epoch {group['epoch']} is here: good for {left:.1f} ms"
            yield Entry(step.at_ns, "vote", text, {"from": node, "epoch": group["epoch"], "ms": left})

    def _own_word(self, step: Step, before: dict[str, Any], group: dict[str, Any]) -> Iterator[Entry]:
        name = self._names.group_name(group["group"])
        if group["state"] == State.ACTIVE.name and group["alone"] and not before["alone"]:
            yield Entry(step.at_ns, "alone", f"drives {name} on its own word: {CAUSES[Cause.CAUSE_ALONE]}")
        elif group["state"] == State.ACTIVE.name and before["alone"] and not group["alone"]:
            yield Entry(step.at_ns, "alone", f"drives {name} on the other nodes' promises again")
        if group["bars"] != before["bars"]:
            barred = ", ".join(bars_text(group["bars"])) or "nothing any more"
            yield Entry(step.at_ns, "bar", f"this node is kept from claiming {name} by: {barred}")

    # ------------------------------------------------------------ answers
    def _answered(self, step: Step) -> Iterator[Entry]:
        for report in step.reports():
            text = report_sentence(report, self._names)
            if report.code == ReportCode.RP_STATE:
                text = self._with_reason(report.value, report.extra, text)
            yield Entry(step.at_ns, "state" if report.code == ReportCode.RP_STATE else "report", text,
                        {"code": code_name(report.code)})
        for effect in step.effects:
            if isinstance(effect, Drive) and effect.code != DriveCode.DRIVE_EXTEND:
                self._ordered_ns[effect.group] = step.at_ns
                name = self._names.group_name(effect.group)
                if effect.code == DriveCode.DRIVE_OFF:
                    yield Entry(step.at_ns, "drive", f"orders the outputs of {name} off")
                    continue
                until = ms(effect.deadline_ns - step.at_ns)
                yield Entry(step.at_ns, "drive", f"orders the outputs of {name} on at epoch {effect.epoch}; authority "
                            f"for {until:.1f} ms, to be extended", {"epoch": effect.epoch, "authority_ms": until})
            elif isinstance(effect, Persist):
                yield Entry(step.at_ns, "persist", f"asks for epochs up to {effect.ceiling} to be reserved on disk")

    def _with_reason(self, state: int, cause: int, text: str) -> str:
        """A claim by silence and a lapse with what was tried meanwhile."""
        if cause in (Cause.CAUSE_SILENCE, Cause.CAUSE_LAPSED) and state in (State.CLAIMING, State.RELEASING):
            tried = self._unanswered.text(self._names)
            return f"{text} ({tried})" if tried else text
        return text

    def _taker(self, node: int) -> str:
        return "the best candidate" if node == NOBODY else self._names.node_name(node)

    def _listen_ms(self) -> float:
        return self._settings.compile().grant_max_ms
