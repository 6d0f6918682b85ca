"""Each probe: good, bad, absent, hanging."""
from __future__ import annotations

import os
import select
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from run_fakes import WAIT_S

from twinbeat.config_check import (
    CommandCheck,
    FileCheck,
    GpioCheck,
    ProcessCheck,
    TcpCheck,
    UnitCheck,
)
from twinbeat.health.probe import Measured
from twinbeat.health.probes import file as file_probe
from twinbeat.health.probes.command import CommandProbe
from twinbeat.health.probes.file import FileProbe
from twinbeat.health.probes.gpio import GpioProbe
from twinbeat.health.probes.process import ProcessProbe
from twinbeat.health.probes.tcp import TcpProbe
from twinbeat.health.probes.unit import UnitProbe


def made(cls: Any, **keys: Any) -> Any:
    return cls(**({"name": "app", "type": cls.__name__.removesuffix("Check").lower()} | keys))


def verdict(measured: Measured) -> tuple[bool | None, bool]:
    """(good or not, whether something could be measured)."""
    return measured.ok, not measured.error


# ---------------------------------------------------------------- unit


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], UnitProbe]:
    """A service manager that says what a test lets it say."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def prepare(script: str) -> UnitProbe:
        program = folder / "systemctl"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return UnitProbe(made(UnitCheck, unit="app.service", every_ms=1000, deadline_ms=500))

    return prepare


def says(load: str, active: str, sub: str) -> str:
    return f"printf 'LoadState={load}\\nActiveState={active}\\nSubState={sub}\\n'"


def test_unit(systemctl: Callable[[str], UnitProbe]) -> None:
    assert systemctl(says("loaded", "active", "running")).measure() == Measured(
        True, "app.service is active (running)", "must be active"
    )
    failed = systemctl(says("loaded", "failed", "failed")).measure()
    assert verdict(failed) == (False, True) and failed.value == "app.service is failed (failed)"
    absent = systemctl(says("not-found", "inactive", "dead")).measure()
    assert verdict(absent) == (False, False) and 'unit "app.service" does not exist' in absent.error
    silent = systemctl("echo 'no bus' >&2; exit 1").measure()
    assert silent.error == "systemctl does not answer for app.service: no bus"
    hanging = systemctl("exec sleep 30").measure()
    assert hanging.error == "systemctl gave no answer within 0.5 s"


def test_unit_without_a_service_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = UnitProbe(made(UnitCheck, unit="app.service")).measure()
    assert verdict(found) == (False, False) and "does not run systemd" in found.error


# ---------------------------------------------------------------- process


def stat_file(proc: Path, pid: int, name: str, state: str) -> None:
    (proc / str(pid)).mkdir(parents=True, exist_ok=True)
    (proc / str(pid) / "stat").write_text(f"{pid} ({name}) {state} 1 1 1")


def test_process_by_name(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    stat_file(tmp_path, 7, "poller", "S")
    stat_file(tmp_path, 8, "a (odd) name", "R")
    stat_file(tmp_path, 9, "a-name-of-more-", "S")
    stat_file(tmp_path, 10, "dead", "Z")
    stat_file(tmp_path, 11, "halted", "T")

    def look(name: str) -> Measured:
        return ProcessProbe(made(ProcessCheck, command=name), tmp_path).measure()

    assert look("poller") == Measured(True, "poller (process 7) lives", "must live")
    assert look("a (odd) name").ok and look("a-name-of-more-than-15-bytes").ok
    assert look("nobody") == Measured(False, "no process nobody", "must live")
    assert look("dead") == Measured(False, "dead (process 10) is dead but not reaped", "must live")
    assert "is stopped" in look("halted").value
    stat_file(tmp_path, 12, "dead", "S")
    assert look("dead").ok


def test_process_by_pid_file(tmp_path: Path) -> None:
    proc, pid_file = tmp_path / "proc", tmp_path / "app.pid"
    stat_file(proc, 7, "poller", "S")

    def look(text: str | None, **keys: Any) -> Measured:
        pid_file.unlink(missing_ok=True)
        if text is not None:
            pid_file.write_text(text)
        return ProcessProbe(made(ProcessCheck, pid_file=str(pid_file), **keys), proc).measure()

    assert look("7\n").ok and look("7 more\n", command="poller").ok
    assert look("7", command="other") == Measured(False, f"process 7 of {pid_file} is poller", "must be other")
    assert look("8") == Measured(False, f"process 8 of {pid_file} is gone", "must live")
    assert look(None) == Measured(False, f"{pid_file} is not there", "must live")
    for text in ("", "abc", "-1", "0"):
        assert look(text).error == f"{pid_file} holds no process number"


def test_this_process_lives_for_real(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    pid_file.write_text(str(os.getpid()))
    assert ProcessProbe(made(ProcessCheck, pid_file=str(pid_file))).measure().ok


# ---------------------------------------------------------------- command


def command(*argv: str, **keys: Any) -> CommandProbe:
    return CommandProbe(made(CommandCheck, argv=argv, **keys), "pump-7", "gw-a")


def test_command() -> None:
    good = command("/bin/sh", "-c", '[ "$TWINBEAT_NODE $TWINBEAT_CHECK" = "gw-a app" ]').measure()
    assert verdict(good) == (True, True)
    bad = command("/bin/sh", "-c", "echo why >&2; exit 3").measure()
    assert (bad.ok, bad.figure) == (False, 3.0)
    assert "exit status 3" in bad.value and "why" in bad.value
    absent = command("/nonexistent/program").measure()
    assert verdict(absent) == (False, False) and "No such file" in absent.error


def test_a_command_over_its_deadline_is_ended_with_what_it_started(tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = f"trap '' TERM; sleep 60 & echo $! > {child}; wait"
    late = command("/bin/sh", "-c", script, deadline_ms=300).measure()
    assert verdict(late) == (False, True) and "ran past its deadline" in late.value
    pid = int(child.read_text())
    assert ends(pid)


def ends(pid: int) -> bool:
    """Whether a process that was told to end has ended, waited for at most 10 s."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], 10.0)[0])
    finally:
        os.close(fd)


