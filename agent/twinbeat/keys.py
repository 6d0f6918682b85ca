"""The pair's key: 128 bits that sign every frame, kept in a file that nobody else can read."""
from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from twinbeat.errors import KeyFileError

if TYPE_CHECKING:
    from twinbeat.config import Config

KEY_BYTES = 16
KEY_HEX_DIGITS = 2 * KEY_BYTES
KEY_FILE_BYTES_MAX = 4096
OTHERS_MASK = 0o077
KEY_MODE = 0o600


def load_key(cfg: Config) -> bytes:
    """The pair's key as the configuration names it. Raises KeyFileError."""
    return read_key(cfg.key_path)


def read_key(path: Path | str) -> bytes:
    """The 16 bytes of a key file: one line of 32 hex digits, mode 0600 or stricter.

    Raises KeyFileError naming the file, what is wrong and the remedy; the key itself is never shown.
    """
    make = f"write one with: twinbeat keygen {path}"
    try:
        # Non-blocking, because a named pipe in its place would hold up the start for ever.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise KeyFileError(f"{path}: there is no key file; {make}, and copy it to the other gateway") from None
    except PermissionError:
        raise KeyFileError(f"{path}: this user may not read the key file; chown it to the agent's user") from None
    except OSError as error:
        raise KeyFileError(f"{path}: the key file cannot be opened: {error.strerror}; {make}") from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            what = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise KeyFileError(f"{path}: this is {what}; name another key_file and {make.replace(str(path), 'FILE')}")
        mode = stat.S_IMODE(status.st_mode)
        if mode & OTHERS_MASK:
            raise KeyFileError(f"{path}: {exposure(mode)} (mode {mode:04o}); run: chmod 600 {path}")
        data = os.read(fd, KEY_FILE_BYTES_MAX)
    except OSError as error:
        raise KeyFileError(f"{path}: the key file cannot be read: {error.strerror}; check the disk") from None
    finally:
        os.close(fd)
    return key_from_text(path, data, make)


def exposure(mode: int) -> str:
    """Who besides the owner can get at a file of that mode."""
    who = "everybody" if mode & 0o007 else "its group"
    what = "read" if mode & 0o044 else "change" if mode & 0o022 else "run"
    return f"{who} can {what} the key"


def key_from_text(path: Path | str, data: bytes, make: str) -> bytes:
    """The key in a file's bytes; KeyFileError when it is none."""
    text = data.strip()
    if len(text) != KEY_HEX_DIGITS:
        raise KeyFileError(
            f"{path}: the key has {len(text)} characters, not one line of {KEY_HEX_DIGITS} hex digits; {make} --force"
        )
    try:
        return bytes.fromhex(text.decode("ascii"))
    except ValueError:
        raise KeyFileError(f"{path}: the key has characters that are no hex digits; {make} --force") from None


def write_key(path: Path | str, *, force: bool = False) -> None:
    """Write a new random key, mode 0600. An existing file is kept unless `force`.

    With `force` the file is replaced in one step, so that a reader sees the old or the new key, never half
    of one. Raises KeyFileError.
    """
    target = Path(path)
    line = secrets.token_hex(KEY_BYTES) + "\n"
    written = target if not force else target.with_name(f".{target.name}.{os.getpid()}")
    try:
        fd = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, KEY_MODE)
    except FileExistsError:
        raise KeyFileError(
            f"{target}: the file exists and is kept; a new key must reach both gateways at once: "
            "use --force, or another name"
        ) from None
    except OSError as error:
        raise KeyFileError(f"{target}: cannot be written: {error.strerror}; choose a directory of this user") from None
    try:
        with os.fdopen(fd, "w", encoding="ascii") as file:
            os.fchmod(fd, KEY_MODE)
            file.write(line)
            file.flush()
            os.fsync(fd)
        if written != target:
            os.replace(written, target)
    except OSError as error:
        written.unlink(missing_ok=True)
        raise KeyFileError(f"{target}: cannot be written: {error.strerror}; the file is as it was") from None
