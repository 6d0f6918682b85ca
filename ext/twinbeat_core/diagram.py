"""Draw docs/states.md from the transition table: `python -m twinbeat_core.diagram docs/states.md [--check]`."""
from __future__ import annotations

import sys
from pathlib import Path

from .model import State
from .table import MEANING, TRANSITIONS
from .triggers import Trigger

HEAD = """# States of a group on a node

Drawn from the transition table in `ext/twinbeat_core/table.py` by `python -m twinbeat_core.diagram docs/states.md`;
a test fails when this file and the table differ. What the words mean is said in [protocol.md](protocol.md).

"""


def _name(trigger: Trigger) -> str:
    return trigger.name.removeprefix("TR_").lower()


def render() -> str:
    """The whole file: a Mermaid diagram, the table with every pair, the triggers' meaning."""
    lines = [HEAD, "```mermaid\n", "stateDiagram-v2\n", "    [*] --> LISTEN: start\n"]
    for state in State:
        for trigger, following in TRANSITIONS[state].items():
            if following is not None and trigger != Trigger.TR_START:
                lines.append(f"    {state.name} --> {following.name}: {_name(trigger)}\n")
    lines += ["```\n\n", "| state | " + " | ".join(_name(t) for t in Trigger) + " |\n"]
    lines += ["|---" * (len(Trigger) + 1) + "|\n"]
    for state in State:
        cells = [following.name if (following := TRANSITIONS[state][t]) is not None else "refused" for t in Trigger]
        lines.append(f"| {state.name} | " + " | ".join(cells) + " |\n")
    lines += ["\n| trigger | meaning |\n", "|---|---|\n"]
    lines += [f"| {_name(t)} | {MEANING[t]} |\n" for t in Trigger]
    return "".join(lines)


def main(arguments: list[str]) -> int:
    """Write the file, or with --check compare it; 1 when it is stale, 2 for wrong usage."""
    paths = [a for a in arguments if not a.startswith("-")]
    if len(paths) != 1 or set(arguments) - set(paths) - {"--check"}:
        print("usage: python -m twinbeat_core.diagram FILE [--check]", file=sys.stderr)
        return 2
    path = Path(paths[0])
    if "--check" not in arguments:
        path.write_text(render(), encoding="utf-8")
        return 0
    if not path.exists() or path.read_text(encoding="utf-8") != render():
        print(f"{path}: differs from the transition table; run python -m twinbeat_core.diagram {path}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
