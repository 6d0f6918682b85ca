"""docs/faults.md is what `twinbeat verify` says today, to the letter; no documented world breaks a promise."""
from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from twinbeat.cli_dispatch import dispatch

PAGE = Path(__file__).resolve().parents[2] / "docs" / "faults.md"
DOCUMENTED = ["pair", "hold", "three", "voter", "gated", "witness", "hothot", "spare", "overlap"]
COMMAND = re.compile(r"^`(twinbeat verify [^`]+)` makes this page", re.MULTILINE)


def command() -> list[str]:
    found = COMMAND.search(PAGE.read_text(encoding="utf-8"))
    assert found is not None, "docs/faults.md does not say which command makes it"
    return shlex.split(found[1])[1:]


def test_fault_tables_are_those_of_the_simulator(capsys: pytest.CaptureFixture[str]) -> None:
    """The command stands in the page itself. To mend: run it and put its output into docs/faults.md."""
    dispatch(command())
    out, err = capsys.readouterr()
    assert err == ""
    made, kept = out.splitlines(), PAGE.read_text(encoding="utf-8").splitlines()
    different = [(one, other) for one, other in zip(made, kept, strict=False) if one != other]
    assert different == [] and len(made) == len(kept), "run the page's first command again: > docs/faults.md"


def test_the_page_has_all_documented_worlds() -> None:
    words = command()
    assert [words[at + 1] for at, word in enumerate(words) if word == "--world"] == DOCUMENTED
    assert PAGE.read_text(encoding="utf-8").count("\n## ") == len(DOCUMENTED)


def test_no_documented_fault_breaks_a_promise() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert "Judgement: failed" not in text and text.count("Judgement: passed") == len(DOCUMENTED)
