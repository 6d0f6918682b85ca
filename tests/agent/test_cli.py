"""The command line as a user meets it: messages, exit codes, and never a traceback."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from config_files import changed, write

from twinbeat import cli_dispatch
from twinbeat.cli_dispatch import EXIT_INTERNAL, dispatch, guarded
from twinbeat.cli_options import CONFIG_PATH
from twinbeat.cli_parser import COMMANDS, build_parser
from twinbeat.config import DEFAULT_PATH
from twinbeat.version import __version__
from twinbeat_core.errors import SettingsError

LIMIT_S = 30


def twinbeat(*words: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """The program as a process, with Python's own safety nets as a user has them."""
    return subprocess.run(
        [sys.executable, "-m", "twinbeat", *words],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        cwd=cwd,
        env={**os.environ, "TWINBEAT_NODE": "gw-a", **environment},
    )


def refused(code: int, *words: str) -> str:
    """The message of a command that fails with `code`: every line is the program's, none a traceback's."""
    done = twinbeat(*words)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert all(line.startswith("twinbeat: ") for line in done.stderr.splitlines())
    return done.stderr


# ---------------------------------------------------------------- version, help, usage


def test_version() -> None:
    done = twinbeat("version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"twinbeat {__version__} (Python 3.")
    assert json.loads(twinbeat("version", "--json").stdout)["twinbeat"] == __version__
    assert twinbeat("--version").stdout == f"twinbeat {__version__}\n"


def test_version_loads_nothing_heavy() -> None:
    code = (
        "import sys; from twinbeat.cli import main; main(['version']);"
        "print(sorted(set(sys.modules) & {'msgspec', 'serial', 'gpiod', 'paho', 'ssl', 'twinbeat.config', 'asyncio'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT_S)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_names_every_command_and_exit_code() -> None:
    done = twinbeat("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert f"\n    {command} " in done.stdout or f"\n    {command}\n" in done.stdout
    for code in ("0 done", "1 the answer is no", "5 device", "70 internal error"):
        assert code in " ".join(done.stdout.split())
    assert CONFIG_PATH == DEFAULT_PATH


def test_every_command_has_help_without_doing_anything(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        if command not in cli_dispatch.PASSED_ON:
            assert dispatch([command, "--help"]) == 0
            assert f"usage: twinbeat {command} " in capsys.readouterr().out


def test_unknown_command_names_the_nearest() -> None:
    assert refused(2, "stauts") == 'twinbeat: unknown command "stauts"; did you mean "status"?\n'
    assert refused(2, "xyzzy").startswith('twinbeat: unknown command "xyzzy"; commands: run, check, ')


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "twinbeat: error: the following arguments are required: COMMAND"),
        (("check", "--confg", "x"), "twinbeat: error: unrecognized arguments: --confg x"),
        (("check", "--conf", "x"), "twinbeat: error: unrecognized arguments: --conf x"),
        (("run", "--bad"), "twinbeat: error: unrecognized arguments: --bad"),
        (("why", "--count", "0"), '"0" is no count; give a number from 1 to 512'),
        (("keygen",), "twinbeat keygen: error: the following arguments are required: PATH"),
    ],
)
def test_wrong_usage(words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(list(words)) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.startswith("usage: ")
    assert shown.out == ""


# ---------------------------------------------------------------- keygen


def test_keygen_writes_once(tmp_path: Path) -> None:
    path = tmp_path / "pair.key"
    done = twinbeat("keygen", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    key = path.read_text()
    assert key.strip() not in done.stdout
    assert refused(4, "keygen", str(path)).startswith(f"twinbeat: {path}: the file exists and is kept; ")
    assert path.read_text() == key
    assert twinbeat("keygen", "--force", str(path)).returncode == 0
    assert path.read_text() != key


# ---------------------------------------------------------------- check


def test_check_of_a_good_file(tmp_path: Path) -> None:
    path = write(tmp_path)
    done = twinbeat("check", "--config", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("pair pump-7, seen from node gw-a (configuration ")
    assert done.stdout.endswith("No problem found.\n")
    data = json.loads(twinbeat("check", "--json", "--config", str(path)).stdout)
    assert (data["ok"], data["pair"], data["problems"]) == (True, "pump-7", [])


def test_check_of_a_broken_budget(tmp_path: Path) -> None:
    path = write(tmp_path, changed(("outage_budget_ms = 100", "outage_budget_ms = 20")))
    done = twinbeat("check", "--config", str(path))
    assert (done.returncode, done.stderr) == (1, "")
    assert "over outage_budget_ms = 20" in done.stdout
    data = json.loads(twinbeat("check", "--json", "--config", str(path)).stdout)
    assert data["ok"] is False and data["outage"]["over_ms"] > 0


def test_check_shows_everything_although_the_key_is_bad(tmp_path: Path) -> None:
    path = write(tmp_path)
    (tmp_path / "pair.key").chmod(0o644)
    done = twinbeat("check", "--config", str(path))
    assert (done.returncode, done.stderr) == (4, "")
    flat = " ".join(done.stdout.split())
    assert f"everybody can read the key (mode 0644); run: chmod 600 {tmp_path}/pair.key" in flat
    assert "T_G: the voter keeps its promise this long" in flat
    assert twinbeat("check", "--no-key", "--config", str(path)).returncode == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("period_ms = 100", "periode_ms = 100"), '[[link]] 2: unknown key "periode_ms"; did you mean "period_ms"?'),
        (("[node.gw-b]", "[node.gw-a]"), 'there are two nodes with the name "gw-a"'),
        (("period_ms = 10\n", "period_ms = 10\nbaud = 9600\n"), "baud = 9600 is too slow for period_ms = 10"),
        (('port = "cross"', 'port = "nowhere"'), '[[link]] 1: port = "nowhere" is not defined in any [node.*]'),
        (("[pair]", '[third_voter]\ntype = "witnes"\n[pair]'), 'type = "witnes" is unknown; did you mean "witness"?'),
        (('board = "lcus-1"', 'on = "XY"\noff = "00"'), '[[group]] 1, output 1: on = "XY"'),
        (("[pair]", "[pair"), "line 1, column "),
    ],
)
def test_bad_configuration_is_one_message(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = write(tmp_path, changed(change))
    shown = refused(3, "check", "--config", str(path))
    assert shown.startswith(f"twinbeat: {path}: ")
    assert message in shown
    assert len(shown.splitlines()) == 1


def test_several_faults_are_several_lines(tmp_path: Path) -> None:
    path = write(tmp_path, changed(("period_ms = 100", "x = 1"), ("release_ms = 8", "y = 1")))
    assert len(refused(3, "check", "--config", str(path)).splitlines()) == 2


def test_missing_file_and_wrong_node(tmp_path: Path) -> None:
    assert refused(3, "check", "--config", str(tmp_path / "none.toml")).startswith(
        f"twinbeat: {tmp_path}/none.toml: there is no such file; "
    )
    path = write(tmp_path)
    shown = refused(3, "check", "--config", str(path), "--node", "gw-c")
    assert '--node names node "gw-c", which is not in the file' in shown


# ---------------------------------------------------------------- what must never be seen


def test_unforeseen_error_is_one_line_to_report(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> int:
        raise KeyError("some\nthing")

    monkeypatch.delenv("TWINBEAT_DEBUG", raising=False)
    assert guarded(fail) == EXIT_INTERNAL == 70
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("twinbeat: internal error at test_cli.py:")
    assert "KeyError: 'some\\nthing'; please report this line with the command" in line


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        raise RuntimeError

    monkeypatch.setenv("TWINBEAT_DEBUG", "1")
    assert guarded(fail) == 70
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback") and "twinbeat: internal error at test_cli.py:" in shown
    assert "RuntimeError; please report" in shown


def test_errors_of_the_core_keep_their_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        raise SettingsError(["a", "b"])

    assert guarded(fail) == 3
    assert capsys.readouterr().err == "twinbeat: a; b\n"


def test_interrupt_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    assert guarded(interrupted) == 130
    assert capsys.readouterr().err == ""


def test_reader_that_has_had_enough(tmp_path: Path) -> None:
    path = write(tmp_path)
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-m", "twinbeat", "check", "--config", str(path), "--node", "gw-a"],
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
        timeout=LIMIT_S,
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_command_of_the_parser_is_known() -> None:
    (choices,) = [set(action.choices) for action in build_parser()._actions if action.choices]
    assert choices == set(COMMANDS)
