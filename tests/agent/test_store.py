"""The state file: counts starts, keeps the ceiling, survives being lost, damaged, half-written or unwritable."""
from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinbeat.errors import AlreadyRunning, TwinbeatError
from twinbeat.run_lock import NodeLock, RunDirError
from twinbeat.store import Store, StoreError, decode, encode, write_whole


def test_first_start_is_a_lost_disk_and_says_so(tmp_path: Path) -> None:
    opened = Store(tmp_path / "deep" / "state", "pump-7", "gw-a").open()
    assert (opened.starts, opened.ceiling, opened.disk_lost) == (1, 0, True)
    assert "pump-7-gw-a.epoch: no state file" in opened.warning
    assert "abstains" in opened.warning


def test_starts_are_counted_and_the_ceiling_is_kept(tmp_path: Path) -> None:
    first = Store(tmp_path, "p", "n")
    first.open()
    first.persist(1024)
    first.persist(512)
    second = Store(tmp_path, "p", "n").open()
    assert (second.starts, second.ceiling, second.disk_lost, second.warning) == (2, 1024, False, "")


def test_incarnation_is_counter_and_nonce(tmp_path: Path) -> None:
    found = [Store(tmp_path, "p", "n").open().incarnation for _ in range(3)]
    assert [incarnation >> 16 for incarnation in found] == [1, 2, 3]
    assert all(incarnation & 0xFFFF for incarnation in found)


def test_the_counter_wraps_and_is_still_never_zero(tmp_path: Path) -> None:
    (tmp_path / "p-n.epoch").write_bytes(encode(0xFFFF, 7))
    opened = Store(tmp_path, "p", "n").open()
    assert opened.starts == 0x10000
    assert 0 < opened.incarnation <= 0xFFFF


@given(st.integers(0, 2**40), st.integers(0, 2**32 - 1))
def test_what_is_written_is_read(starts: int, ceiling: int) -> None:
    assert decode(encode(starts, ceiling)) == (starts, ceiling)


@given(st.binary(max_size=200))
def test_noise_is_refused_with_a_reason(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not the text|numbers|format|checksum|long"):
        decode(data)


@given(st.integers(0, 60), st.integers(1, 255))
def test_a_flipped_byte_is_never_read_as_another_number(at: int, change: int) -> None:
    data = bytearray(encode(17, 4096))
    data[at % len(data)] ^= change
    try:
        assert decode(bytes(data)) == (17, 4096)
    except ValueError:
        pass


@pytest.mark.parametrize(
    "damage", [b"", b"{}", b"[" * 2000, encode(5, 5)[:-6], encode(5, 5).replace(b"5", b"6"), bytes(9000)]
)
def test_a_damaged_file_is_a_lost_disk(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "p-n.epoch").write_bytes(damage)
    opened = Store(tmp_path, "p", "n").open()
    assert opened.disk_lost and opened.ceiling == 0
    assert "damaged" in opened.warning
    store = Store(tmp_path, "p", "n")
    again = store.open()
    assert again.disk_lost, "it died before it had heard what the others know"
    assert "no epochs are reserved" in again.warning
    store.persist(512)
    assert not Store(tmp_path, "p", "n").open().disk_lost


def test_the_file_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    write_whole(path, b"old")
    done: list[str] = []
    for name in ("fsync", "rename"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, real=real, name=name: (done.append(name), real(*a)))
    write_whole(path, b"new")
    assert done == ["fsync", "rename", "fsync"]
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["f"]


def test_a_write_that_fails_keeps_the_old_file_and_the_old_ceiling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path, "p", "n")
    store.open()
    store.persist(100)

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"p-n.epoch: No space left on device; .*--state-dir"):
        store.persist(200)
    monkeypatch.undo()
    assert store.ceiling == 100
    assert Store(tmp_path, "p", "n").open().ceiling == 100


def test_an_unusable_directory_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"state directory .*file/state: Not a directory; .*--state-dir") as caught:
        Store(tmp_path / "file" / "state", "p", "n").open()
    assert caught.value.exit_code == 5


def test_a_ceiling_out_of_range_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="32-bit"):
        Store(tmp_path, "p", "n").persist(2**32)


def test_the_lock_is_held_once_and_names_the_holder(tmp_path: Path) -> None:
    first, second = NodeLock(tmp_path / "run", "p", "n"), NodeLock(tmp_path / "run", "p", "n")
    first.acquire()
    said = rf"p-n.lock: an agent .* is already running \(pid {os.getpid()}\)"
    with pytest.raises(AlreadyRunning, match=said) as caught:
        second.acquire()
    assert caught.value.exit_code == 7
    first.release()
    second.acquire()
    second.release()


def test_another_node_is_another_lock(tmp_path: Path) -> None:
    locks = [NodeLock(tmp_path, "p", node) for node in ("a", "b")]
    for lock in locks:
        lock.acquire()
    for lock in locks:
        lock.release()


def test_a_copy_of_the_descriptor_keeps_the_lock_after_its_owner_let_go(tmp_path: Path) -> None:
    first = NodeLock(tmp_path, "p", "n")
    first.acquire()
    gate_copy = os.dup(first.fd)
    first.release()
    with pytest.raises(AlreadyRunning):
        NodeLock(tmp_path, "p", "n").acquire()
    os.close(gate_copy)
    NodeLock(tmp_path, "p", "n").acquire()


def test_a_dead_holder_is_told_apart(tmp_path: Path) -> None:
    first = NodeLock(tmp_path, "p", "n")
    first.acquire()
    first.path.write_text("4194304999\n")
    with pytest.raises(AlreadyRunning, match="has died and its gate is still dropping the outputs"):
        NodeLock(tmp_path, "p", "n").acquire()
    first.path.write_text("junk\n")
    with pytest.raises(AlreadyRunning, match="another process"):
        NodeLock(tmp_path, "p", "n").acquire()
    first.release()


def test_a_run_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirError, match=r"run directory .*: (Not a directory|File exists); .*--run-dir") as caught:
        NodeLock(tmp_path / "file", "p", "n").acquire()
    assert isinstance(caught.value, TwinbeatError)


def test_last_driver_is_kept_and_read_back(tmp_path: Path) -> None:
    first = Store(tmp_path, "pump-7", "gw-a").last_drivers
    assert first.load() == {}
    first.note("pump", "gw-b")
    first.note("fan", "gw-a")
    assert Store(tmp_path, "pump-7", "gw-a").last_drivers.load() == {"pump": "gw-b", "fan": "gw-a"}
    before = first.path.stat().st_mtime_ns
    first.note("pump", "gw-b")
    assert first.path.stat().st_mtime_ns == before


@pytest.mark.parametrize("content", [b"", b"nonsense", b"[1, 2]", b"5", b"[" * 5000])
def test_damaged_file_of_last_drivers_is_nothing_known(tmp_path: Path, content: bytes) -> None:
    drivers = Store(tmp_path, "pump-7", "gw-a").last_drivers
    drivers.path.write_bytes(content)
    assert drivers.load() == {}
