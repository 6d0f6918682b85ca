"""From the configuration's structs to drivers."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never

import msgspec

from .arbiter import ArbiterOutput
from .errors import OutputSpecError
from .gpio import GpioOutput
from .hook import HookOutput
from .mock import MockOutput
from .output import Output, OutputPlace
from .serial_relay import SerialRelayOutput
from .spec import ArbiterSpec, GpioSpec, HookSpec, MockSpec, OutputSpec, SerialRelaySpec, SystemdSpec
from .systemd import SystemdOutput


def build_output(spec: OutputSpec, place: OutputPlace) -> Output[Any]:
    """The driver for `spec`, closed. Nothing is opened or looked at yet."""
    match spec:
        case GpioSpec():
            return GpioOutput(spec, place)
        case SerialRelaySpec():
            return SerialRelayOutput(spec, place)
        case HookSpec():
            return HookOutput(spec, place)
        case SystemdSpec():
            return SystemdOutput(spec, place)
        case ArbiterSpec():
            return ArbiterOutput(spec, place)
        case MockSpec():
            return MockOutput(spec, place)
        case _:
            assert_never(spec)


def spec_from_mapping(keys: Mapping[str, object]) -> OutputSpec:
    """The struct for one output's keys, as they stand in the configuration. Raises OutputSpecError."""
    try:
        spec: OutputSpec = msgspec.convert(dict(keys), OutputSpec)
    except msgspec.ValidationError as problem:
        raise OutputSpecError(str(problem)) from None
    return spec
