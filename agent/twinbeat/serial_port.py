"""Serial ports: opened for this process alone, raw, 8N1, without flow control; and what is wrong with one that is not.

pyserial configures the line; the descriptor is then taken out of it, because the thread that reads and
writes the line never enters Python.
"""
from __future__ import annotations

import errno
import os
import stat
import termios
from pathlib import Path
from typing import NamedTuple

import serial

from twinbeat.errors import DeviceError
from twinbeat_hardware.tty_check import SCREEN, Holder, console_reason, holders

SYS_TTY = Path("/sys/class/tty")
DEV = Path("/dev")
LISTED_MAX = 8
USB_LATENCY_SHARE_MAX = 0.5
"""A USB adapter may hold received bytes back for this part of a period; beyond it the port is refused."""


class UsbAdapter(NamedTuple):
    """A port behind USB. `latency_ms`: how long it collects received bytes, None where it does not say."""

    driver: str
    latency_ms: int | None


def open_serial(path: str, baud: int, *, own_pids: tuple[int, ...] = ()) -> int:
    """Open a port exclusively and return its descriptor, non-blocking and close-on-exec; the caller owns it.

    A read with nothing there gives EAGAIN, not an empty result, so that 0 bytes always mean "hung up".
    `own_pids` are processes of this agent that may still hold the line when it is opened again after a
    fault. Raises DeviceError with the reason and the remedy.
    """
    device = check_device(path)
    everyone = holders(os.stat(device).st_rdev)
    others = [holder for holder in everyone if holder.pid not in (os.getpid(), *own_pids)]
    refuse_busy(path, device, others)
    try:
        port = open_port(path, baud, exclusive=True)
    except DeviceError:
        raise
    except OSError as error:
        if error.errno not in (None, errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK):
            raise DeviceError(open_failure(path, error)) from None
        if others or not own_pids:
            raise DeviceError(busy_text(path, others or everyone)) from None
        port = reopen_own(path, baud)
    with port:
        fd = os.dup(port.fileno())
    settle_reads(fd)
    return fd


def refuse_busy(path: str, device: str, others: list[Holder]) -> None:
    """DeviceError when a device is open elsewhere, locked or not: two readers would share its bytes."""
    # A pseudo terminal is kept alive by whoever made it; there only the lock tells a second user.
    if others and not device.startswith("/dev/pts/"):
        raise DeviceError(busy_text(path, others))


def open_port(path: str, baud: int, *, exclusive: bool) -> serial.Serial:
    """pyserial's port with everything that could hold bytes back switched off."""
    try:
        port = serial.Serial(path, baud, timeout=0, write_timeout=0, exclusive=exclusive or None)
    except (ValueError, OverflowError) as error:
        raise DeviceError(f"{path}: the port does not take baud = {baud} ({error}); choose a rate it has") from None
    try:
        port.set_low_latency_mode(True)
    except (OSError, ValueError, NotImplementedError, AttributeError):
        pass  # not every driver knows it; usb_finding judges what is left
    return port


def reopen_own(path: str, baud: int) -> serial.Serial:
    """The port once more while another process of this agent still holds its lock."""
    try:
        return open_port(path, baud, exclusive=False)
    except OSError as error:
        raise DeviceError(open_failure(path, error)) from None


def settle_reads(fd: int) -> None:
    """At least one byte per read: with pyserial's zero a read of nothing would look like a hang-up."""
    attributes = termios.tcgetattr(fd)
    attributes[6][termios.VMIN] = 1
    attributes[6][termios.VTIME] = 0
    termios.tcsetattr(fd, termios.TCSANOW, attributes)
    os.set_blocking(fd, False)


def check_device(path: str) -> str:
    """The device behind a path. Raises DeviceError when it is missing, no terminal, or the machine's console."""
    device = os.path.realpath(path)
    try:
        found = os.stat(device)
    except FileNotFoundError:
        raise DeviceError(f"{path}: there is no such port; {ports_text()}") from None
    except OSError as error:
        raise DeviceError(open_failure(path, error)) from None
    name = os.path.basename(device)
    known = device.startswith("/dev/pts/") or not SYS_TTY.is_dir() or (SYS_TTY / name).exists()
    if not stat.S_ISCHR(found.st_mode) or not known:
        raise DeviceError(f"{path}: this is no serial port; {ports_text()}")
    if not device.startswith("/dev/pts/"):
        refuse_console(path, name, found.st_rdev)
    return device


