"""The sdist builds, the wheel made from it is whole, and works where nothing of the checkout is in sight."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from house_tools import FLOORS, ROOT, SOURCE_ROOTS, files, module_name, modules, package_folder, shown

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SOURCES_ONLY = {".pyx", ".h", ".md"}  # in the sdist, of no use in the wheel


def _run(command: list[str | Path], folder: Path) -> str:
    """Runs a command with no way to find the checkout; returns what it printed."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sdist")
    _run([sys.executable, "-m", "build", "--no-isolation", "--sdist", "--outdir", out, ROOT], out)
    (path,) = out.glob("twinbeat-*.tar.gz")
    return path


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the unpacked sdist, never from the checkout."""
    out = tmp_path_factory.mktemp("wheel")
    shutil.unpack_archive(sdist, out)
    (unpacked,) = (path for path in out.iterdir() if path.is_dir())
    _run([sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", out, unpacked], out)
    (path,) = out.glob("twinbeat-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bin folder of a venv that holds the wheel alone; third-party packages are borrowed from this interpreter's
    folder by path, which activates no editable install there."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home, with_pip=False, symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    _run([sys.executable, "-m", "pip", "--python", home / "bin" / "python", "install", "-q", "--no-deps", wheel], home)
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return home / "bin"


def test_sdist_holds_every_source(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {shown(path) for root in SOURCE_ROOTS for path in root_files(root)}
    wanted |= {"LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "setup.py", ".ci/run"}
    assert wanted - held == set()
    generated = {shown(path.with_suffix(".c")) for path in files(".pyx")}
    assert [name for name in held if name.endswith(".so") or name in generated] == []


def root_files(root: str) -> list[Path]:
    suffixes = {path.suffix for path in (ROOT / root).rglob("*")} - {".so", ".pyc"}
    return files(*suffixes, under=root)


def test_wheel_holds_every_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    wanted = {module_name(path).replace(".", "/") + suffix for path in files(".pyx")}
    for package in FLOORS:
        folder = package_folder(package)
        if (folder / "__init__.py").exists():
            inside = [path for path in root_files(shown(folder)) if path.suffix not in SOURCES_ONLY]
            wanted |= {str(path.relative_to(folder.parent)) for path in inside}
    assert wanted - held == set()


def test_wheel_holds_the_firmware_once(wheel: Path) -> None:
    """`twinbeat arbiter flash` takes it from there; the checkout has it in a folder of its own, and a link to that."""
    with zipfile.ZipFile(wheel) as archive:
        held = archive.namelist()
    firmware = ROOT / "firmware_bridge" / "arbiter"
    sources = files(".py", under=shown(firmware))
    wanted = sorted(f"twinbeat_bridge/arbiter/{path.relative_to(firmware)}" for path in sources)
    assert len(wanted) > 10
    assert sorted(name for name in held if "arbiter/" in name and name.startswith("twinbeat_bridge/")) == wanted
    assert [name for name in held if name.endswith("/lease.py")] == ["twinbeat_bridge/arbiter/lease.py"]
    assert [name for name in held if name.endswith(".service")] == [
        "twinbeat/data/twinbeat-witness.service", "twinbeat/data/twinbeat.service"]


def test_wheel_brings_nothing_else(wheel: Path) -> None:
    """Nothing generic lands in site-packages, and no source that has been compiled."""
    with zipfile.ZipFile(wheel) as archive:
        held = archive.namelist()
    tops = {name.partition("/")[0] for name in held if ".dist-info/" not in name}
    assert tops <= set(FLOORS)
    assert [name for name in held if name.endswith((".pyx", ".c", ".h"))] == []


def test_installed_modules_import(installed: Path, tmp_path: Path) -> None:
    names = [name for name in modules() if (package_folder(name.partition(".")[0]) / "__init__.py").exists()]
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "print(*{m.__file__ for n, m in sys.modules.items() if n.startswith('twinbeat') and m.__file__}, sep='\\n')\n"
    )
    places = _run([installed / "python", "-c", code], tmp_path).split()
    assert places != []
    assert [place for place in places if not Path(place).is_relative_to(installed.parent)] == []


def test_installed_program_runs(installed: Path, tmp_path: Path) -> None:
    if not (ROOT / "agent" / "twinbeat" / "cli.py").exists():
        pytest.skip("there is no command line yet")
    version = _run([installed / "python", "-c", "import twinbeat; print(twinbeat.__version__)"], tmp_path).strip()
    assert version in _run([installed / "twinbeat", "version"], tmp_path)
    assert "demo" in _run([installed / "twinbeat", "--help"], tmp_path)
