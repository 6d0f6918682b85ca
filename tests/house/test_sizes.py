"""Files stay below 400 lines, functions below 60, lines within 120 columns: against the file that nobody splits."""
from __future__ import annotations

from pathlib import Path

import pytest
from house_tools import Function, files, functions, shown

FILE_LINES = 400
FUNCTION_LINES = 60
LINE_COLUMNS = 120
CODE = (".py", ".pyi", ".pyx", ".pxd", ".h")


def test_no_file_reaches_400_lines() -> None:
    sizes = {shown(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files(*CODE)}
    assert {name: lines for name, lines in sizes.items() if lines >= FILE_LINES} == {}


def test_no_function_reaches_60_lines() -> None:
    long = [
        f"{shown(path)}:{function.line}: {function.name} has {function.lines} lines"
        for path in files(*CODE)
        for function in functions(path)
        if function.lines >= FUNCTION_LINES
    ]
    assert long == []


def test_lines_of_compiled_sources_fit() -> None:
    """Ruff measures Python; nobody else measures Cython and C."""
    wide = [
        f"{shown(path)}:{number}: {len(line)} columns"
        for path in files(".pyx", ".pxd", ".h")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > LINE_COLUMNS
    ]
    assert wide == []


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "a.pyx",
            "cdef int first(int a,\n               int b) noexcept nogil:\n    # why\n    cdef int c = a\n\n"
            "    return c\n\n"
            "cdef class Box:\n    def second(self):\n        '''one\n    two\n    '''\n        return 1\n",
            [("first", 1, 6), ("second", 9, 5)],
        ),
        ("a.pxd", "cdef int declared(int a) noexcept nogil\ncdef struct s:\n    int (*call)(int)\n", []),
        (
            "a.h",
            "static inline int first(int a)\n{\n    return a;\n}\nint prototype(int a);\n"
            "static int second(void) {\n    return 1;\n}\n#define X(a) \\\n    (a)\n",
            [("first", 1, 4), ("second", 6, 3)],
        ),
        ("a.py", "@x\ndef first():\n    return 1\n", [("first", 2, 2)]),
    ],
)
def test_functions_are_measured(tmp_path: Path, name: str, text: str, expected: list[tuple[str, int, int]]) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert functions(path) == [Function(*entry) for entry in expected]
