"""`twinbeat warnings`: what stands, every figure, or the trial on generated traces."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twinbeat.cli_dispatch import print_json
from twinbeat.screen import duration, entries

if TYPE_CHECKING:
    import argparse

Answer = dict[str, Any]


def main(arguments: argparse.Namespace) -> int:
    """Print. 0: nothing stands (or a trial was run), 1: a warning stands, 6: there is no agent."""
    if arguments.trial or arguments.quick_trial:
        return trial(arguments)
    if arguments.once:
        return once(arguments)
    from twinbeat.commands.control import find_socket
    from twinbeat.control_client import ControlClient

    with ControlClient(find_socket(arguments)) as client:
        answer = client.ask("warnings")
    if arguments.json:
        print_json(answer)
    else:
        print(warnings_text(answer, arguments.all))
    return 1 if entries(answer, "warnings") else 0


def trial(arguments: argparse.Namespace) -> int:
    """Generated traces through the detector."""
    from twinbeat.warning.trial import SEED, as_text, run

    found = run(arguments.quick_trial, SEED if arguments.seed is None else arguments.seed)
    if arguments.json:
        print_json(found)
    else:
        print(as_text(found))
    return 0


def once(arguments: argparse.Namespace) -> int:
    """What can be read here, with the limits of the defaults."""
    from twinbeat.config_warning import WarningConfig
    from twinbeat.warning.figures import rounded
    from twinbeat.warning.machine import Machine

    settings = WarningConfig()
    machine = Machine(settings, settings.disks)
    figures = [
        {"figure": figure.key, "name": figure.name, "unit": figure.unit, "value": rounded(value),
         "limit": rounded(figure.limit)}
        for figure, value in machine.read()
    ]  # fmt: skip
    answer = {"figures": figures, "absent": [{"source": gone.what, "why": gone.why} for gone in machine.absent]}
    if arguments.json:
        print_json(answer)
    else:
        print("\n".join(figure_lines(answer)))
    return 0


def warnings_text(answer: Answer, everything: bool) -> str:
    """The screen."""
    standing = entries(answer, "warnings")
    lines = [f"{warning.get('text', '?')!s} (for {duration(warning.get('since_s'))})" for warning in standing]
    if answer.get("predict") == "off":
        lines.append('early warning is off: [warning] predict = "off"')
    elif not standing:
        lines.append(f"no early warning on {answer.get('node', 'this node')}")
    if everything:
        lines += ["", *figure_lines(answer)]
    return "\n".join(lines)


def figure_lines(answer: Answer) -> list[str]:
    """Every figure, then what is not there."""
    rows = [
        (
            str(item.get("figure", "?")),
            f"{item.get('value', '?')} {item.get('unit', '')}".rstrip(),
            f"{item.get('limit', '?')} {item.get('unit', '')}".rstrip(),
            duration(item["age_s"]) + " ago" if "age_s" in item else "now",
        )
        for item in entries(answer, "figures")
    ]
    if not rows:
        return ["nothing was sampled yet; samples are taken every few seconds ([warning] every_s)"]
    rows = [("figure", "value", "limit", "sampled"), *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    absent = [f"  {item.get('source', '?')}: {item.get('why', '?')}" for item in entries(answer, "absent")]
    return [*lines, *(["", "not there:", *absent] if absent else [])]
