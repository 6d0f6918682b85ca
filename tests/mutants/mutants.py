"""The list of mutants: read, checked against the present source, applied to a copy of it."""
from __future__ import annotations

import tomllib
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LIST = HERE / "mutants.toml"
CORE = Path("ext/twinbeat_core")


class Edit(NamedTuple):
    """In `file` of the core, `find` (there exactly once) becomes `replace`."""

    file: str
    find: str
    replace: str


class Mutant(NamedTuple):
    """A fault: the rule of docs/protocol.md that it breaks, what the core then does, and the edits that make it."""

    name: str
    rule: str
    meaning: str
    edits: tuple[Edit, ...]

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that it changes, by their names inside the package."""
        return tuple(sorted({Path(edit.file).stem for edit in self.edits}))


def load(path: Path = LIST) -> list[Mutant]:
    """All mutants, in the order of the file."""
    rows = tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]
    return [
        Mutant(row["name"], row["rule"], row["meaning"], tuple(Edit(**edit) for edit in row["edit"])) for row in rows
    ]


def mutated(mutant: Mutant, root: Path = ROOT) -> dict[Path, str]:
    """The new text of each file that the mutant changes. ValueError names the edit that does not fit the source."""
    texts: dict[Path, str] = {}
    for edit in mutant.edits:
        path = root / CORE / edit.file
        if path.suffix not in {".pyx", ".py"}:
            raise ValueError(f"{mutant.name}: {edit.file}: only .pyx and .py files can be changed")
        text = texts.get(path) or path.read_text(encoding="utf-8")
        if text.count(edit.find) != 1:
            raise ValueError(f"{mutant.name}: in {edit.file} this stands {text.count(edit.find)} times instead of once:"
                             f" {edit.find.strip()!r}")
        if edit.find == edit.replace:
            raise ValueError(f"{mutant.name}: {edit.file}: nothing is changed")
        texts[path] = text.replace(edit.find, edit.replace)
    return texts
