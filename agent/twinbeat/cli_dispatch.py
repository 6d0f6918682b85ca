"""From a command line to the module that does it, and from whatever goes wrong to one message and an exit code."""
from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twinbeat_core.errors import TwinbeatError

if TYPE_CHECKING:
    from twinbeat_rt.gate import Gate

EXIT_OK = 0
EXIT_INTERNAL = 70
EXIT_INTERRUPTED = 130

PASSED_ON = {
    "demo": "twinbeat.demo",
    "bench": "twinbeat.bench",
    "arbiter": "twinbeat.arbiter.command",
    "witness": "twinbeat.witness",
    "sim": "twinbeat.sim.command",
    "verify": "twinbeat.sim.verify_command",
    "prove": "twinbeat.sim.prove_command",
    "replay": "twinbeat.replay.command",
    "tune": "twinbeat.replay.tune_command",
}
"""Commands with a command line of their own."""


def dispatch(words: list[str], gate: Gate | None = None, gate_failure: Exception | None = None) -> int:
    """Do what the command line says; `gate` was forked for `run`, or `gate_failure` says why not."""
    return guarded(lambda: perform(words, gate, gate_failure))


def perform(words: list[str], gate: Gate | None, gate_failure: Exception | None) -> int:
    """The command, with its errors still as exceptions."""
    if words[:1] and words[0] in PASSED_ON:
        code = importlib.import_module(PASSED_ON[words[0]]).main(words[1:])
        return int(code)
    from twinbeat.cli_parser import build_parser, check_command

    check_command(words)
    arguments = build_parser().parse_args(words)
    module = importlib.import_module(f"twinbeat.commands.{arguments.module}")
    if arguments.module == "run":
        if gate_failure is not None:
            raise gate_failure
        return int(module.main(arguments, gate))
    return int(module.main(arguments))


def guarded(call: Callable[[], int]) -> int:
    """The exit code of `call`; every exception becomes one message on standard error."""
    try:
        code = call()
        sys.stdout.flush()
        return code
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else EXIT_OK if stop.code is None else say(str(stop.code), 2)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has had enough, as in `twinbeat events | head`. That is no error of ours;
        # the interpreter must not find out again when it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except TwinbeatError as error:
        return say(str(error), error.exit_code)
    except Exception as error:  # noqa: BLE001 - the last door: an unforeseen fault becomes one line
        return say(internal_text(error), EXIT_INTERNAL)


def say(text: str, code: int) -> int:
    """Print a message, each line with the program's name, and return the exit code."""
    for line in text.splitlines() or [""]:
        print(f"twinbeat: {line}", file=sys.stderr)
    return code


def internal_text(error: BaseException) -> str:
    """One line that is worth reporting; the whole traceback before it when TWINBEAT_DEBUG=1."""
    if os.environ.get("TWINBEAT_DEBUG") == "1":
        traceback.print_exception(error)
    steps = traceback.extract_tb(error.__traceback__)
    place = f" at {os.path.basename(steps[-1].filename)}:{steps[-1].lineno}" if steps else ""
    detail = " ".join(str(error).split())
    what = f"{type(error).__name__}: {detail}" if detail else type(error).__name__
    return (
        f"internal error{place}: {what}; please report this line with the command and the output of "
        "`twinbeat version` (TWINBEAT_DEBUG=1 shows where it happened)"
    )


def print_json(data: Any) -> None:
    """Data for a script, on standard output."""
    import json

    print(json.dumps(data, indent=2, ensure_ascii=False))
