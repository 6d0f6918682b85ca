"""The ZooKeeper of the demo: one server of Debian's package, alone, on the loopback address."""
from __future__ import annotations

import contextlib
import importlib.util
import shutil
import socket
from pathlib import Path

from twinbeat.demo.broker import free_port
from twinbeat.demo.helper import RigError
from twinbeat.demo.voter_process import Process

JARS = (Path("/usr/share/java/zookeeper.jar"), Path("/usr/share/java/slf4j-simple.jar"))
SERVER = "org.apache.zookeeper.server.ZooKeeperServerMain"
RENEW_MS, MISSED, RTT_MS, SESSION_MS = 300, 3, 300, 2000
TICK_MS = 200
START_LIMIT_S = 30.0
INSTALL = "install it (`apt install zookeeper libslf4j-java`; it is not started as a service for the demo)"


def unavailable() -> str | None:
    """Why ZooKeeper cannot be started here, with the remedy; None: it can."""
    if shutil.which("java") is None or not JARS[0].exists():
        return f"ZooKeeper was not found: {INSTALL}"
    if importlib.util.find_spec("kazoo") is None:
        return "the ZooKeeper client kazoo is not installed: pip install 'twinbeat[zookeeper]'"
    return None


class ZooKeeper:
    """The server's process."""

    kind = "zookeeper"
    grant_ms = float(MISSED * RENEW_MS + RTT_MS)

    def __init__(self, directory: Path) -> None:
        reason = unavailable()
        if reason is not None:
            raise RigError(reason)
        self._port = free_port()
        self._config = directory / "zoo.cfg"
        self._process = Process("ZooKeeper", directory / "zookeeper.log")
        self._config.write_text("\n".join([
            f"tickTime={TICK_MS}", f"dataDir={directory / 'zookeeper'}", f"clientPort={self._port}",
            "clientPortAddress=127.0.0.1", "admin.enableServer=false", "4lw.commands.whitelist=ruok", ""]))

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def describe(self) -> str:
        return "ZooKeeper, one server"

    def config_lines(self) -> list[str]:
        return ["[third_voter]", 'type = "zookeeper"', f'hosts = "127.0.0.1:{self._port}"',
                f"renew_ms = {RENEW_MS}", f"missed = {MISSED}", f"rtt_ms = {RTT_MS}", f"session_ms = {SESSION_MS}", ""]

    def ports(self) -> dict[str, dict[str, str]]:
        return {}

    def start(self) -> None:
        jars = ":".join(str(path) for path in JARS if path.exists())
        self._process.start(["java", "-Xmx64m", "-Xms16m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                             "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", jars, SERVER, str(self._config)])
        self._process.wait_until(self._is_ok, START_LIMIT_S)

    def stop(self) -> None:
        self._process.stop()

    def flags(self) -> list[int]:
        return []

    def _is_ok(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1.0) as channel:
            channel.sendall(b"ruok")
            return channel.recv(16) == b"imok"
        return False
