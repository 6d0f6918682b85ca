"""docs/walkthrough.md is true: every command of it is typed on two real agents, and its output is the page's."""
from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from walkthrough_rig import HOSTS, Stage

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "walkthrough.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROMPT = re.compile(rf"^({'|'.join(HOSTS)})\$ (.+)$")
NUMBER = re.compile(r"(?<![A-Za-z0-9_])(?<![A-Za-z]-)\d+(?:\.\d+)*")
ANY = r"(?:.*)"
LINES = r"(?:.*\n)*?"
QUESTION = re.compile(r"twinbeat (version|check|status|watch|why|events|warnings|upgrade-check|drill --dry|.*--dry-run"
                      r"|remote \S+ status)\b")
ANSWER_LIMIT_S = 12.0
AGAIN_S = 0.2
COMMANDS = 51
"""So many there are: one that the test does not find would pass unseen."""


@dataclass(frozen=True)
class Step:
    """One command and the output below it."""

    host: str
    command: str
    shown: str

    def pattern(self) -> re.Pattern[str]:
        """What the output must be."""
        parts = []
        for line in self.shown.splitlines():
            if line.strip() == "...":
                parts.append(LINES)
                continue
            pieces = [NUMBER.sub("\0", " ".join(piece.split(" "))) for piece in squeezed(line).split("...")]
            escaped = [re.escape(piece).replace("\0", r"\d+(?:\.\d+)*") for piece in pieces]
            parts.append(ANY.join(escaped) + r"\n")
        return re.compile("".join(parts))

    def fits(self, output: str) -> bool:
        """Whether it is."""
        text = "".join(squeezed(line) + "\n" for line in output.splitlines())
        return self.pattern().fullmatch(text) is not None


def squeezed(line: str) -> str:
    """Columns are as wide as their widest cell, and that differs."""
    return re.sub(r" +", " ", line).strip()


def steps(text: str) -> Iterator[Step]:
    """The commands of a page, in order."""
    for kind, body in FENCE.findall(text):
        if kind != "console":
            continue
        host, command, shown = "", "", []
        for line in body.splitlines():
            found = PROMPT.match(line)
            if found:
                if host:
                    yield Step(host, command, "\n".join(shown))
                host, command, shown = found[1], found[2], []
            else:
                assert host, f"output without a command: {line}"
                shown.append(line)
        assert host, body
        yield Step(host, command, "\n".join(shown))


def test_pages_blocks_are_of_three_kinds_and_every_prompt_is_found() -> None:
    kinds = [kind for kind, _ in FENCE.findall(PAGE)]
    assert (kinds.count(""), kinds.count("toml"), set(kinds)) == (1, 1, {"", "toml", "console"})
    prompts = [line for line in PAGE.splitlines() if re.match(r"\S+\$ ", line)]
    assert len(prompts) == len(list(steps(PAGE))) == COMMANDS


def test_install_lines_are_those_of_operations() -> None:
    (block,) = (body for kind, body in FENCE.findall(PAGE) if not kind)
    told = (DOCS / "operations.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in block.splitlines() if line not in told] == []


def test_the_comparison_sees_a_difference() -> None:
    step = Step("gw-a", "twinbeat status", "node gw-a (up 2 s)\n\n  pump   gw-a   ACTIVE 8\n...\nlast ... of 3")
    assert step.fits("node gw-a (up 14.5 s)\n\n pump gw-a ACTIVE 1024\nx\ny\nlast line of 7\n")
    assert not step.fits("node gw-b (up 14.5 s)\n\n pump gw-a ACTIVE 1024\nlast line of 7\n")
    assert not step.fits("node gw-a (up 14.5 s)\n\n pump gw-a STANDBY 1024\nlast line of 7\n")
    assert not step.fits("node gw-a (up 14.5 s)\n\n! fault\n\n pump gw-a ACTIVE 1024\nlast line of 7\n")
    assert not step.fits("node gw-a (up 14.5 s)\n\n pump gw-a ACTIVE 1024\nlast line of 7\nmore\n")


@pytest.fixture
def stage() -> Iterator[Stage]:
    """In a folder with a short name: where devices have long ones their lines are broken, and the page's are not."""
    with tempfile.TemporaryDirectory(prefix="walk-") as folder:
        made = Stage(Path(folder))
        yield made
        made.close()


def tell(stage: Stage, step: Step) -> str:
    """Types the command; the output. A question is asked again until its answer is the page's."""
    limit = time.monotonic() + ANSWER_LIMIT_S
    while True:
        code, output = stage.run(step.host, step.command)
        if code == 0 and step.fits(output):
            return output
        if not QUESTION.match(step.command) or time.monotonic() > limit:
            journals = "\n".join(f"{node}:\n{unit.log.read_text()}" for node, unit in stage.units.items()
                                 if unit.log.exists())
            pytest.fail(f"{step.host}$ {step.command}\nexit code {code}\n{output}\nbut the page has\n{step.shown}\n"
                        f"{journals}", pytrace=False)
        time.sleep(AGAIN_S)


def test_every_command_does_what_the_page_says(stage: Stage) -> None:
    (text,) = (body for kind, body in FENCE.findall(PAGE) if kind == "toml")
    stage.write_file("gw-a", "/etc/twinbeat/twinbeat.toml", text)
    done = [tell(stage, step) for step in steps(PAGE)]
    assert len(done) == COMMANDS
    assert stage.place.noise == 0
    assert stage.place.switched > 20 and stage.place.both_on == 0, stage.place.orders
    assert {node: unit.starts for node, unit in stage.units.items()} == {"gw-a": 3, "gw-b": 2}
