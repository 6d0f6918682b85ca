"""Is this serial port there, ours to use, free, and not the console?"""
from __future__ import annotations

import difflib
import glob
import grp
import os
import stat
from typing import NamedTuple

from .errors import OutputBusyError, OutputError, OutputMissingError, OutputPermissionError
from .programs import MakeError

PROC = "/proc"
"""Root of the process file system; tests put a made-up one here."""
PORT_GLOBS = ("/dev/serial/by-path/*", "/dev/ttyUSB*", "/dev/ttyACM*", "/dev/ttyAMA*", "/dev/ttyS[0-9]")
SCREEN = "a terminal of its own screen and keyboard"
"""The reason for /dev/console, /dev/tty and the virtual terminals, which no command line need name."""
_SCREEN_NAMES = ("console", "tty")
_SCREEN_MAJOR, _SCREEN_MINORS = 4, 64
_PORTS_SHOWN_MAX = 8
_HOLDERS_SHOWN_MAX = 4


class Holder(NamedTuple):
    """A process that has the port open."""

    pid: int
    program: str


def check_port(path: str, error: MakeError) -> None:
    """Raises what `error` makes of the first thing that forbids to use the port."""
    try:
        found = os.stat(path)
    except OSError as problem:
        raise error(f"port {path} is not there ({problem.strerror}); {_present(path)}", OutputMissingError) from None
    if not stat.S_ISCHR(found.st_mode) or _subsystem(found.st_rdev) not in ("tty", ""):
        raise error(f"port {path} is no serial port: write the path of a tty, such as /dev/ttyUSB0", OutputError)
    console = console_reason(path, found.st_rdev)
    if console == SCREEN:
        raise error(
            f"port {path} is the system console ({console}): the kernel's messages would switch the relay; name the "
            "port that the relay board is on",
            OutputBusyError,
        )
    if console:
        raise error(
            f"port {path} is the system console ({console}): the kernel's messages would switch the relay; take the "
            "console= entry off the kernel command line and disable the login on it, or use another port",
            OutputBusyError,
        )
    if not os.access(path, os.R_OK | os.W_OK):
        raise error(
            f"port {path} may not be opened by this user: add it to the group {_group_name(found.st_gid)}",
            OutputPermissionError,
        )
    others = [holder for holder in holders(found.st_rdev) if holder.pid != os.getpid()]
    if others:
        raise busy(path, others, error)


def busy(path: str, others: list[Holder], error: MakeError) -> OutputError:
    """The error for a port that is held by `others`; none: by this process itself, or by somebody invisible."""
    if not others:
        return error(
            f"port {path} is in use, most likely by another link or output of this configuration: "
            "one port serves one purpose",
            OutputBusyError,
        )
    names = ", ".join(f"{holder.program} (pid {holder.pid})" for holder in others[:_HOLDERS_SHOWN_MAX])
    return error(f"port {path} is in use by {names}: end that program or use another port", OutputBusyError)


def console_reason(path: str, device: int) -> str:
    """Why this device is a console, in a few words; empty: it is none."""
    numbers = f"{os.major(device)}:{os.minor(device)}"
    virtual = os.major(device) == _SCREEN_MAJOR and os.minor(device) < _SCREEN_MINORS
    if virtual or os.path.basename(os.path.realpath(path)) in _SCREEN_NAMES:
        return SCREEN
    for line in _read_proc("consoles").splitlines():
        if line.split()[-1:] == [numbers]:
            return f"{PROC}/consoles: {line.split()[0]}"
    name = os.path.basename(os.path.realpath(path))
    for word in _read_proc("cmdline").split():
        key, _, value = word.partition("=")
        tty = value.split(",", 1)[0]
        if key == "console" and tty and name in (tty, os.path.basename(os.path.realpath(f"/dev/{tty}"))):
            return f"kernel command line: {word}"
    return ""


def holders(device: int) -> list[Holder]:
    """Who has a character device open, as far as this user may see."""
    found: dict[int, Holder] = {}
    for link in glob.iglob(f"{PROC}/[0-9]*/fd/[0-9]*"):
        try:
            opened = os.stat(link)
        except OSError:  # gone meanwhile, or not ours to look at
            continue
        if stat.S_ISCHR(opened.st_mode) and opened.st_rdev == device:
            pid = int(link[len(PROC) + 1 :].split("/", 1)[0])
            found[pid] = Holder(pid, _read_proc(f"{pid}/comm").strip() or "a program")
    return [found[pid] for pid in sorted(found)]


def _subsystem(device: int) -> str:
    """The kernel's class of a character device; empty where it is not listed, as pseudo terminals are not."""
    try:
        return os.path.basename(os.readlink(f"/sys/dev/char/{os.major(device)}:{os.minor(device)}/subsystem"))
    except OSError:
        return ""


def _read_proc(name: str) -> str:
    try:
        with open(f"{PROC}/{name}", encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _present(wanted: str) -> str:
    ports = [port for pattern in PORT_GLOBS for port in sorted(glob.glob(pattern))]
    if not ports:
        return "this machine has no serial ports; is the adapter plugged in?"
    near = difflib.get_close_matches(wanted, ports, n=3, cutoff=0.7)
    shown = near or ports[:_PORTS_SHOWN_MAX]
    return f"{'nearest' if near else 'present'}: {', '.join(shown)}"


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
