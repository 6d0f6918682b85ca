"""The running agent: takes the real-time part's messages and passes each to whom it concerns."""
from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twinbeat.links.serial import SerialPort
from twinbeat.run_events import EventLog, VainClaims
from twinbeat.run_jobs import Jobs
from twinbeat.run_loads import Loads
from twinbeat.run_loop import Loop, boottime_ns
from twinbeat.run_readback import ReadBack
from twinbeat.run_recordings import Recordings
from twinbeat.run_types import EarlyLike, GateLike, HealthLike, MqttLike, RuntimeLike
from twinbeat.run_view import OWNING, driver_of, evidence
from twinbeat.run_voter import VOTER_PORT, ThirdVoter
from twinbeat.run_words import LEVELS, Names, Reported, about_group, cause_name, code_name, sentence
from twinbeat.sdnotify import Notifier
from twinbeat.slow_outputs import SlowOutputs
from twinbeat.store import Opened, Store, StoreError
from twinbeat.telemetry import REFRESH_S, Telemetry
from twinbeat.verdict import Verdicts
from twinbeat_core.events import Output, Persisted
from twinbeat_core.model import OutputCode, ReportCode, State

log = logging.getLogger("twinbeat")

HEARTBEAT_S = 0.2
ROLE_SETTLE_S = 1.0
PERSIST_RETRY_S = 1.0


@dataclass
class Parts:
    """What an agent is put together from. Everything in it is open already."""

    names: Names
    loop: Loop
    gate: GateLike
    rt: RuntimeLike
    store: Store
    opened: Opened
    disk: Jobs
    files: Jobs
    recordings: Recordings
    slow: SlowOutputs
    telemetry: Telemetry
    notifier: Notifier
    serials: dict[int, SerialPort] = field(default_factory=dict)
    brokers: dict[int, MqttLike] = field(default_factory=dict)
    voter: ThirdVoter | None = None
    warnings: list[str] = field(default_factory=list)


