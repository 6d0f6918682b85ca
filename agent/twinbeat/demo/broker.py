"""The MQTT broker of the demo: mosquitto where it is installed, else the embedded amqtt of the `demo` extra.

Always a process of its own, on a free port of the loopback address, forgetting everything when it stops.
"""
from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from twinbeat.demo.helper import RigError

START_TIMEOUT_S = 10.0
POLL_S = 0.01
NO_BROKER = (
    "no MQTT broker was found: install mosquitto (Debian, Ubuntu, Raspberry Pi OS: `apt install mosquitto`), "
    "or the embedded one with `pip install 'twinbeat[demo]'`"
)


def find_mosquitto() -> str | None:
    """Path of the mosquitto program; /usr/sbin is looked into even where it is not in an ordinary user's PATH."""
    return shutil.which("mosquitto", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin:/usr/local/sbin")


def find_broker() -> str | None:
    """"mosquitto", "amqtt" or None."""
    if find_mosquitto():
        return "mosquitto"
    return "amqtt" if importlib.util.find_spec("amqtt") is not None else None


def free_port() -> int:
    """A loopback TCP port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


class Broker:
    """One broker that can be stopped and started again on the same port."""

    def __init__(self, directory: Path, kind: str | None = None) -> None:
        found = kind or find_broker()
        if found is None:
            raise RigError(NO_BROKER)
        self.kind = found
        self.port = free_port()
        self.log_path = directory / "broker.log"
        self._config_path = directory / "mosquitto.conf"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def speaks_mqtt5(self) -> bool:
        """amqtt knows MQTT 3.1.1 only; the proxy then translates."""
        return self.kind == "mosquitto"

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self.process.pid if self.process else None

    def version(self) -> str:
        """Name and version for the report."""
        if self.kind == "amqtt":
            from importlib.metadata import version
            return f"amqtt {version('amqtt')}"
        answer = subprocess.run([find_mosquitto() or "mosquitto", "-h"], capture_output=True, text=True, check=False)
        first = answer.stdout.splitlines()[0] if answer.stdout else "mosquitto"
        return first.replace(" version", "")

    def start(self) -> None:
        """Starts it and waits until it accepts connections. RigError with the end of its log when it does not."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, start_new_session=True)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
                return
            time.sleep(POLL_S)
        self.stop()
        last = self.log_path.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise RigError(f"the MQTT broker {self.kind} did not start on 127.0.0.1:{self.port}: {last[0]}")

    def stop(self) -> None:
        """Ends it. May be called more than once."""
        process, self.process = self.process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(3.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _command(self) -> list[str]:
        if self.kind == "amqtt":
            return [sys.executable, "-m", "twinbeat.demo.amqtt_broker", "--port", str(self.port),
                    "--parent", str(os.getpid())]
        self._config_path.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n"
            "log_type error\nlog_type warning\nlog_dest stderr\n")
        return [find_mosquitto() or "mosquitto", "-c", str(self._config_path)]
