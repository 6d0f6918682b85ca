"""What the build computes from the tree, and what it declares, are the truth."""
from __future__ import annotations

import importlib.metadata
import re
import sys
import tomllib

from house_tools import CYTHON, FLOORS, ROOT, SOURCE_ROOTS, files, imports, package_folder, shown
from setuptools import find_packages

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# Import names that Python cannot tell us where the distribution is not installed.
IMPORT_NAMES = {"amqtt": "amqtt", "serial": "pyserial", "paho": "paho-mqtt"}
# Extras of those who run the program; what they bring may be imported where it is used.
EXTRAS = ("demo", "zookeeper")


def _requirement_names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w.-]", requirement)[0].lower() for requirement in requirements}


def test_every_package_folder_is_found() -> None:
    """A folder with Python files but without __init__.py would be in the checkout and not in the wheel."""
    found = {
        f"{root}/{name.replace('.', '/')}"
        for root in SOURCE_ROOTS
        for name in find_packages(str(ROOT / root), include=["twinbeat*"])
    }
    holding = {
        shown(path.parent) for package in FLOORS for path in files(".py", *CYTHON, under=shown(package_folder(package)))
    }
    assert holding - found == set()


def test_every_package_says_that_it_is_typed() -> None:
    folders = [package_folder(name) for name in FLOORS if package_folder(name).is_dir()]
    assert [shown(folder) for folder in folders if not (folder / "py.typed").exists()] == []


def test_compiled_modules_are_where_setup_looks() -> None:
    """The two of ext/, and the simulator's loop."""
    homes = {"ext/twinbeat_core", "ext/twinbeat_rt", "agent/twinbeat/sim"}
    assert [shown(path) for path in files(".pyx") if shown(path.parent) not in homes] == []


def test_sdist_is_told_of_every_root() -> None:
    """Without the Cython sources and headers in MANIFEST.in the sdist cannot build."""
    grafted = re.findall(r"^graft (\S+)", (ROOT / "MANIFEST.in").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(SOURCE_ROOTS) | {"tests", "docs", ".ci"} <= set(grafted)


def test_every_foreign_import_is_declared() -> None:
    """A dependency that only the development tools bring is missing where the wheel is installed."""
    project = PROJECT["project"]
    extras = [name for extra in EXTRAS for name in project["optional-dependencies"][extra]]
    declared = _requirement_names(project["dependencies"] + extras)
    providers = importlib.metadata.packages_distributions()
    own = {*FLOORS, "cython", "libc", "cpython", "posix", *sys.stdlib_module_names}
    missing = []
    for package in FLOORS:
        for path in files(".py", ".pyx", under=shown(package_folder(package))):
            for entry in imports(path):
                top = entry.module.partition(".")[0]
                if top in own:
                    continue
                names = {name.lower() for name in providers.get(top, [IMPORT_NAMES.get(top, top)])}
                if not names & declared:
                    missing.append(f"{shown(path)}:{entry.line}: {entry.module}")
    assert missing == []


def test_build_tools_agree() -> None:
    """The development venv builds with the same tools as a build from the sdist."""
    needed = _requirement_names(PROJECT["build-system"]["requires"])
    assert needed <= _requirement_names(PROJECT["project"]["optional-dependencies"]["dev"])


def test_changelog_knows_the_version() -> None:
    text = (ROOT / "agent" / "twinbeat" / "version.py").read_text(encoding="utf-8")
    version = re.search(r'__version__ = "([^"]+)"', text)
    assert version is not None
    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] in {"Unreleased", version[1]}
    assert version[1] not in headings[1:], "what is being made is no version that was released"
