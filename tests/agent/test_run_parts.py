"""The small parts of the agent: loop, signals, jobs, service manager, log, recordings, ports, read-back."""
from __future__ import annotations

import importlib.resources
import importlib.util
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_fakes import WAIT_S, Watched

from twinbeat.errors import DeviceError, LinkError
from twinbeat.links.serial import SerialPort
from twinbeat.links.udp import open_udp
from twinbeat.run_jobs import Jobs
from twinbeat.run_log import LineFormatter, LineHandler, writes_to_journal
from twinbeat.run_loop import Loop, Signals, boottime_ns
from twinbeat.run_readback import ReadBack
from twinbeat.run_recordings import Recordings, prune
from twinbeat.sdnotify import Notifier
from twinbeat_core.model import OutputCode
from twinbeat_hardware.mock import MockOutput
from twinbeat_hardware.output import OutputPlace
from twinbeat_hardware.spec import MockSpec

# ---------------------------------------------------------------- loop


def test_timers_run_in_order_and_cancelled_ones_do_not() -> None:
    loop, said = Loop(), []
    loop.call_later(0.002, lambda: said.append("second"))
    loop.call_later(0.001, lambda: said.append("first"))
    loop.call_later(0.0015, lambda: said.append("never")).cancel()
    loop.call_later(0.003, loop.stop)
    loop.run()
    assert said == ["first", "second"]
    loop.close()


def test_a_period_after_a_stall_is_not_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from twinbeat import run_loop

    now = [10**12]
    monkeypatch.setattr(run_loop, "boottime_ns", lambda: now[0])
    loop, count = Loop(), []
    loop.call_every(0.2, lambda: count.append(1))
    now[0] += 10 * 10**9
    loop.turn(0)
    loop.turn(0)
    assert len(count) == 1
    loop.close()


def test_a_fault_in_a_callback_is_counted_and_the_next_one_runs() -> None:
    loop, said = Loop(), []
    loop.call_threadsafe(lambda: 1 / 0)
    loop.call_threadsafe(lambda: said.append("next"))
    loop.turn(WAIT_S)
    assert (loop.faults, said) == (1, ["next"])
    loop.close()


def test_a_descriptor_that_is_unwatched_in_the_same_round_is_left_alone() -> None:
    loop, said = Loop(), []
    ends = [os.pipe(), os.pipe()]

    def first(own: int, other: int) -> Callable[[], None]:
        def read() -> None:
            said.append(own)
            loop.watch(own, None)
            loop.watch(other, None)
        return read

    for own, other in ((0, 1), (1, 0)):
        os.write(ends[own][1], b"x")
        loop.watch(ends[own][0], first(ends[own][0], ends[other][0]))
    loop.turn(WAIT_S)
    assert len(said) == 1
    loop.close()
    for pair in ends:
        os.close(pair[0])
        os.close(pair[1])


def test_signals_reach_the_loop_and_the_old_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    loop, said = Loop(), []
    signals = Signals(loop, {signal.SIGUSR1: lambda: said.append("usr1")})
    os.kill(os.getpid(), signal.SIGUSR1)
    loop.turn(WAIT_S)
    signals.close()
    loop.close()
    assert said == ["usr1"]
    assert signal.getsignal(signal.SIGUSR1) is before


def test_jobs_run_in_order_and_the_queue_is_bounded() -> None:
    gate, said = threading.Event(), []
    jobs = Jobs("test", limit=2)
    begun = threading.Event()
    jobs.submit("wait", lambda: (begun.set(), gate.wait(WAIT_S)))
    assert begun.wait(WAIT_S)
    assert jobs.submit("fails", lambda: 1 / 0) and jobs.submit("says", lambda: said.append(1))
    assert not jobs.submit("too much", lambda: said.append(2))
    gate.set()
    assert jobs.close(WAIT_S)
    assert (said, jobs.failed, jobs.dropped) == ([1], 1, 1)
    assert not jobs.submit("closed", lambda: None)


# ---------------------------------------------------------------- service manager and log


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_is_told(tmp_path: Path, abstract: bool) -> None:
    name = f"\0twinbeat-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name)
        manager.settimeout(WAIT_S)
        environ = {"NOTIFY_SOCKET": name.replace("\0", "@"), "WATCHDOG_USEC": "2000000"}
        environ["WATCHDOG_PID"] = str(os.getpid())
        notifier = Notifier(environ)
        assert notifier.watchdog_us == 2_000_000
        notifier.ready("listening")
        assert manager.recv(999).decode().splitlines() == ["READY=1", "STATUS=listening", f"MAINPID={os.getpid()}"]
        notifier.status("two\nlines")
        assert manager.recv(999) == b"STATUS=two lines"
        notifier.status("two lines")
        notifier.alive()
        assert manager.recv(999) == b"WATCHDOG=1"
        notifier.stopping("bye")
        assert manager.recv(999) == b"STOPPING=1\nSTATUS=bye"
        notifier.close()


