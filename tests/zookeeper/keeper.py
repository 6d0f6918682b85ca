"""A ZooKeeper server of the tests' own, from Debian's package, on a free loopback port; skips loudly without it."""
from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections import deque
from pathlib import Path

import pytest

JAR = Path("/usr/share/java/zookeeper.jar")
LOG_JAR = Path("/usr/share/java/slf4j-simple.jar")
MAIN = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
SMALL = ("-Xmx64m", "-Xms16m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
START_LIMIT_S = 60.0
STOP_LIMIT_S = 10.0
TICK_MS = 200                 # sessions of 400 to 4000 ms
INSTALL = "apt-get install -y --no-install-recommends zookeeper"


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on now."""
    socks = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(sock.getsockname()[1]) for sock in socks]
    for sock in socks:
        sock.close()
    return ports


class Keeper:
    """One server process. `lines` are added to its configuration."""

    def __init__(self, folder: Path, lines: str = "", ready: str = "PrepRequestProcessor (sid:0) started") -> None:
        self.port = free_ports(1)[0]
        self._lines: deque[str] = deque(maxlen=200)
        self._reading = threading.Lock()
        self._ready = ready
        self._started = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._config = folder / "zoo.cfg"
        self._config.write_text(
            f"tickTime={TICK_MS}\ndataDir={folder}/data\nclientPort={self.port}\nclientPortAddress=127.0.0.1\n"
            f"admin.enableServer=false\n{lines}")

    def start(self) -> None:
        java = shutil.which("java")
        if java is None or not JAR.exists() or not LOG_JAR.exists():
            pytest.skip(f"no ZooKeeper server here, nothing is tested against a real one: {INSTALL}")
        pytest.importorskip("kazoo", reason='kazoo is not installed: pip install "twinbeat[zookeeper]"')
        self._started.clear()
        self._process = subprocess.Popen(
            [java, *SMALL, "-Dreadonlymode.enabled=true", "-cp", f"{JAR}:{LOG_JAR}", MAIN, str(self._config)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        threading.Thread(target=self._read_log, args=(self._process,), daemon=True).start()
        if not self._started.wait(START_LIMIT_S) or self._process.poll() is not None:
            self.stop()
            raise AssertionError("ZooKeeper does not start:\n" + self.log())

    def stop(self) -> None:
        """As when its machine loses power."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_LIMIT_S)
            self._process = None

    def log(self) -> str:
        """What it has said lately."""
        with self._reading:
            return "".join(self._lines)

    def _read_log(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            with self._reading:
                self._lines.append(line)
            if self._ready in line:
                self._started.set()
        self._started.set()


def lonely_member(folder: Path) -> Keeper:
    """A server of an ensemble of two whose other one is not there: it serves read-only."""
    mine, mine_too, other, other_too = free_ports(4)
    (folder / "data").mkdir()
    (folder / "data" / "myid").write_text("1\n")
    lines = f"initLimit=5\nsyncLimit=2\nserver.1=127.0.0.1:{mine}:{mine_too}\nserver.2=127.0.0.1:{other}:{other_too}\n"
    return Keeper(folder, lines, ready="Attempting to start ReadOnlyZooKeeperServer")
