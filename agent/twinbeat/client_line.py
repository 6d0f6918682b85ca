"""A client's connection to the agent: questions from any thread, answers and pushed lines in one."""
from __future__ import annotations

import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from twinbeat.control_client import connect, understood
from twinbeat.errors import ControlError

WAITING_MAX = 64
"""Questions without an answer; one more is refused. So many fit into the socket: asking never waits."""
LINE_BYTES_MAX = 4 << 20
READ_BYTES = 1 << 16

Taker = Callable[[dict[str, Any]], None]


class Line:
    """One connection, a context manager. Raises as `twinbeat.control_client.connect`."""

    def __init__(self, path: Path, limit_s: float) -> None:
        self._path = path
        self._limit_s = limit_s
        self._socket = connect(path, limit_s)
        self._rest = b""
        self._waiting: deque[Taker] = deque()
        self._sending = threading.Lock()

    def __enter__(self) -> Line:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def close(self) -> None:
        """From any thread: whoever reads finds the end."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass                             # it has ended already

    def first(self, request: dict[str, Any]) -> dict[str, Any]:
        """Ask and wait, before anything else. Raises ControlError, RefusedError."""
        until_s = time.monotonic() + self._limit_s
        self._socket.settimeout(self._limit_s)
        try:
            self._socket.sendall(encode(request))
            answer = understood(self._path, self._read_line(until_s))
            self._socket.settimeout(None)
        except TimeoutError:
            text = f"{self._path}: the agent did not answer within {self._limit_s:g} s; is it frozen?"
            raise ControlError(text) from None
        except OSError as error:
            raise ControlError(f"{self._path}: the connection broke: {error.strerror}") from None
        return answer

    def ask(self, request: dict[str, Any], taker: Taker) -> bool:
        """Ask without waiting; `taker` gets the answer in the thread that reads. False: not asked."""
        with self._sending:
            if len(self._waiting) >= WAITING_MAX:
                return False
            self._waiting.append(taker)
            try:
                self._socket.sendall(encode(request))
            except OSError:
                return False                 # the reader finds the end too
        return True

    def pushed(self) -> Iterator[dict[str, Any]]:
        """What the agent says unasked, until the end of the connection. Raises ControlError at nonsense."""
        while True:
            try:
                line = self._read_line(None)
            except OSError as error:
                raise ControlError(f"{self._path}: the connection broke: {error.strerror}") from None
            try:
                said = json.loads(line)
            except ValueError:
                said = None
            if not isinstance(said, dict):
                raise ControlError(f"{self._path}: a line is no JSON object; is this an agent's socket?")
            if "push" in said:
                yield said
            elif self._waiting:
                self._waiting.popleft()(said)

    def _read_line(self, until_s: float | None) -> bytes:
        while b"\n" not in self._rest:
            if until_s is not None:
                self._socket.settimeout(max(0.001, until_s - time.monotonic()))
            data = self._socket.recv(READ_BYTES)
            if not data:
                raise ControlError(f"{self._path}: the agent closed the connection; is it stopping?")
            self._rest += data
            if len(self._rest) > LINE_BYTES_MAX:
                raise ControlError(f"{self._path}: a line has over {LINE_BYTES_MAX} bytes; is this an agent?")
        line, _, self._rest = self._rest.partition(b"\n")
        return line


def encode(request: dict[str, Any]) -> bytes:
    """A request's line."""
    return json.dumps(request, separators=(",", ":")).encode() + b"\n"
