"""`twinbeat run`: the gate is forked before anything heavy, and ended on every way out."""
from __future__ import annotations

import os
import subprocess
import sys

import pytest

LIMIT_S = 30

HARNESS = """
import sys, types

class Gate:
    pid = 1
    def end(self, timeout_ms=0):
        print("gate ended", timeout_ms)

def fork_gate():
    heavy = {"argparse", "msgspec", "serial", "gpiod", "paho", "ssl", "json", "logging", "twinbeat.config",
             "twinbeat.cli_dispatch", "twinbeat_hardware", "asyncio", "tomllib"}
    print("forked with", sorted(heavy & set(sys.modules)))
    if FAIL:
        raise FAIL
    return Gate()

def run_agent(**given):
    print("run", sorted(given), type(given["gate"]).__name__, given["config_path"], given["node"])
    if RESULT is None:
        raise KeyError("unforeseen")
    return RESULT

package, gate = types.ModuleType("twinbeat_rt"), types.ModuleType("twinbeat_rt.gate")
run = types.ModuleType("twinbeat.run")
gate.fork_gate, package.gate, run.run_agent = fork_gate, gate, run_agent
sys.modules.update({"twinbeat_rt": package, "twinbeat_rt.gate": gate, "twinbeat.run": run})
from twinbeat.cli import main
code = main(WORDS)
print("exit", code)
"""


def outcome(words: list[str], result: str = "0", fail: str = "None") -> tuple[list[str], str]:
    """(lines of standard output, standard error) of `twinbeat` with a gate and an agent that only tell."""
    code = f"RESULT = {result}\nFAIL = {fail}\nWORDS = {words!r}\n" + HARNESS
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT_S, env=dict(os.environ)
    )
    return done.stdout.splitlines(), done.stderr


def test_gate_is_forked_first_and_ended_last() -> None:
    lines, errors = outcome(["run", "--config", "c.toml", "--node", "n"])
    assert lines == [
        "forked with []",
        "run ['config_path', 'gate', 'node', 'run_dir', 'state_dir'] Gate c.toml n",
        "gate ended 2000",
        "exit 0",
    ]
    assert errors == ""


def test_exit_code_of_the_agent_is_passed_on() -> None:
    assert outcome(["run"], result="7")[0][-1] == "exit 7"


def test_bad_command_line_ends_the_gate() -> None:
    lines, errors = outcome(["run", "--bad"])
    assert lines == ["forked with []", "gate ended 2000", "exit 2"]
    assert "unrecognized arguments: --bad" in errors and "Traceback" not in errors


def test_unforeseen_error_of_the_agent_ends_the_gate() -> None:
    lines, errors = outcome(["run"], result="None")
    assert lines[-2:] == ["gate ended 2000", "exit 70"]
    assert errors.startswith("twinbeat: internal error at ") and "Traceback" not in errors


@pytest.mark.parametrize("words", [["run", "--help"], ["run", "-h"], ["version"], []])
def test_no_gate_where_nothing_is_run(words: list[str]) -> None:
    assert not any("forked" in line for line in outcome(words)[0])


def test_gate_that_cannot_be_made() -> None:
    lines, errors = outcome(["run"], fail="ImportError('no module named gate')")
    assert lines == ["forked with []", "exit 70"]
    assert errors.startswith("twinbeat: internal error at ") and "no module named gate" in errors
    assert "Traceback" not in errors


def test_gate_that_cannot_be_made_hides_no_usage_error() -> None:
    lines, errors = outcome(["run", "--bad"], fail="ImportError('x')")
    assert lines[-1] == "exit 2"
    assert "unrecognized arguments: --bad" in errors
