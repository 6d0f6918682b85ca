"""`twinbeat arbiter flash`: what is put on a board, by which steps, and what is said where it cannot be."""
from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from board_rig import FakeVoter, Pty, answers
from cli_rig import PAIR, as_json, run, write_config

from twinbeat.arbiter import flash_command
from twinbeat_bridge import flash
from twinbeat_bridge.bundle import Bundle, bundle
from twinbeat_bridge.flash import CTRL_C, FlashError, configured, find_device, stop_firmware

FAKE_MPREMOTE = """\
import json, pathlib, shutil, sys
words = sys.argv[1:]
board = pathlib.Path({folder!r})
(board / "words.json").write_text(json.dumps(words))
if {fails!r}:
    print("mpremote: " + {fails!r}, file=sys.stderr)
    sys.exit(1)
at = words.index("cp")
for name in words[at + 1 : words.index(":")]:
    shutil.copy(name, board / "fs")
"""
END = ":00000001FF\n"


@pytest.fixture
def board_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts an mpremote into the path that copies into a folder, or fails with a sentence."""

    def install(fails: str = "") -> Path:
        package, folder = tmp_path / "site" / "mpremote", tmp_path / "board"
        package.mkdir(parents=True)
        (folder / "fs").mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(FAKE_MPREMOTE.format(folder=str(folder), fails=fails))
        monkeypatch.syspath_prepend(package.parent)
        paths = [str(package.parent), os.environ.get("PYTHONPATH", "")]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
        return folder

    monkeypatch.setattr(flash, "LEAVE_LIMIT_S", 0.1)
    return install


@pytest.fixture
def device() -> Any:
    """The board's console."""
    pty = Pty()
    os.set_blocking(pty.fd, False)
    yield pty
    pty.close()


def made(build: int | None = None) -> Bundle:
    found = bundle("rp2", PAIR)
    return found if build is None else found._replace(build=build)


