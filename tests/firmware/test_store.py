"""store.py: a power cut at any byte of a write leaves what was kept before, or what was being written."""
from __future__ import annotations

from pathlib import Path

import pytest
from firmware_rig import load

Store = load().store.Store


def test_empty_at_first(tmp_path: Path) -> None:
    store = Store(f"{tmp_path}/a.")
    assert (store.life, store.ceiling) == (0, 0)


def test_keeps_the_newest(tmp_path: Path) -> None:
    store = Store(f"{tmp_path}/a.")
    for number in range(1, 6):
        store.put(number, number * 8192)
        again = Store(f"{tmp_path}/a.")
        assert (again.life, again.ceiling) == (number, number * 8192)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.0", "a.1"]


@pytest.mark.parametrize("kept", range(17))
@pytest.mark.parametrize("writes", [0, 1, 2, 5])
def test_a_power_cut_during_a_write(tmp_path: Path, writes: int, kept: int) -> None:
    store = Store(f"{tmp_path}/a.")
    for number in range(1, writes + 1):
        store.put(number, number)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    store.put(77, 78)
    [changed] = [path for path in tmp_path.iterdir() if before.get(path.name) != path.read_bytes()]
    changed.write_bytes(changed.read_bytes()[:kept])
    after = Store(f"{tmp_path}/a.")
    assert (after.life, after.ceiling) == ((77, 78) if kept == 16 else (writes, writes))
    after.put(5, 6)
    assert Store(f"{tmp_path}/a.").life == 5


@pytest.mark.parametrize("bit", range(0, 128, 5))
def test_a_rotten_file_is_passed_over(tmp_path: Path, bit: int) -> None:
    store = Store(f"{tmp_path}/a.")
    store.put(1, 10)
    store.put(2, 20)
    newest = tmp_path / "a.0"
    data = bytearray(newest.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    newest.write_bytes(data)
    assert Store(f"{tmp_path}/a.").ceiling == 10


def test_a_write_that_does_not_stay_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(f"{tmp_path}/a.")
    store.put(1, 10)
    monkeypatch.setattr(store, "_read", lambda path: (0, 0, 0))
    with pytest.raises(OSError, match="not kept"):
        store.put(2, 20)
    assert store.ceiling == 10
