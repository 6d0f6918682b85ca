"""A copy of the project in a temporary folder, in which one mutant after the other is built and taken back."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mutants import CORE, ROOT, Mutant, mutated

COPIED = ("agent", "ext", "hardware", "firmware_bridge", "tests", "docs", "build", "setup.py", "pyproject.toml",
          "README.md", "LICENSE")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*_cache", ".hypothesis")
IMPORT_ROOTS = ("agent", "ext", "hardware", "firmware_bridge")
BUILD_LIMIT_S = 900
TELL = 2000


class BuildError(Exception):
    """A mutant, or the unchanged source, does not compile or changes nothing in what is compiled."""


class Workshop:
    """One copy of the project. `copy_of`: another workshop that has been built already."""

    def __init__(self, copy_of: Workshop | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="twinbeat-mutants-"))
        source = copy_of.folder if copy_of else ROOT
        for name in COPIED:
            if (source / name).is_dir():
                shutil.copytree(source / name, self.folder / name, ignore=LEFT_OUT)
            elif (source / name).is_file():
                shutil.copy2(source / name, self.folder / name)
        if copy_of is None:
            self.build()
            self.check_imports()

    def close(self) -> None:
        """Remove the copy."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def environment(self) -> dict[str, str]:
        """What a child needs in order to import this copy, whatever else is installed."""
        paths = os.pathsep.join(str(self.folder / root) for root in IMPORT_ROOTS)
        return {**os.environ, "PYTHONPATH": paths, "TWINBEAT_STALE": "ok", "PYTHONDONTWRITEBYTECODE": "1"}

    def run(self, words: Sequence[str], limit_s: float) -> subprocess.CompletedProcess[str]:
        """Python with these arguments, in the copy. subprocess.TimeoutExpired after limit_s."""
        return subprocess.run([sys.executable, *words], cwd=self.folder, env=self.environment, capture_output=True,
                              text=True, timeout=limit_s, check=False)

    def build(self) -> None:
        """Compile what changed."""
        done = self.run(["setup.py", "-q", "build_ext", "--inplace"], BUILD_LIMIT_S)
        if done.returncode:
            raise BuildError((done.stdout + done.stderr)[-TELL:])

    def check_imports(self) -> None:
        """The children must run this copy's modules, or every mutant would be judged by the unchanged source."""
        done = self.run(["-c", "import twinbeat_core.votes as v, twinbeat as t; print(v.__file__, t.__file__)"], 60)
        places = done.stdout.split()
        if len(places) != 2 or not all(Path(place).is_relative_to(self.folder.resolve()) for place in places):
            raise BuildError(f"the copy in {self.folder} is not what Python imports: {done.stdout}{done.stderr}")

    def compiled(self, modules: Sequence[str]) -> list[bytes]:
        """The compiled modules as bytes."""
        return [path.read_bytes() for name in modules for path in sorted((self.folder / CORE).glob(f"{name}.*.so"))]

    def products(self, modules: Sequence[str]) -> list[Path]:
        """The sources of the modules and all that was made of them."""
        below = (self.folder / CORE, self.folder / "build")
        package = CORE.name
        return [path for root in below for name in modules for path in root.rglob(f"{name}.*")
                if path.is_file() and path.parent.name == package]

    def with_mutant(self, mutant: Mutant) -> Built:
        """The mutant, built, for the time of a `with` block."""
        return Built(self, mutant)


class Built:
    """A mutant in its workshop; at the end of the `with` block everything is as before."""

    def __init__(self, shop: Workshop, mutant: Mutant) -> None:
        self.shop = shop
        self.mutant = mutant
        self.kept: dict[Path, tuple[bytes, os.stat_result]] = {}

    def __enter__(self) -> Workshop:
        shop, mutant = self.shop, self.mutant
        texts = mutated(mutant, shop.folder)
        self.kept = {path: (path.read_bytes(), path.stat()) for path in shop.products(mutant.modules)}
        before = shop.compiled(mutant.modules)
        try:
            for path, text in texts.items():
                path.write_text(text, encoding="utf-8")
            shop.build()
            if before == shop.compiled(mutant.modules) and any(path.suffix == ".pyx" for path in texts):
                raise BuildError("the compiled modules are the same as before")
        except BuildError:
            self.restore()
            raise
        return shop

    def __exit__(self, *error: object) -> None:
        self.restore()

    def restore(self) -> None:
        """Sources and products with their times, so that the next build leaves them alone."""
        for path, (data, stat) in self.kept.items():
            path.write_bytes(data)
            os.chmod(path, stat.st_mode)
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
