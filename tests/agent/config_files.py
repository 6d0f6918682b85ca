"""Configuration files for tests: a good one, and ways to change one line of it."""
from __future__ import annotations

from pathlib import Path

PORTS = {"cross": "/dev/ttyAMA0", "relay": "/dev/ttyAMA1"}


def head(name: str, outage_budget_ms: int, nodes: dict[str, tuple[str, ...]], spare: str | None = None) -> str:
    """What a file begins with: the pair, and each node with these serial ports and an address of its own."""
    text = f'[pair]\nname = "{name}"\nkey_file = "pair.key"\noutage_budget_ms = {outage_budget_ms}\n\n'
    for number, (node, ports) in enumerate(nodes.items(), 1):
        text += f"[node.{node}]\n" + ("spare = true\n" if node == spare else "")
        text += "".join(f'serial.{port} = "{PORTS[port]}"\n' for port in ports)
        text += f'udp.direct = "10.0.0.{number}:7400"\n\n'
    return text


GOOD = head("pump-7", 100, {"gw-a": ("cross", "relay"), "gw-b": ("cross", "relay")}) + """\
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
