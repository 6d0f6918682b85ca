"""Build of twinbeat: four source roots, one or two import packages in each, the Cython modules compiled.

Package and extension lists are computed from the tree. A hand-written list lets an editable install
work while the wheel lacks the forgotten package.
"""
from __future__ import annotations

import os
from pathlib import Path

from Cython.Build import cythonize
from Cython.Compiler.Errors import CompileError
from setuptools import Extension, find_packages, setup

ROOTS = ("agent", "ext", "hardware", "firmware_bridge")
COMPILED = ("ext/*/*.pyx", "agent/twinbeat/sim/*.pyx")
CFLAGS = ["-O2", "-fno-strict-aliasing", "-Wno-unused-function"]
# What the wheel carries beside Python and compiled modules: types, C-level declarations, data files.
# boards/: firmware of the arbiter that is copied onto boards and never imported, so no package of its own.
DATA = ["boards/*.py", "py.typed", "*.pyi", "*.pxd", "*.toml", "*.json", "*.service", "*.html", "*.css", "*.js"]
JOBS = os.cpu_count() or 1


def find_all_packages() -> tuple[list[str], dict[str, str]]:
    """The packages of all roots, and the folder of each top-level one (sub-packages follow it)."""
    packages: list[str] = []
    folders: dict[str, str] = {}
    for root in ROOTS:
        found = find_packages(root, include=["twinbeat*"])
        packages += found
        folders.update({name: f"{root}/{name}" for name in found if "." not in name})
    return packages, folders


def find_extensions() -> list[Extension]:
    """One extension for each .pyx of COMPILED. Hand-written C lives in headers: every .c there is generated.

    None where TWINBEAT_COMPILE=later says that `build_ext --inplace` follows, which compiles once and in few words.
    """
    if os.environ.get("TWINBEAT_COMPILE") == "later":
        return []
    headers = [str(header) for header in sorted(Path("ext").glob("*/*.h"))]
    return [
        Extension(
            ".".join(source.with_suffix("").parts[1:]),
            [str(source)],
            include_dirs=[str(source.parent)],
            depends=headers,
            extra_compile_args=CFLAGS,
            libraries=["pthread"],
        )
        for pattern in COMPILED
        for source in sorted(Path().glob(pattern))
    ]


def compile_to_c() -> list[Extension]:
    """The extensions as C; a source that Cython refuses ends the build with Cython's message and no traceback."""
    try:
        return cythonize(
            find_extensions(),
            include_path=["ext", "agent"],
            nthreads=JOBS,
            quiet=True,
            compiler_directives={
                "language_level": "3",
                "boundscheck": False,
                "wraparound": False,
                "cdivision": True,
                "initializedcheck": False,
                "embedsignature": True,
            },
        )
    except CompileError as error:
        raise SystemExit(f"Cython refused a module, its message is above: {error}") from None


def main() -> None:
    packages, folders = find_all_packages()
    setup(
        packages=packages,
        package_dir=folders,
        package_data=dict.fromkeys(packages, DATA),
        include_package_data=False,  # MANIFEST.in speaks of the sdist alone
        options={"build_ext": {"parallel": JOBS}},
        ext_modules=compile_to_c(),
    )


if __name__ == "__main__":  # cythonize's worker processes may import this file
    main()
