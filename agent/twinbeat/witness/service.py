"""The running witness: keys, reservations and figures around the link that answers. Only the link's thread decides."""
from __future__ import annotations

import fcntl
import gc
import logging
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from twinbeat.errors import AlreadyRunning, TwinbeatError
from twinbeat.run_jobs import Jobs
from twinbeat.run_lock import read_pid
from twinbeat.run_loop import Loop, Signals, boottime_ns
from twinbeat.sdnotify import Notifier
from twinbeat.store import StoreError, make_directory
from twinbeat.version import __version__
from twinbeat.witness.book import Book
from twinbeat.witness.config import WitnessConfig
from twinbeat.witness.desk import Desk
from twinbeat.witness.figures import FiguresServer
from twinbeat.witness.keyring import Keyring, PairKey
from twinbeat.witness.link import WitnessLink
from twinbeat.witness.report import figures_text, status_text
from twinbeat_bridge.witness import PAIRS_MAX, Witness, voter_id

if TYPE_CHECKING:
    import ssl

    from twinbeat.links.mqtt_options import MqttOptions

log = logging.getLogger("twinbeat.witness")

STATUS_S = 5.0
STOP_LIMIT_S = 3.0
TURN_LIMIT_NS = 5 * 10**9
OPEN_LIMIT_NS = 60 * 10**9
"""A name server that does not answer holds up the opening of a connection, and nothing else."""
MISSING_KEPT_MS = 10000
MISSING_MAX = 4096


