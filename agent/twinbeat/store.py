"""What a node must still know after a restart: how often it started and which epochs it may have used.

Both live in one small file per node. It is replaced as a whole (write, fsync, rename, fsync of the
directory), so a power cut leaves the old content or the new one. A lost or damaged file is not guessed
at: the start is reported as `disk_lost` and the core then abstains as its rules say. It reserves no epochs until it has
heard what the others know, so a file without a reservation says that the node died before that: its disk is still lost.
"""
from __future__ import annotations

import json
import os
import secrets
import zlib
from pathlib import Path
from typing import NamedTuple

from twinbeat.errors import DeviceError

FORMAT = 1
FILE_BYTES_MAX = 4096
DRIVERS_BYTES_MAX = 65536
COUNTER_MASK = 0xFFFF
EPOCH_MAX = 0xFFFFFFFF


class StoreError(DeviceError):
    """The state directory cannot be written."""


class Opened(NamedTuple):
    """What a start is made of.

    `incarnation`: u32, the start counter's low 16 bits above a random 16-bit nonce that is never 0.
    `starts`: the whole start counter, 1 for the first start known. `ceiling`: the highest epoch that
    earlier starts may have used, 0 when not known. `disk_lost`: there was no usable file, or none with a reservation.
    `warning`: what to tell the operator, empty when all is well.
    """

    incarnation: int
    starts: int
    ceiling: int
    disk_lost: bool
    warning: str


class Store:
    """The state file of one node. `open` once at start, `persist` from one thread only."""

    def __init__(self, state_dir: Path, pair: str, node: str) -> None:
        self.path = state_dir / f"{pair}-{node}.epoch"
        self.last_drivers = LastDrivers(state_dir / f"{pair}-{node}.drivers")
        self.starts = 0
        self.ceiling = 0

    def open(self) -> Opened:
        """Count this start on disk and return it. Raises StoreError when the directory cannot be written."""
        make_directory(self.path.parent)
        starts, ceiling, fault = self._read()
        if not fault and ceiling == 0:
            fault = "no epochs are reserved in the state file"
        self.starts, self.ceiling = starts + 1, ceiling
        self._write()
        nonce = secrets.randbelow(COUNTER_MASK) + 1
        incarnation = (self.starts & COUNTER_MASK) << 16 | nonce
        warning = ""
        if fault:
            warning = (
                f"{self.path}: {fault}: this is the first start here, or the disk was lost. "
                "This node abstains until every other voter has been heard"
            )
        return Opened(incarnation, self.starts, ceiling, bool(fault), warning)

    def persist(self, ceiling: int) -> None:
        """Put a higher epoch ceiling on disk; returns when it is there. A lower one changes nothing."""
        if not 0 <= ceiling <= EPOCH_MAX:
            raise ValueError(f"epoch ceiling {ceiling} is not a 32-bit number")
        if ceiling > self.ceiling:
            before, self.ceiling = self.ceiling, ceiling
            try:
                self._write()
            except StoreError:
                self.ceiling = before
                raise

    def _read(self) -> tuple[int, int, str]:
        """Starts, ceiling and what is wrong with the file ("" when it is sound)."""
        try:
            with self.path.open("rb") as file:
                data = file.read(FILE_BYTES_MAX + 1)
        except FileNotFoundError:
            return 0, 0, "no state file"
        except OSError as error:
            return 0, 0, f"state file cannot be read ({error.strerror})"
        try:
            return (*decode(data), "")
        except ValueError as error:
            return 0, 0, f"state file is damaged ({error})"

    def _write(self) -> None:
        try:
            write_whole(self.path, encode(self.starts, self.ceiling))
        except OSError as error:
            raise StoreError(
                f"state file {self.path}: {error.strerror}; make its directory writable for this user "
                "or choose another with --state-dir"
            ) from None


class LastDrivers:
    """Who drove each group last, by name. It orders the candidates of a cold start and decides nothing else.

    Losing it costs an order, so there is no checksum: what cannot be read is not known.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._drivers: dict[str, str] = {}

    def load(self) -> dict[str, str]:
        """Group to node; empty when nothing is known."""
        try:
            with self.path.open("rb") as file:
                values = json.loads(file.read(DRIVERS_BYTES_MAX))
            self._drivers = {str(group): str(node) for group, node in values.items()}
        except (OSError, ValueError, AttributeError, RecursionError):
            self._drivers = {}
        return dict(self._drivers)

    def note(self, group: str, node: str) -> None:
        """Put a driver on disk if it is another than the one known. Raises StoreError."""
        if self._drivers.get(group) == node:
            return
        self._drivers[group] = node
        try:
            write_whole(self.path, json.dumps(self._drivers).encode() + b"\n")
        except OSError as error:
            raise StoreError(
                f"state file {self.path}: {error.strerror}; make its directory writable for this user "
                "or choose another with --state-dir"
            ) from None


def encode(starts: int, ceiling: int) -> bytes:
    """The file's text: one JSON line with a CRC-32 over the two numbers."""
    check = zlib.crc32(f"{FORMAT} {starts} {ceiling}".encode())
    return json.dumps({"format": FORMAT, "starts": starts, "ceiling": ceiling, "crc": check}).encode() + b"\n"


def decode(data: bytes) -> tuple[int, int]:
    """Starts and ceiling. Raises ValueError with the reason when the text is not what `encode` wrote."""
    if len(data) > FILE_BYTES_MAX:
        raise ValueError("too long")
    try:
        values = json.loads(data)
        form, starts, ceiling, check = (values[key] for key in ("format", "starts", "ceiling", "crc"))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError("not the text that was written") from None
    if not all(type(value) is int and value >= 0 for value in (form, starts, ceiling, check)):
        raise ValueError("numbers expected")
    if form != FORMAT:
        raise ValueError(f"format {form}, this program writes {FORMAT}")
    if zlib.crc32(f"{form} {starts} {ceiling}".encode()) != check or ceiling > EPOCH_MAX:
        raise ValueError("checksum differs")
    return starts, ceiling


def make_directory(path: Path) -> None:
    """Make a state directory, mode 0750. Raises StoreError."""
    try:
        path.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"state directory {path}: {error.strerror}; create it for this user or choose another with --state-dir"
        ) from None


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file so that a power cut leaves the old content or the new one. Raises OSError."""
    draft = path.with_name(path.name + ".new")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view):]
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(draft, path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
