"""Each module imports by itself, in a fresh interpreter, silently; the gate's module without anything heavy."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from house_tools import modules

# Each of these in the gate's memory before the fork is memory that the gate keeps for good.
HEAVY = {"asyncio", "gpiod", "json", "logging", "msgspec", "paho", "serial", "socket", "ssl", "subprocess"}


def _python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("module", modules())
def test_module_imports_alone(module: str, tmp_path: Path) -> None:
    """A circle of imports shows only for some of its entries, and never in a process that imported one before."""
    done = _python(f"import {module}", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")


def test_gate_module_is_light(tmp_path: Path) -> None:
    if "twinbeat_rt.gate" not in modules():
        pytest.skip("there is no gate yet")
    before = _python("import sys; print(*sys.modules)", tmp_path)
    after = _python("import twinbeat_rt.gate, sys; print(*sys.modules)", tmp_path)
    assert after.returncode == 0, after.stderr
    assert (set(after.stdout.split()) - set(before.stdout.split())) & HEAVY == set()
