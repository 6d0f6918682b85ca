"""The connection to a ZooKeeper ensemble: kazoo, kept quiet, its events and answers handed on as plain values.

Nothing here blocks but `close`. kazoo has threads of its own; whatever they report goes to the callables given at
construction, from those threads.
"""
from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, NamedTuple

from twinbeat_bridge.zookeeper_check import Tls
from twinbeat_bridge.zookeeper_value import Place

EVERYTHING = 1                 # log level at which kazoo tells what the server granted
FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 3.0
PROBE_LIMIT_S = 0.5
PROBE_EVERY_S = 2.0
PROBE_BYTES = 4096
NOT_YET = "not connected yet"


class State(Enum):
    """What became of the connection."""

    CONNECTED = auto()
    CUT = auto()               # kazoo connects again by itself
    NEW_SESSION = auto()       # the old one has expired
    ENDED = auto()             # kazoo has stopped; it must be started anew


class Outcome(Enum):
    """What became of an operation."""

    DONE = auto()
    ABSENT = auto()
    RACED = auto()
    DENIED = auto()            # no permission
    UNKNOWN = auto()


class Answer(NamedTuple):
    """The server's answer. `value` and `place` are set by a read, `place` by a write."""

    outcome: Outcome
    value: bytes = b""
    place: Place | None = None
    text: str = ""             # why, where it was not DONE


class Access(NamedTuple):
    """Where the ensemble is and who asks."""

    hosts: str
    session_ms: int
    user: str | None = None
    password: str | None = None
    tls: Tls = Tls()


class Notes(logging.Logger):
    """What kazoo writes into its log, for the two things that it tells nowhere else: why it does not get connected,
    and how long a session the server has granted."""

    def __init__(self, tls: bool) -> None:
        super().__init__("kazoo of twinbeat", EVERYTHING)
        self.granted_ms: int | None = None
        self.reason = NOT_YET
        self._server: tuple[str, str, int] | None = None
        self._tls = tls
        self._probed_s = float("-inf")

    def handle(self, record: logging.LogRecord) -> None:
        text = str(record.msg)
        args = record.args if isinstance(record.args, tuple) else ()
        if text.startswith("Connecting to") and len(args) >= 3:
            self._server = (str(args[0]), str(args[1]), int(str(args[2])))
        elif text.startswith("Session created") and len(args) >= 3:
            self.granted_ms = int(str(args[2]))
        elif text.startswith("Cannot resolve") and len(args) >= 2:
            self.reason = f"the name {args[0]} is not found ({args[1]})"
        elif text.startswith(("Connection dropped", "Connection time-out")):
            self.reason = self._why(record.getMessage().partition(": ")[2])
        elif record.exc_info and record.exc_info[1] is not None:
            self.reason = self._why(str(record.exc_info[1]))

    def _why(self, said: str) -> str:
        if self._server is None:
            return said
        host, address, port = self._server
        text = said.removeprefix("socket connection error: ")
        if "connection broken" in text and not self._tls:
            text = self._probe(address, port) or text
        return f"{host}:{port}: {text}"

    def _probe(self, address: str, port: int) -> str | None:
        """A server that closes the connection does not say why; the word "srvr" makes it tell. In kazoo's thread,
        which has nothing to do but to connect."""
        now_s = time.monotonic()
        if now_s - self._probed_s < PROBE_EVERY_S:
            return self.reason.rpartition(f"{port}: ")[2] or None
        self._probed_s = now_s
        try:
            with socket.create_connection((address, port), PROBE_LIMIT_S) as sock:
                sock.sendall(b"srvr")
                said = sock.recv(PROBE_BYTES)
        except OSError:
            return None
        if b"read-only" in said.lower():
            return "the server is read-only: its ensemble has no majority"
        if b"not currently serving" in said:
            return "the server is not serving: it starts, or its ensemble has no majority"
        return None


