"""Asking a running agent: one JSON line to its control socket, one JSON line back."""
from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from twinbeat.errors import AccessRefused, AgentNotRunning, ControlError, RefusedError

ANSWER_LIMIT_S = 3.0
ANSWER_BYTES_MAX = 4 << 20
READ_BYTES = 1 << 16


class ControlClient:
    """One connection to an agent. Use it as a context manager; every question has `limit_s` to be answered."""

    def __init__(self, path: Path, limit_s: float = ANSWER_LIMIT_S) -> None:
        self.path = path
        self.limit_s = limit_s
        self._rest = b""
        self._socket = connect(path, limit_s)

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def ask(self, verb: str, limit_s: float | None = None, **arguments: object) -> dict[str, Any]:
        """The agent's answer to a verb.

        Raises RefusedError when the agent says no, ControlError when it says nothing in time or nonsense.
        """
        limit_s = self.limit_s if limit_s is None else limit_s
        given = {key: value for key, value in arguments.items() if value is not None}
        line = json.dumps({"verb": verb, **given}, separators=(",", ":")) + "\n"
        try:
            self._socket.settimeout(limit_s)
            self._socket.sendall(line.encode())
            answer = self._read_line(time.monotonic() + limit_s)
        except TimeoutError:
            raise ControlError(
                f"{self.path}: the agent did not answer within {limit_s:g} s; it may be frozen: "
                "look at its journal, or stop it"
            ) from None
        except OSError as error:
            raise ControlError(f"{self.path}: the connection broke: {error.strerror}; ask again") from None
        return understood(self.path, answer)

    def _read_line(self, until_s: float) -> bytes:
        while b"\n" not in self._rest:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            self._socket.settimeout(left_s)
            data = self._socket.recv(READ_BYTES)
            if not data:
                raise ControlError(f"{self.path}: the agent closed the connection without an answer; is it stopping?")
            self._rest += data
            if len(self._rest) > ANSWER_BYTES_MAX:
                raise ControlError(f"{self.path}: the answer has over {ANSWER_BYTES_MAX} bytes; is this an agent?")
        line, _, self._rest = self._rest.partition(b"\n")
        return line


def connect(path: Path, limit_s: float) -> socket.socket:
    """A connected socket. Raises AgentNotRunning or ControlError."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    made.settimeout(limit_s)
    try:
        made.connect(os.fspath(path))
        return made
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        text = f"{path}: no agent is running for this node; start it with: systemctl start twinbeat (or: twinbeat run)"
        failure: ControlError = AgentNotRunning(text)
    except PermissionError:
        failure = AccessRefused(f"{path}: this user may not ask the agent; {group_remedy(path)}")
    except TimeoutError:
        failure = ControlError(f"{path}: the agent took no connection within {limit_s:g} s; it may be frozen")
    except OSError as error:
        failure = ControlError(f"{path}: cannot be asked: {error.strerror or error}; name the socket with --socket")
    made.close()
    raise failure


def group_remedy(path: Path) -> str:
    """How a user gets permission to use the socket."""
    import grp

    try:
        name = grp.getgrgid(path.stat().st_gid).gr_name
    except (OSError, KeyError):
        return "use sudo, or set [agent] control_group to a group of this user"
    if name == "root":
        return "use sudo, or set [agent] control_group to a group of this user"
    return f"join its group: sudo usermod -aG {name} USER, and log in again"


def understood(path: Path, line: bytes) -> dict[str, Any]:
    """An answer line as a dict; RefusedError when it is a no."""
    try:
        answer = json.loads(line)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise ControlError(f"{path}: the answer is no JSON object; is this an agent's socket?")
    if not answer.get("ok"):
        code = answer.get("exit_code")
        text = str(answer.get("error") or "the agent refused without a reason")
        raise RefusedError(text, code if isinstance(code, int) and 0 < code < 256 else 1)
    return answer
