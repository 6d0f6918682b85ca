"""The keys of outputs: what is accepted, and the one message for each thing that is not."""
from __future__ import annotations

from typing import Any

import msgspec
import pytest

from twinbeat_hardware.errors import OutputSpecError
from twinbeat_hardware.factory import spec_from_mapping
from twinbeat_hardware.spec import (
    GpioSpec,
    HookSpec,
    MockSpec,
    OutputSpec,
    SerialRelaySpec,
    SystemdSpec,
    board_patterns,
    parse_pattern,
    switch_off_ms,
)

GPIO = {"type": "gpio", "chip": "pinctrl-rp1", "line": "GPIO17"}
RELAY = {"type": "serial-relay", "port": "relay"}
HOOK = {"type": "hook", "start": ["a"], "stop": ["b"]}
UNIT = {"type": "systemd", "unit": "historian.service"}
MOCK = {"type": "mock"}


class Group(msgspec.Struct):
    output: list[OutputSpec]


def test_the_example_of_the_manual_is_accepted() -> None:
    text = """
        [[output]]
        type = "gpio"
        chip = "pinctrl-rp1"
        line = "GPIO17"
        safe = "off"
        release_ms = 12
        [[output]]
        type = "serial-relay"
        port = "relay"
        on = "A0 01 01 A2"
        off = "A0 01 00 A1"
        [[output]]
        type = "hook"
        start = ["/usr/local/bin/pump-start"]
        stop = ["/usr/local/bin/pump-stop"]
        deadline_ms = 2000
        [[output]]
        type = "systemd"
        unit = "historian@1.service"
        [[output]]
        type = "mock"
        stuck = "on"
    """
    outputs = msgspec.toml.decode(text, type=Group).output
    assert [type(output) for output in outputs] == [GpioSpec, SerialRelaySpec, HookSpec, SystemdSpec, MockSpec]
    assert [output.label for output in outputs] == [
        "pinctrl-rp1/GPIO17", "relay", "pump-start", "historian@1.service", "mock",
    ]  # fmt: skip
    assert outputs[0].release_ms == 12.0
    assert {output.exit_level for output in outputs} == {"off"}


@pytest.mark.parametrize(
    ("keys", "fragment"),
    [
        (GPIO | {"safe": "on"}, 'safe = "on" is refused'),
        (GPIO | {"exit": "on"}, 'exit = "on" is unknown: write "off" or "hold"'),
        (GPIO | {"release_ms": -1}, "release_ms = -1 is out of range: 0 to 60000"),
        (GPIO | {"make_ms": float("nan")}, "make_ms = nan is out of range"),
        (GPIO | {"release_ms": 60001}, "release_ms = 60001 is out of range"),
        (GPIO | {"chip": " "}, "chip is empty"),
        (GPIO | {"line": ""}, "line is empty"),
        (GPIO | {"line": -1}, "line = -1 is negative"),
        (GPIO | {"line": True}, "got `bool` - at `$.line`"),
        (GPIO | {"readback": "GPIO17"}, "is the driven line itself"),
        (GPIO | {"pull": "up"}, "unknown field `pull`"),
        (RELAY, "on is empty"),
        (RELAY | {"on": "A0", "off": ""}, "off is empty"),
        (RELAY | {"on": "A0 0G", "off": "A1"}, 'on = "A0 0G": "0G" is not a byte in hex'),
        (RELAY | {"on": "A0", "off": "A0 1"}, 'off = "A0 1": "1" is not a byte in hex'),
        (RELAY | {"on": "A0", "off": "a0"}, "on and off are the same bytes"),
        (RELAY | {"on": "00" * 33, "off": "01"}, "on has 33 bytes, at most 32"),
        (RELAY | {"board": "lcus-3"}, "known are lcus-1, lcus-2, lcus-4, lcus-8"),
        (RELAY | {"board": "lcus-2", "channel": 3}, "channel = 3: lcus-2 has channels 1 to 2"),
        (RELAY | {"board": "lcus-2", "channel": 0}, "channel = 0: lcus-2 has channels 1 to 2"),
        (RELAY | {"board": "lcus-1", "on": "A0"}, "already says the bytes"),
        (RELAY | {"on": "A0", "off": "A1", "channel": 2}, "channel = 2 means nothing without board"),
        (RELAY | {"board": "lcus-1", "port": ""}, "port is empty"),
        (RELAY | {"board": "lcus-1", "baud": 0}, "baud = 0 is out of range: 300 to 4e+06"),
        (HOOK | {"stop": []}, "stop is empty: write the command as a list"),
        (HOOK | {"start": [""]}, "start is empty"),
        (HOOK | {"start": ["a", "b\0c"]}, "start holds a zero byte"),
        (HOOK | {"deadline_ms": 0}, "deadline_ms = 0 is out of range: 10 to 600000"),
        (HOOK | {"start": "a b"}, "Expected `array`, got `str` - at `$.start`"),
        (UNIT | {"unit": ""}, "unit is empty"),
        (UNIT | {"unit": "historian"}, 'write "historian.service"'),
        (UNIT | {"unit": "x@.service"}, "is a template: name an instance"),
        (UNIT | {"unit": "--force.service"}, "is no unit name"),
        (UNIT | {"unit": "/etc/x.service"}, "is no unit name"),
        (UNIT | {"unit": ".service"}, "has no unit suffix"),
        (UNIT | {"unit": "x" * 250 + ".service"}, "is no unit name"),
        (MOCK | {"fail": "often"}, 'fail = "often" is unknown'),
        (MOCK | {"stuck": "half"}, 'stuck = "half" is unknown'),
        ({"type": "relay"}, "Invalid value 'relay' - at `$.type`"),
        ({}, "missing required field `type`"),
    ],
)
def test_a_wrong_key_is_one_clear_message(keys: dict[str, Any], fragment: str) -> None:
    with pytest.raises(OutputSpecError) as caught:
        spec_from_mapping(keys)
    assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_decoder_says_which_output_is_wrong() -> None:
    with pytest.raises(msgspec.ValidationError, match=r'line = -2 is negative.* - at `\$.output\[1\]`'):
        msgspec.convert({"output": [MOCK, GPIO | {"line": -2}]}, Group)


def test_patterns_are_read_with_and_without_blanks() -> None:
    assert parse_pattern("on", "A0 01 01 A2") == parse_pattern("on", "a00101a2") == b"\xa0\x01\x01\xa2"
    assert len(parse_pattern("on", "00" * 32)) == 32


def test_board_patterns_carry_channel_and_sum() -> None:
    assert board_patterns("lcus-1", 1) == (b"\xa0\x01\x01\xa2", b"\xa0\x01\x00\xa1")
    assert board_patterns("lcus-2", 2) == (b"\xa0\x02\x01\xa3", b"\xa0\x02\x00\xa2")
    assert board_patterns("lcus-8", 8) == (b"\xa0\x08\x01\xa9", b"\xa0\x08\x00\xa8")


def test_the_release_time_contains_the_time_on_the_wire() -> None:
    relay = SerialRelaySpec(port="relay", board="lcus-1", release_ms=10.0)
    assert relay.wire_ms == pytest.approx(4 * 10 / 9.6)
    assert switch_off_ms(relay) == pytest.approx(10.0 + 4 * 10 / 9.6)
    assert switch_off_ms(GpioSpec(chip="a", line=1, release_ms=12.0)) == 12.0
    fast = SerialRelaySpec(port="relay", on="01", off="00 00 00", baud=115_200)
    assert fast.wire_ms == pytest.approx(3 * 10 / 115.2)
