"""The scripts behind `make` on machines that lack something, played with stand-ins for the system's commands."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from house_tools import ROOT

SYSTEM_PACKAGES = ROOT / ".ci" / "system-packages"
TOOLS = ("bash", "cat", "dirname", "env", "head", "true")
# What comes with a command and is none.
SHARED = {"qemu-system-arm": "firmware-microbit-micropython/firmware.hex", "java": "java/zookeeper.jar"}
THIRD_VOTER = "qemu-system-arm firmware-microbit-micropython zookeeper"
Machine = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Runs system-packages on a machine that has the given commands only; apt-get notes its arguments in a file."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(shutil.which(tool) or pytest.skip(f"no {tool} here"))

    def command(name: str, body: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)

    def run(*sets: str, user_id: int, commands: tuple[str, ...], apt: str = "") -> subprocess.CompletedProcess[str]:
        command("id", f"echo {user_id}")
        command("apt-get", f'echo "$@" >>{tmp_path}/apt.log; {apt}')
        for name in commands:
            command(name, "exit 0")
        if "python3" in commands:
            command("python3", f'exec {sys.executable} "$@"')
        for name in commands:
            if name in SHARED:
                (tmp_path / SHARED[name]).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / SHARED[name]).touch()
        env = {"PATH": str(folder), "TWINBEAT_SBIN": "", "TWINBEAT_SHARE": str(tmp_path), "PYTHON": "python3",
               "HOME": str(tmp_path)}
        return subprocess.run(
            [SYSTEM_PACKAGES, *sets], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def _asked_of_apt(tmp_path: Path) -> str:
    log = tmp_path / "apt.log"
    return log.read_text() if log.exists() else ""


COMPLETE = ("gcc", "mosquitto", "unshare", "python3", "qemu-system-arm", "java")


def test_complete_machine_is_left_alone(machine: Machine, tmp_path: Path) -> None:
    done = machine("build", "test", "demo", user_id=0, commands=COMPLETE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert _asked_of_apt(tmp_path) == ""


def test_user_gets_one_line_to_run(machine: Machine, tmp_path: Path) -> None:
    done = machine("build", "test", user_id=1000, commands=("python3",))
    assert done.returncode == 1
    lines = [line.strip() for line in done.stderr.splitlines() if "apt-get" in line]
    wanted = f"gcc libc6-dev mosquitto util-linux {THIRD_VOTER}"
    assert lines == [f"sudo apt-get install -y --no-install-recommends {wanted}"]
    assert _asked_of_apt(tmp_path) == ""


def test_machine_without_python_gets_one(machine: Machine) -> None:
    done = machine("build", user_id=1000, commands=("gcc",))
    assert done.returncode == 1
    assert "python3 python3-venv python3-dev" in done.stderr


def test_root_installs_what_is_missing(machine: Machine, tmp_path: Path) -> None:
    done = machine("build", "test", user_id=0, commands=("gcc", "unshare", "python3"))
    assert done.returncode == 0, done.stderr
    update, needed, *wished = _asked_of_apt(tmp_path).splitlines()
    assert update.endswith("update")
    assert needed.endswith("install -y --no-install-recommends mosquitto")
    # One by one: what a system does not have must not keep it from the others.
    assert [line.rpartition(" ")[2] for line in wished] == THIRD_VOTER.split()
    assert "localhost:1883" in done.stderr


def test_user_goes_on_without_the_third_voter_s_tools(machine: Machine, tmp_path: Path) -> None:
    done = machine("test", user_id=1000, commands=("mosquitto", "unshare"))
    assert (done.returncode, _asked_of_apt(tmp_path)) == (0, "")
    assert f"Going on without: {THIRD_VOTER} (" in done.stderr


def test_sudo_without_password_installs(machine: Machine, tmp_path: Path) -> None:
    machine("demo", user_id=1000, commands=("gcc", "python3"))
    assert _asked_of_apt(tmp_path) == ""
    sudo = tmp_path / "bin" / "sudo"
    sudo.write_text('#!/bin/sh\nshift\nexec "$@"\n')
    sudo.chmod(0o755)
    done = machine("demo", user_id=1000, commands=())
    assert done.returncode == 0
    assert "install -y --no-install-recommends mosquitto" in _asked_of_apt(tmp_path)


def test_failing_apt_stops_only_where_it_must(machine: Machine) -> None:
    broken = {"user_id": 0, "commands": ("gcc", "unshare", "python3"), "apt": "exit 100"}
    needed = machine("test", **broken)
    assert (needed.returncode, "apt-get install failed" in needed.stderr) == (1, True)
    spared = machine("demo", "bench", **broken)
    assert spared.returncode == 0
    for package in ("mosquitto", "keepalived", "iproute2", "nftables"):
        assert f"Going on without {package} (apt-get install failed" in spared.stderr


def test_unknown_set_is_refused(machine: Machine) -> None:
    done = machine("tests", user_id=0, commands=COMPLETE)
    assert (done.returncode, "there is no set 'tests'" in done.stderr) == (2, True)


def test_old_python_is_named_with_the_remedy(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit 0\nexit 1\n')
    old.chmod(0o755)
    env = {**os.environ, "PYTHON": str(old)}
    done = subprocess.run(
        [ROOT / ".ci" / "find-python"], env=env, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "Python 3.9.2" in done.stderr
    assert "make PYTHON=" in done.stderr


def test_help_names_every_target() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    done = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    for target in ("demo", "test", "check", "bench", "venv", "clean"):
        assert f"\n{target}:" in text
        assert f"make {target} " in done.stdout
