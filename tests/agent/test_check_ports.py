"""Serial ports: opened raw and alone; every port that cannot be used has its sentence."""
from __future__ import annotations

import os
import pty
import termios
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
from config_files import changed, write

from twinbeat import serial_port
from twinbeat.check_devices import check_devices
from twinbeat.config import load_config
from twinbeat.errors import DeviceError
from twinbeat.serial_port import UsbAdapter, open_serial, usb_adapter, usb_warning
from twinbeat_hardware import tty_check


@pytest.fixture
def line() -> Iterator[tuple[int, str]]:
    """(far end, path of the near end) of a pty that nobody else has open."""
    far, near = pty.openpty()
    tty.setraw(far)
    path = os.ttyname(near)
    os.close(near)
    yield far, path
    os.close(far)


def fault(path: str, baud: int = 9600) -> str:
    with pytest.raises(DeviceError) as caught:
        os.close(open_serial(path, baud))
    assert caught.value.exit_code == 5
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_port_is_raw_non_blocking_and_not_inherited(line: tuple[int, str]) -> None:
    far, path = line
    fd = open_serial(path, 921600)
    try:
        assert os.get_blocking(fd) is False
        assert os.get_inheritable(fd) is False
        with pytest.raises(BlockingIOError):
            os.read(fd, 1)
        every_byte = bytes(range(256))
        os.write(far, every_byte)
        got = b""
        while len(got) < 256:
            os.set_blocking(fd, True)
            got += os.read(fd, 256)
        assert got == every_byte
        os.write(fd, every_byte)
        assert os.read(far, 256) == every_byte
        iflag, oflag, cflag, lflag, _, speed, control = termios.tcgetattr(fd)
        assert speed == termios.B921600
        assert cflag & termios.CSIZE == termios.CS8
        assert not cflag & (termios.PARENB | termios.CSTOPB | termios.CRTSCTS)
        assert not iflag & (termios.IXON | termios.IXOFF | termios.ICRNL) and not oflag & termios.OPOST
        assert not lflag & (termios.ICANON | termios.ECHO | termios.ISIG)
        assert control[termios.VMIN] in (1, b"\x01")
    finally:
        os.close(fd)


def test_far_end_that_goes_is_no_silence() -> None:
    far, near = pty.openpty()
    path = os.ttyname(near)
    os.close(near)
    fd = open_serial(path, 9600)
    os.close(far)
    try:
        try:
            assert os.read(fd, 1) == b""
        except OSError as error:
            assert not isinstance(error, BlockingIOError)
    finally:
        os.close(fd)


def test_second_user_of_a_port_is_refused_by_name(line: tuple[int, str]) -> None:
    fd = open_serial(line[1], 9600)
    try:
        assert fault(line[1]).startswith(f"{line[1]}: the port is in use by ")
        assert f"(pid {os.getpid()}); stop it or use another port" in fault(line[1])
    finally:
        os.close(fd)
    os.close(open_serial(line[1], 9600))


def test_own_gate_may_still_hold_the_line(line: tuple[int, str]) -> None:
    fd = open_serial(line[1], 9600)
    again = open_serial(line[1], 9600, own_pids=(os.getpid(),))
    os.close(fd)
    os.close(again)


def test_busy_port_names_the_other_process(line: tuple[int, str], monkeypatch: pytest.MonkeyPatch) -> None:
    # Another way to write the path of the pty, so that it is not taken for one.
    monkeypatch.setattr(serial_port, "check_device", lambda path: path.replace("/dev/", "/dev/../dev/"))
    monkeypatch.setattr(serial_port, "holders", lambda device: [tty_check.Holder(4711, "minicom")])
    assert fault(line[1]) == f"{line[1]}: the port is in use by minicom (pid 4711); stop it or use another port"


def test_port_that_is_not_there_lists_those_that_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_path = tmp_path / "serial" / "by-path"
    by_path.mkdir(parents=True)
    (by_path / "platform-uart0").touch()
    monkeypatch.setattr(serial_port, "DEV", tmp_path)
    assert fault("/dev/none") == f"/dev/none: there is no such port; these are there: {by_path}/platform-uart0"
    (by_path / "platform-uart0").unlink()
    (tmp_path / "ttyUSB0").touch()
    assert fault("/dev/none").endswith(f"these are there: {tmp_path}/ttyUSB0")
    (tmp_path / "ttyUSB0").unlink()
    assert "there is no serial port on this machine; check the cable" in fault("/dev/none")


def test_many_ports_are_not_all_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(12):
        (tmp_path / f"ttyS{number}").touch()
    monkeypatch.setattr(serial_port, "DEV", tmp_path)
    assert fault("/dev/none").endswith(" and 4 more")


@pytest.mark.parametrize("path", ["/dev/null", __file__])
def test_things_that_are_no_port(path: str) -> None:
    assert fault(path).startswith(f"{path}: this is no serial port; ")


