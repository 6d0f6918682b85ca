"""The control socket: one JSON request a line in, one JSON answer a line out, served by the agent's loop.

A client can neither block the agent nor make it grow: sockets are non-blocking, lines, clients and unsent
answers are bounded, and who says nothing for a while is shown out. A verb of the kind `StreamVerb` may go on pushing
lines; such a client may be silent for ever, but must read.
"""
from __future__ import annotations

import grp
import json
import logging
import os
import socket
import stat
from pathlib import Path
from typing import Any

from twinbeat.control_line import (
    LINE_BYTES_MAX,
    PUSH_BYTES_MAX,
    Answer,
    Client,
    Reply,
    Stream,
    StreamVerb,
    Verb,
    encode,
    failure,
)
from twinbeat.errors import ConfigError, DeviceError, TwinbeatError
from twinbeat.run_loop import Loop, boottime_ns

log = logging.getLogger("twinbeat.control")

__all__ = [
    "Answer",
    "Client",
    "ControlServer",
    "ControlSocketError",
    "LINE_BYTES_MAX",
    "PUSH_BYTES_MAX",
    "Reply",
    "RequestError",
    "Stream",
    "StreamVerb",
    "Verb",
    "failure",
    "group_number",
    "listen",
]

CLIENTS_MAX = 16
IDLE_LIMIT_S = 60.0
SWEEP_S = 5.0
UNIX_PATH_BYTES_MAX = 107
SOCKET_MODE = 0o660


class ControlSocketError(DeviceError):
    """The control socket cannot be made."""


class ControlServer:
    """Listens on a Unix socket. `verbs[name](request, reply)` calls `reply` once, now or later, in the loop's thread.

    A verb may raise TwinbeatError: the client then gets its text and exit code.
    """

    def __init__(self, loop: Loop, path: Path, verbs: dict[str, Verb], group: str | None = None) -> None:
        self.path = path
        self.requests = 0
        self.refused_clients = 0
        self.deaf_clients = 0
        self.idle_limit_s = IDLE_LIMIT_S
        self._loop = loop
        self._verbs = verbs
        self._clients: set[Client] = set()
        self._socket = listen(path, group)
        loop.watch(self._socket.fileno(), self._accept)
        loop.call_every(SWEEP_S, self.sweep)

    def close(self) -> None:
        """Drop all clients and remove the socket."""
        for client in list(self._clients):
            client.close()
        if self._socket.fileno() >= 0:
            self._loop.watch(self._socket.fileno(), None)
            self._socket.close()
            self.path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Show out clients that have said nothing for `idle_limit_s` and wait for no answer and no news."""
        limit_ns = boottime_ns() - int(self.idle_limit_s * 1e9)
        for client in list(self._clients):
            if client.heard_ns < limit_ns and client.idle:
                client.show_out()

    def _accept(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except OSError:
            return
        connection.setblocking(False)
        if len(self._clients) >= CLIENTS_MAX:
            self.refused_clients += 1
            text = failure(f"{CLIENTS_MAX} clients are connected already; close one of them", 6)
            try:
                connection.send(encode(text))
            except OSError:
                pass
            connection.close()
            return
        self._clients.add(Client(self._loop, connection, self._serve, self._clients.discard, self._deaf))

    def _deaf(self) -> None:
        """A client that is pushed to was shown out because it did not read."""
        self.deaf_clients += 1

    def _serve(self, line: bytes, client: Client) -> None:
        self.requests += 1
        try:
            request = parse(line)
            verb = self._verbs.get(request["verb"])
            if verb is None:
                known = ", ".join(sorted(self._verbs))
                raise RequestError(f'unknown verb "{request["verb"]}"; known are {known}')
            client.waiting += 1
            if isinstance(verb, StreamVerb):
                verb.serve(request, client.answer_once(), client)
            else:
                verb(request, client.answer_once())
        except TwinbeatError as error:
            client.fail(failure(str(error), error.exit_code))
        except Exception as error:  # noqa: BLE001
            log.error("internal error in a control request: %s: %s", type(error).__name__, error)
            client.fail(failure(f"internal error: {type(error).__name__}: {error}", 70))


class RequestError(TwinbeatError):
    """A control request that cannot be understood."""

    exit_code = 2


def listen(path: Path, group: str | None) -> socket.socket:
    """A listening socket with mode 0660, its group set when one is named. Raises ControlSocketError, ConfigError."""
    if len(os.fsencode(path)) > UNIX_PATH_BYTES_MAX:
        raise ControlSocketError(
            f"control socket {path}: the path is longer than {UNIX_PATH_BYTES_MAX} bytes; choose a shorter --run-dir"
        )
    gid = group_number(group) if group else -1
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    old_mask = os.umask(0o777 & ~SOCKET_MODE)
    try:
        remove_stale(path)
        sock.bind(os.fspath(path))
        if gid >= 0:
            os.chown(path, -1, gid)
        sock.listen(CLIENTS_MAX)
    except OSError as error:
        sock.close()
        raise ControlSocketError(
            f"control socket {path}: {error.strerror or error}; make its directory writable for this user, "
            "and this user a member of the group given as control_group"
        ) from None
    finally:
        os.umask(old_mask)
    return sock


def remove_stale(path: Path) -> None:
    """Remove what a dead agent left; the node's lock, which the caller holds, says that it is dead."""
    try:
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    except FileNotFoundError:
        pass


def group_number(name: str) -> int:
    """The number of a group. Raises ConfigError when there is none of that name."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        text = f'[agent]: control_group = "{name}": there is no such group here; groupadd {name}, or name another'
        raise ConfigError(text) from None


def parse(line: bytes) -> dict[str, Any]:
    """A request from its line. Raises RequestError."""
    if len(line) > LINE_BYTES_MAX:
        raise RequestError(f"request line longer than {LINE_BYTES_MAX} bytes")
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise RequestError('the request is not one line of JSON, such as {"verb": "status"}') from None
    if not isinstance(request, dict) or not isinstance(request.get("verb"), str):
        raise RequestError('the request names no verb; write {"verb": "status"}')
    return request
