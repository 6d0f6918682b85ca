"""The probes, one module for each type of check. Only what is configured is loaded."""
from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from twinbeat.config_check import CheckConfig, CommandCheck, MqttCheck

if TYPE_CHECKING:
    from twinbeat.config import Config
    from twinbeat.health.probe import Probe


def build_probe(cfg: Config, check: CheckConfig, brokers: Mapping[int, Any]) -> Probe:
    """The probe of a check. `brokers` are the MQTT links by number, not yet started. Opens nothing."""
    module = importlib.import_module(f"twinbeat.health.probes.{check.type}")
    if isinstance(check, MqttCheck):
        probe: Probe = module.MqttProbe(check, brokers[broker_of(cfg, check)])
    elif isinstance(check, CommandCheck):
        probe = module.CommandProbe(check, cfg.pair.name, cfg.node)
    else:
        name = check.type.capitalize()
        probe = getattr(module, f"{name}Probe")(check)
    return probe


def broker_of(cfg: Config, check: MqttCheck) -> int:
    """The number of the link whose broker a check asks."""
    return next(
        number for number, link in enumerate(cfg.links) if link.type == "mqtt" and check.link in (None, link.name)
    )
