"""The front page shows every mode: an excerpt that loads, a picture for light and dark, a command that exists."""
from __future__ import annotations

import re
from pathlib import Path

import pytest
from config_files import write

from twinbeat.config import Config, load_config
from twinbeat.demo.options import parse

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODES = {"hot-warm": "hot-warm", "hot-hot with shards": "hot-hot", "hot-hot with overlap": "hot-hot",
         "hot-spare": "hot-spare"}
REST = """\
[pair]
name = "hall-3"
key_file = "pair.key"

[node.gw-a]
udp.direct = "10.0.0.1:7400"

[node.gw-b]
udp.direct = "10.0.0.2:7400"

[[link]]
type = "udp"
address = "direct"

"""


def section(title: str) -> str:
    found = re.search(rf"^### {re.escape(title)}\n(.*?)(?=^##)", README, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def excerpt(tmp_path: Path, title: str) -> Config:
    (text,) = re.findall(r"^```toml\n(.*?)^```", section(title), re.MULTILINE | re.DOTALL)
    return load_config(write(tmp_path, REST + text), "gw-a")


@pytest.mark.parametrize("title", MODES)
def test_the_excerpt_loads(tmp_path: Path, title: str) -> None:
    cfg = excerpt(tmp_path, title)
    (family,) = cfg.families
    assert (family.mode, family.overlap) == (MODES[title], title.endswith("overlap"))
    assert len(cfg.groups) == (8 if title.endswith("shards") else 1)


@pytest.mark.parametrize("title", MODES)
def test_the_picture_is_readable_on_light_and_dark(title: str) -> None:
    (path,) = re.findall(r"!\[[^\]]{20,}\]\((docs/pictures/[a-z-]+\.svg)\)", section(title))
    picture = (ROOT / path).read_text(encoding="utf-8")
    assert "prefers-color-scheme:dark" in picture and "<title" in picture and "<desc" in picture
    assert len(picture) < 8192


@pytest.mark.parametrize("title", MODES)
def test_the_demo_is_that_of_the_mode(title: str) -> None:
    (words,) = re.findall(r"`make demo(?: ARGS=\"([^\"]*)\")?`", section(title).replace("\n", " "))
    mode = parse(words.split()).settings.mode
    assert mode == ("overlap" if title.endswith("overlap") else MODES[title])
