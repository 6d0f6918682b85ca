"""Stubs beside compiled modules name what is there: type checkers believe them and cannot look."""
from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest
from house_tools import files, module_name, shown

STUBS = [path for path in files(".pyi") if path.with_suffix(".pyx").exists()]


def _declared(body: list[ast.stmt], prefix: str = "") -> set[str]:
    """Names that a stub's body declares; members of classes as Class.member."""
    names: set[str] = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(prefix + node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(prefix + node.target.id)
        elif isinstance(node, ast.Assign):
            names |= {prefix + target.id for target in node.targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.ClassDef):
            names |= _declared(node.body, f"{prefix}{node.name}.")
    return names


def _exists(place: object, name: str) -> bool:
    """Whether the dotted name is there; attributes that appear with an instance only are taken on trust."""
    first, _, rest = name.partition(".")
    if not hasattr(place, first):
        return isinstance(place, type) and place.__dictoffset__ != 0
    return not rest or _exists(getattr(place, first), rest)


@pytest.mark.parametrize("stub", STUBS, ids=shown)
def test_stub_declares_what_exists(stub: Path) -> None:
    module = importlib.import_module(module_name(stub))
    names = {name for name in _declared(ast.parse(stub.read_text(encoding="utf-8")).body) if not name.startswith("_")}
    assert [name for name in sorted(names) if not _exists(module, name)] == []


@pytest.mark.parametrize("stub", STUBS, ids=shown)
def test_stub_knows_every_public_function_and_class(stub: Path) -> None:
    module = importlib.import_module(module_name(stub))
    declared = _declared(ast.parse(stub.read_text(encoding="utf-8")).body)
    own = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and callable(value) and getattr(value, "__module__", None) == module.__name__
    }
    assert own - declared == set()
