"""Two gateways and a laptop on one machine, for the commands of docs/walkthrough.md.

What differs from the page, and nothing else does:

- each host has a folder; /etc/twinbeat, /run/twinbeat, /var/lib/twinbeat and the home directory are in it;
- devices are pseudo terminals, 10.0.0.x and the broker are loopback addresses;
- `systemctl` asks a stand-in for systemd in this process, which does what the unit file says (Type=notify,
  Restart=always, KillMode=process); `scp` copies between the folders; `chown` to the user twinbeat does nothing;
- `twinbeat watch` gets a pseudo terminal and the key q.
"""
from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from bad_input_rig import Place, quiet_environment
from broker_fixture import MOSQUITTO, Broker

HOSTS = ("gw-a", "gw-b", "laptop")
GATEWAYS = HOSTS[:2]
FOLDERS = {"/etc/twinbeat": "etc", "/run/twinbeat": "run", "/var/lib/twinbeat": "lib"}
HERE = Path(__file__).parent
PLACE = re.compile(rf"(?:\b(?P<host>{'|'.join(HOSTS)}):)?(?P<folder>{'|'.join(FOLDERS)})?")
"""A folder of the page, of another host or of one's own; a host alone is its home directory."""
COMMAND_LIMIT_S = 30.0
READY_LIMIT_S = 20.0
RESTART_S = 1.0
NO_RESTART = (2, 3, 4)
SCREEN = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

SHIMS = {
    "twinbeat": f'exec "{sys.executable}" "{HERE / "walkthrough_program.py"}" "$@"\n',
    "systemctl": f'exec "{sys.executable}" "{HERE / "walkthrough_systemctl.py"}" "$@"\n',
    "scp": 'exec cp "$@"\n',
    "chown": 'test "$1" = twinbeat:\n',
}


