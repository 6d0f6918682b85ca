"""`twinbeat arbiter flash`: the firmware onto a board, and the proof that it runs there."""
from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinbeat.arbiter.lines import Target, find_target, opened
from twinbeat.cli_dispatch import print_json
from twinbeat.errors import UsageError
from twinbeat_bridge.bundle import Bundle, bundle, microbit_hex
from twinbeat_bridge.flash import (
    FlashError,
    configured,
    copy_files,
    find_device,
    require_mpremote,
    stop_firmware,
)
from twinbeat_bridge.protocol import Told, voter_text
from twinbeat_bridge.session import ArbiterError
from twinbeat_bridge.squeeze import FirmwareError

if TYPE_CHECKING:
    import argparse

START_S = 15.0
"""Longest wait for a board that has been restarted."""
HEX_NAME = "twinbeat-arbiter.hex"


def main(arguments: argparse.Namespace) -> int:
    """Write, verify, print. 5: the board cannot be written, or what runs on it is something else."""
    check_options(arguments)
    target = find_target(arguments)
    if target.pair_id is None:
        raise UsageError("which pair is the board for? Give --config, or --pair NAME")
    if target.pair_id == 0:
        raise UsageError(f'the name "{target.pair_name}" gives the number 0, which no arbiter serves: rename the pair')
    try:
        made = bundle(arguments.board, target.pair_id, read_back=not arguments.no_read_back)
    except FirmwareError as error:
        raise FlashError(str(error)) from None
    if arguments.board == "rp2":
        made = configured(made, arguments.contacts or 0, not arguments.no_read_back)
    report = {
        "board": arguments.board,
        "pair": target.pair_name,
        "pair_id": target.pair_id,
        "firmware": ".".join(map(str, made.version)),
        "build": f"{made.build:08x}",
        "files": {name: len(data) for name, data in sorted(made.files.items())},
        "verified": False,
    }
    if not arguments.dry_run:
        report |= write_hex(arguments, made) if arguments.board == "microbit" else write_board(arguments, made, target)
    if arguments.json:
        print_json(report)
    else:
        print("\n".join(as_lines(report)))
    return 0


def check_options(arguments: argparse.Namespace) -> None:
    """UsageError for options of the other board."""
    foreign = ("device", "contacts") if arguments.board == "microbit" else ("interpreter", "out")
    for name in foreign:
        if getattr(arguments, name) is not None:
            raise UsageError(f"--{name} means nothing for --board {arguments.board}: leave it out")
    if arguments.board == "microbit" and arguments.interpreter is None and not arguments.dry_run:
        raise UsageError(
            "--interpreter HEX is missing: name the .hex file of MicroPython 1.9.2 for the micro:bit (version 1), to "
            "which the firmware is added"
        )


def write_hex(arguments: argparse.Namespace, made: Bundle) -> dict[str, Any]:
    """The one file for a micro:bit's drive. Raises FlashError, FirmwareError."""
    try:
        interpreter = Path(arguments.interpreter).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise FlashError(f"{arguments.interpreter}: cannot be read: {why}; name MicroPython's .hex file") from None
    try:
        text = microbit_hex(made, interpreter)
    except FirmwareError as error:
        raise FlashError(f"{arguments.interpreter}: {error}") from None
    path = Path(arguments.out or HEX_NAME)
    try:
        path.write_text(text, encoding="ascii")
    except OSError as error:
        raise FlashError(f"{path}: cannot be written: {error.strerror}; name another file with --out") from None
    return {
        "written": str(path),
        "next": f"copy {path} to the drive MICROBIT, wait until it is back, then: twinbeat arbiter status",
    }


def write_board(arguments: argparse.Namespace, made: Bundle, target: Target) -> dict[str, Any]:
    """The files into the board's file system; then it is asked what it runs, where a line to it is known."""
    mpremote = require_mpremote()
    device = find_device(arguments.device)
    # Any id will do: who puts the firmware on a new board learns its id here.
    asked_lines = () if arguments.no_verify else target.lines
    with opened(replace(target, voter=None, lines=asked_lines)) as lines:  # a port in use is found before the writing
        stop_firmware(device)
        copy_files(device, made.files, mpremote)
        if not lines:
            return {"written": device, "next": "not verified: ask it with twinbeat arbiter status --port PATH"}
        asked = [verify(line.serial.query, made, line.line.path) for line in lines]
    return {"written": device, "verified": True, "voter": voter_text(asked[0].voter)}


def verify(query: Any, made: Bundle, path: str) -> Told:
    """Ask until the board has started. Raises ArbiterError where it does not answer, or runs another firmware."""
    until_s = time.monotonic() + START_S
    while True:
        try:
            told = query().answer
            break
        except ArbiterError:
            if time.monotonic() >= until_s:
                raise
    assert isinstance(told, Told)
    if told.build != made.build or told.firmware != made.version:
        raise ArbiterError(
            f"{path}: the board runs firmware {told.version}, build {told.build:08x}, and "
            f"{'.'.join(map(str, made.version))}, build {made.build:08x}, was put on it: is this the line to that "
            "board, and did it start? Reset it and ask again: twinbeat arbiter status"
        )
    return told


def as_lines(report: dict[str, Any]) -> list[str]:
    """The report in words."""
    lines = [
        f"firmware {report['firmware']}, build {report['build']}, for {report['board']}, pair {report['pair']} "
        f"(number {report['pair_id']})"
    ]
    lines += [f"  {size:6d} bytes  {name}" for name, size in report["files"].items()]
    if "written" in report:
        lines.append(f"written: {report['written']}")
    if report["verified"]:
        voter = report["voter"]
        lines.append(f'verified: the board {voter} runs it; [third_voter] needs id = "{voter}"')
    if "next" in report:
        lines.append(report["next"])
    return lines
