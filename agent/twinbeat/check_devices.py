"""`twinbeat check --devices`: are this node's ports and outputs there and free? Nothing is switched on."""
from __future__ import annotations

import os
from typing import TYPE_CHECKING

from twinbeat.config_schema import SerialLink
from twinbeat.serial_port import open_serial, usb_warning
from twinbeat_core.errors import TwinbeatError
from twinbeat_hardware.factory import build_output
from twinbeat_hardware.output import OutputPlace

if TYPE_CHECKING:
    from twinbeat.config import Config


def check_devices(cfg: Config) -> tuple[list[str], list[str], list[str]]:
    """(what was found good, warnings, problems), one sentence each. Every device is let go again."""
    found: list[str] = []
    warnings: list[str] = []
    problems: list[str] = []
    for number, link in enumerate(cfg.links):
        if not isinstance(link, SerialLink):
            continue
        path = cfg.serial_path(link.port)
        try:
            os.close(open_serial(path, link.baud))
            warning = usb_warning(path, link.period_ms)
        except TwinbeatError as error:
            problems.append(f"link {cfg.link_name(number)}: {error}")
            continue
        found.append(f"link {cfg.link_name(number)}: {path} opens at {link.baud} baud")
        if warning is not None:
            warnings.append(f"link {cfg.link_name(number)}: {warning}")
    check_outputs(cfg, found, warnings, problems)
    return found, warnings, problems


def check_outputs(cfg: Config, found: list[str], warnings: list[str], problems: list[str]) -> None:
    """Open and close every output; a GPIO line takes its off level by that."""
    for number, group in enumerate(cfg.groups):
        place = OutputPlace(
            group=number,
            group_name=group.name,
            node=cfg.node,
            pair=cfg.pair.name,
            serial_ports=cfg.nodes[cfg.node].serial,
        )
        for spec in group.outputs:
            output = build_output(spec, place)
            try:
                fast = output.open()
            except TwinbeatError as error:
                problems.append(str(error))
                continue
            warnings.extend(output.warnings)
            output.close()
            if fast.fd >= 0:
                os.close(fast.fd)
            found.append(f"{output.where()}: can be opened")
