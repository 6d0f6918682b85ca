"""Makes the helpers beside these tests importable, and the broker of the agent's tests; ends what a test left."""
from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "agent")]


@pytest.fixture(autouse=True)
def no_witness_left() -> Iterator[None]:
    yield
    from witness_rig import WitnessProcess

    while WitnessProcess.alive:
        process = WitnessProcess.alive.pop()
        if process.poll() is None:
            process.kill()
            process.wait()
