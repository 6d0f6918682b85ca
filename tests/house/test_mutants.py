"""The list of mutants fits the source, and its page is that of the list. `make mutants` builds and runs them."""
from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from house_tools import ROOT

FEWEST = 24
TABLE_ROW = re.compile(r"^\| ([a-z][a-z0-9-]+) \| ([^|]+) \| ([^|]+) \|", re.MULTILINE)
RULE_OF_PROTOCOL = re.compile(r"^- \*\*([A-Z]\d+)\*\*|^## (\w+)", re.MULTILINE)


def _module() -> ModuleType:
    """tests/mutants/mutants.py, which is no package."""
    spec = importlib.util.spec_from_file_location("list_of_mutants", ROOT / "tests" / "mutants" / "mutants.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


LIST = _module()
MUTANTS = LIST.load()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_fits_the_source(mutant: object) -> None:
    """Each text stands exactly once in its file, and the change changes something."""
    assert LIST.mutated(mutant)


def test_there_are_enough_and_none_twice() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(names) >= FEWEST
    assert len(set(names)) == len(names)
    assert len({mutant.edits for mutant in MUTANTS}) == len(names)


def test_each_names_a_rule_of_the_protocol() -> None:
    text = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    rules = {rule or heading for rule, heading in RULE_OF_PROTOCOL.findall(text)}
    assert {rule for mutant in MUTANTS for rule in mutant.rule.split(", ")} <= rules


def test_the_page_lists_them_all_as_caught() -> None:
    page = (ROOT / "docs" / "mutants.md").read_text(encoding="utf-8")
    rows = [row for row in TABLE_ROW.findall(page) if row[0] != "mutant"]
    assert rows == [(mutant.name, mutant.rule, mutant.meaning) for mutant in MUTANTS]
    assert [line for line in page.splitlines() if re.match(r"\| [a-z].*\| - \| - \| [^|]* \|$", line)] == []


@pytest.mark.parametrize(
    ("source", "find", "told"),
    [("a = 1\na = 1\n", "a = 1", "2 times"), ("a = 2\n", "a = 1", "0 times"), ("a = 1\n", "a = 1", "nothing")],
)
def test_an_edit_that_does_not_fit_is_named(tmp_path: Path, source: str, find: str, told: str) -> None:
    folder = tmp_path / LIST.CORE
    folder.mkdir(parents=True)
    (folder / "votes.pyx").write_text(source)
    mutant = LIST.Mutant("sample", "A1", "", (LIST.Edit("votes.pyx", find, find),))
    with pytest.raises(ValueError, match=f"sample.*votes.pyx.*{told}"):
        LIST.mutated(mutant, tmp_path)