def refuse_console(path: str, name: str, device_number: int) -> None:
    """DeviceError when a tty is where the kernel or a login writes."""
    reason = console_reason(path, device_number)
    if reason == SCREEN:
        raise DeviceError(
            f"{path}: {name} is this machine's console ({reason}), where the kernel or a login writes; "
            f"use the port that the crosslink cable is on: {ports_text()}"
        )
    if reason:
        raise DeviceError(
            f"{path}: {name} is this machine's console ({reason}), where the kernel or a login writes; "
            f"remove console={name} from the kernel command line and stop serial-getty@{name}.service "
            "(raspi-config: Interface Options, Serial Port, no login shell), or use another port"
        )


def busy_text(path: str, others: list[Holder]) -> str:
    """Who holds a port, and what to do about it."""
    if not others:
        return f"{path}: the port is in use by a process that this user cannot see; find it with: sudo fuser -v {path}"
    who = ", ".join(f"{holder.program} (pid {holder.pid})" for holder in others)
    return f"{path}: the port is in use by {who}; stop it or use another port"


def open_failure(path: str, error: OSError) -> str:
    """Why a port could not be opened, and what to do about it."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{path}: this user may not open the port; {permission_remedy(path)}"
    if error.errno in (errno.ENXIO, errno.ENODEV, errno.EIO):
        return f"{path}: no device answers behind this port; {ports_text()}"
    if error.errno in (errno.ENOTTY, errno.EINVAL) or isinstance(error, serial.SerialException):
        return f"{path}: this is no serial port that can be configured ({error.strerror or error}); {ports_text()}"
    return f"{path}: the port cannot be opened: {error.strerror or error}; check the cable and the path"


def permission_remedy(path: str) -> str:
    """The group to join."""
    import grp

    try:
        group = grp.getgrgid(os.stat(path).st_gid).gr_name
    except (OSError, KeyError):
        group = "dialout"
    group = group if group != "root" else "dialout"
    return f"add the agent's user to group {group}: sudo usermod -aG {group} USER"


def ports_text() -> str:
    """The ports that are there, by the names that survive a reboot."""
    # Only USB adapters have a link in by-path; a UART is numbered by the board and keeps its name.
    names = sorted(str(entry) for kind in ("serial/by-path/*", "ttyAMA*") for entry in DEV.glob(kind))
    if not names:
        names = sorted(str(entry) for kind in ("ttyUSB*", "ttyACM*", "ttyS*") for entry in DEV.glob(kind))
    if not names:
        return "there is no serial port on this machine; check the cable, and on a Raspberry Pi enable the UART"
    more = f" and {len(names) - LISTED_MAX} more" if len(names) > LISTED_MAX else ""
    return "these are there: " + ", ".join(names[:LISTED_MAX]) + more


def usb_adapter(path: str) -> UsbAdapter | None:
    """What is known of the adapter when the port sits behind USB; None for a UART."""
    tty = SYS_TTY / os.path.basename(os.path.realpath(path))
    if "/usb" not in os.path.realpath(tty / "device"):
        return None
    driver = os.path.basename(os.path.realpath(tty / "device" / "driver"))
    try:
        return UsbAdapter(driver, int((tty / "device" / "latency_timer").read_text()))
    except (OSError, ValueError):
        return UsbAdapter(driver, None)


def usb_warning(path: str, period_ms: float) -> str | None:
    """A sentence about a USB adapter, None for a UART.

    Raises DeviceError when the adapter is known to hold bytes back too long for the period.
    """
    adapter = usb_adapter(path)
    if adapter is None:
        return None
    if adapter.latency_ms is not None and adapter.latency_ms > USB_LATENCY_SHARE_MAX * period_ms:
        raise DeviceError(
            f"{path}: the USB adapter ({adapter.driver}) holds received bytes back for {adapter.latency_ms} ms, more "
            f"than {USB_LATENCY_SHARE_MAX:.0%} of period_ms = {period_ms:g}; write 1 to "
            f"{SYS_TTY / os.path.basename(os.path.realpath(path))}/device/latency_timer, or set period_ms = "
            f"{adapter.latency_ms / USB_LATENCY_SHARE_MAX:g} or more, or use a UART"
        )
    held = "an unknown time" if adapter.latency_ms is None else f"{adapter.latency_ms} ms"
    return (
        f"{path} is a USB adapter ({adapter.driver}); it holds received bytes back for {held}, and a disturbance on "
        "the bus takes it away: use a UART for the crosslink where there is one"
    )
