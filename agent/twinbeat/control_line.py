"""One connection to the control socket: requests a line each, answers in order, lines that are pushed in between."""
from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any, Protocol

from twinbeat.errors import RefusedError
from twinbeat.run_loop import Loop, boottime_ns

LINE_BYTES_MAX = 64 * 1024
READ_BYTES = 16 * 1024
PUSH_BYTES_MAX = 256 * 1024
"""So much may wait unread for a client that is pushed to; one that reads less is shown out."""

Answer = dict[str, Any]
Reply = Callable[[Answer], None]
Verb = Callable[[dict[str, Any], Reply], None]


class Stream(Protocol):
    """A connection that stays open and is pushed to."""

    def push(self, answer: Answer) -> bool:
        """Send a line that nobody asked for; False: the client is gone, or was shown out because it does not read."""

    def keep(self, gone: Callable[[], None]) -> None:
        """Never show the client out for saying nothing; `gone` is called once it has left."""


StreamServe = Callable[[dict[str, Any], Reply, Stream], None]


class StreamVerb:
    """A verb that may go on pushing lines after its answer: `serve(request, reply, stream)`."""

    def __init__(self, serve: StreamServe) -> None:
        self.serve = serve

    def __call__(self, _request: dict[str, Any], _reply: Reply) -> None:
        raise RefusedError("this question needs a connection that stays open", 2)


class Client:
    """One connection. Requests of one client are answered one at a time, in order."""

    def __init__(
        self,
        loop: Loop,
        connection: socket.socket,
        serve: Callable[[bytes, Client], None],
        gone: Callable[[Client], None],
        deaf: Callable[[], None] = lambda: None,
    ) -> None:
        self.heard_ns = boottime_ns()
        self.waiting = 0
        self.kept = False
        self._loop = loop
        self._connection = connection
        self._serve = serve
        self._gone = gone
        self._deaf = deaf
        self._left: list[Callable[[], None]] = []
        self._input = bytearray()
        self._output = bytearray()
        self._closing = False
        self._serving = False
        self._open = True
        loop.watch(connection.fileno(), self._read)

    @property
    def idle(self) -> bool:
        """Whether it may be shown out when it says nothing: it waits for no answer and for no news.

        One that is pushed to counts as idle while it leaves unread what it was sent.
        """
        return bool(self._output) if self.kept else not self.waiting

    def answer_once(self) -> Reply:
        """A function that answers the current request; its second call does nothing."""
        pending = [True]

        def reply(answer: Answer) -> None:
            if pending:
                pending.clear()
                self.waiting -= 1
                self._write(answer)
                if not self._serving:
                    self._next()

        return reply

    def fail(self, answer: Answer) -> None:
        """Answer a request that never reached its verb, or whose verb raised."""
        self.waiting = 0
        self._write(answer)

    def push(self, answer: Answer) -> bool:
        """See `Stream.push`."""
        if not self._open or self._closing:
            return False
        line = encode(answer)
        if len(self._output) + len(line) > PUSH_BYTES_MAX:
            self.show_out()
            return False
        self._output += line
        self._flush()
        return self._open

    def keep(self, gone: Callable[[], None]) -> None:
        """See `Stream.keep`."""
        self.kept = True
        self._left.append(gone)

    def show_out(self) -> None:
        """Hang up on a client that says nothing, or does not read what it asked for."""
        if self.kept:
            self._deaf()
        self.close()

    def close(self) -> None:
        """Hang up. A later answer goes nowhere."""
        if self._open:
            self._open = False
            self._loop.watch(self._connection.fileno(), None)
            self._connection.close()
            self._gone(self)
            left, self._left = self._left, []
            for gone in left:
                gone()

    def _read(self) -> None:
        try:
            data = self._connection.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self.heard_ns = boottime_ns()
        self._input += data
        self._next()

    def _next(self) -> None:
        """Serve the lines that are complete, stopping while one waits for its answer or to be read."""
        self._serving = True
        while self._open and not self._closing and not self.waiting and not self._output:
            end = self._input.find(b"\n")
            if end < 0:
                break
            line = bytes(self._input[:end])
            del self._input[: end + 1]
            if line.strip():
                self._serve(line, self)
        self._serving = False
        if len(self._input) > LINE_BYTES_MAX and self._open and not self._closing:
            self._closing = True
            self._write(failure(f"request line longer than {LINE_BYTES_MAX} bytes; the connection is closed", 2))

    def _write(self, answer: Answer) -> None:
        if not self._open:
            return
        self._output += encode(answer)
        self._flush()

    def _writable(self) -> None:
        self.heard_ns = boottime_ns()
        self._flush()
        if not self._output:
            self._next()

    def _flush(self) -> None:
        try:
            while self._output:
                del self._output[: self._connection.send(self._output)]
        except BlockingIOError:
            # Until this is read nothing more is read from the client, so neither side's data can pile up.
            self._loop.watch(self._connection.fileno(), None, self._writable)
            return
        except OSError:
            self.close()
            return
        if self._closing:
            self.close()
        else:
            self._loop.watch(self._connection.fileno(), self._read)


def failure(text: str, exit_code: int) -> Answer:
    """The answer of a request that failed."""
    return {"ok": False, "error": text, "exit_code": exit_code}


def encode(answer: Answer) -> bytes:
    """An answer's line."""
    return json.dumps(answer, separators=(",", ":"), default=str).encode() + b"\n"
