"""`twinbeat check --devices` with an arbiter: who answers on its port, and what is there instead."""
from __future__ import annotations

import os
import pty
import time
from pathlib import Path

import pytest
from board_rig import FakeVoter, UnixBoard, told
from cli_rig import PAIR, VOTER, write_config

from twinbeat.check_devices import check_devices
from twinbeat.config import load_config

LONGEST_S = 5.0


def answers(config: Path, node: str = "gw-a") -> tuple[list[str], list[str]]:
    """(found, problems) about the arbiter."""
    (config.parent / "pair.key").write_text("00112233445566778899aabbccddeeff\n")
    found, _, problems = check_devices(load_config(config, node))
    return [text for text in found if "arbiter" in text], [text for text in problems if text.startswith("arbiter: ")]


def test_the_configured_board_is_named(board: UnixBoard, tmp_path: Path) -> None:
    found, problems = answers(write_config(tmp_path, board.ports[0]))
    assert problems == []
    assert found == [f"arbiter: {board.ports[0]} opens at 921600 baud; {VOTER} answers, the configured one, with "
                     f"firmware {found[0].rpartition(' ')[2]}"]


def test_the_other_gateway_s_side_is_told(board: UnixBoard, tmp_path: Path) -> None:
    found, problems = answers(write_config(tmp_path, board.ports[1]))
    assert found == []
    assert problems == [
        f"arbiter: {board.ports[1]}: this is the other gateway's side of the arbiter; exchange the two cables"]


def test_a_silent_line_is_a_problem_with_its_remedy(tmp_path: Path) -> None:
    far, near = pty.openpty()
    try:
        begun_s = time.monotonic()
        found, problems = answers(write_config(tmp_path, os.ttyname(near)))
        assert time.monotonic() - begun_s < LONGEST_S
    finally:
        os.close(far)
        os.close(near)
    assert found == [] and len(problems) == 1
    assert "nothing answers: is the board powered" in problems[0] and "twinbeat arbiter flash" in problems[0]


def test_a_port_that_is_not_there(tmp_path: Path) -> None:
    found, problems = answers(write_config(tmp_path, "/dev/none"))
    assert found == [] and problems[0].startswith("arbiter: /dev/none: there is no such port")


@pytest.mark.parametrize(
    ("changes", "piece"),
    [
        ({"voter": 0xBAD}, f"another arbiter answers: its id is 00000bad, the configuration says {VOTER}"),
        ({"pair": PAIR ^ 1}, f"this arbiter serves another pair (number {PAIR ^ 1}, this one has {PAIR})"),
    ],
)
def test_another_board_is_a_problem(tmp_path: Path, changes: dict[str, int], piece: str) -> None:
    with FakeVoter(lambda ask: told(ask, **changes)) as voter:  # type: ignore[arg-type]
        found, problems = answers(write_config(tmp_path, voter.path))
    assert found == [] and len(problems) == 1 and piece in problems[0]