def free_udp_port() -> int:
    """A loopback UDP port that was free a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Boards(Place):
    """The devices; sees whether both relays were ever on at once."""

    def __init__(self, folder: Path) -> None:
        self.both_on = 0
        self.switched = 0
        super().__init__(folder)
        self.wired = True

    def _take(self, name: str, data: bytes) -> None:
        super()._take(name, data)
        if name not in self.orders or not data:
            return
        self.switched += 1
        other = "gw-b-relay" if name == "gw-a-relay" else "gw-a-relay"
        # What the other board was told before this is readable by now.
        super()._take(other, self.lines[other].read())
        self.both_on += all(orders and orders[-1] for orders in self.orders.values())


class Unit:
    """twinbeat.service of one gateway, as its file says."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.log = folder / "journal"
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self._wanted = False
        self._ending = threading.Event()
        self._environment = environment
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(folder / "notify"))
        self._environment["NOTIFY_SOCKET"] = str(folder / "notify")
        self._lock = threading.Lock()
        self._keeper = threading.Thread(target=self._keep, name="unit", daemon=True)
        self._keeper.start()

    def start(self) -> None:
        """Returns when the agent has said READY=1."""
        self._wanted = True
        self._begin()
        limit = time.monotonic() + READY_LIMIT_S
        while select.select([self._notify], [], [], max(0.0, limit - time.monotonic()))[0]:
            if b"READY=1" in self._notify.recv(4096):
                return
        raise TimeoutError(f"it was not ready within {READY_LIMIT_S:g} s: {self.log.read_text()}")

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self._wanted = False
        if self.process is not None:
            self.process.terminate()
            self.process.wait(COMMAND_LIMIT_S)

    def kill(self) -> None:
        """SIGKILL to the main process; it is started again."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(COMMAND_LIMIT_S)

    def close(self) -> None:
        """Nothing is left behind."""
        self._ending.set()
        self._keeper.join(COMMAND_LIMIT_S)
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            assert self.process is not None
            self.process.kill()
            self.process.wait()
        self._notify.close()

    def _begin(self) -> None:
        with self._lock, open(self.log, "ab") as log:
            if self.process is None or self.process.poll() is not None:
                self.starts += 1
                self.process = subprocess.Popen(["twinbeat", "run"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                env=self._environment)

    def _keep(self) -> None:
        while not self._ending.wait(0.1):
            if self._wanted and self.process is not None and self.process.poll() is not None:
                if self.process.returncode in NO_RESTART or self._ending.wait(RESTART_S):
                    return
                if self._wanted:
                    self._begin()


class Stage:
    """The hosts, their devices, the broker; `run` is what somebody types."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for host in HOSTS:
            for name in ("etc", "run", "lib", "home", "bin"):
                (folder / host / name).mkdir(parents=True)
            for name, text in SHIMS.items():
                path = folder / host / "bin" / name
                path.write_text(f"#!/bin/sh\n{text}")
                path.chmod(0o755)
        assert MOSQUITTO, "the walk-through needs mosquitto: apt install mosquitto"
        self.place = Boards(folder)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self.broker = Broker(folder, port)
        self.broker.start()
        self.devices = [("mqtt://broker.plant", f"mqtt://127.0.0.1:{port}")]
        for address in ("10.0.0.1:7400", "10.0.0.2:7400"):
            self.devices.append((address, f"127.0.0.1:{free_udp_port()}"))
        self.door = folder / "systemd"
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self.door))
        self._server.listen()
        self.units = {node: Unit(folder / node, self.environment(node)) for node in GATEWAYS}
        self._systemd = threading.Thread(target=self._serve, name="systemd", daemon=True)
        self._systemd.start()

    def environment(self, host: str) -> dict[str, str]:
        """What a command on that host sees."""
        here = self.folder / host
        more = {"PATH": f"{here / 'bin'}:{os.environ['PATH']}", "HOME": str(here / "home"), "COLUMNS": "80",
                "TERM": "xterm", "HOST_NAME": host, "SYSTEMD_DOOR": str(self.door),
                "CONFIG_PATH": str(here / "etc" / "twinbeat.toml"),
                "TWINBEAT_RUN_DIR": str(here / "run"), "TWINBEAT_STATE_DIR": str(here / "lib")}
        if host in GATEWAYS:
            more["TWINBEAT_NODE"] = host
        return quiet_environment(**more)

    def write_file(self, host: str, path: str, text: str) -> None:
        """A file of the page, with this machine's devices in it."""
        for node in GATEWAYS:
            before, mark, rest = text.partition(f"[node.{node}]\n")
            assert mark, f"no [node.{node}]"
            own, gap, after = rest.partition("\n\n")
            for device, name in (("/dev/ttyAMA0", "cross"), ("/dev/ttyUSB0", "relay")):
                assert own.count(device) == 1, own
                own = own.replace(device, str(self.folder / f"{node}-{name}"))
            text = before + mark + own + gap + after
        for documented, real in self.devices:
            assert text.count(documented) == 1, documented
            text = text.replace(documented, real)
        self.path(host, path).write_text(text)

    def path(self, host: str, path: str) -> Path:
        """Where a file of that host is."""
        for documented, name in FOLDERS.items():
            if path.startswith(documented + "/"):
                return self.folder / host / name / path[len(documented) + 1:]
        return self.folder / host / "home" / path

    def run(self, host: str, command: str) -> tuple[int, str]:
        """Exit code and what a terminal would show, in the page's paths and addresses."""
        real = PLACE.sub(lambda found: self._place(host, found), command)
        options = {"cwd": self.folder / host / "home", "env": self.environment(host)}
        if command == "twinbeat watch":
            return self._watch(options)
        done = subprocess.run(["sh", "-c", real], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=COMMAND_LIMIT_S, check=False,
                              **options)  # type: ignore[call-overload]
        return done.returncode, self.documented(host, done.stdout)

    def _place(self, host: str, found: re.Match[str]) -> str:
        if not found["host"] and not found["folder"]:
            return ""
        folder = FOLDERS.get(found["folder"] or "", "home")
        return f"{self.folder / (found['host'] or host) / folder}{'' if found['folder'] else '/'}"

    def documented(self, host: str, text: str) -> str:
        """The same words with the page's paths and addresses."""
        for name, path in (("cross", "/dev/ttyAMA0"), ("relay", "/dev/ttyUSB0")):
            for node in GATEWAYS:
                text = text.replace(str(self.folder / f"{node}-{name}"), path)
        for documented, name in FOLDERS.items():
            text = text.replace(str(self.folder / host / name), documented)
        for documented, real in self.devices:
            text = text.replace(real, documented)
        return text

    def _watch(self, options: dict[str, object]) -> tuple[int, str]:
        """The live screen once, then q."""
        leader, follower = pty.openpty()
        with contextlib.suppress(OSError):
            import fcntl
            import struct
            import termios

            fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
        process = subprocess.Popen(["twinbeat", "watch"], stdin=follower, stdout=follower, stderr=follower,
                                   start_new_session=True, **options)  # type: ignore[call-overload]
        os.close(follower)
        said, pressed, limit = b"", False, time.monotonic() + COMMAND_LIMIT_S
        while time.monotonic() < limit:
            if select.select([leader], [], [], 0.5)[0]:
                try:
                    said += os.read(leader, 65536)
                except OSError:
                    break
            elif process.poll() is not None:
                break
            if not pressed and said.count(b"events") > 1:
                os.write(leader, b"q")
                pressed = True
        os.close(leader)
        code = process.wait(COMMAND_LIMIT_S)
        last = said.decode().rpartition("\x1b[H")[2]
        return code, SCREEN.sub("", last).replace("\r", "")

    def _serve(self) -> None:
        while True:
            try:
                asker, _ = self._server.accept()
            except OSError:
                return
            with asker:
                host, *words = asker.recv(4096).decode().split("\n")
                asker.sendall(self._systemctl(self.units[host], words).encode())

    def _systemctl(self, unit: Unit, words: list[str]) -> str:
        """Empty: done; else why not."""
        try:
            match words:
                case ["start", "twinbeat"]:
                    unit.start()
                case ["stop", "twinbeat"]:
                    unit.stop()
                case ["restart", "twinbeat"]:
                    unit.stop()
                    unit.start()
                case ["kill", "--kill-whom=main", "--signal=KILL", "twinbeat"]:
                    unit.kill()
                case _:
                    return f"systemctl {' '.join(words)}: this stand-in does not know it"
        except (TimeoutError, subprocess.TimeoutExpired) as error:
            return str(error)
        return ""

    def close(self) -> None:
        """Ends everything."""
        for unit in self.units.values():
            unit.close()
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.broker.stop()
        self.place.close()
