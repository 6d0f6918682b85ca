"""What the house tests and tests/conftest.py know about the tree: its files, packages, imports and functions."""
from __future__ import annotations

import ast
import re
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
SOURCE_ROOTS = ("agent", "ext", "hardware", "firmware_bridge")
FLOORS = {
    "twinbeat": 3,
    "twinbeat_hardware": 2,
    "twinbeat_bridge": 2,
    "twinbeat_rt": 2,
    "twinbeat_core": 1,
}
HOMES = {
    "twinbeat": "agent",
    "twinbeat_hardware": "hardware",
    "twinbeat_bridge": "firmware_bridge",
    "twinbeat_rt": "ext",
    "twinbeat_core": "ext",
}
TOP_LEVEL = {
    *SOURCE_ROOTS, "tests", "docs", ".ci", "setup.py", "README.md", "pyproject.toml", "MANIFEST.in", "Makefile",
    "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", ".gitignore",
}  # fmt: skip
# Made by building and testing, ignored by git.
PRODUCTS = {".git", ".venv", "build", "dist", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}
CYTHON = {".pyx", ".pxd"}


class Import(NamedTuple):
    """One imported (or cimported) module by its full dotted name."""

    module: str
    line: int


class Function(NamedTuple):
    name: str
    line: int
    lines: int


def files(*suffixes: str, under: str = ".") -> list[Path]:
    """Hand-written files below `under` with one of the suffixes ("" for none), sorted."""
    return [path for path in _all_files() if path.suffix in suffixes and path.is_relative_to(ROOT / under)]


@cache
def _all_files() -> list[Path]:
    found = [path for path in ROOT.iterdir() if path.is_file()]
    for top in ROOT.iterdir():
        if top.is_dir() and top.name in TOP_LEVEL:
            found += [path for path in top.rglob("*") if path.is_file() and not _is_product(path)]
    return sorted(found)


def _is_product(path: Path) -> bool:
    relative = path.relative_to(ROOT)
    if any(part == "__pycache__" or part.endswith((".egg-info", "_cache")) for part in relative.parts[:-1]):
        return True
    return path.suffix in {".so", ".pyc"} or (path.suffix == ".c" and path.with_suffix(".pyx").exists())


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def package_folder(package: str) -> Path:
    return ROOT / HOMES[package] / package


def module_name(path: Path) -> str:
    """Dotted name of a source file: ext/twinbeat_core/wire.pyx is twinbeat_core.wire."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts[1:])
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> list[str]:
    """Every importable module of the five packages, without `__main__` files, which run when imported."""
    found = set()
    for package in FLOORS:
        for path in files(".py", ".pyx", under=shown(package_folder(package))):
            if path.stem != "__main__":
                found.add(module_name(path))
    return sorted(found)


# ---------------------------------------------------------------- imports
_CIMPORT = re.compile(r"^\s*(?:from\s+(?P<source>[\w.]+)\s+)?c?import\s+(?P<names>\(?[^#\n]*)")


def imports(path: Path) -> list[Import]:
    """All imports of a .py, .pyi, .pyx or .pxd file, wherever they stand, made absolute."""
    text = path.read_text(encoding="utf-8")
    is_package = path.stem == "__init__"
    here = module_name(path)
    package = here if is_package else here.rpartition(".")[0]
    found = _cython_imports(text) if path.suffix in CYTHON else _python_imports(text)
    return [Import(_absolute(module, package), line) for module, line in found]


def _python_imports(text: str) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            yield from _from_import(source, [alias.name for alias in node.names], node.lineno)


def _cython_imports(text: str) -> Iterator[tuple[str, int]]:
    lines = without_strings(text).splitlines()
    for number, line in enumerate(lines, 1):
        match = _CIMPORT.match(line)
        if match is None:
            continue
        names = match["names"]
        following = number
        while names.count("(") > names.count(")") and following < len(lines):
            names += " " + lines[following].partition("#")[0]
            following += 1
        listed = [name.split()[0] for name in names.strip("() \\").split(",") if name.split()]
        if match["source"]:
            yield from _from_import(match["source"], listed, number)
        else:
            for name in listed:
                yield name, number


def _from_import(source: str, names: list[str], line: int) -> Iterator[tuple[str, int]]:
    """`from a import b` names the module a, and a.b where that is a module of this project."""
    yield source, line
    for name in names:
        joined = source + name if source.endswith(".") else f"{source}.{name}"
        if source.startswith(".") or _is_ours(joined):
            yield joined, line


def _is_ours(module: str) -> bool:
    home = HOMES.get(module.partition(".")[0])
    if home is None:
        return False
    base = ROOT / home / module.replace(".", "/")
    return base.is_dir() or any(base.with_suffix(end).exists() for end in (".py", ".pyx", ".pxd"))


def _absolute(module: str, package: str) -> str:
    dots = len(module) - len(module.lstrip("."))
    if dots == 0:
        return module
    base = package.split(".")
    kept = base[: len(base) - (dots - 1)]
    return ".".join([*kept, module[dots:]]) if module[dots:] else ".".join(kept)


def without_strings(text: str) -> str:
    """The text with string contents and comments blanked, line numbers kept: for patterns over Cython and C code."""
    pattern = re.compile(
        r'"""[\s\S]*?"""|' r"'''[\s\S]*?'''|" r'"(?:\\.|[^"\\\n])*"|' r"'(?:\\.|[^'\\\n])*'|" r"#[^\n]*"
    )
    return pattern.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


# ---------------------------------------------------------------- functions
_CYTHON_DEF = re.compile(r"^(?P<indent>[ \t]*)(?:async\s+def|def|cdef|cpdef)\s+(?!class\b)[^=]*?(?P<name>\w+)\s*\(")
_C_DEF = re.compile(r"^(?!typedef|#)\w[\w\s*]*?(?P<name>\w+)\s*\([^;]*$")


def functions(path: Path) -> list[Function]:
    """Functions of a Python, Cython or C header file, with their length from the def line to the last of the body."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".h":
        return list(_c_functions(text.splitlines()))
    if path.suffix in CYTHON:
        return list(_cython_functions(without_strings(text).splitlines(), text.splitlines()))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        Function(node.name, node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, kinds)
    ]


