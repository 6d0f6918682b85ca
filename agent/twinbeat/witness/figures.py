"""What the witness counts, and how a monitoring system reads it: Prometheus text on the loopback address."""
from __future__ import annotations

import contextlib
import os
import socket
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable

from twinbeat.errors import DeviceError

BOUNDS_MS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 1000.0)
REQUEST_BYTES_MAX = 4096
CLIENT_LIMIT_S = 2.0
PREFIX = "twinbeat_witness_"


class Histogram:
    """Counts of times by upper bound, in ms."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_MS) + 1)
        self.sum_ms = 0.0

    def add(self, ms: float, count: int = 1) -> None:
        """`count` answers that took so long."""
        self.counts[bisect_left(BOUNDS_MS, ms)] += count
        self.sum_ms += ms * count

    def lines(self, name: str) -> Iterable[str]:
        """The Prometheus lines, in seconds."""
        total = 0
        for bound, count in zip((*BOUNDS_MS, None), self.counts, strict=True):
            total += count
            edge = "+Inf" if bound is None else f"{bound / 1000:g}"
            yield f'{name}_bucket{{le="{edge}"}} {total}'
        yield f"{name}_sum {self.sum_ms / 1000:.6f}"
        yield f"{name}_count {total}"


def family(name: str, kind: str, text: str, samples: Iterable[tuple[str, float]]) -> list[str]:
    """One metric with its help; each sample is (labels with braces or "", value)."""
    full = PREFIX + name
    return [f"# HELP {full} {text}", f"# TYPE {full} {kind}"] + [f"{full}{labels} {value:g}" if value % 1 else
                                                                 f"{full}{labels} {int(value)}"
                                                                 for labels, value in samples]


class FiguresServer:
    """Answers GET /metrics on 127.0.0.1, one reader at a time, in a thread of its own."""

    def __init__(self, port: int, text: Callable[[], str]) -> None:
        self._text = text
        self._closing = False
        try:
            self._socket = socket.create_server(("127.0.0.1", port))
        except OSError as error:
            raise DeviceError(
                f"metrics_port = {port}: {os.strerror(error.errno or 0)}; choose a port that nobody uses, "
                "or leave the key out"
            ) from None
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._work, name="twinbeat-figures", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close the port and end the thread."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(CLIENT_LIMIT_S + 1)

    def _work(self) -> None:
        while not self._closing:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            with client, contextlib.suppress(OSError):
                client.settimeout(CLIENT_LIMIT_S)
                self._answer(client)

    def _answer(self, client: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request and len(request) < REQUEST_BYTES_MAX:
            more = client.recv(REQUEST_BYTES_MAX)
            if not more:
                return
            request += more
        words = request.split(b"\r\n", 1)[0].split(b" ")
        if words[:1] not in ([b"GET"], [b"HEAD"]):
            status, body = "405 Method Not Allowed", b"GET /metrics\n"
        elif words[1:2] != [b"/metrics"]:
            status, body = "404 Not Found", b"see /metrics\n"
        else:
            status, body = "200 OK", self._text().encode()
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        client.sendall(head.encode() + (body if words[0] == b"GET" else b""))
