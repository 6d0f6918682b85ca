"""Questions to a running agent that cannot be answered."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from run_rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.gate.end()


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"verb": "why", "count": 0}, "count = 0 is out of range: 1 to 512"),
        ({"verb": "why", "count": "many"}, "out of range"),
        ({"verb": "events", "after": "x"}, "sequence number"),
    ],
)
def test_wrong_questions(rig: Rig, request_: dict[str, Any], text: str) -> None:
    def scenario() -> None:
        answer = rig.ask(**request_)
        assert (answer["ok"], answer["exit_code"]) == (False, 2)
        assert text in answer["error"]

    rig.run(scenario)
