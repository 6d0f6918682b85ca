"""Finding GPIO chips and lines by the names people use, with answers that help where one is wrong."""
from __future__ import annotations

import difflib
import glob
import importlib
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import OutputError, OutputMissingError, OutputPermissionError
from .programs import MakeError

if TYPE_CHECKING:
    from types import ModuleType

CHIP_GLOB = "/dev/gpiochip*"
_NAMES_SHOWN_MAX = 8


class ChipSeen(NamedTuple):
    """One chip of this machine; `label` is empty where it may not be opened."""

    path: str
    name: str
    label: str
    lines: int


def load_gpiod(error: MakeError) -> ModuleType:
    """The gpiod module, version 2; it is loaded only where a GPIO output is configured."""
    try:
        gpiod = importlib.import_module("gpiod")
    except ImportError:
        raise error("the Python package gpiod is not installed: pip install 'gpiod>=2'", OutputMissingError) from None
    if not hasattr(gpiod, "LineSettings"):
        version = getattr(gpiod, "__version__", "1")
        raise error(
            f"the Python package gpiod is version {version}, which lacks the interface used here: "
            "pip install 'gpiod>=2'",
            OutputMissingError,
        )
    return gpiod


def chips_seen(gpiod: ModuleType) -> list[ChipSeen]:
    """All chips, each once: some systems give one chip several device names by links."""
    seen: dict[str, ChipSeen] = {}
    for path in sorted(glob.glob(CHIP_GLOB), key=lambda path: (os.path.islink(path), path)):
        real = os.path.realpath(path)
        if real in seen:
            continue
        try:
            with gpiod.Chip(real) as chip:
                info = chip.get_info()
            seen[real] = ChipSeen(real, info.name, info.label, info.num_lines)
        except OSError:
            seen[real] = ChipSeen(real, os.path.basename(real), "", 0)
    return list(seen.values())


def find_chip(gpiod: ModuleType, wanted: str, error: MakeError) -> str:
    """Path of the chip with this path, label or name."""
    if wanted.startswith("/"):
        if not os.path.exists(wanted):
            raise error(f"chip = {wanted} does not exist; {_present(gpiod)}", OutputMissingError)
        return wanted
    seen = chips_seen(gpiod)
    fits = [chip.path for chip in seen if wanted in (chip.label, chip.name)]
    if len(fits) > 1:
        raise error(f'chip = "{wanted}" fits {" and ".join(fits)}: write the path of the right one', OutputError)
    if fits:
        return fits[0]
    closed = [chip.path for chip in seen if not chip.label]
    if closed:
        raise error(
            f'chip = "{wanted}" was not found, but this user may not look at {", ".join(closed)}: '
            "add it to the group gpio",
            OutputPermissionError,
        )
    raise error(f'chip = "{wanted}" is not there; {_present(gpiod)}', OutputMissingError)


def find_line(chip: Any, key: str, wanted: str | int, error: MakeError) -> int:
    """Offset of a line by its name or offset."""
    info = chip.get_info()
    if isinstance(wanted, int):
        return _in_chip(key, wanted, info, error)
    names = {offset: chip.get_line_info(offset).name or "" for offset in range(info.num_lines)}
    fits = [offset for offset, name in names.items() if name == wanted]
    if len(fits) > 1:
        offsets = ", ".join(str(offset) for offset in fits)
        raise error(f'{key} = "{wanted}" names offsets {offsets} of {info.label}: write the right one', OutputError)
    if fits:
        return fits[0]
    if wanted.isascii() and wanted.isdigit():
        return _in_chip(key, int(wanted), info, error)
    raise error(
        f'{key} = "{wanted}" is not a line of {info.label} ({info.num_lines} lines); '
        f"{_nearest(wanted, [name for name in names.values() if name])}",
        OutputMissingError,
    )


def owner_advice(consumer: str) -> str:
    """What to do about the holder of a line."""
    if consumer.startswith("twinbeat:"):
        return "another agent or another output of this configuration drives it; one line serves one output"
    if consumer.startswith(("sysfs", "interrupt")) or consumer in ("spi", "i2c"):
        return "the kernel or an old export holds it; free it or take another line"
    return "end that program, take the line from it, or use another line (gpioinfo lists all)"


def _in_chip(key: str, offset: int, info: Any, error: MakeError) -> int:
    if offset >= info.num_lines:
        raise error(
            f"{key} = {offset}: {info.label} has {info.num_lines} lines, 0 to {info.num_lines - 1}", OutputMissingError
        )
    return offset


def _nearest(wanted: str, names: list[str]) -> str:
    if not names:
        return "its lines have no names: write an offset"
    lowered = {name.lower(): name for name in reversed(names)}
    near = difflib.get_close_matches(wanted.lower(), list(lowered), n=3, cutoff=0.5)
    if near:
        return f"nearest: {', '.join(lowered[name] for name in near)}"
    shown = sorted(set(names))[:_NAMES_SHOWN_MAX]
    return f"it has {', '.join(shown)}{' and more' if len(set(names)) > len(shown) else ''}"


def _present(gpiod: ModuleType) -> str:
    seen = chips_seen(gpiod)
    if not seen:
        return "this machine has no GPIO chip at all (nothing in /dev/gpiochip*)"
    return "present: " + ", ".join(
        f'{chip.path} "{chip.label}" ({chip.lines} lines)' if chip.label else f"{chip.path} (not readable)"
        for chip in seen
    )
