"""`twinbeat run`: puts an agent together, runs it until it is told to stop, takes it apart again.

The order matters. Everything that can be wrong is looked at before anything is opened; the node's lock is
taken before an output is touched; the gate has every output at its safe level before a link is heard.
"""
from __future__ import annotations

import gc
import logging
import os
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinbeat import run_lean  # noqa: F401 - before what imports hashlib
from twinbeat.config import Config, core_settings, load_config
from twinbeat.control import ControlServer
from twinbeat.errors import ConfigError, DeviceError
from twinbeat.keys import load_key
from twinbeat.remote import operators_of, remote_verbs
from twinbeat.run_apps import Applications
from twinbeat.run_desk import verb_table
from twinbeat.run_jobs import Jobs
from twinbeat.run_lock import NodeLock
from twinbeat.run_log import start_log
from twinbeat.run_loop import Loop, Signals, boottime_ns
from twinbeat.run_node import NodeAgent, Parts
from twinbeat.run_open import (
    OpenedOutputs,
    broker_options,
    make_brokers,
    names_of,
    open_outputs,
    open_ports,
    serial_opener,
)
from twinbeat.run_operate import Operation
from twinbeat.run_readback import ReadBack
from twinbeat.run_recordings import Recordings
from twinbeat.run_rescue import switch_off
from twinbeat.run_stop import PlannedStop
from twinbeat.run_twin import LOOK_S, TwinWatch
from twinbeat.run_types import GateLike, RuntimeLike
from twinbeat.run_view import families_of
from twinbeat.run_voter import LOOK_S as VOTER_LOOK_S
from twinbeat.run_voter import attach_contacts, open_third_voter
from twinbeat.sdnotify import Notifier
from twinbeat.slow_outputs import SlowOutputs
from twinbeat.store import Store
from twinbeat.telemetry import Telemetry
from twinbeat.upgrade.pin import protocol_range
from twinbeat.verdict import Verdicts
from twinbeat.version import __version__
from twinbeat.warning.service import begin_warnings
from twinbeat_core.events import Command, LinkChange
from twinbeat_core.model import CommandCode

if TYPE_CHECKING:
    from twinbeat_core.settings import CoreSettings

log = logging.getLogger("twinbeat")

THREAD_STACK_BYTES = 512 * 1024
RECORD_BYTES = 2 << 20
"""The flight recorder's ring: about a minute and a half of a pair at 10 ms. It is locked memory once it is full."""
SLOW_STOP_LIMIT_S = 10.0
LEAVE_LIMIT_S = 1.0

RuntimeMaker = Callable[..., RuntimeLike]


def run_agent(
    *,
    gate: GateLike | None,
    config_path: str | Path,
    node: str | None = None,
    run_dir: str | None = None,
    state_dir: str | None = None,
    make_runtime: RuntimeMaker | None = None,
    started: Callable[[NodeAgent], None] | None = None,
) -> int:
    """Run one node's agent until SIGTERM or SIGINT; returns the exit code.

    `gate` was forked before anything heavy was imported. `make_runtime` and `started` (called in the loop
    once all runs) are for tests. Raises TwinbeatError with the exit code when the agent cannot start.
    """
    cfg = load_config(config_path, node)
    if gate is None:
        raise DeviceError("the gate process is missing; start the agent with: twinbeat run")
    settings = compiled(cfg)
    key = load_key(cfg)
    brokers = broker_options(cfg)
    with ExitStack() as leave:
        lines = start_log(cfg.node, cfg.agent.log_level)
        leave.callback(lines.finish, LEAVE_LIMIT_S)
        threading.stack_size(THREAD_STACK_BYTES)
        lock = NodeLock(cfg.run_dir(run_dir), cfg.pair.name, cfg.node)
        lock.acquire()
        leave.callback(lock.release)
        gate.hold_fd(lock.fd)
        session = Session(cfg, gate, cfg.run_dir(run_dir), cfg.state_dir(state_dir), leave)
        maker = make_runtime or default_runtime()
        return session.run(maker, settings, key, brokers, started)


def compiled(cfg: Config) -> CoreSettings:
    """The core's settings. Raises ConfigError."""
    if cfg.timing.realtime is True:
        from twinbeat.config_core import realtime_permitted

        if not realtime_permitted():
            raise ConfigError(
                f"{cfg.path}: [timing]: realtime = true, but this process may not use real-time scheduling; "
                'give it CAP_SYS_NICE (the systemd unit does), or write realtime = "auto"'
            )
    return core_settings(cfg).compile()


def default_runtime() -> RuntimeMaker:
    """The compiled real-time part, imported only now."""
    from twinbeat_rt.runtime import Runtime

    return Runtime


