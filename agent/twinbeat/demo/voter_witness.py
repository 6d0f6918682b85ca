"""The witness of the demo: `twinbeat witness` behind the demo's broker."""
from __future__ import annotations

import contextlib
import sys
import urllib.request
from pathlib import Path

from twinbeat.demo.agents import PAIR
from twinbeat.demo.broker import Broker, free_port
from twinbeat.demo.helper import RigError
from twinbeat.demo.switchboard import WITNESS, mqtt_cut
from twinbeat.demo.voter_process import Process

NAME = "plant"
RENEW_MS, MISSED, RTT_MS = 100, 3, 100
GRANT_MAX_MS = 2000
START_LIMIT_S = 20.0


class Witness:
    """The process. It reaches the broker through the proxy, where it can be cut off; the gateways ask it directly."""

    kind = "witness"
    grant_ms = float(MISSED * RENEW_MS + RTT_MS)

    def __init__(self, directory: Path, broker: Broker, proxy_port: int) -> None:
        if not broker.speaks_mqtt5:
            raise RigError("a witness needs a broker that speaks MQTT 5: install mosquitto (`apt install mosquitto`)")
        self._broker_port = broker.port
        self._metrics_port = free_port()
        self._config = directory / "witness.toml"
        self._process = Process("witness", directory / "witness.log")
        self._config.write_text("\n".join([
            "[witness]", f'name = "{NAME}"', f'broker = "mqtt://127.0.0.1:{proxy_port}"', 'state_dir = "witness"',
            f"grant_max_ms = {GRANT_MAX_MS}", f"metrics_port = {self._metrics_port}", "",
            "[[pair]]", f'name = "{PAIR}"', 'key_file = "pair.key"', ""]))

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def describe(self) -> str:
        return "witness"

    def config_lines(self) -> list[str]:
        return ["[third_voter]", 'type = "witness"', f'witness = "{NAME}"',
                f'broker = "mqtt://127.0.0.1:{self._broker_port}"', f"renew_ms = {RENEW_MS}", f"missed = {MISSED}",
                f"rtt_ms = {RTT_MS}", ""]

    def ports(self) -> dict[str, dict[str, str]]:
        return {}

    def start(self) -> None:
        self._process.start([sys.executable, "-m", "twinbeat", "witness", "--config", str(self._config)])
        self._process.wait_until(self._connected, START_LIMIT_S)

    def stop(self) -> None:
        self._process.stop()

    def flags(self) -> list[int]:
        return [mqtt_cut(WITNESS)]

    def _connected(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(
                f"http://127.0.0.1:{self._metrics_port}/metrics", timeout=1.0) as answer:
            return b"\ntwinbeat_witness_connected 1" in answer.read()
        return False