def test_nobody_to_tell_and_a_manager_that_is_gone(tmp_path: Path) -> None:
    silent = Notifier({})
    silent.ready("x")
    assert not silent.active and silent.sent == silent.failed == 0
    gone = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    gone.alive()
    assert gone.failed == 1
    gone.close()


@pytest.mark.parametrize("environ", [{"WATCHDOG_USEC": "5", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}, {}])
def test_a_watchdog_that_is_not_ours(environ: dict[str, str]) -> None:
    assert Notifier(environ).watchdog_us == 0


def record(level: int, text: str) -> logging.LogRecord:
    return logging.LogRecord("twinbeat", level, "", 0, text, (), None)


def test_log_lines_are_single_and_carry_a_priority_for_the_journal() -> None:
    assert LineFormatter("gw-a", journal=True).format(record(logging.WARNING, "a\nb")) == "<4>gw-a: a | b"
    assert LineFormatter("gw-a", journal=False).format(record(logging.ERROR, "x")) == "twinbeat gw-a: error: x"


def test_a_reader_that_stalls_does_not_stall_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    from twinbeat import run_log

    monkeypatch.setattr(run_log, "QUEUED_MAX", 8)
    read_fd, write_fd = os.pipe()
    handler = LineHandler(write_fd, LineFormatter("gw-a", journal=False))
    for _ in range(40):
        handler.emit(record(logging.INFO, "x" * 10_000))
    assert handler.dropped > 0
    os.close(read_fd)
    handler.finish(WAIT_S)
    os.close(write_fd)


