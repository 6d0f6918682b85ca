"""What the witness must still know after a restart: how often it started, and which epochs it may have promised.

One text file for all pairs. A start rewrites it whole; a reservation is a line at its end, on disk (fsync) before any
epoch of it is promised. Each line has a checksum, so that a power cut costs at most a line that nobody relied on.
"""
from __future__ import annotations

import contextlib
import errno
import os
import secrets
import zlib
from pathlib import Path

from twinbeat.store import COUNTER_MASK, EPOCH_MAX, StoreError, make_directory, write_whole

FORMAT = "twinbeat-witness-1"
LONGEST = "-grant_max_ms"
"""Names the line with the longest promise that may be out; no pair has such a name."""
REWRITE_BYTES_MIN = 1 << 20


class Book:
    """The file of one witness. `open` once at start; `reserve` from one thread at a time."""

    def __init__(self, state_dir: Path, name: str) -> None:
        self.path = state_dir / f"{name}.reservations"
        self.starts = 0
        self.ceilings: dict[str, int] = {}
        self.longest_ms = 0
        self.rewrites = 0
        self._fd = -1
        self._size = 0
        self._whole_size = 0

    def open(self, grant_max_ms: int) -> list[str]:
        """Read it and count this start on disk. Returns what to tell the operator. Raises StoreError.

        `longest_ms` is then the longest promise that may be out: of this start or, with another configuration, of the
        ones before.
        """
        make_directory(self.path.parent)
        warnings = self._read()
        self.starts += 1
        self.longest_ms = max(self.longest_ms, grant_max_ms)
        self._rewrite(self.ceilings)
        return warnings

    def life(self) -> int:
        """The number of this start in answers: the counter's low 16 bits above a random number that is never 0.

        By the counter alone, two machines given the same name, or one that lost its disk, would have equal lives.
        """
        return (self.starts & COUNTER_MASK) << 16 | (secrets.randbelow(COUNTER_MASK) + 1)

    def reserve(self, ceilings: dict[str, int]) -> None:
        """Put reservations on disk; returns when they are there. Raises StoreError, and then they are not."""
        if self._fd < 0:                        # the last write failed, and nobody knows what of it is there
            self._rewrite({**self.ceilings, **ceilings})
            return
        text = b"".join(line(name, ceiling) for name, ceiling in ceilings.items())
        try:
            if os.write(self._fd, text) != len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fdatasync(self._fd)
        except OSError as error:
            self.close()
            raise self._error(error) from None
        self._size += len(text)
        self.ceilings.update(ceilings)
        if self._size > max(REWRITE_BYTES_MIN, 4 * self._whole_size):
            with contextlib.suppress(StoreError):        # the lines are on disk; making the file short can wait
                self._rewrite(self.ceilings)

    def settle(self, grant_max_ms: int) -> None:
        """Promises of earlier starts have run out: only this configuration's count from now on. Raises StoreError."""
        if self.longest_ms != grant_max_ms:
            self.longest_ms = grant_max_ms
            self._rewrite(self.ceilings)

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> list[str]:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return [f"{self.path}: no reservations: this is the first start here, or the disk was lost"]
        except OSError as error:
            raise self._error(error) from None
        lines = [checked(text) for text in data.split(b"\n")[:-1]]   # behind the last: what a power cut left
        head = lines[0] if lines else None
        if head is not None and head[0] != FORMAT:
            raise StoreError(
                f"{self.path}: another version of twinbeat wrote it ({head[0]}), this one reads {FORMAT}; "
                "run that version, or choose another state_dir"
            )
        self.starts = head[1] if head is not None else 0
        for entry in lines[1:]:
            if entry is not None and entry[0] == LONGEST:
                self.longest_ms = entry[1]
            elif entry is not None:
                self.ceilings[entry[0]] = max(entry[1], self.ceilings.get(entry[0], 0))
        damaged = lines.count(None) if lines else 1
        if damaged:
            return [f"{self.path}: {damaged} of {len(lines)} lines are damaged and left out; check the disk"]
        return []

    def _rewrite(self, ceilings: dict[str, int]) -> None:
        numbers = {FORMAT: self.starts, LONGEST: self.longest_ms, **ceilings}
        data = b"".join(line(name, number) for name, number in numbers.items())
        try:
            write_whole(self.path, data)
            self.close()                         # it is the old file's
            self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            raise self._error(error) from None
        self._size = self._whole_size = len(data)
        self.ceilings = dict(ceilings)
        self.rewrites += 1

    def _error(self, error: OSError) -> StoreError:
        return StoreError(
            f"reservations {self.path}: {error.strerror}; make its directory writable for this user, with space left, "
            "or choose another state_dir"
        )


def line(name: str, number: int) -> bytes:
    """`name number checksum` and the line's end."""
    text = f"{name} {number}"
    return f"{text} {zlib.crc32(text.encode()):08x}\n".encode()


def checked(text: bytes) -> tuple[str, int] | None:
    """Name and number of a line; None when it is not what `line` wrote."""
    try:
        name, number, check = text.decode("ascii").split(" ")
        sound = zlib.crc32(f"{name} {number}".encode()) == int(check, 16)
        return (name, int(number)) if sound and 0 <= int(number) <= EPOCH_MAX else None
    except ValueError:
        return None
