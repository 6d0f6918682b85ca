"""The hardware documents name the pins that the firmware uses, and the drawings are drawings."""
from __future__ import annotations

import ast
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from house_tools import ROOT

HARDWARE = ROOT / "hardware"
BOARDS = ROOT / "firmware_bridge" / "arbiter" / "boards"
WIRING = HARDWARE / "wiring.md"
DRAWINGS = sorted(HARDWARE.glob("*.svg"))
SVG = "{http://www.w3.org/2000/svg}"
SIDES = 2
GROUND_PINS = {3, 8, 13, 18, 23, 28, 33, 38}
# GP0 to GP22 go round the Pico from pin 1, past the grounds and, at 30, RUN.
PICO_PINS = dict(enumerate(pin for pin in range(1, 30) if pin not in GROUND_PINS))
Use = dict[str, str]


def _table(title: str) -> list[list[str]]:
    """Rows of the first table below a heading that begins so, without its two head lines."""
    text = WIRING.read_text(encoding="utf-8")
    section = re.split(r"^#+ ", text, flags=re.MULTILINE)
    body = next((part for part in section if part.startswith(title)), None)
    assert body is not None, f"wiring.md has no heading that begins with {title!r}"
    lines = [line for line in body.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def _board(name: str) -> ast.Module:
    path = BOARDS / f"{name}.py"
    if not path.exists():
        pytest.skip(f"there is no {path.relative_to(ROOT)} yet")
    return ast.parse(path.read_text(encoding="utf-8"))


def _constant(tree: ast.Module, name: str) -> object:
    for node in tree.body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]:
            return ast.literal_eval(node.value)
    raise AssertionError(f"the board has no constant {name}; adapt this test to where its pins stand")


def _uarts(tree: ast.Module) -> Use:
    """Transmit and receive pins from `for number, tx, rx in ((0, ...), ...)`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.For) and {"tx", "rx"} <= set(re.findall(r"\w+", ast.unparse(node.target))):
            rows = ast.literal_eval(node.iter)
            return {f"GP{pin}": f"UART {uart} {way}" for uart, *two in rows for way, pin in zip(WAYS, two, strict=True)}
    raise AssertionError("the board sets its ports up in another way; adapt this test")


WAYS = ("transmit", "receive")


def _pico_uses() -> Use:
    """What the firmware does with each pin, in the words of wiring.md."""
    tree = _board("rp2")
    uses = _uarts(tree)
    for name, word in (("RELAY_PINS", "relay"), ("READ_BACK_PINS", "read-back of")):
        groups = _constant(tree, name)
        assert isinstance(groups, tuple)
        for group, pins in enumerate(groups):
            uses |= {f"GP{pin}": f"{word} K{'ABCD'[SIDES * group + side]}: group {group}, side {side}"
                     for side, pin in enumerate(pins)}
    return uses


def test_pico_table_is_that_of_the_firmware() -> None:
    told = {row[0]: row[2] for row in _table("Arbiter: Raspberry Pi Pico")}
    uses = _pico_uses()
    assert set(told) == set(uses)
    assert {pin: words for pin, words in uses.items() if not told[pin].startswith(words)} == {}


def test_pico_table_names_the_pins_of_the_board() -> None:
    told = {int(row[0].removeprefix("GP")): int(row[1]) for row in _table("Arbiter: Raspberry Pi Pico")}
    assert told == {chip: PICO_PINS[chip] for chip in told}


def test_gateway_table_meets_the_arbiter() -> None:
    """A gateway transmits to where the arbiter receives, each on the port of its own number."""
    lines = {row[2]: row[3] for row in _table("Gateways")}
    uses = {words: pin for pin, words in _pico_uses().items()}
    for line, way in (("TXD, arbiter", "receive"), ("RXD, arbiter", "transmit")):
        for node in range(SIDES):
            assert f"node {node}: {uses[f'UART {node} {way}']}" in lines[line]


def test_microbit_table_is_that_of_the_firmware() -> None:
    tree = _board("microbit")
    source = ast.unparse(tree)
    ports = re.search(r"uart\.init\([^)]*tx=(pin\d+), rx=(pin\d+)\)", source)
    relays = re.search(r"\((pin\d+) if side else (pin\d+)\)\.write_digital", source)
    inputs = re.search(r"\((pin\d+) if side else (pin\d+)\)\.read_digital", source)
    assert ports and relays and inputs, "the board names its pins in another way; adapt this test"
    told = {row[1].split(",")[0]: row[0] for row in _table("micro:bit instead of a Pico")}
    assert told == {
        "relay of side 0": relays[2], "relay of side 1": relays[1],
        "read-back of side 0": inputs[2], "read-back of side 1": inputs[1],
        "transmit": ports[1], "receive": ports[2],
    }  # fmt: skip


def test_wiring_waits_as_long_as_the_firmware() -> None:
    """Step 1 names the time in which a relay must have opened."""
    step = re.search(r"less than the (\d+) ms[^(]*\((\d+) ms on a micro:bit\)", WIRING.read_text(encoding="utf-8"))
    assert step is not None
    assert [_constant(_board(name), "BREAK_MS") for name in ("rp2", "microbit")] == [int(step[1]), int(step[2])]


def _texts(drawing: Path) -> list[str]:
    return ["".join(text.itertext()) for text in ElementTree.parse(drawing).getroot().iter(f"{SVG}text")]


@pytest.mark.parametrize("drawing", DRAWINGS, ids=lambda path: path.name)
def test_drawing_is_well_formed(drawing: Path) -> None:
    """One that browsers show: a title, a background of its own for dark pages, nothing that it refers to is missing."""
    root = ElementTree.parse(drawing).getroot()
    assert root.tag == f"{SVG}svg"
    assert (root.findtext(f"{SVG}title") or "").strip()
    width, height = root.get("viewBox", "").split()[2:]
    back = root.find(f"{SVG}rect")
    assert back is not None
    assert (back.get("width"), back.get("height"), back.get("fill")) == (width, height, "#ffffff")
    names = {part.get("id") for part in root.iter()}
    assert {use.get("href", "").removeprefix("#") for use in root.iter(f"{SVG}use")} <= names


def test_there_are_drawings() -> None:
    assert {"wiring.svg", "interlock.svg"} <= {path.name for path in DRAWINGS}


def test_wiring_drawing_names_the_pins_of_the_firmware() -> None:
    """Every pin of group 0 and of the ports stands in the drawing with its pin of the board; group 1 by name."""
    text = "\n".join(_texts(HARDWARE / "wiring.svg"))
    pairs = {(f"GP{gp}", pin) for gp, pin in re.findall(r"\bGP(\d+) pin (\d+)", text)}
    pairs |= {(f"GP{gp}", pin) for pin, gp in re.findall(r"pin (\d+) GP(\d+)\b", text)}
    uses = _pico_uses()
    near = {pin for pin, words in uses.items() if "group 1" not in words}
    assert pairs == {(pin, str(PICO_PINS[int(pin.removeprefix("GP"))])) for pin in near}
    assert set(re.findall(r"\bGP\d+", text)) == set(uses)
