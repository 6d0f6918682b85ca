"""The key file: what is refused, what is written."""
from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from config_files import write

from twinbeat.config import load_config
from twinbeat.errors import KeyFileError
from twinbeat.keys import load_key, read_key, write_key

KEY = "00112233445566778899aabbccddeeff"


def key_file(directory: Path, text: str = KEY + "\n", mode: int = 0o600) -> Path:
    path = directory / "k.key"
    path.write_text(text)
    path.chmod(mode)
    return path


def fault(path: Path) -> str:
    """The sentence without the file's name; the key must never stand in it."""
    with pytest.raises(KeyFileError) as caught:
        read_key(path)
    assert caught.value.exit_code == 4
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    assert KEY[:12] not in text
    return text.removeprefix(f"{path}: ")


def test_written_key_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "new.key"
    old_mask = os.umask(0)
    try:
        write_key(path)
    finally:
        os.umask(old_mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text()) == 33
    assert read_key(path).hex() == path.read_text().strip()


def test_two_keys_differ(tmp_path: Path) -> None:
    write_key(tmp_path / "a")
    write_key(tmp_path / "b")
    assert read_key(tmp_path / "a") != read_key(tmp_path / "b")


def test_existing_key_is_kept_unless_forced(tmp_path: Path) -> None:
    path = key_file(tmp_path, mode=0o644)
    with pytest.raises(KeyFileError, match=r"the file exists and is kept; .* use --force, or another name"):
        write_key(path)
    assert path.read_text() == KEY + "\n"
    write_key(path, force=True)
    assert read_key(path).hex() != KEY
    assert os.listdir(tmp_path) == ["k.key"]


def test_key_into_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="cannot be written: No such file or directory; choose a directory"):
        write_key(tmp_path / "none" / "k")


def test_key_is_found_beside_the_configuration(tmp_path: Path) -> None:
    assert load_key(load_config(write(tmp_path), "gw-a")).hex() == KEY


@pytest.mark.parametrize("text", [KEY, KEY.upper() + "\n", f"  {KEY}\r\n"])
def test_forms_of_a_key_line(tmp_path: Path, text: str) -> None:
    assert read_key(key_file(tmp_path, text)).hex() == KEY


def test_stricter_mode_is_fine(tmp_path: Path) -> None:
    assert read_key(key_file(tmp_path, mode=0o400)).hex() == KEY


def test_missing_key(tmp_path: Path) -> None:
    path = tmp_path / "none"
    assert fault(path) == (
        f"there is no key file; write one with: twinbeat keygen {path}, and copy it to the other gateway"
    )


@pytest.mark.parametrize(
    ("mode", "who"),
    [
        (0o644, "everybody can read the key (mode 0644)"),
        (0o604, "everybody can read the key (mode 0604)"),
        (0o640, "its group can read the key (mode 0640)"),
        (0o620, "its group can change the key (mode 0620)"),
        (0o602, "everybody can change the key (mode 0602)"),
    ],
)
def test_key_open_to_others(tmp_path: Path, mode: int, who: str) -> None:
    path = key_file(tmp_path, mode=mode)
    assert fault(path) == f"{who}; run: chmod 600 {path}"


@pytest.mark.parametrize("text", ["", "abc", KEY + "00", KEY + "\n" + KEY])
def test_key_of_the_wrong_length(tmp_path: Path, text: str) -> None:
    path = key_file(tmp_path, text)
    count = len(text.strip())
    assert fault(path) == (
        f"the key has {count} characters, not one line of 32 hex digits; write one with: twinbeat keygen {path} --force"
    )


def test_key_that_is_no_hex(tmp_path: Path) -> None:
    assert fault(key_file(tmp_path, "zz" * 16)).startswith("the key has characters that are no hex digits; write one")
    path = tmp_path / "k.key"
    path.write_bytes(b"\xff" * 32)
    assert fault(path).startswith("the key has characters that are no hex digits")


def test_key_that_is_no_file(tmp_path: Path) -> None:
    assert fault(tmp_path) == "this is a directory; name another key_file and write one with: twinbeat keygen FILE"
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert fault(tmp_path / "pipe").startswith("this is no regular file; name another key_file and write one with: ")


def test_key_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*unused: object) -> int:
        raise PermissionError(13, "Permission denied")

    path = key_file(tmp_path)
    monkeypatch.setattr("os.open", refuse)
    assert fault(path) == "this user may not read the key file; chown it to the agent's user"
