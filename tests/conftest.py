"""Runs before every test: the compiled modules must be those of this checkout, and not older than their sources.

A stale compiled module shadows an edited source, and the tests stay green over code that no longer exists.
"""
from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest
from house_tools import FLOORS, HOMES, ROOT, build_faults

IGNORE = "TWINBEAT_STALE"
REAL_CLOCK = ("bridge", "demo", "integration", "rt", "witness", "zookeeper", "firmware")
"""Folders whose tests run agents, boards, brokers or threads by the real clock: one at a time, and nothing beside."""


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


def _is_real_clock(nodeid: str) -> bool:
    return nodeid.partition("::")[0].split("/")[1:2] in [[folder] for folder in REAL_CLOCK]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The real clock comes last: with workers nothing is left by then that could take time away from it.

    The simulator's few long files come first, so that no worker is left alone with one of them.
    """
    items.sort(key=lambda item: (_is_real_clock(item.nodeid), not item.nodeid.startswith("tests/sim/")))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """`make test` has a worker for each processor: a file is one worker's, and so is all that needs the real clock."""
    from xdist.scheduler import LoadScopeScheduling

    class OneRealClock(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "the real clock" if _is_real_clock(nodeid) else nodeid.partition("::")[0]

    config.option.loadscopereorder = False
    return OneRealClock(config, log)
