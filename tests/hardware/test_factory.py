"""Every struct has its driver; building looks at nothing."""
from __future__ import annotations

from typing import get_args

import pytest

from twinbeat_hardware.factory import build_output, spec_from_mapping
from twinbeat_hardware.output import OutputPlace
from twinbeat_hardware.spec import OutputSpec

KEYS: dict[str, dict[str, object]] = {
    "gpio": {"chip": "no-such-chip", "line": 1},
    "serial-relay": {"port": "/dev/no-such-port", "board": "lcus-1"},
    "hook": {"start": ["/no/start"], "stop": ["/no/stop"]},
    "systemd": {"unit": "no-such.service"},
    "arbiter": {},
    "mock": {},
}
EXITS = {"arbiter": "off"}
"""Those that take no exit = "hold"."""


@pytest.mark.parametrize("kind", KEYS)
def test_a_driver_is_built_without_its_device(kind: str, place: OutputPlace) -> None:
    spec = spec_from_mapping({"type": kind, "exit": EXITS.get(kind, "hold"), "release_ms": 5} | KEYS[kind])
    driver = build_output(spec, place)
    assert driver.kind == kind and not driver.is_open
    told = driver.describe()
    assert told["type"] == kind and told["exit"] == spec.exit and told["group"] == "pump"
    assert driver.where() == f'group "pump", output "{spec.label}" ({kind})'


def test_every_type_is_tried() -> None:
    assert {spec.__struct_config__.tag for spec in get_args(OutputSpec)} == set(KEYS)


def test_a_name_of_ones_own_is_used(place: OutputPlace) -> None:
    assert build_output(spec_from_mapping({"type": "mock", "name": "pump relay"}), place).name == "pump relay"
