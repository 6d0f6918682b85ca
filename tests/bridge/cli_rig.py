"""What the tests of `twinbeat arbiter` share: a configuration, a line of their own, the command itself."""
from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from config_files import GOOD

from twinbeat.cli_dispatch import dispatch
from twinbeat.config_digest import pair_id_of
from twinbeat.serial_port import open_serial
from twinbeat_bridge.protocol import Session
from twinbeat_bridge.session import SerialSession

PAIR = pair_id_of("pump-7")
VOTER = "a0b1c2d3"
INTERPRETERS = {
    "cpython": sys.executable,
    "micropython": shutil.which("micropython", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"),
}


class on_port:
    """A session of a test's own on a port."""

    def __init__(self, path: str, side: int = 0) -> None:
        self.fd = open_serial(path, 921600)
        self.serial = SerialSession(self.fd, Session(side, PAIR, 9, None, 500), path)

    def __enter__(self) -> SerialSession:
        self.serial.query(tries=100)
        return self.serial

    def __exit__(self, *unused: object) -> None:
        os.close(self.fd)


def write_config(directory: Path, port: str) -> Path:
    """The good file with an arbiter on a port."""
    text = GOOD.replace('udp.direct = "10', f'serial.vote = "{port}"\nudp.direct = "10')
    text += f'[third_voter]\ntype = "arbiter"\nport = "vote"\nid = "{VOTER}"\n[agent]\nrun_dir = "{directory}"\n'
    path = directory / "twinbeat.toml"
    path.write_text(text)
    return path


def run(*words: object) -> int:
    return dispatch(["arbiter", *map(str, words)])


def as_json(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def steps_of(data: Any) -> dict[str, bool | None]:
    return {step["name"].partition(",")[0]: step["ok"] for step in data["steps"]}