def _cython_functions(code: list[str], text: list[str]) -> Iterator[Function]:
    """`code` has strings and comments blanked, `text` has not: a docstring line counts, whatever its indent."""
    for start, line in enumerate(code):
        match = _CYTHON_DEF.match(line)
        if match is None:
            continue
        body = _after_signature(code, start)
        if body is None:
            continue  # a declaration without a body
        indent = len(match["indent"])
        last = body
        for number in range(body + 1, len(code)):
            if code[number].strip():
                if len(code[number]) - len(code[number].lstrip()) <= indent:
                    break
                last = number
            elif text[number].strip() and text[number].lstrip()[0] != "#":
                last = number
        yield Function(match["name"], start + 1, last - start + 1)


def _after_signature(code: list[str], start: int) -> int | None:
    """Index of the line that ends the signature with a colon, or None where there is none."""
    depth = 0
    for number in range(start, len(code)):
        depth += code[number].count("(") - code[number].count(")")
        if depth <= 0:
            return number if re.search(r"\)[^()]*:", code[number]) else None
    return None


def _c_functions(text: list[str]) -> Iterator[Function]:
    for start, line in enumerate(text):
        match = _C_DEF.match(line)
        if match is None:
            continue
        opening = next((n for n in range(start, min(start + 8, len(text))) if "{" in text[n] or ";" in text[n]), start)
        if ";" in text[opening].partition("{")[0] or "{" not in text[opening]:
            continue  # a prototype
        end = opening if text[opening].rstrip().endswith("}") else None
        end = end if end is not None else next((n for n in range(opening, len(text)) if text[n].startswith("}")), None)
        if end is not None:
            yield Function(match["name"], start + 1, end - start + 1)


# ---------------------------------------------------------------- compiled modules
def compiled_sources(pyx: Path) -> set[Path]:
    """The .pyx and everything its compiled module is made from: its .pxd, cimported .pxd files, headers beside them."""
    found: set[Path] = set()
    waiting = [pyx, pyx.with_suffix(".pxd")]
    while waiting:
        path = waiting.pop()
        if path in found or not path.exists():
            continue
        found.add(path)
        for module in {entry.module for entry in imports(path)}:
            home = HOMES.get(module.partition(".")[0])
            if home is not None:
                waiting.append((ROOT / home / module.replace(".", "/")).with_suffix(".pxd"))
    return found


def build_faults() -> list[str]:
    """One sentence for each compiled module that is missing, older than its sources, or without a source."""
    faults = []
    for pyx in files(".pyx"):
        built = pyx.with_name(pyx.stem + sysconfig.get_config_var("EXT_SUFFIX"))
        if not built.exists():
            faults.append(f"{shown(pyx)} is not compiled for this Python")
            continue
        built_at_ns = built.stat().st_mtime_ns
        newer = [path for path in sorted(compiled_sources(pyx)) if path.stat().st_mtime_ns > built_at_ns]
        if newer:
            faults.append(f"the compiled {module_name(pyx)} is older than {', '.join(map(shown, newer))}")
    for module in sorted(path for root in SOURCE_ROOTS for path in (ROOT / root).rglob("*.so")):
        if not (module.parent / f"{module.name.partition('.')[0]}.pyx").exists():
            faults.append(f"{shown(module)} has no source any more: delete it")
    return faults