class NodeAgent:
    """Runs in the loop's thread. `verdicts_of(agent)` makes its book of verdicts."""

    def __init__(self, parts: Parts, verdicts_of: Callable[[NodeAgent], Verdicts]) -> None:
        self.parts = parts
        self.rt = parts.rt
        self.names = parts.names
        self.started_ns = boottime_ns()
        self.failure = ""
        self.readback: ReadBack | None = None
        self.health: HealthLike | None = None
        self.early: EarlyLike | None = None
        self.loads = Loads()
        self.scored: Callable[[Any], Any] | None = None
        self.events = EventLog(parts.telemetry.event)
        self.verdicts = verdicts_of(self)
        self.refusals: dict[int, Reported] = {}
        self.watchers: list[Callable[[], bool]] = []
        self.report_hooks: list[Callable[[Reported], None]] = []
        self.status_parts: dict[str, Callable[[], Any]] = {}
        self.messages = 0
        self._causes: dict[int, int] = {}
        self._vain = VainClaims()
        self._driving: set[int] = set()
        self._ceiling_wanted = 0
        self._ticks_seen = -1
        self._fed_ns = 0
        self._handlers: dict[str, Callable[[Any], None]] = {
            "SendFrame": self._send_frame,
            "Reported": self._reported,
            "PersistCeiling": lambda message: self._persist(message.epoch),
            "DriveChanged": self._drive_changed,
            "OutputChanged": self._output_changed,
            "SerialFault": self._serial_fault,
            "Warned": lambda message: self.events.add("WARNING", message.text, logging.WARNING),
            "RecordingDue": self._recording_due,
        }
        if parts.voter is not None:
            self._handlers["AskVoter"] = parts.voter.ask
            self._handlers["ReturnPromise"] = parts.voter.give_back

    def begin(self) -> None:
        """Watch the real-time part and start the timers."""
        loop = self.parts.loop
        loop.watch(self.rt.notify_fd, self.notified)
        loop.call_every(HEARTBEAT_S, self._beat)
        loop.call_every(REFRESH_S, self.parts.telemetry.refresh)
        self.rt.heartbeat()

    # ------------------------------------------------------------ messages of the real-time part

    def notified(self) -> None:
        """Messages wait. Frames go out before anything else is looked at."""
        waiting = self.rt.poll()
        self.messages += len(waiting)
        rest = []
        for message in waiting:
            if type(message).__name__ == "SendFrame":
                self._send_frame(message)
            else:
                rest.append(message)
        for message in rest:
            handler = self._handlers.get(type(message).__name__)
            if handler is not None:
                handler(message)
        if rest and self.watchers:
            self.look()

    def look(self) -> None:
        """Let those who wait for an outcome look whether it is there."""
        self.watchers = [watcher for watcher in self.watchers if not watcher()]

    def _send_frame(self, message: Any) -> None:
        broker = self.parts.brokers.get(message.link)
        if broker is not None:
            broker.send_beat(message.data, message.at_ns)

    def _reported(self, message: Any) -> None:
        report = Reported(*message)
        claimed = (report.node, report.value) == (State.CLAIMING, State.ACTIVE)
        if report.code == ReportCode.RP_STATE and not (claimed and report.group in self._causes):
            self._causes[report.group] = report.extra      # of a driver: why it claimed, not how it was granted
        if report.code == ReportCode.RP_PEER_DEAD and self.parts.voter is not None:
            self.parts.voter.peer_dead(report.node, report.value)
        if report.code == ReportCode.RP_PEER_DEAD and report.extra:
            return                           # the same death: one more group is off
        told, untold = self._vain.take(report) if report.code == ReportCode.RP_STATE else (True, 0)
        if untold:
            name = self.names.group_name(report.group)
            more = f"{name}: {untold} more changes between STANDBY and CLAIMING were not told apart"
            self.events.add("CLAIMS", more, group=name)
        if told:
            text = sentence(report, self.names)
            level, about = LEVELS.get(report.code, logging.INFO), about_group(report, self.names)
            self.events.add(code_name(report.code), text, level, report.at_ns, about)
        if report.code == ReportCode.RP_STATE:
            self.verdicts.state_changed(report)
            self._show_state()
            if report.node == State.ACTIVE:
                self.parts.loop.call_later(ROLE_SETTLE_S, lambda: self._role_lost(report.group, report.epoch))
            self.parts.loop.call_later(ROLE_SETTLE_S, lambda: self._remember_driver(report.group))
        elif report.code == ReportCode.RP_HANDOVER_REFUSED:
            self.refusals[report.group] = report
        for hook in self.report_hooks:
            hook(report)

    def _drive_changed(self, message: Any) -> None:
        cause = self.cause_of(message.group)
        self.verdicts.drive_changed(message.group, message.epoch, bool(message.on), message.at_ns)
        self.parts.slow.drive(message.group, bool(message.on), message.epoch, cause)
        if message.on:
            self._driving.add(message.group)
            self.parts.telemetry.role(self.names.group_name(message.group), self.names.node, message.epoch, cause)
        else:
            self._driving.discard(message.group)

    def _output_changed(self, message: Any) -> None:
        self.verdicts.output_changed(message.group, message.epoch, message.code, message.at_ns)
        if self.readback is not None and message.code in (OutputCode.OUTPUT_DRIVEN, OutputCode.OUTPUT_OFF):
            self.readback.changed(message.group, message.epoch, message.code == OutputCode.OUTPUT_DRIVEN)
        if message.code in (OutputCode.OUTPUT_FAILED, OutputCode.OUTPUT_MISMATCH):
            fault = "could not be switched" if message.code == OutputCode.OUTPUT_FAILED else "disagrees on read-back"
            group = self.names.group_name(message.group)
            text = f"{group}: an output {fault} (epoch {message.epoch}); check its wiring and device"
            self.events.add("OUTPUT", text, logging.ERROR, message.at_ns, group)

    def _serial_fault(self, message: Any) -> None:
        voter = self.parts.voter
        port = voter.port if message.link == VOTER_PORT and voter else self.parts.serials.get(message.link)
        if port is not None:
            port.fault(message.errno)

    def _recording_due(self, message: Any) -> None:
        self.parts.recordings.role_changed(self.names.group_name(message.group), message.epoch)

    # ------------------------------------------------------------ epochs on disk

    def _persist(self, epoch: int) -> None:
        """Write an epoch ceiling in the disk's thread; the core is told when it is there."""
        self._ceiling_wanted = max(self._ceiling_wanted, epoch)
        wanted = self._ceiling_wanted

        def job() -> None:
            try:
                self.parts.store.persist(wanted)
            except StoreError as error:
                text = str(error)
                self.parts.loop.call_threadsafe(lambda: self._persist_failed(text))
            else:
                self.parts.loop.call_threadsafe(lambda: self.post(Persisted(boottime_ns(), wanted)))

        if not self.parts.disk.submit("epoch ceiling", job):
            self._persist_failed("the disk is too slow for the epoch ceiling")

    def _persist_failed(self, text: str) -> None:
        self.events.add("EPOCH_DISK", text, logging.ERROR)
        self.parts.loop.call_later(PERSIST_RETRY_S, lambda: self._persist(self._ceiling_wanted))

    # ------------------------------------------------------------ for others

    def post(self, event: Any) -> bool:
        """Send an event to the core."""
        if self.rt.post(event if self.scored is None else self.scored(event)):
            return True
        self.events.add("RING_FULL", f"the decider takes no events: {type(event).__name__} was lost", logging.ERROR)
        return False

    def output_failed(self, group: int, epoch: int, code: int) -> None:
        """A slow output did not do its work. From any thread."""
        event = Output(boottime_ns(), group, OutputCode(code), epoch)
        self.parts.loop.call_threadsafe(lambda: self.post(event))

    def cause_of(self, group: int) -> str:
        """Why a group last changed its state here; of a driver: why it claimed."""
        return cause_name(self._causes.get(group, 0))

    def core_view(self) -> dict[str, Any]:
        """The core's state as plain data."""
        raw = self.rt.view()
        return dict(raw.get("core", raw))

    def evidence(self, group: int) -> dict[str, Any]:
        """What links and voters say about a group at this moment, brokers included."""
        view = self.core_view()
        found = evidence(view, self.names, group)
        found |= {"load": self.loads.own(view), "peers": self.loads.marked(found["peers"], "node")}
        brokers = self.parts.brokers.items()
        found["brokers"] = {self.names.link_name(link): broker.state.connected for link, broker in brokers}
        if self.health is not None:
            found["unfit"] = self.health.reasons()
        return found

    # ------------------------------------------------------------ timers

    def _beat(self) -> None:
        self.rt.heartbeat()
        if not self.parts.gate.alive():
            self.failure = "the gate process has ended: no output can be driven; the agent ends to be started anew"
            log.error("%s", self.failure)
            self.parts.loop.stop()
            return
        if self.watchers:
            self.look()
        self._feed_watchdog()

    def _feed_watchdog(self) -> None:
        """Tell the service manager that the decider runs, if it does: this thread's own life proves nothing."""
        notifier = self.parts.notifier
        now_ns = boottime_ns()
        if not notifier.watchdog_us or now_ns - self._fed_ns < notifier.watchdog_us * 250:
            return
        ticks = decider_ticks(self.rt.view())
        if ticks != self._ticks_seen:
            self._ticks_seen = ticks
            self._fed_ns = now_ns
            notifier.alive()

    def _remember_driver(self, group: int) -> None:
        """Some time after a change of role: put on disk who drives, for the order of the next cold start."""
        driver = driver_of(self.core_view(), self.names, group)
        name = self.names.group_name(group)
        if driver is None:
            return

        def job() -> None:
            try:
                self.parts.store.last_drivers.note(name, driver)
            except StoreError as error:
                text = str(error)
                self.parts.loop.call_threadsafe(lambda: self.events.add("DRIVER_DISK", text, logging.WARNING))

        self.parts.disk.submit("last driver", job)

    def _show_state(self) -> None:
        states = [f"{self.names.group_name(group['group'])} {group['state']}" for group in self.core_view()["groups"]]
        self.parts.notifier.status(", ".join(states))

    def _role_lost(self, group: int, epoch: int) -> None:
        """A moment after letting go: say that nobody drives if that is so, else leave the word to who drives."""
        if group in self._driving:
            return
        view = self.core_view()
        name = self.names.group_name(group)
        if driver_of(view, self.names, group) is None and view["groups"][group]["state"] not in OWNING:
            self.parts.telemetry.role(name, None, epoch, self.cause_of(group))
        else:
            self.parts.telemetry.not_ours(name)


def decider_ticks(view: dict[str, Any]) -> int:
    """How often the decider has gone round, from the real-time part's view."""
    return int(view["decider"]["wakeups"])
