"""A TCP way to a server that a test can cut, freeze in either direction, and mend."""
from __future__ import annotations

import contextlib
import socket
import threading

READ_SIZE = 65536
CONNECT_LIMIT_S = 2.0


class Tunnel:
    """Listens on a loopback port of its own."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.refuses = False                        # new connections are closed at once
        self._passes = {"up": True, "down": True}   # up: to the server
        self._changed = threading.Condition()
        self._sockets: set[socket.socket] = set()
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self, *ways: str) -> None:
        """What is sent that way waits, as it would before a broken switch; nothing is closed."""
        self._set(False, ways)

    def mend(self) -> None:
        """Everything passes again, what has waited too."""
        self.refuses = False
        self._set(True, ("up", "down"))

    def cut(self) -> None:
        """All connections are closed; what waited is lost."""
        with self._changed:
            for sock in self._sockets:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            self._sockets.clear()
            self._changed.notify_all()

    def close(self) -> None:
        self._closed = True
        self._listener.close()
        self.cut()

    def _set(self, passes: bool, ways: tuple[str, ...]) -> None:
        with self._changed:
            for way in ways or ("up", "down"):
                self._passes[way] = passes
            self._changed.notify_all()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            try:
                server = None if self.refuses else \
                    socket.create_connection(("127.0.0.1", self.target), CONNECT_LIMIT_S)
            except OSError:
                server = None
            if server is None:
                client.close()
                continue
            server.settimeout(None)
            with self._changed:
                self._sockets |= {client, server}
            for source, sink, way in ((client, server, "up"), (server, client, "down")):
                threading.Thread(target=self._pump, args=(source, sink, way), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, way: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(READ_SIZE):
                with self._changed:
                    self._changed.wait_for(lambda: self._passes[way] or source not in self._sockets)
                    if source not in self._sockets:
                        break
                sink.sendall(data)
        with self._changed:
            for sock in (source, sink):
                self._sockets.discard(sock)
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            self._changed.notify_all()