class Session:
    """One run of the agent, from opened outputs to the last goodbye. `leave` undoes in reverse order."""

    def __init__(self, cfg: Config, gate: GateLike, run_dir: Path, state_dir: Path, leave: ExitStack) -> None:
        self._cfg = cfg
        self._gate = gate
        self._run_dir = run_dir
        self._state_dir = state_dir
        self._leave = leave
        self._names = names_of(cfg)
        self._operators = operators_of(cfg)
        self._started = False
        self._loop = Loop()
        leave.callback(self._loop.close)

    def run(
        self,
        make_runtime: RuntimeMaker,
        settings: CoreSettings,
        key: bytes,
        brokers: dict[int, Any],
        started: Callable[[NodeAgent], None] | None,
    ) -> int:
        """Open, start, serve, stop."""
        cfg, loop = self._cfg, self._loop
        store = Store(self._state_dir, cfg.pair.name, cfg.node)
        opened = store.open()
        realtime = cfg.timing.realtime is not False
        rt = make_runtime(
            self._gate, settings, key, fifo=realtime, lock_memory=realtime, zombie_ms=cfg.agent.zombie_ms,
            record_bytes=RECORD_BYTES,
        )
        outputs = self._outputs(rt)
        serials, warnings = open_ports(cfg, rt, self._gate.pid, loop.call_threadsafe)
        voter = open_third_voter(
            cfg, rt, key, settings.third_grant_ms, opened.incarnation, serial_opener(self._gate.pid),
            loop.call_threadsafe,
        )
        attach_contacts(outputs.drivers, voter)
        for port in [*serials.values(), *([voter.port] if voter and voter.port else [])]:
            self._leave.callback(port.stop)
        telemetry = Telemetry(cfg.pair.name, cfg.node, opened.starts)
        links = make_brokers(brokers, rt, lambda link, up: self._broker_changed(rt, link, up), telemetry.will())
        disk, files = Jobs("store"), Jobs("files")
        stem = f"{cfg.pair.name}-{cfg.node}"
        failed: list[Callable[[int, int, int], None]] = []
        parts = Parts(
            names=self._names,
            loop=loop,
            gate=self._gate,
            rt=rt,
            store=store,
            opened=opened,
            disk=disk,
            files=files,
            recordings=Recordings(self._state_dir, stem, rt.save_recording, files, loop.call_later),
            slow=SlowOutputs(outputs.slow, self._names.groups, lambda *args: failed[0](*args)),
            telemetry=telemetry,
            notifier=Notifier(),
            serials=serials,
            brokers=links,
            voter=voter,
            warnings=[*outputs.warnings, *warnings, *([opened.warning] if opened.warning else [])],
        )
        agent = NodeAgent(parts, lambda agent: self._verdicts(agent, telemetry, files))
        failed.append(agent.output_failed)
        agent.readback = ReadBack(outputs.drivers, agent.output_failed, loop.call_later)
        stop = PlannedStop(agent, max(group.prepare_ms for group in cfg.groups) / 1000)
        self._begin(agent, outputs, stop)
        if started is not None:
            loop.call_threadsafe(lambda: started(agent))
        loop.run()
        return self._end(agent, stop, outputs)

    def _outputs(self, rt: RuntimeLike) -> OpenedOutputs:
        """Open the outputs and give them to the gate, which writes their safe level before it answers."""
        outputs = open_outputs(self._cfg)
        self._leave.callback(outputs.close)
        try:
            rt.set_outputs(outputs.fast)
        finally:
            outputs.drop_descriptors()
        return outputs

    def _verdicts(self, agent: NodeAgent, telemetry: Telemetry, files: Jobs) -> Verdicts:
        cfg = self._cfg
        return Verdicts(
            self._names,
            cfg.pair.name,
            self._state_dir / f"{cfg.pair.name}-{cfg.node}.verdicts.jsonl",
            agent.evidence,
            self._loop.call_later,
            lambda job: files.submit("verdict", job),
            telemetry.verdict,
            [cfg.groups[unit].name for family in cfg.families if family.overlap for unit in family.units],
        )

    def _broker_changed(self, rt: RuntimeLike, link: int, up: bool) -> None:
        """From a broker's thread: a hint for the core, posted in the loop's thread like every event."""
        self._loop.call_threadsafe(lambda: rt.post(LinkChange(boottime_ns(), link, up)))

    def _tell_last_drivers(self, parts: Parts) -> None:
        """Who drove before this start: the core orders a cold start by it."""
        known = parts.store.last_drivers.load()
        for group, name in enumerate(self._names.groups):
            if known.get(name) in self._names.nodes:
                node = self._names.nodes.index(known[name])
                parts.rt.post(Command(boottime_ns(), CommandCode.CMD_LAST_DRIVER, group, node))

    def _begin(self, agent: NodeAgent, outputs: OpenedOutputs, stop: PlannedStop) -> None:
        """Start the threads and services, in the order in which they need each other."""
        cfg, parts, loop = self._cfg, agent.parts, self._loop
        kinds = [link.type for link in cfg.links]
        agent.status_parts["families"] = lambda: families_of(cfg)
        fixed = {"pair": cfg.pair.name, "session": parts.opened.starts, "incarnation": parts.opened.incarnation,
                 "config_digest": cfg.digest, "protocol": protocol_range()}
        apps = Applications(cfg, agent)
        operation = Operation(cfg, agent, self._state_dir)
        self._leave.callback(operation.close)
        verbs = verb_table(agent, kinds, lambda: [driver.describe() for driver in outputs.drivers], fixed, operation)
        verbs |= remote_verbs(agent, cfg.pair.name, self._operators, verbs)
        server = ControlServer(loop, cfg.socket_path(str(self._run_dir)), verbs | apps.table(), cfg.agent.control_group)
        self._leave.callback(server.close)
        signals = Signals(loop, {signal.SIGTERM: stop.signalled, signal.SIGINT: stop.signalled, signal.SIGHUP: hung_up})
        self._leave.callback(signals.close)
        parts.slow.stop_leftovers()
        parts.warnings += parts.rt.start(parts.opened.incarnation, parts.opened.ceiling, parts.opened.disk_lost)
        self._started = True
        self._tell_last_drivers(parts)
        operation.begin()
        self._leave.callback(self._stop_once, parts.rt)
        agent.begin()
        if cfg.checks_of(cfg.node):
            from twinbeat.health.service import start_health

            agent.health = start_health(cfg, agent)
            self._leave.callback(agent.health.close)
        apps.start()
        begin_warnings(cfg, agent, self._state_dir, self._leave.callback)
        twins = TwinWatch(self._names, cfg.pair.name, agent.events, parts.warnings)
        loop.call_every(LOOK_S, lambda: twins.look(agent.core_view))
        self._begin_voter(agent)
        for broker in parts.brokers.values():
            broker.start()
        parts.telemetry.attach(list(parts.brokers.values()))
        for warning in parts.warnings:
            agent.events.add("WARNING", warning, logging.WARNING)
        agent.events.add(
            "START",
            f"twinbeat {__version__}, pair {cfg.pair.name}, node {cfg.node}, start {parts.opened.starts}, "
            f"pid {os.getpid()}, gate {self._gate.pid}",
        )
        if os.environ.get("TWINBEAT_DEMO_BUSY") == "1":
            from twinbeat.run_busy import start_busy_thread

            start_busy_thread()
        gc.collect()
        gc.freeze()
        parts.notifier.ready("listening")

    def _begin_voter(self, agent: NodeAgent) -> None:
        voter = agent.parts.voter
        if voter is None:
            return
        voter.tell = agent.events.add
        self._loop.call_every(VOTER_LOOK_S, voter.look)
        if voter.client is not None:
            voter.client.start()

    def _stop_once(self, rt: RuntimeLike, planned: bool = False) -> None:
        """End the real-time part: planned, or because of a fault, which for the gate is like the agent's death."""
        if self._started:
            self._started = False
            rt.stop(planned)

    def _end(self, agent: NodeAgent, stop: PlannedStop, outputs: OpenedOutputs) -> int:
        """Take the agent apart. The outputs are off already, or go off with the gate."""
        parts = agent.parts
        if not self._gate.alive():
            switch_off(self._cfg, outputs)
        limit_s = LEAVE_LIMIT_S / 2 if stop.immediate else LEAVE_LIMIT_S
        agent.verdicts.flush()
        parts.recordings.flush()
        parts.files.wait_idle(limit_s)
        parts.slow.close(limit_s if stop.immediate or agent.failure else SLOW_STOP_LIMIT_S)
        self._loop.watch(parts.rt.notify_fd, None)
        for broker in parts.brokers.values():
            broker.stop(parts.telemetry.farewell(), limit_s)
        if parts.voter is not None and parts.voter.client is not None:
            parts.voter.client.stop()
        self._stop_once(parts.rt, planned=not agent.failure)
        parts.files.close(limit_s)
        parts.disk.close(limit_s)
        log.info("stopped")
        parts.notifier.close()
        return 70 if agent.failure else 0


def hung_up() -> None:
    """SIGHUP: the configuration is read at start only."""
    log.warning("SIGHUP ignored: the configuration is read at start; restart the agent to change it")
