"""Configuration files for tests: a good one, and ways to change one line of it."""
from __future__ import annotations

from pathlib import Path

GOOD = """\
[pair]
name = "pump-7"
key_file = "pair.key"
outage_budget_ms = 100

[node.gw-a]
serial.cross = "/dev/ttyAMA0"
serial.relay = "/dev/ttyAMA1"
udp.direct = "10.0.0.1:7400"

[node.gw-b]
serial.cross = "/dev/ttyAMA0"
serial.relay = "/dev/ttyAMA1"
udp.direct = "10.0.0.2:7400"

[[link]]
type = "serial"
port = "cross"
period_ms = 10

[[link]]
type = "mqtt"
broker = "mqtt://broker.plant"
period_ms = 100

[[group]]
name = "pump"
prefer = ["gw-b", "gw-a"]

[[group.output]]
type = "serial-relay"
port = "relay"
board = "lcus-1"
release_ms = 8
"""


def changed(*changes: tuple[str, str], base: str = GOOD) -> str:
    """The good file with pieces replaced; each piece must be there exactly once."""
    text = base
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in the file"
        text = text.replace(old, new)
    return text


def write(directory: Path, text: str = GOOD) -> Path:
    """The file on disk, with a key beside it."""
    path = directory / "twinbeat.toml"
    path.write_text(text)
    key = directory / "pair.key"
    key.write_text("00112233445566778899aabbccddeeff\n")
    key.chmod(0o600)
    return path