class Link:
    """One life of a kazoo client. After ENDED another Link must be made."""

    def __init__(self, access: Access, on_state: Callable[[State], None]) -> None:
        from kazoo.client import KazooClient
        from kazoo.retry import KazooRetry

        self.notes = Notes(access.tls.used)
        self._on_state = on_state
        self._session: int | None = None
        self._acl = None
        auth = []
        if access.user is not None:
            from kazoo.security import make_digest_acl

            auth = [("digest", f"{access.user}:{access.password}")]
            self._acl = [make_digest_acl(access.user, access.password, all=True)]
        retry = KazooRetry(max_tries=-1, delay=FIRST_DELAY_S, backoff=2, max_jitter=0.4, max_delay=LONGEST_DELAY_S)
        self._kazoo: Any = KazooClient(
            hosts=access.hosts, timeout=access.session_ms / 1000, auth_data=auth, read_only=None, logger=self.notes,
            connection_retry=retry, use_ssl=access.tls.used, ca=access.tls.ca, certfile=access.tls.cert,
            keyfile=access.tls.key_file, verify_certs=True, check_hostname=access.tls.used,
        )
        self._kazoo.add_listener(self._listen)

    def open(self) -> None:
        """Connects, and connects again for ever, with a growing pause between rounds through all servers."""
        self._kazoo.start_async()

    def close(self) -> None:
        """Ends session and threads; waits up to ten seconds where a connection attempt is under way."""
        from kazoo.exceptions import KazooException

        self._kazoo.remove_listener(self._listen)
        try:
            self._kazoo.stop()
            self._kazoo.close()
        except (KazooException, OSError, AttributeError):
            pass                         # its threads are daemons: nothing is left to be done

    @property
    def session(self) -> str | None:
        """The number of the session, None before there is one."""
        return None if self._session is None else f"{self._session & 0xFFFFFFFFFFFFFFFF:016x}"

    def read(self, path: str, watch: Callable[[Any], None], done: Callable[[Answer], None]) -> None:
        """`watch` is called once, when the znode has changed after this read."""
        self._run(lambda: self._kazoo.get_async(path, watch=watch), done)

    def write(self, path: str, value: bytes, version: int, done: Callable[[Answer], None]) -> None:
        """Compare-and-set."""
        self._run(lambda: self._kazoo.set_async(path, value, version=version), done)

    def create(self, path: str, value: bytes, done: Callable[[Answer], None]) -> None:
        """Also creates what is above it; with a user, for that user alone."""
        self._run(lambda: self._kazoo.create_async(path, value, acl=self._acl, makepath=True), done)

    def _run(self, start: Callable[[], Any], done: Callable[[Answer], None]) -> None:
        from kazoo.exceptions import KazooException

        try:
            result = start()
        except KazooException as error:
            done(_failure(error))
            return
        result.rawlink(lambda ended: done(_answer(ended)))

    def _listen(self, state: str) -> None:
        """In kazoo's connection thread."""
        from kazoo.protocol.states import KazooState, KeeperState

        exact = self._kazoo.client_state
        if state == KazooState.CONNECTED and exact != KeeperState.CONNECTED_RO:
            session = (self._kazoo.client_id or (None,))[0]
            if self._session not in (None, session):
                self._on_state(State.NEW_SESSION)
            self._session = session
            self._on_state(State.CONNECTED)
        elif state == KazooState.LOST:
            self._on_state(State.NEW_SESSION)
            if exact in (KeeperState.CLOSED, KeeperState.AUTH_FAILED):
                if exact == KeeperState.AUTH_FAILED:
                    self.notes.reason = "the server refuses this user or certificate"
                self._on_state(State.ENDED)
        else:
            self._on_state(State.CUT)


def _answer(ended: Any) -> Answer:
    if not ended.successful():
        return _failure(ended.exception)
    value = ended.value
    if isinstance(value, tuple) and len(value) == 2 and hasattr(value[1], "czxid"):
        return Answer(Outcome.DONE, value[0], Place(value[1].czxid, value[1].version))
    if hasattr(value, "czxid"):
        return Answer(Outcome.DONE, b"", Place(value.czxid, value.version))
    return Answer(Outcome.DONE)


def _failure(error: BaseException) -> Answer:
    from kazoo import exceptions

    text = str(error) or type(error).__name__.removesuffix("Error")
    if isinstance(error, exceptions.NoNodeError):
        return Answer(Outcome.ABSENT, text=text)
    if isinstance(error, (exceptions.BadVersionError, exceptions.NodeExistsError)):
        return Answer(Outcome.RACED, text=text)
    if isinstance(error, (exceptions.NoAuthError, exceptions.InvalidACLError)):
        return Answer(Outcome.DENIED, text=text)
    return Answer(Outcome.UNKNOWN, text=text)
