"""The output that the arbiter switches: nothing for the gate to do, and what the contact reads."""
from __future__ import annotations

import dataclasses

import pytest

from twinbeat_hardware import arbiter
from twinbeat_hardware.arbiter import ArbiterOutput
from twinbeat_hardware.errors import OutputError, OutputSpecError
from twinbeat_hardware.factory import spec_from_mapping
from twinbeat_hardware.output import OutputPlace
from twinbeat_hardware.spec import ARBITER_GROUPS, ArbiterSpec, switch_off_ms


def opened(place: OutputPlace, contacts: int | None = None, *, attached: bool = True) -> ArbiterOutput:
    driver = ArbiterOutput(ArbiterSpec(release_ms=6.0, make_ms=2.0), place)
    driver.open()
    if attached:
        driver.attach(lambda: contacts)
    return driver


def test_the_gate_gets_an_output_that_it_neither_writes_nor_runs(place: OutputPlace) -> None:
    fast = ArbiterOutput(ArbiterSpec(), place).open()
    assert (fast.kind, fast.fd, fast.on, fast.off, fast.stop_argv) == ("none", -1, b"", b"", ())
    assert (fast.name, fast.group, fast.exit, fast.readback) == ("contact", 3, "off", False)


@pytest.mark.parametrize(
    ("contacts", "level"),
    [
        (None, None),
        (0, None),
        (arbiter.OWN_CLOSED, None),
        (arbiter.GATED, False),
        (arbiter.GATED | arbiter.OTHER_CLOSED, False),
        (arbiter.GATED | arbiter.OWN_CLOSED, True),
        (arbiter.GATED | arbiter.OWN_CLOSED | arbiter.OWN_STUCK, True),
        (arbiter.GATED | arbiter.NO_READBACK | arbiter.OWN_CLOSED, None),
    ],
)
def test_what_the_contacts_byte_says_of_this_nodes_contact(
    place: OutputPlace, contacts: int | None, level: bool | None
) -> None:
    assert opened(place, contacts).read_back() is level


def test_nothing_is_sensed_before_the_agent_attaches_the_answers(place: OutputPlace) -> None:
    driver = opened(place, attached=False)
    assert driver.read_back() is None
    assert driver.describe()["contacts"] is None
    assert driver.senses_later, "read-back is looked at all the same once answers come"


def test_status_shows_both_contacts(place: OutputPlace) -> None:
    told = opened(place, arbiter.GATED | arbiter.OTHER_CLOSED | arbiter.OTHER_STUCK).describe()
    assert told["contacts"] == {
        "gated": True, "own_closed": False, "other_closed": True, "own_stuck": False, "other_stuck": True,
        "read_back": True,
    }  # fmt: skip
    assert (told["off_ms"], told["make_ms"]) == (6.0, 2.0)
    assert switch_off_ms(ArbiterSpec(release_ms=6.0)) == 6.0


def test_more_groups_than_a_board_gates(place: OutputPlace) -> None:
    last = dataclasses.replace(place, group=ARBITER_GROUPS - 1)
    ArbiterOutput(ArbiterSpec(), last).open()
    beyond = ArbiterOutput(ArbiterSpec(), dataclasses.replace(place, group=ARBITER_GROUPS))
    with pytest.raises(OutputError, match=r"this is group 9 of the file, .* the first 8 at most: move its table up"):
        beyond.open()


def test_a_level_cannot_be_held_without_a_promise() -> None:
    with pytest.raises(OutputSpecError, match=r'exit = "hold" is refused: the arbiter opens the contact'):
        spec_from_mapping({"type": "arbiter", "exit": "hold"})
