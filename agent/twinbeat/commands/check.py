"""`twinbeat check`: what the configuration promises and what it does not."""
from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from twinbeat.check import as_data, build_report
from twinbeat.check_text import report_text
from twinbeat.cli_dispatch import print_json
from twinbeat.config import load_config
from twinbeat.errors import DeviceError, KeyFileError
from twinbeat.keys import load_key
from twinbeat.remote import operators_of

if TYPE_CHECKING:
    import argparse


def main(arguments: argparse.Namespace) -> int:
    """Print the report. 0: fine; 1: a figure is over its budget; 3, 4, 5: configuration, key, device."""
    cfg = load_config(arguments.config, arguments.node, any_node=not arguments.devices)
    report = build_report(cfg)
    code = 1 if report.problems else 0
    if arguments.devices:
        from twinbeat.check_devices import check_devices

        found, warnings, problems = check_devices(cfg)
        if cfg.checks_of(cfg.node):
            from twinbeat.check_health import look_at_all

            looked = look_at_all(cfg)
            found, warnings, problems = found + looked[0], warnings + looked[1], problems + looked[2]
        code = DeviceError.exit_code if problems else code
        report = msgspec.structs.replace(
            report,
            devices=found,
            warnings=report.warnings + warnings,
            problems=report.problems + problems,
        )
    if not arguments.no_key:
        try:
            load_key(cfg)
            operators_of(cfg)
        except KeyFileError as error:
            code = error.exit_code
            report = msgspec.structs.replace(report, problems=[*report.problems, str(error)])
    if arguments.json:
        print_json(as_data(report))
    else:
        print(report_text(report))
    return code