def test_console_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "consoles").write_text("tty0 -WU (EC p) 4:1\n")
    (tmp_path / "cmdline").write_text("quiet console=ttyAMA0,115200 root=/dev/sda\n")
    monkeypatch.setattr(tty_check, "PROC", str(tmp_path))
    with pytest.raises(DeviceError) as caught:
        serial_port.refuse_console("/dev/ttyAMA0", "ttyAMA0", os.makedev(204, 64))
    assert str(caught.value).startswith(
        "/dev/ttyAMA0: ttyAMA0 is this machine's console (kernel command line: console=ttyAMA0,115200), where the "
        "kernel or a login writes; remove console=ttyAMA0 from the kernel command line and stop "
        "serial-getty@ttyAMA0.service"
    )
    serial_port.refuse_console("/dev/ttyAMA1", "ttyAMA1", os.makedev(204, 65))


def test_names_that_are_never_a_link() -> None:
    for path, name in (("/dev/console", "console"), ("/dev/tty", "tty"), ("/dev/tty0", "tty0"), ("/dev/tty1", "tty1")):
        if os.path.exists(path):
            found = fault(path)
            assert found.startswith(f"{path}: {name} is this machine's console (a terminal of its own screen"), found
            assert "use the port that the crosslink cable is on: " in found


def test_port_that_this_user_may_not_open(line: tuple[int, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*unused: object, **also_unused: object) -> None:
        raise serial_port.serial.SerialException(13, "could not open port")

    monkeypatch.setattr(serial_port.serial, "Serial", refuse)
    found = fault(line[1])
    assert found.startswith(f"{line[1]}: this user may not open the port; add the agent's user to group ")
    assert found.endswith(" USER") and "usermod -aG" in found


def test_baud_rate_that_the_port_refuses(line: tuple[int, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*unused: object, **also_unused: object) -> None:
        raise ValueError("Failed to set custom baud rate")

    monkeypatch.setattr(serial_port.serial, "Serial", refuse)
    assert fault(line[1], 123).startswith(f"{line[1]}: the port does not take baud = 123 (Failed to set")


# ---------------------------------------------------------------- USB adapters


def made_up_adapter(root: Path, name: str, latency: str | None) -> None:
    device = root / "devices" / "usb1" / "1-1" / name
    driver = root / "drivers" / "ftdi_sio"
    device.mkdir(parents=True)
    driver.mkdir(parents=True)
    (device / "driver").symlink_to(driver)
    if latency is not None:
        (device / "latency_timer").write_text(latency)
    (root / name).mkdir()
    (root / name / "device").symlink_to(device)


def test_usb_adapter_that_is_slow_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_up_adapter(tmp_path, "ttyUSB0", "16\n")
    monkeypatch.setattr(serial_port, "SYS_TTY", tmp_path)
    assert usb_adapter("/dev/ttyUSB0") == UsbAdapter("ftdi_sio", 16)
    with pytest.raises(DeviceError) as caught:
        usb_warning("/dev/ttyUSB0", 10)
    assert str(caught.value) == (
        "/dev/ttyUSB0: the USB adapter (ftdi_sio) holds received bytes back for 16 ms, more than 50% of period_ms = "
        f"10; write 1 to {tmp_path}/ttyUSB0/device/latency_timer, or set period_ms = 32 or more, or use a UART"
    )
    assert "holds received bytes back for 16 ms" in (usb_warning("/dev/ttyUSB0", 32) or "")


def test_usb_adapter_that_says_nothing_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_up_adapter(tmp_path, "ttyACM0", None)
    monkeypatch.setattr(serial_port, "SYS_TTY", tmp_path)
    assert "for an unknown time" in (usb_warning("/dev/ttyACM0", 10) or "")


def test_uart_is_no_usb_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial_port, "SYS_TTY", tmp_path)
    assert usb_warning("/dev/ttyAMA0", 10) is None


# ---------------------------------------------------------------- check --devices


def test_check_of_devices_tells_good_from_bad(tmp_path: Path, line: tuple[int, str]) -> None:
    text = changed(
        ('[node.gw-a]\nserial.cross = "/dev/ttyAMA0"', f'[node.gw-a]\nserial.cross = "{line[1]}"'),
        ('serial.relay = "/dev/ttyAMA1"\nudp.direct = "10.0.0.1:7400"',
         'serial.relay = "/dev/none"\nudp.direct = "10.0.0.1:7400"'),
    )
    found, _, problems = check_devices(load_config(write(tmp_path, text), "gw-a"))
    assert found == [f"link cross: {line[1]} opens at 921600 baud"]
    assert len(problems) == 1 and "/dev/none" in problems[0] and 'group "pump"' in problems[0]
    os.close(open_serial(line[1], 9600))


def test_check_of_devices_opens_and_lets_go_outputs(tmp_path: Path, line: tuple[int, str]) -> None:
    text = changed(
        ('[node.gw-a]\nserial.cross = "/dev/ttyAMA0"', f'[node.gw-a]\nserial.cross = "{line[1]}"'),
        ('type = "serial-relay"\nport = "relay"\nboard = "lcus-1"', 'type = "mock"'),
    )
    before = len(os.listdir("/proc/self/fd"))
    found, _, problems = check_devices(load_config(write(tmp_path, text), "gw-a"))
    assert (len(found), problems) == (2, [])
    assert len(os.listdir("/proc/self/fd")) == before
