"""Things that must not stand in the tree, with what to write instead."""
from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from house_tools import PRODUCTS, ROOT, TOP_LEVEL, files, shown, without_strings

CODE = (".py", ".pyi", ".pyx", ".pxd", ".h")
TEXT = (*CODE, ".md", ".toml", ".in", ".txt", ".svg", ".service", ".yaml", ".yml", ".sh", "")
# Real lines and real brokers need real time.
REAL_TIME_TESTS = ("tests/integration", "tests/hil", "tests/bench")


def _matching(paths: list[Path], pattern: str, clean: Callable[[str], str] = str) -> list[str]:
    """Places where the pattern stands, as file:line: text."""
    expression = re.compile(pattern)
    return [
        f"{shown(path)}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(clean(path.read_text(encoding="utf-8")).splitlines(), 1)
        if expression.search(line)
    ]


def _calls_named(path: Path, name: str) -> list[str]:
    """Calls of a function or method of that name in a Python file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
            if called == name:
                found.append(f"{shown(path)}:{node.lineno}")
    return found


def test_no_wall_time_near_a_decision() -> None:
    """Wall time jumps. Decisions and stamps use CLOCK_BOOTTIME, or the `now` they are given."""
    wall = r"\btime\.time(_ns)?\(|\bdatetime\.(now|utcnow|today)\(|\bgettimeofday\b|\bCLOCK_REALTIME\b"
    near = [path for root in ("ext", "firmware_bridge", "hardware") for path in files(*CODE, under=root)]
    assert _matching(near, wall, without_strings) == []


def _broad_handlers(path: Path) -> list[str]:
    """Handlers in a Python file that catch everything and keep it; tidying up and raising again is fine."""
    return [
        f"{shown(path)}:{node.lineno}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (getattr(node.type, "id", "") in {"Exception", "BaseException"} and not node.name))
        and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
    ]


def test_no_bare_except() -> None:
    """Name what is caught. `except Exception` hides a mistake as well as a fault."""
    assert [place for path in files(".py") for place in _broad_handlers(path)] == []
    assert _matching(files(".pyx"), r"^\s*except(\s+(Base)?Exception)?\s*:", without_strings) == []


def test_no_sleep_outside_the_integration_tests() -> None:
    """Wait for the event, or give the code a clock that the test moves."""
    quick = [path for path in files(".py", under="tests") if not shown(path).startswith(REAL_TIME_TESTS)]
    assert [place for path in quick for place in _calls_named(path, "sleep")] == []


def test_no_unfinished_business() -> None:
    markers = "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK"))
    texts = [path for path in files(*TEXT) if path.name != "LICENSE"]
    assert _matching(texts, rf"\b({markers})\b") == []


def test_no_promise_that_nobody_can_keep() -> None:
    assert _matching(files(".md"), r"(?i)\bzero[- ]downtime\b") == []


def test_only_known_names_at_the_top() -> None:
    present = {path.name for path in ROOT.iterdir() if not path.name.endswith(".egg-info")}
    stray = present - TOP_LEVEL - PRODUCTS - {"PKG-INFO", "setup.cfg"}  # the last two stand in an unpacked sdist
    assert stray == set()


@pytest.mark.parametrize("text", ["import time\ntime.sleep(1)\n", "async def a():\n    await asyncio.sleep(0)\n"])
def test_a_sleep_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("house_tools.ROOT", tmp_path)
    path = tmp_path / "sample.py"
    path.write_text(text)
    assert len(_calls_named(path, "sleep")) == 1


@pytest.mark.parametrize(
    ("handler", "count"),
    [("except:\n    pass", 1), ("except Exception:\n    pass", 1), ("except BaseException:\n    a()\n    raise", 0)],
)
def test_a_broad_handler_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, handler: str, count: int
) -> None:
    monkeypatch.setattr("house_tools.ROOT", tmp_path)
    path = tmp_path / "sample.py"
    path.write_text(f"try:\n    a()\n{handler}\n")
    assert len(_broad_handlers(path)) == count