class Service:
    """One witness, from its files to its end. Everything that can fail for the operator fails in the constructor."""

    def __init__(self, cfg: WitnessConfig, options: MqttOptions, context: ssl.SSLContext | None) -> None:
        name = cfg.witness.name
        self.keyring = Keyring(cfg)
        found, faults = self.keyring.read_all()
        for fault in faults:
            log.warning("%s; the other pairs are served", fault)
        self.lock_fd = take_lock(cfg.state_dir, name)
        self.book = Book(cfg.state_dir, name)
        for warning in self.book.open(cfg.witness.grant_max_ms):
            log.warning("%s", warning)
        self.writes_failed = 0
        self._old_ceilings = dict(self.book.ceilings)
        version = version_numbers(__version__)
        self.witness = Witness(
            name, self.book.life(), cfg.witness.grant_max_ms, now_ms(),
            earlier_grant_ms=self.book.longest_ms, version=version, say=log.warning,
        )
        self._served: dict[str, PairKey] = {}
        self._missing: dict[str, int] = {}
        self._writing = False
        self._apply(found)
        self.desk = Desk(self.witness, log.warning)
        self.link = WitnessLink(options, context, self.desk, self._batch_done, self._link_ended)
        self.server = FiguresServer(cfg.witness.metrics_port, self.figures) if cfg.witness.metrics_port else None
        self.jobs = Jobs("witness-disk")
        self._loop = Loop()
        self._notifier = Notifier()
        self._error: Exception | None = None

    # ------------------------------------------------------------ the main thread

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; SIGHUP reads the keys again. Raises what ended the link."""
        loop, notifier = self._loop, self._notifier
        signals = Signals(
            loop, {signal.SIGTERM: loop.stop, signal.SIGINT: loop.stop, signal.SIGHUP: self.read_keys}
        )
        log.info(
            'witness "%s" (id %08x) serves %d pairs; start %d', self.witness.name, voter_id(self.witness.name),
            len(self.witness.pairs), self.book.starts,
        )  # fmt: skip
        # What is here now stays: the collector need not look through thousands of pairs again and again.
        gc.collect()
        gc.freeze()
        self.link.start()
        loop.call_later(self.book.longest_ms / 1000 + 1, self._settle)
        notifier.ready(status_text(self))
        loop.call_every(STATUS_S, lambda: notifier.status(status_text(self)))
        if notifier.watchdog_us:
            loop.call_every(notifier.watchdog_us / 3e6, self._feed)
        try:
            loop.run()
        finally:
            notifier.stopping("stopping")
            signals.close()
            self.close()
        if self._error is not None:
            raise self._error
        return 0

    def close(self) -> None:
        """End threads and close files; reservations that are being written are waited for."""
        self.link.finish(STOP_LIMIT_S)
        self.jobs.close(STOP_LIMIT_S)
        if self.server is not None:
            self.server.close()
        self.book.close()
        os.close(self.lock_fd)
        self._notifier.close()
        self._loop.close()

    def read_keys(self) -> None:
        """Read all keys again, in the thread of the disk."""
        self.jobs.submit("keys", self._read_keys)

    def figures(self) -> str:
        """The Prometheus text."""
        return figures_text(self)

    def _settle(self) -> None:
        self.jobs.submit("reservations", lambda: self.book.settle(self.witness.grant_max_ms))

    def _feed(self) -> None:
        limit_ns = OPEN_LIMIT_NS if self.link.opening else TURN_LIMIT_NS
        if boottime_ns() - self.link.turned_at_ns < limit_ns:
            self._notifier.alive()

    def _link_ended(self, error: Exception) -> None:
        self._error = error
        self._loop.call_threadsafe(self._loop.stop)

    # ------------------------------------------------------------ the thread of the disk

    def _read_keys(self) -> None:
        try:
            found, faults = self.keyring.read_all()
        except TwinbeatError as error:
            log.error("keys are as they were: %s", error)
            return
        for fault in faults:
            log.warning("%s; the other pairs are served", fault)
        self.link.call(lambda: self._reload(found))

    def _find_keys(self, names: set[str]) -> None:
        found: dict[str, PairKey] = {}
        for name in names:
            try:
                pair = self.keyring.find(name)
            except TwinbeatError as error:
                log.warning("%s", error)
                continue
            if pair is not None:
                found[name] = pair
        self.link.call(lambda: self._apply(found))

    def _reserve(self, ceilings: dict[str, int]) -> None:
        try:
            self.book.reserve(ceilings)
        except StoreError as error:
            self.writes_failed += 1
            if self.writes_failed == 1:
                log.error("%s; pairs that need new epochs get no promise until then", error)
            self.link.call(lambda: self._written(ceilings, False))
            return
        if self.writes_failed:
            log.warning("%s can be written again", self.book.path)
            self.writes_failed = 0
        self.link.call(lambda: self._written(ceilings, True))

    # ------------------------------------------------------------ the link's thread

    def _batch_done(self) -> None:
        """After messages were answered: what they left to do with the disk."""
        witness = self.witness
        if witness.to_reserve and not self._writing:
            ceilings, witness.to_reserve = witness.to_reserve, {}
            self._writing = self.jobs.submit("reservations", lambda: self._reserve(ceilings))
            if not self._writing:
                witness.not_reserved(ceilings)
        if witness.wanted:
            names, witness.wanted = witness.wanted, set()
            self._look_for(names)

    def _written(self, ceilings: dict[str, int], good: bool) -> None:
        self._writing = False
        if good:
            self.witness.reserved(ceilings)
        else:
            self.witness.not_reserved(ceilings)
        if good:
            self._batch_done()

    def _look_for(self, names: set[str]) -> None:
        """Look for keys of pairs that ask for the first time; where there was none it is not looked for again soon."""
        now = now_ms()
        if len(self._missing) > MISSING_MAX:
            self._missing.clear()
        new = {name for name in names if self._missing.get(name, 0) <= now}
        self._missing.update(dict.fromkeys(new, now + MISSING_KEPT_MS))
        if new:
            self.jobs.submit("keys", lambda: self._find_keys(new))

    def _apply(self, found: dict[str, PairKey]) -> None:
        """Serve these pairs from now on."""
        left_out = 0
        taken = {(pair.pair_id, pair.key): name for name, pair in self._served.items()}
        for name, pair in found.items():
            other = taken.setdefault((pair.pair_id, pair.key), name)
            if other != name:
                log.error("%s: number and key are those of pair %s; give %s a key of its own", pair.path, other, name)
            elif self.witness.serve(name, pair.key, pair.pair_id, self._old_ceilings.get(name, 0)):
                self._served[name] = pair
            else:
                left_out += 1
        if left_out:
            log.error("%d pairs are not served: %d are as many as one witness serves; run a second one under another "
                      "name", left_out, PAIRS_MAX)

    def _reload(self, found: dict[str, PairKey]) -> None:
        before = set(self._served)
        for name in before - set(found):
            self.witness.part(name)
            del self._served[name]
        self._missing.clear()
        self._apply(found)
        now = set(self._served)
        log.info("keys read again: %d pairs, %d new, %d gone", len(now), len(now - before), len(before - now))


def now_ms() -> int:
    """Now on the clock of promises."""
    return boottime_ns() // 1_000_000


def version_numbers(text: str) -> tuple[int, int, int]:
    """Major, minor and patch of a version, without what follows them."""
    digits = ("".join(filter(str.isdigit, part)) or "0" for part in f"{text.split('+')[0]}.0.0".split("."))
    major, minor, patch = (int(next(digits)) & 255 for _ in range(3))
    return major, minor, patch


def take_lock(state_dir: Path, name: str) -> int:
    """The descriptor that holds the name on this machine. Raises AlreadyRunning, StoreError."""
    make_directory(state_dir)
    path = state_dir / f"{name}.lock"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise StoreError(
            f"{path}: {error.strerror}; make the directory writable for this user or choose another state_dir"
        ) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = read_pid(fd)
        os.close(fd)
        who = f"pid {holder}" if holder else "another process"
        raise AlreadyRunning(f"{path}: a witness of this name is already running here ({who}); stop it first") from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd
