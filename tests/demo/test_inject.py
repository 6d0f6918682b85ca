"""The injector: flags and signals of one fault under one stamp, and no agent left behind."""
from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from twinbeat.demo import procs, switchboard
from twinbeat.demo.helper import Helper, RigError
from twinbeat.demo.switchboard import Switchboard

WAIT_S = 5.0
SLEEPER = [sys.executable, "-c", "import signal; signal.pause()"]


@pytest.fixture
def injector(tmp_path: Path) -> Iterator[Helper]:
    Switchboard(tmp_path / "board", create=True)
    helper = Helper("injector", "twinbeat.demo.inject", ["--board", str(tmp_path / "board")], tmp_path / "log")
    helper.wait_ready()
    yield helper
    helper.close()


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(SLEEPER)
    yield process
    process.kill()
    process.wait()


def test_flags_and_signals_happen_between_the_stamps(
    tmp_path: Path, injector: Helper, victim: subprocess.Popen[bytes]
) -> None:
    board = Switchboard(tmp_path / "board")
    injector.request(watch=[victim.pid])
    before_ns = procs.now_ns()
    answer = injector.request(flags={str(switchboard.dark(1)): 1}, signals=[[victim.pid, int(signal.SIGKILL)]])
    assert before_ns <= answer["at_ns"] <= answer["done_ns"] <= procs.now_ns()
    assert board.is_dark(1)
    assert not board.is_dark(0)
    assert victim.wait(WAIT_S) == -signal.SIGKILL


def test_only_watched_processes_can_be_hit(injector: Helper, victim: subprocess.Popen[bytes]) -> None:
    with pytest.raises(RigError, match="refused"):
        injector.request(signals=[[victim.pid, int(signal.SIGKILL)]])
    injector.request(watch=[victim.pid])
    injector.request(forget=[victim.pid])
    with pytest.raises(RigError, match="refused"):
        injector.request(signals=[[victim.pid, int(signal.SIGKILL)]])
    assert procs.is_alive(victim.pid)


def test_what_is_watched_ends_with_the_rig(injector: Helper, victim: subprocess.Popen[bytes]) -> None:
    injector.request(watch=[victim.pid])
    injector.request(signals=[[victim.pid, int(signal.SIGSTOP)]])
    injector.close()
    assert victim.wait(WAIT_S) == -signal.SIGKILL


def test_a_helper_that_does_not_start_says_why(tmp_path: Path) -> None:
    helper = Helper("injector", "twinbeat.demo.inject", ["--board", str(tmp_path / "none")], tmp_path / "log")
    with pytest.raises(RigError, match="did not start: FileNotFoundError"):
        helper.wait_ready()
    helper.close()
