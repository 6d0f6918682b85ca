"""Makes the helpers beside the tests importable, and gives every test a place to put an output."""
from __future__ import annotations

import sys
from pathlib import Path

import pytest

from twinbeat_hardware.output import OutputPlace

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def place() -> OutputPlace:
    return OutputPlace(group=3, group_name="pump", node="gw-a", pair="pump-7", serial_ports={})