def test_a_command_that_floods_is_bounded() -> None:
    flood = command("/bin/sh", "-c", "yes flood | head -c 3000000 >&2; yes | head -c 3000000; exit 1", deadline_ms=1000)
    found = flood.measure()
    assert verdict(found) == (False, True) and len(found.value) < 500


def test_closing_ends_a_running_command(tmp_path: Path) -> None:
    fifo = tmp_path / "started"
    os.mkfifo(fifo)
    probe = command("/bin/sh", "-c", f"echo > {fifo}; exec sleep 60", every_ms=60000)
    found: list[Measured] = []
    thread = threading.Thread(target=lambda: found.append(probe.measure()))
    thread.start()
    fifo.read_text()
    probe.close()
    thread.join(WAIT_S)
    assert found[0].ok is False and "called off" in found[0].value


# ---------------------------------------------------------------- file


def test_file_ages_on_the_monotonic_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.csv"
    now = {"ns": 10**12}
    monkeypatch.setattr(file_probe, "boottime_ns", lambda: now["ns"])
    probe = FileProbe(made(FileCheck, path=str(path), max_age_s=5))
    absent = probe.measure()
    assert absent == Measured(False, f"{path} is not there", "at most 5 s")
    path.write_text("1")
    assert probe.measure().ok
    os.utime(path, (0, 0))                     # whatever its time says: it was changed just now
    assert probe.measure().ok
    now["ns"] += 5 * 10**9
    assert probe.measure().ok
    now["ns"] += 10**8
    old = probe.measure()
    assert old == Measured(False, f"{path} is 5.1 s old", "at most 5 s", figure=5.1)
    path.write_text("23")
    assert probe.measure().ok


def test_a_file_that_was_old_at_the_first_look_is_old(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("1")
    os.utime(path, (1, 1))
    assert FileProbe(made(FileCheck, path=str(path), max_age_s=60)).measure().ok is False
    os.utime(path, (2**33, 2**33))             # from a time to come: not old yet
    assert FileProbe(made(FileCheck, path=str(path), max_age_s=60)).measure().ok


def test_a_path_through_a_file_cannot_be_looked_at(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = FileProbe(made(FileCheck, path=str(tmp_path / "file" / "x"), max_age_s=5)).measure()
    assert "cannot be looked at" in found.error


# ---------------------------------------------------------------- tcp


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        yield sock


def test_tcp(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    probe = TcpProbe(made(TcpCheck, host="127.0.0.1", port=port, deadline_ms=300))
    good = probe.measure()
    assert good.ok and "took a connection" in good.value
    fill = [socket.socket() for _ in range(4)]
    try:
        for sock in fill:                      # a backlog that is full answers nobody: a port that hangs
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        hanging = probe.measure()
    finally:
        for sock in fill:
            sock.close()
    assert hanging == Measured(False, f"127.0.0.1:{port}: no answer", "within 300 ms")
    listener.close()
    refused = probe.measure()
    assert verdict(refused) == (False, True) and "refused" in refused.value


def test_tcp_name_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    found = TcpProbe(made(TcpCheck, host="nobody.plant", port=1)).measure()
    assert found.error == "nobody.plant cannot be looked up: Name or service not known"


# ---------------------------------------------------------------- gpio


@pytest.fixture
def chip(monkeypatch: pytest.MonkeyPatch) -> Any:
    """One pretended chip with two lines."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "hardware"))
    import pretend_gpiod

    hardware = pretend_gpiod.Hardware()
    lines = [pretend_gpiod.Line("IN0"), pretend_gpiod.Line("OUT1", kernel_consumer="spi")]
    hardware.chips["/dev/gpiochip0"] = ("pinctrl", lines)
    monkeypatch.setitem(sys.modules, "gpiod", hardware.module())
    monkeypatch.setattr("twinbeat_hardware.gpio_find.glob.glob", lambda _: ["/dev/gpiochip0"])
    return hardware


def test_gpio(chip: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    line = chip.chips["/dev/gpiochip0"][1][0]
    probe = GpioProbe(made(GpioCheck, chip="pinctrl", line="IN0"))
    low = GpioProbe(made(GpioCheck, chip="pinctrl", line="IN0", good="low"))
    line.high = True
    assert probe.measure() == Measured(True, "pinctrl line IN0 is high", "must be high")
    line.high = False
    assert probe.measure() == Measured(False, "pinctrl line IN0 is low", "must be high")
    assert "in use" in low.measure().error
    probe.close()
    assert not line.used()
    assert low.measure().ok
    line.refuse_errno = 5

    def broken(_offset: int) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(low._request, "get_value", broken)
    assert low.measure().error == "pinctrl line IN0 cannot be read: Input/output error"
    line.refuse_errno = 0
    assert low.measure().ok                    # asked for anew
    low.close()


def test_gpio_absent(chip: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "spi" in GpioProbe(made(GpioCheck, chip="pinctrl", line="OUT1")).measure().error
    assert "IN0" in GpioProbe(made(GpioCheck, chip="pinctrl", line="INO")).measure().error
    assert "pinctrl" in GpioProbe(made(GpioCheck, chip="other", line=0)).measure().error
    monkeypatch.setitem(sys.modules, "gpiod", None)
    assert "gpiod is not installed" in GpioProbe(made(GpioCheck, chip="pinctrl", line=0)).measure().error