def test_the_journals_stream_is_known_by_device_and_inode() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        status = os.fstat(sock.fileno())
        assert writes_to_journal(sock.fileno(), {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
        assert not writes_to_journal(sock.fileno(), {"JOURNAL_STREAM": "1:2"})
    assert not writes_to_journal(-1, {})


# ---------------------------------------------------------------- recordings


def test_changes_close_together_share_a_recording(tmp_path: Path) -> None:
    timers: list[Callable[[], None]] = []
    jobs = Jobs("files")

    def save(path: str) -> int:
        Path(path).write_bytes(b"ring")
        return 4

    recordings = Recordings(tmp_path, "p-n", save, jobs, lambda _s, call: timers.append(call))
    recordings.role_changed("pump", 17)
    recordings.role_changed("pump", 25)
    assert len(timers) == 1
    timers[0]()
    timers[0]()
    assert jobs.close(WAIT_S)
    (path,) = (tmp_path / "recordings").iterdir()
    assert path.name.startswith("p-n-2") and path.name.endswith("Z-pump-e17.tbr")
    assert recordings.saved == 1


def test_old_recordings_go_and_the_newest_stays(tmp_path: Path) -> None:
    for number in range(6):
        path = tmp_path / f"p-n-{number}.tbr"
        path.write_bytes(bytes(100))
        os.utime(path, ns=(number * 10**9, number * 10**9))
    (tmp_path / "other-9.tbr").write_bytes(bytes(100))
    prune(tmp_path, "p-n", files=4, size_bytes=250)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other-9.tbr", "p-n-4.tbr", "p-n-5.tbr"]
    prune(tmp_path, "p-n", files=4, size_bytes=10)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other-9.tbr", "p-n-5.tbr"]


# ---------------------------------------------------------------- ports


class Plug(Watched):
    """A port that can be pulled, and the real-time part's end of it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.present = True
        self.tries = 0
        self.given: list[tuple[int, int]] = []
        self.port = SerialPort(0, "cross", str(path), 9600, self._open, self._give, lambda call: call())

    def _open(self, path: str, baud: int) -> int:
        self.tries += 1
        self.touch()
        if not self.present:
            raise DeviceError(f"{path}: nothing answers behind this port")
        return 1000 + self.tries

    def _give(self, link: int, fd: int) -> None:
        self.given.append((link, fd))
        self.touch()


def test_a_port_that_is_pulled_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from twinbeat.links import serial

    monkeypatch.setattr(serial, "RETRY_MIN_S", 0.001)
    path = tmp_path / "tty"
    path.write_text("")
    plug = Plug(path)
    plug.port.open()
    plug.present = False
    plug.port.fault(5)
    plug.port.fault(5)
    assert plug.given == [(0, 1001), (0, -1)] and plug.port.faults == 1
    plug.wait(lambda: plug.tries >= 3, "attempts")
    plug.present = True
    plug.wait(lambda: len(plug.given) == 3, "the port's return")
    assert plug.given[2][1] > 1001 and plug.port.plugged
    plug.port.stop()


def test_a_port_missing_at_the_start_is_an_error(tmp_path: Path) -> None:
    plug = Plug(tmp_path / "no")
    plug.present = False
    with pytest.raises(DeviceError, match="nothing answers"):
        plug.port.open()
    assert plug.given == []


def test_udp_sockets(tmp_path: Path) -> None:
    fd = open_udp("direct", ("127.0.0.1", 0))
    with socket.socket(fileno=fd) as sock:
        assert not os.get_blocking(fd) and not os.get_inheritable(fd)
        assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 48 << 2
        taken = sock.getsockname()[1]
        with pytest.raises(LinkError, match=f"port {taken}: the port is in use"):
            open_udp("direct", ("127.0.0.1", taken))
    with pytest.raises(LinkError, match="this machine does not have that address"):
        open_udp("direct", ("192.0.2.1", 4321))
    with pytest.raises(LinkError, match="gateway-b is no IP address; write numbers"):
        open_udp("direct", ("gateway-b", 4321))


# ---------------------------------------------------------------- read-back


class Sensed(MockOutput):
    """An output with a contact of its own."""

    level: bool | None = False

    def _read_back(self) -> bool | None:
        return self.level


def test_a_contact_that_does_not_follow_is_told_once_for_each_order() -> None:
    spec = MockSpec(name="k1", release_ms=12.0)
    output = Sensed(spec, OutputPlace(group=0, group_name="pump", node="gw-a", pair="p"))
    os.close(fd) if (fd := output.open().fd) >= 0 else None
    timers: list[tuple[float, Callable[[], None]]] = []
    told: list[Any] = []
    readback = ReadBack([output], lambda *args: told.append(args), lambda s, call: timers.append((s, call)))
    every = timers.pop()[1]
    readback.changed(0, 17, True)
    seconds, look = timers.pop()
    assert seconds == pytest.approx(0.062)
    look()
    assert told == []                    # once is no proof
    seconds, again = timers.pop()
    assert seconds == pytest.approx(0.05)
    again()
    every()
    assert told == [(0, 17, OutputCode.OUTPUT_MISMATCH)]
    output.level = True
    readback.changed(0, 25, True)
    timers.pop()[1]()
    every()
    assert len(told) == 1
    output.level = False
    every()
    timers.pop()[1]()
    assert told[1:] == [(0, 25, OutputCode.OUTPUT_MISMATCH)]
    readback.changed(0, 25, False)
    overtaken = timers.pop()[1]
    readback.changed(0, 33, True)
    overtaken()
    assert len(told) == 2
    output.close()


def test_a_contact_that_the_gate_has_just_switched_is_no_mismatch() -> None:
    output = Sensed(MockSpec(name="k1"), OutputPlace(group=0, group_name="pump", node="gw-a", pair="p"))
    timers: list[tuple[float, Callable[[], None]]] = []
    told: list[Any] = []
    readback = ReadBack([output], lambda *args: told.append(args), lambda s, call: timers.append((s, call)))
    every = timers.pop()[1]
    output.level = True
    readback.changed(0, 17, True)
    timers.pop()[1]()
    output.level = False                 # switched off; this thread is told a moment later
    every()
    again = timers.pop()[1]
    readback.changed(0, 17, False)
    again()
    timers.pop()[1]()
    assert told == []
    output.close()


def test_boottime_is_the_kernels() -> None:
    before = float(Path("/proc/uptime").read_text().split()[0])
    assert boottime_ns() / 1e9 >= before - 0.02


# ---------------------------------------------------------------- what is installed and what is loaded


def test_the_unit_is_installed_and_leaves_the_gate_alone() -> None:
    unit = importlib.resources.files("twinbeat.data").joinpath("twinbeat.service").read_text().splitlines()
    for line in ("Type=notify", "KillMode=process", "RuntimeDirectoryPreserve=yes", "RestartPreventExitStatus=2 3 4"):
        assert line in unit
    assert not any(line.startswith(("PrivateDevices", "RestrictRealtime")) for line in unit)


@pytest.mark.parametrize("tls", [False, True])
def test_paho_is_loaded_without_what_is_not_needed(tls: bool) -> None:
    program = (
        f"import sys, twinbeat.run; from twinbeat.links.lean_paho import load_paho; load_paho({tls}); "
        "import twinbeat.links.mqtt, twinbeat.links.mqtt_options; import paho.mqtt.client as paho; "
        "print('urllib.request' in sys.modules, 'email' in sys.modules, 'ssl' in sys.modules, '_ssl' in sys.modules, "
        "bool(sys.modules.get('_hashlib')), hasattr(paho.ssl, 'SSLContext')); import urllib.request; "
        "print(hasattr(urllib.request, 'urlopen')); load_paho(True); print(hasattr(paho.ssl, 'SSLContext'))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    socks = importlib.util.find_spec("socks") is not None
    assert done.stdout.split() == [str(x) for x in (socks, socks, tls, tls, False, tls, True, True)]


def test_what_is_not_configured_is_not_loaded() -> None:
    program = "import sys, twinbeat.run; print([m for m in ('paho', 'serial', 'gpiod', 'asyncio') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "[]\n"
