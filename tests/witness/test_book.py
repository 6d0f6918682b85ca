"""The file of starts and reservations: what it holds after power cuts, full disks and damage."""
from __future__ import annotations

import os
from pathlib import Path

import pytest

from twinbeat.store import StoreError
from twinbeat.witness import book as module
from twinbeat.witness.book import Book, line

GRANT_MS = 1000


def opened(folder: Path) -> Book:
    book = Book(folder, "plant")
    book.open(GRANT_MS)
    return book


def test_the_first_start_says_so_and_the_next_knows_everything(tmp_path: Path) -> None:
    book = Book(tmp_path / "state", "plant")
    [warning] = book.open(GRANT_MS)
    assert "first start" in warning
    book.reserve({"pump-7": 8192, "fan-1": 100})
    book.reserve({"pump-7": 16384})
    book.close()
    again = Book(tmp_path / "state", "plant")
    assert again.open(GRANT_MS) == []
    assert (again.starts, again.ceilings) == (2, {"pump-7": 16384, "fan-1": 100})


def test_lives_differ_even_where_the_counter_was_lost(tmp_path: Path) -> None:
    lives = set()
    for number in range(20):
        book = opened(tmp_path / str(number))
        assert book.starts == 1
        lives.add(book.life())
    assert len(lives) > 10 and 0 not in lives and max(lives) < 1 << 32


def test_a_half_written_line_is_left_out(tmp_path: Path) -> None:
    book = opened(tmp_path)
    book.reserve({"pump-7": 8192})
    with book.path.open("ab") as file:
        file.write(line("pump-7", 999999)[:-3])
    again = Book(tmp_path, "plant")
    assert again.open(GRANT_MS) == []
    assert again.ceilings == {"pump-7": 8192}


@pytest.mark.parametrize("damage", [b"pump-7 999999 00000000\n", b"\xff\xfe\n", b"\n", b"pump-7 99999999999 0\n"])
def test_a_damaged_line_is_told_and_the_others_count(tmp_path: Path, damage: bytes) -> None:
    book = opened(tmp_path)
    book.path.write_bytes(book.path.read_bytes() + damage + line("fan-1", 77))
    again = Book(tmp_path, "plant")
    [warning] = again.open(GRANT_MS)
    assert "1 of 4 lines are damaged" in warning
    assert (again.starts, again.ceilings) == (2, {"fan-1": 77})


def test_a_lost_head_loses_the_count_and_nothing_else(tmp_path: Path) -> None:
    book = opened(tmp_path)
    book.path.write_bytes(b"garbage\n" + line("fan-1", 77))
    again = Book(tmp_path, "plant")
    assert "damaged" in again.open(GRANT_MS)[0]
    assert (again.starts, again.ceilings) == (1, {"fan-1": 77})


def test_another_versions_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plant.reservations").write_bytes(line("twinbeat-witness-9", 3))
    with pytest.raises(StoreError, match="another version of twinbeat wrote it"):
        Book(tmp_path, "plant").open(GRANT_MS)


def test_a_failed_write_reserves_nothing_and_the_next_one_writes_the_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = opened(tmp_path)
    book.reserve({"pump-7": 8192})

    def full(fd: int, data: bytes) -> int:
        return written(fd, data[:5])

    written = os.write
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StoreError, match=r"No space left.*state_dir"):
        book.reserve({"fan-1": 100})
    assert book.ceilings == {"pump-7": 8192}
    monkeypatch.setattr(os, "write", written)
    book.reserve({"fan-1": 200})
    again = Book(tmp_path, "plant")
    assert again.open(GRANT_MS) == []
    assert again.ceilings == {"pump-7": 8192, "fan-1": 200}


def test_the_file_stays_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REWRITE_BYTES_MIN", 500)
    book = opened(tmp_path)
    for ceiling in range(1, 200):
        book.reserve({"pump-7": ceiling})
        assert book.path.stat().st_size < 600
    assert book.rewrites > 2
    again = opened(tmp_path)
    assert again.ceilings == {"pump-7": 199}


def test_what_cannot_be_shortened_is_still_reserved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REWRITE_BYTES_MIN", 1)
    book = opened(tmp_path)

    def fails(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_whole", fails)
    for ceiling in range(1, 20):
        book.reserve({"pump-7": ceiling})
    monkeypatch.undo()
    assert opened(tmp_path).ceilings == {"pump-7": 19}


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"state directory .*file/state"):
        Book(tmp_path / "file" / "state", "plant").open(GRANT_MS)


def test_the_longest_promise_of_an_earlier_start_is_known_until_it_has_run_out(tmp_path: Path) -> None:
    first = Book(tmp_path, "plant")
    first.open(60000)
    again = opened(tmp_path)
    assert again.longest_ms == 60000
    again = opened(tmp_path)                 # ended before it had run out
    assert again.longest_ms == 60000
    again.reserve({"pump-7": 8})
    again.settle(GRANT_MS)
    again = opened(tmp_path)
    assert (again.longest_ms, again.ceilings, again.starts) == (GRANT_MS, {"pump-7": 8}, 4)
