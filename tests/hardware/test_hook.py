"""Hook outputs: what is wrong is known at open, and a command is told why it is run."""
from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hardware_benches import WAIT_S, script

from twinbeat_hardware.command import Outcome
from twinbeat_hardware.errors import OutputError, OutputMissingError, OutputPermissionError
from twinbeat_hardware.hook import HookOutput
from twinbeat_hardware.output import OutputPlace
from twinbeat_hardware.spec import HookSpec

TELL = "env | grep -E '^(TWINBEAT_[CEGNP]|NOTIFY|WATCHDOG)' | sort"
DEADLINE_MS = WAIT_S * 1000.0


def hook(place: OutputPlace, start: Path | str, stop: Path | str, deadline_ms: float = DEADLINE_MS) -> HookOutput:
    return HookOutput(HookSpec(start=(str(start),), stop=(str(stop), "now"), deadline_ms=deadline_ms), place)


def refused(place: OutputPlace, kind: type[OutputError], start: Path | str) -> str:
    with pytest.raises(kind) as caught:
        hook(place, start, "/bin/true").open()
    text = str(caught.value)
    assert text.startswith('group "pump", output "') and "\n" not in text
    assert caught.value.exit_code == 5
    return text


def test_a_command_that_cannot_be_run_is_known_at_open(
    place: OutputPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "missing"
    assert f"start = {missing} does not exist" in refused(place, OutputMissingError, missing)
    plain = tmp_path / "plain"
    plain.touch(mode=0o644)
    assert f"start = {plain} is not executable: chmod +x {plain}" in refused(place, OutputPermissionError, plain)
    assert f"start = {tmp_path} is no file" in refused(place, OutputError, tmp_path)
    assert f"start = {plain}/x does not exist" in refused(place, OutputMissingError, plain / "x")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert f'start = "plain" was not found in PATH ({tmp_path})' in refused(place, OutputMissingError, "plain")
    with pytest.raises(OutputMissingError, match="stop = "):
        hook(place, "/bin/true", missing).open()


def test_a_command_is_told_why(place: OutputPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    driver = hook(place, script(tmp_path / "a", f"{TELL} > {tmp_path}/told"), script(tmp_path / "b", "exit 0"))
    driver.open()
    assert driver.start(513, "PEER_SILENT").ok
    assert (tmp_path / "told").read_text().splitlines() == [
        "TWINBEAT_CAUSE=PEER_SILENT",
        "TWINBEAT_EPOCH=513",
        "TWINBEAT_GROUP=pump",
        "TWINBEAT_NODE=gw-a",
        "TWINBEAT_PAIR=pump-7",
    ]
    driver.close()


def test_the_gates_stop_command_works_by_itself(place: OutputPlace, tmp_path: Path) -> None:
    stop = script(tmp_path / "stop", f'(echo "$1"; {TELL}) > {tmp_path}/told')
    fast = hook(place, "/bin/true", stop).open()
    assert (fast.kind, fast.fd, fast.exit) == ("none", -1, "off")
    subprocess.run(fast.stop_argv, env={"PATH": os.environ["PATH"]}, check=True, timeout=WAIT_S)
    assert (tmp_path / "told").read_text().splitlines() == [
        "now",
        "TWINBEAT_CAUSE=AGENT_DIED",
        "TWINBEAT_EPOCH=",
        "TWINBEAT_GROUP=pump",
        "TWINBEAT_NODE=gw-a",
        "TWINBEAT_PAIR=pump-7",
    ]


def test_a_stop_that_env_would_mistake_is_run_without_it(place: OutputPlace, tmp_path: Path) -> None:
    stop = script(tmp_path / "a=b", "exit 0")
    driver = hook(place, "/bin/true", stop)
    assert driver.open().stop_argv == (str(stop), "now")
    assert len(driver.warnings) == 1


def test_a_program_found_in_path_is_fixed_at_open(
    place: OutputPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "pump-start", "exit 0")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    driver = hook(place, "pump-start", "/bin/true")
    driver.open()
    monkeypatch.setenv("PATH", "/nowhere")
    assert driver.start_argv() == (f"{tmp_path}/pump-start",)
    assert driver.start(1, "CHECK").ok


def test_every_end_is_counted(place: OutputPlace, tmp_path: Path) -> None:
    driver = hook(place, script(tmp_path / "a", "tail -f /dev/null"), script(tmp_path / "b", "exit 3"), 100.0)
    driver.open()
    assert driver.start(1, "CHECK").outcome is Outcome.TIMED_OUT
    assert driver.stop(1, "CHECK").outcome is Outcome.FAILED
    assert driver.describe()["commands"] == {"timed-out": 1, "failed": 1}