# ---------------------------------------------------------------- writing
def test_the_files_are_copied_and_what_runs_is_verified(
    tmp_path: Path, board_files: Callable[[], Path], device: Pty, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, wanted = board_files(), made()
    with FakeVoter(lambda ask: answers(ask, build=wanted.build, version=wanted.version, voter=0xBEEF)) as voter:
        config = write_config(tmp_path, voter.path)
        words = ("flash", "--board", "rp2", "--config", config, "--node", "gw-a", "--device", device.path)
        assert run(*words, "--contacts", 2, "--no-read-back", "--json") == 0
    report = as_json(capsys)
    assert (report["verified"], report["voter"], report["pair_id"]) == (True, "0000beef", PAIR)
    assert report["build"] == f"{wanted.build:08x}"
    assert os.read(device.fd, 64) == CTRL_C, "the running firmware was stopped first"
    done = json.loads((folder / "words.json").read_text())
    assert done[:4] == ["connect", device.path, "fs", "cp"]
    assert done[-3:] == [":", "+", "reset"]
    assert Path(done[-4]).name == "main.py", "last, so that a copy that breaks off starts nothing"
    written = {path.name: path.read_bytes() for path in (folder / "fs").iterdir()}
    assert written == wanted.files | {"pair.py": written["pair.py"]}
    pair: dict[str, Any] = {}
    exec(written["pair.py"], pair)
    assert (pair["PAIR"], pair["BUILD"], pair["GATED"], pair["READ_BACK"]) == (PAIR, wanted.build, 2, False)


def test_a_new_boards_id_is_shown(
    board_files: Callable[[], Path], device: Pty, capsys: pytest.CaptureFixture[str]
) -> None:
    board_files()
    with FakeVoter(lambda ask: answers(ask, build=made().build)) as voter:
        words = ("--pair", "pump-7", "--port", voter.path, "--device", device.path)
        assert run("flash", "--board", "rp2", *words) == 0
    assert 'verified: the board a0b1c2d3 runs it; [third_voter] needs id = "a0b1c2d3"' in capsys.readouterr().out


@pytest.mark.parametrize("words", [(), ("--no-verify", "--port", "/dev/ttyNONE")], ids=["no-port", "no-verify"])
def test_without_a_line_nothing_is_verified(
    words: tuple[str, ...], board_files: Callable[[], Path], device: Pty, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = board_files()
    assert run("flash", "--board", "rp2", "--pair", "pump-7", "--device", device.path, *words) == 0
    assert "not verified: ask it with twinbeat arbiter status --port PATH" in capsys.readouterr().out
    assert (folder / "fs" / "main.py").exists()


def test_another_firmware_answers(
    board_files: Callable[[], Path], device: Pty, capsys: pytest.CaptureFixture[str]
) -> None:
    board_files()
    with FakeVoter(lambda ask: answers(ask, build=0x1234)) as voter:
        words = ("--pair", "pump-7", "--port", voter.path, "--device", device.path)
        assert run("flash", "--board", "rp2", *words) == 5
    text = capsys.readouterr().err
    assert "the board runs firmware 1.0.0, build 00001234, and 1.0.0, build " in text
    assert "was put on it: is this the line to that board, and did it start?" in text


def test_a_board_that_does_not_start(
    board_files: Callable[[], Path], device: Pty, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from twinbeat_bridge import session

    board_files()
    for name in ("LISTEN_S", "ANSWER_S"):
        monkeypatch.setattr(session, name, 0.02)
    monkeypatch.setattr(flash_command, "START_S", 0.0)
    with FakeVoter(lambda ask: b"") as voter:
        words = ("--pair", "pump-7", "--port", voter.path, "--device", device.path)
        assert run("flash", "--board", "rp2", *words) == 5
    assert f"{voter.path}: nothing answers" in capsys.readouterr().err


def test_mpremote_says_no(
    board_files: Callable[[str], Path], device: Pty, capsys: pytest.CaptureFixture[str]
) -> None:
    board_files("failed to access " + device.path)
    assert run("flash", "--board", "rp2", "--pair", "pump-7", "--device", device.path) == 5
    assert f"{device.path}: the files could not be copied; mpremote says: mpremote: failed to access" in (
        capsys.readouterr().err
    )


def test_mpremote_is_missing(device: Pty, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flash.importlib.util, "find_spec", lambda name: None)
    assert run("flash", "--board", "rp2", "--pair", "pump-7", "--device", device.path) == 5
    assert 'mpremote is not installed: pip install "twinbeat[arbiter]"' in capsys.readouterr().err


def test_mpremote_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flash, "COPY_LIMIT_S", 0.2)
    with pytest.raises(FlashError, match=r"/dev/x: the board took no files within 0.2 s: unplug it"):
        flash.run_mpremote([sys.executable, "-c", "import select; select.select([], [], [])"], "/dev/x")


# ---------------------------------------------------------------- the board's console
def test_a_running_firmware_restarts_and_comes_back(device: Pty, tmp_path: Path) -> None:
    """The port goes away when the board restarts to its prompt: the copy must wait until it is back."""
    link = tmp_path / "ttyACM0"
    link.symlink_to(device.path)
    looks = 0

    def look(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            link.unlink()
        if looks == 3:
            link.symlink_to(device.path)

    stop_firmware(str(link), look)
    assert (looks, link.exists()) == (3, True)
    assert os.read(device.fd, 64) == CTRL_C


def test_a_board_that_does_not_come_back(device: Pty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flash, "RETURN_LIMIT_S", 0.0)
    link = tmp_path / "ttyACM0"
    link.symlink_to(device.path)
    with pytest.raises(FlashError, match="the board did not come back after its firmware was stopped; plug it in"):
        stop_firmware(str(link), lambda _seconds: link.unlink(missing_ok=True))


def test_which_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flash, "BY_ID", tmp_path)
    with pytest.raises(FlashError, match="no board with MicroPython is plugged in: put MicroPython on it first"):
        find_device(None)
    one = tmp_path / "usb-MicroPython_Board_in_FS_mode_e661-if00"
    one.touch()
    assert find_device(None) == str(one)
    (tmp_path / "usb-FTDI_FT232R-if00-port0").touch()
    assert find_device(None) == str(one)
    (tmp_path / "usb-Raspberry_Pi_Pico_e662-if00").touch()
    with pytest.raises(FlashError, match=r"several boards are plugged in \(.*e661.*e662.*\): name one with --device"):
        find_device(None)
    with pytest.raises(FlashError, match="/dev/ttyNONE: there is no such port"):
        find_device("/dev/ttyNONE")


# ---------------------------------------------------------------- lists and other boards
def test_a_dry_run_lists_files_and_touches_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("flash", "--board", "rp2", "--pair", "pump-7", "--dry-run") == 0
    out = capsys.readouterr().out
    assert f"for rp2, pair pump-7 (number {PAIR})" in out
    for name, data in configured(made(), 0, True).files.items():
        assert f"{len(data):6d} bytes  {name}\n" in out
    assert "written" not in out


def test_the_firmware_of_a_microbit_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    interpreter, out = tmp_path / "micropython.hex", tmp_path / "arbiter.hex"
    interpreter.write_text(":10000000004000204D1502008515020089150200F0\n" + END)
    words = ("flash", "--board", "microbit", "--pair", "pump-7", "--interpreter", interpreter, "--out", out)
    assert run(*words) == 0
    lines = out.read_text().split()
    assert lines[0] == ":10000000004000204D1502008515020089150200F0"
    assert lines[-1] == END.strip()
    assert len(lines) > 100
    assert f"copy {out} to the drive MICROBIT" in capsys.readouterr().out
    interpreter.write_text("no hex\n")
    assert run(*words) == 5
    assert f"{interpreter}: line 1 of the interpreter's file is no Intel hex record" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--board", "rp2", "--pair", "x", "--out", "f"], 2, "--out means nothing for --board rp2: leave it out"),
        (["--board", "microbit", "--pair", "x", "--contacts", "1"], 2, "--contacts means nothing for --board microbit"),
        (["--board", "microbit", "--pair", "x"], 2, "--interpreter HEX is missing: name the .hex file of MicroPython"),
        (["--board", "rp2", "--port", "/dev/x"], 2, "which pair is the board for? Give --config, or --pair NAME"),
        (["--board", "microbit", "--pair", "x", "--interpreter", "/none.hex"], 5, "/none.hex: cannot be read: No such"),
    ],
)
def test_command_lines_that_cannot_be_done(
    words: list[str], code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("flash", *words) == code
    assert text in capsys.readouterr().err
