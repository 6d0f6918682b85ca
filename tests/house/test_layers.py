"""Imports go down the floors only; the core and the arbiter's decision touch no clock, no I/O, no thread."""
from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from house_tools import FLOORS, ROOT, SOURCE_ROOTS, Import, files, imports, package_folder, shown, without_strings

# What a decision must not depend on: clock, chance, threads, and the world outside.
IMPURE = {
    "asyncio", "concurrent", "datetime", "fcntl", "logging", "multiprocessing", "os", "random", "secrets", "select",
    "selectors", "signal", "socket", "subprocess", "termios", "threading", "time",
}  # fmt: skip
IMPURE_CIMPORTS = {"posix", "openmp", "libc.time", "libc.signal", "libc.stdio", "libc.errno", "cpython.time"}
IMPURE_HEADERS = re.compile(r"[<\"](pthread|time|unistd|signal|fcntl|poll|errno|stdio|sched|sys/\w+|linux/\w+)\.h")
CODE = (".py", ".pyi", ".pyx", ".pxd")


def _within(module: str, names: set[str]) -> bool:
    return any(module == name or module.startswith(name + ".") for name in names)


def _package_files(package: str) -> list[Path]:
    return files(*CODE, under=shown(package_folder(package)))


def _offences(package: str, is_wrong: dict[Path, list[Import]]) -> list[str]:
    return [
        f"{shown(path)}:{entry.line}: {package} imports {entry.module}"
        for path, entries in is_wrong.items()
        for entry in entries
    ]


@pytest.mark.parametrize("package", FLOORS)
def test_imports_go_down_only(package: str) -> None:
    """A package imports itself and lower floors; those of one floor do not know each other."""
    upward = {}
    for path in _package_files(package):
        targets = [(entry, entry.module.partition(".")[0]) for entry in imports(path)]
        upward[path] = [
            entry
            for entry, target in targets
            if target != package and (target in SOURCE_ROOTS or FLOORS.get(target, 0) >= FLOORS[package])
        ]
    assert _offences(package, upward) == []


def test_core_imports_nothing_impure() -> None:
    impure = {
        path: [entry for entry in imports(path) if _within(entry.module, IMPURE | IMPURE_CIMPORTS)]
        for path in _package_files("twinbeat_core")
    }
    assert _offences("the core", impure) == []


def test_core_needs_only_the_standard_library() -> None:
    known = sys.stdlib_module_names | {"twinbeat_core", "cython", "libc", "cpython"}
    foreign = {
        path: [entry for entry in imports(path) if entry.module.partition(".")[0] not in known]
        for path in _package_files("twinbeat_core")
    }
    assert _offences("the core", foreign) == []


def test_core_includes_no_impure_header() -> None:
    found = []
    for path in files(".pyx", ".pxd", ".h", under="ext/twinbeat_core"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if IMPURE_HEADERS.search(line):
                found.append(f"{shown(path)}:{number}: {line.strip()}")
    assert found == []


def test_arbiter_decides_without_the_board() -> None:
    """lease.py serves the board and the witness alike: pins, clock and network are somebody else's."""
    lease = ROOT / "firmware_bridge" / "arbiter" / "lease.py"
    if not lease.exists():
        pytest.skip("there is no arbiter firmware yet")
    wrong = [entry for entry in imports(lease) if _within(entry.module, IMPURE | {"machine", "network", "utime"})]
    assert _offences("lease.py", {lease: wrong}) == []


def test_nobody_on_the_gateway_imports_the_firmware() -> None:
    """Under this name it lies on the path of an editable install alone; a wheel has it in twinbeat_bridge."""
    wrong = {
        path: [entry for entry in imports(path) if _within(entry.module, {"arbiter"})]
        for package in FLOORS
        for path in _package_files(package)
    }
    assert _offences("a package", wrong) == []


def test_cython_imports_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader these tests rest on: cimport, relative, several lines, and nothing from strings."""
    monkeypatch.setattr("house_tools.ROOT", tmp_path)
    source = tmp_path / "ext" / "twinbeat_rt" / "sample.pyx"
    source.parent.mkdir(parents=True)
    source.write_text(
        '"""\nimport socket\n"""\n'
        "from libc.time cimport time as c_time\n"
        "from . cimport ring\n"
        "from twinbeat_core.machine cimport (core_t,\n    core_step)\n"
        "    import os, random as r\n"
        "cdef int x = 1  # import select\n"
    )
    seen = {entry.module for entry in imports(source)}
    assert {"libc.time", "twinbeat_rt.ring", "twinbeat_core.machine", "os", "random"} <= seen
    assert not seen & {"socket", "select"}
    assert "import" not in without_strings("x = 'import a'  # import b")
