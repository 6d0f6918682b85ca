"""Runs before every test: the compiled modules must be those of this checkout, and not older than their sources.

A stale compiled module shadows an edited source, and the tests stay green over code that no longer exists.
"""
from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest
from house_tools import FLOORS, HOMES, ROOT, build_faults

IGNORE = "TWINBEAT_STALE"


def _foreign_packages() -> list[str]:
    """Packages that Python would import from elsewhere than this checkout."""
    faults = []
    for package in FLOORS:
        spec = importlib.util.find_spec(package)
        where = list(spec.submodule_search_locations or []) if spec is not None else []
        wanted = ROOT / HOMES[package] / package
        if not wanted.is_dir() or any(Path(place).resolve() == wanted for place in where):
            continue
        faults.append(f"{package} is imported from {', '.join(where) or 'nowhere'}, not from {wanted}")
    return faults


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput") or os.environ.get(IGNORE) == "ok":
        return
    faults = build_faults() + _foreign_packages()
    if faults:
        pytest.exit(
            "rebuild first: make venv (or: python setup.py build_ext --inplace)\n  "
            + "\n  ".join(faults)
            + f"\n{IGNORE}=ok runs the tests all the same.",
            returncode=3,
        )
