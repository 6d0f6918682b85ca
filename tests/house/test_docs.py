"""Links in the documents lead somewhere, and generated documents are those of the code."""
from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from house_tools import ROOT, files, shown

LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
FENCE = re.compile(r"^(```|~~~)[\s\S]*?^\1", re.MULTILINE)
CODE_SPAN = re.compile(r"`[^`\n]*`")


def _prose(path: Path) -> str:
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def _anchors(path: Path) -> set[str]:
    """The anchors that headings get where the documents are usually read."""
    anchors: set[str] = set()
    for heading in re.findall(r"^#{1,6}\s+(.+?)\s*#*$", _prose(path), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        count = 0
        while (slug if count == 0 else f"{slug}-{count}") in anchors:
            count += 1
        anchors.add(slug if count == 0 else f"{slug}-{count}")
    return anchors


def _broken_links(path: Path) -> list[str]:
    broken = []
    for target in LINK.findall(CODE_SPAN.sub("", _prose(path))):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        name, _, anchor = target.partition("#")
        place = (path.parent / name).resolve() if name else path
        if not place.exists() or not place.is_relative_to(ROOT):
            broken.append(f"{shown(path)}: {target}: there is no such file")
        elif anchor and place.suffix == ".md" and anchor not in _anchors(place):
            broken.append(f"{shown(path)}: {target}: there is no such heading")
    return broken


@pytest.mark.parametrize("path", files(".md"), ids=shown)
def test_links_lead_somewhere(path: Path) -> None:
    assert _broken_links(path) == []


def test_a_broken_link_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("house_tools.ROOT", tmp_path)
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    page = tmp_path / "page.md"
    good = "# A heading: here\n[ok](#a-heading-here) [web](https://a.b) `[no](link)`\n"
    page.write_text(good + "[x](gone.md) [y](#gone)\n")
    assert [line.split(": ")[1] for line in _broken_links(page)] == ["gone.md", "#gone"]


def test_state_diagram_is_that_of_the_table() -> None:
    page = ROOT / "docs" / "states.md"
    if not page.exists() or importlib.util.find_spec("twinbeat_core.diagram") is None:
        pytest.skip("there is no generated state diagram yet")
    done = subprocess.run(
        [sys.executable, "-m", "twinbeat_core.diagram", "--check", str(page)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
