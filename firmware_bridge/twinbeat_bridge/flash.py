"""Puts the arbiter's firmware on a board: by mpremote over the board's own USB, or as a file for its drive."""
from __future__ import annotations

import importlib.util
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from twinbeat_core.errors import TwinbeatError

from .bundle import Bundle

BY_ID = Path("/dev/serial/by-id")
BOARD_NAMES = ("*MicroPython*", "*Raspberry_Pi_Pico*", "*2e8a*")
"""What boards with MicroPython are called there."""
CTRL_C = b"\r\x03\x03"
COPY_LIMIT_S = 120.0
LEAVE_LIMIT_S = 2.0
"""A board whose firmware is stopped from its console restarts, and its USB port goes away within this time."""
RETURN_LIMIT_S = 15.0
LOOK_S = 0.05
SAID_LINES = 3


class FlashError(TwinbeatError):
    """The firmware could not be put on the board."""

    exit_code = 5


def find_device(named: str | None) -> str:
    """The board's USB port: the one named, or the only one that looks like such a board."""
    if named is not None:
        if not os.path.exists(named):
            raise FlashError(f"{named}: there is no such port; plug the board's USB in, and look into {BY_ID}")
        return named
    found = sorted({str(path) for pattern in BOARD_NAMES for path in BY_ID.glob(pattern)})
    if len(found) == 1:
        return found[0]
    if not found:
        raise FlashError(
            "no board with MicroPython is plugged in: put MicroPython on it first (hold BOOTSEL while plugging it in "
            "and copy the .uf2 file to its drive), or name its USB port with --device"
        )
    raise FlashError(f"several boards are plugged in ({', '.join(found)}): name one with --device")


def require_mpremote() -> list[str]:
    """How mpremote is started. FlashError where it is not installed."""
    if importlib.util.find_spec("mpremote") is None:
        raise FlashError('the Python package mpremote is not installed: pip install "twinbeat[arbiter]"')
    return [sys.executable, "-m", "mpremote"]


def configured(made: Bundle, contacts: int | None, read_back: bool) -> Bundle:
    """The bundle whose board knows how many groups have contacts here and whether they are read back (rp2)."""
    if contacts is None:
        return made
    pair = made.files["pair.py"] + f"GATED = {contacts}\nREAD_BACK = {read_back}\n".encode()
    return made._replace(files={**made.files, "pair.py": pair})


def stop_firmware(device: str, look: Callable[[float], None] = time.sleep) -> None:
    """Ctrl-C on the board's console. A running arbiter opens its contacts and restarts to the prompt, port and all."""
    try:
        fd = os.open(device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        raise FlashError(
            f"{device}: cannot be opened: {error.strerror}; stop what uses it, and add this user to group dialout"
        ) from None
    try:
        if select.select([], [fd], [], LEAVE_LIMIT_S)[1]:
            os.write(fd, CTRL_C)
    except OSError:
        pass  # gone already: it restarts
    finally:
        os.close(fd)
    if wait_until(lambda: not os.path.exists(device), LEAVE_LIMIT_S, look):
        if not wait_until(lambda: os.path.exists(device), RETURN_LIMIT_S, look):
            raise FlashError(f"{device}: the board did not come back after its firmware was stopped; plug it in again")


def wait_until(reached: Callable[[], bool], limit_s: float, look: Callable[[float], None]) -> bool:
    """Whether something came to be within a time."""
    until_s = time.monotonic() + limit_s
    while not reached():
        if time.monotonic() >= until_s:
            return False
        look(LOOK_S)
    return True


def copy_files(device: str, files: Mapping[str, bytes], mpremote: Sequence[str]) -> None:
    """Put the files into the board's file system and restart it. What else lies there stays: the reserved epochs."""
    with tempfile.TemporaryDirectory(prefix="twinbeat-arbiter-") as folder:
        paths = []
        # main.py last: a copy that breaks off leaves a board that starts nothing.
        for name in sorted(files, key=lambda name: (name == "main.py", name)):
            path = Path(folder) / name
            path.write_bytes(files[name])
            paths.append(str(path))
        run_mpremote([*mpremote, "connect", device, "fs", "cp", *paths, ":", "+", "reset"], device)


def run_mpremote(words: Sequence[str], device: str) -> None:
    """Run mpremote to its end. FlashError with what it said last."""
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=COPY_LIMIT_S,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise FlashError(
            f"{device}: the board took no files within {COPY_LIMIT_S:g} s: unplug it, plug it in, and try again"
        ) from None
    except OSError as error:
        raise FlashError(f"{words[0]}: cannot be started: {error.strerror}; install twinbeat anew") from None
    if done.returncode != 0:
        said = [line.strip() for line in (done.stderr + "\n" + done.stdout).splitlines() if line.strip()]
        shown = " | ".join(said[-SAID_LINES:]) or f"exit status {done.returncode}"
        raise FlashError(f"{device}: the files could not be copied; mpremote says: {shown}")
