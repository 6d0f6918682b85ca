"""The serial relay on pseudo terminals: what goes out, and every port that must not be used."""
from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import termios
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from twinbeat_core.outputs import FastOutput
from twinbeat_hardware import tty_check
from twinbeat_hardware.errors import OutputBusyError, OutputError, OutputMissingError, OutputPermissionError
from twinbeat_hardware.output import OutputPlace
from twinbeat_hardware.serial_relay import SerialRelayOutput
from twinbeat_hardware.spec import SerialRelaySpec


@pytest.fixture
def port() -> Iterator[str]:
    board_fd, tty_fd = os.openpty()
    tty.setraw(tty_fd)
    yield os.ttyname(tty_fd)
    os.close(board_fd)
    os.close(tty_fd)


def driver_on(path: str, place: OutputPlace, **keys: object) -> SerialRelayOutput:
    spec = SerialRelaySpec(**({"port": path, "board": "lcus-1"} | keys))  # type: ignore[arg-type]
    return SerialRelayOutput(spec, place)


def open_on(path: str, place: OutputPlace, **keys: object) -> FastOutput:
    return driver_on(path, place, **keys).open()


def refused(path: str, place: OutputPlace, kind: type[OutputError], **keys: object) -> str:
    with pytest.raises(kind) as caught:
        open_on(path, place, **keys)
    text = str(caught.value)
    assert text.startswith('group "pump", output "') and "\n" not in text
    assert caught.value.exit_code == 5
    return text


def test_the_port_is_raw_locked_and_set_to_its_speed(port: str, place: OutputPlace) -> None:
    fast = open_on(port, place, baud=19_200)
    _, oflag, cflag, lflag, _, ospeed, _ = termios.tcgetattr(fast.fd)
    assert ospeed == termios.B19200
    assert not oflag & termios.OPOST and not lflag & (termios.ECHO | termios.ICANON) and cflag & termios.CLOCAL
    assert fcntl.fcntl(fast.fd, fcntl.F_GETFL) & os.O_NONBLOCK
    assert (fast.kind, fast.fd_is_tty, fast.on, fast.off) == ("bytes", True, b"\xa0\x01\x01\xa2", b"\xa0\x01\x00\xa1")
    os.close(fast.fd)


def test_the_lock_goes_with_the_descriptor(port: str, place: OutputPlace) -> None:
    driver = driver_on(port, place)
    fast = driver.open()
    driver.close()
    assert "most likely by another link or output" in refused(port, place, OutputBusyError)
    os.close(fast.fd)
    os.close(open_on(port, place).fd)


def test_a_port_held_by_another_program_names_it(port: str, place: OutputPlace) -> None:
    with open(port, "rb", buffering=0) as held, subprocess.Popen(["cat"], stdin=held, stdout=subprocess.DEVNULL) as cat:
        try:
            assert f"is in use by cat (pid {cat.pid})" in refused(port, place, OutputBusyError)
        finally:
            cat.kill()


def test_a_lock_without_a_visible_holder_is_still_busy(
    port: str, place: OutputPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tty_check, "PROC", str(tmp_path))
    with open(port, "rb", buffering=0) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert f"port {port} is in use" in refused(port, place, OutputBusyError)


def test_a_missing_port_lists_those_present(
    place: OutputPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tty_check, "PORT_GLOBS", (str(tmp_path / "tty*"),))
    wanted = str(tmp_path / "ttyUSB1")
    assert "this machine has no serial ports" in refused(wanted, place, OutputMissingError)
    (tmp_path / "ttyUSB0").touch()
    text = refused(wanted, place, OutputMissingError)
    assert f"port {wanted} is not there" in text and f"nearest: {tmp_path}/ttyUSB0" in text


def test_a_name_that_the_node_does_not_have_is_told(place: OutputPlace) -> None:
    text = refused("relay", place, OutputMissingError)
    assert 'port = "relay" is neither a path nor one of the serial names of node "gw-a" (none)' in text


@pytest.mark.parametrize("device", ["/dev/null", "file"])
def test_what_is_no_tty_is_refused(place: OutputPlace, tmp_path: Path, device: str) -> None:
    if device == "file":
        device = str(tmp_path / "file")
        Path(device).touch()
    before = len(os.listdir("/proc/self/fd"))
    assert f"port {device} is no" in refused(device, place, OutputError)
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_permission_names_the_group(port: str, place: OutputPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "add it to the group" in refused(port, place, OutputPermissionError)


def test_the_console_is_refused(
    port: str, place: OutputPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = os.stat(port).st_rdev
    monkeypatch.setattr(tty_check, "PROC", str(tmp_path))
    consoles, cmdline = tmp_path / "consoles", tmp_path / "cmdline"
    consoles.write_text(f"ttyX0    -W- (EC p a)  {os.major(device)}:{os.minor(device)}\n")
    assert "is the system console" in refused(port, place, OutputBusyError)
    consoles.write_text("ttyX0    -W- (EC p a)  4:64\n")
    cmdline.write_text(f"quiet console={os.path.basename(port)},115200 root=/dev/x\n")
    assert "kernel command line: console=" in refused(port, place, OutputBusyError)
    cmdline.write_text("quiet console=ttyX9,115200 console= root=/dev/x\n")
    os.close(open_on(port, place).fd)


@pytest.mark.parametrize("device", ["/dev/console", "/dev/tty", "/dev/tty0", "/dev/tty1"])
def test_the_machines_own_screen_is_refused(place: OutputPlace, device: str) -> None:
    if not os.path.exists(device):
        pytest.skip(f"no {device} here")
    text = refused(device, place, OutputBusyError)
    assert f"port {device} is the system console (a terminal of its own screen and keyboard)" in text


def test_a_missing_pyserial_is_named(port: str, place: OutputPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "serial", None)
    assert "the Python package pyserial is not installed" in refused(port, place, OutputError)


def test_a_refused_speed_is_told(port: str, place: OutputPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    import serial

    def refuse(*_: object, **__: object) -> None:
        raise ValueError("Failed to set custom baud rate (12345)")

    monkeypatch.setattr(serial, "Serial", refuse)
    assert "does not take 12345 baud" in refused(port, place, OutputError, baud=12_345)
