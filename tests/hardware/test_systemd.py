"""Unit outputs against a systemctl of our own."""
from __future__ import annotations

import os
from pathlib import Path

import pytest
from hardware_benches import script, systemctl

from twinbeat_hardware import systemd
from twinbeat_hardware.errors import OutputError, OutputMissingError
from twinbeat_hardware.output import OutputPlace
from twinbeat_hardware.spec import SystemdSpec
from twinbeat_hardware.systemd import SystemdOutput


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def unit(place: OutputPlace, name: str = "historian.service") -> SystemdOutput:
    return SystemdOutput(SystemdSpec(unit=name), place)


def refused(place: OutputPlace, kind: type[OutputError], name: str = "historian.service") -> str:
    with pytest.raises(kind) as caught:
        unit(place, name).open()
    text = str(caught.value)
    assert text.startswith('group "pump", output "') and "\n" not in text
    assert caught.value.exit_code == 5
    return text


def test_the_gate_gets_the_stop_command(folder: Path, place: OutputPlace) -> None:
    path = systemctl(folder, folder / "active")
    fast = unit(place).open()
    assert (fast.kind, fast.fd) == ("none", -1)
    assert fast.stop_argv == (str(path), "--no-ask-password", "stop", "historian.service")


def test_read_back_is_the_units_state(folder: Path, place: OutputPlace) -> None:
    systemctl(folder, folder / "active")
    driver = unit(place)
    driver.open()
    assert driver.warnings == []
    assert driver.read_back() is False
    assert driver.start(1, "CHECK").ok and driver.read_back() is True
    script(folder / "systemctl", "echo ActiveState=activating")
    assert driver.read_back() is None


def test_a_machine_without_systemctl_is_told_of_hooks(
    place: OutputPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "use an output of type hook" in refused(place, OutputMissingError)


def test_units_that_cannot_be_started_are_refused(folder: Path, place: OutputPlace) -> None:
    systemctl(folder, folder / "active")
    assert 'unit "nowhere.service" does not exist' in refused(place, OutputMissingError, "nowhere.service")
    systemctl(folder, folder / "active", load="masked")
    assert 'its state is "masked": systemctl unmask historian.service' in refused(place, OutputError)
    systemctl(folder, folder / "active", load="bad-setting")
    assert 'its state is "bad-setting": systemctl status historian.service' in refused(place, OutputError)


def test_a_unit_that_starts_by_itself_is_a_warning(folder: Path, place: OutputPlace) -> None:
    systemctl(folder, folder / "active", file_state="enabled")
    driver = unit(place)
    driver.open()
    assert len(driver.warnings) == 1
    assert "starts at boot on both nodes whoever drives: systemctl disable historian.service" in driver.warnings[0]


def test_a_service_manager_that_does_not_answer_is_told(
    folder: Path, place: OutputPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(folder / "systemctl", "echo 'System has not been booted with systemd' >&2; echo >&2; exit 1")
    assert "System has not been booted with systemd; is systemd running here" in refused(place, OutputError)
    script(folder / "systemctl", "exit 4")
    assert "exit status 4" in refused(place, OutputError)
    (folder / "systemctl").write_bytes(b"\x7fELF nonsense")
    assert "could not be run" in refused(place, OutputError)
    monkeypatch.setattr(systemd, "ASK_DEADLINE_S", 0.1)
    script(folder / "systemctl", "exec tail -f /dev/null")
    assert "gave no answer within 0.1 s" in refused(place, OutputError)
