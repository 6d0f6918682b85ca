"""QEMU's micro:bit with a real MicroPython 1.9.2: serial line, edges at the pins, inputs, reset.

Every socket is drained by a thread all the time: about 270 unread bytes would stop the whole machine.
"""
from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

QEMU = "qemu-system-arm"
PACKAGES = "apt-get install qemu-system-arm firmware-microbit-micropython"
LIMIT_S = 30.0
PADS = {"pin0": 3, "pin1": 2, "pin2": 1, "pin8": 18}
OUT = 0x50000504
DIRECTION = 0x50000514


def missing(firmware: Path) -> str:
    """What the rig lacks on this machine and how to get it; empty: nothing."""
    lacks = [] if shutil.which(QEMU) else [QEMU]
    lacks += [] if firmware.is_file() else [str(firmware)]
    return f"no {' and no '.join(lacks)} here: {PACKAGES}" if lacks else ""


class Edge(NamedTuple):
    """A pin changed. `at_s`: the host's monotonic clock."""

    at_s: float
    pin: str
    high: bool


class Blob(NamedTuple):
    """Bytes that are in flash before the first start."""

    address: int
    data: bytes


class Microbit:
    """One emulated board. `clock_shift`: None runs at the host's pace; n: one instruction takes 2**n ns."""

    def __init__(self, run: Path, firmware: Path, flash: Sequence[Blob], clock_shift: int | None = None) -> None:
        self.edges: list[Edge] = []
        self.line = bytearray()
        self._changed = threading.Condition()
        self._answers: list[str] = []
        self._run = run
        run.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as pins:
            pins.bind(str(run / "pins"))
            pins.listen(1)
            pins.settimeout(LIMIT_S)
            self._process = subprocess.Popen(self._command(firmware, flash, clock_shift), stdin=subprocess.DEVNULL)
            self._pins = pins.accept()[0]
        self._uart = self._connect("uart")
        threading.Thread(target=self._read_pins, daemon=True).start()
        threading.Thread(target=self._read_uart, daemon=True).start()
        self._monitor = self._connect("qmp").makefile("rwb", buffering=0)
        self._monitor.readline()
        self._qmp("qmp_capabilities")
        self._qtest("irq_intercept_out /machine/nrf51")
        self._qmp("cont")

    def __enter__(self) -> Microbit:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _command(self, firmware: Path, flash: Sequence[Blob], clock_shift: int | None) -> list[str]:
        run = self._run
        command = [
            "nice", "-n", "10", QEMU, "-M", "microbit", "-accel", "tcg", "-display", "none", "-nodefaults", "-S",
            "-chardev", f"socket,id=uart,path={run / 'uart'},server=on,wait=off", "-serial", "chardev:uart",
            "-qmp", f"unix:{run / 'qmp'},server=on,wait=off",
            "-qtest", f"unix:{run / 'pins'}", "-qtest-log", "/dev/null",
            "-device", f"loader,file={firmware}",
        ]
        if clock_shift is not None:
            command += ["-icount", f"shift={clock_shift}"]
        for blob in flash:
            image = run / f"{blob.address:x}.bin"
            image.write_bytes(blob.data)
            command += ["-device", f"loader,file={image},addr={blob.address:#x},force-raw=on"]
        return command

    def _connect(self, name: str) -> socket.socket:
        until = time.monotonic() + LIMIT_S
        while True:
            link = socket.socket(socket.AF_UNIX)
            try:
                link.connect(str(self._run / name))
                return link
            except OSError:
                link.close()
                if time.monotonic() > until or self._process.poll() is not None:
                    raise
                with self._changed:
                    self._changed.wait(0.01)

    def _read_pins(self) -> None:
        names = {number: name for name, number in PADS.items()}
        with contextlib.suppress(OSError, ValueError):
            for line in self._pins.makefile("r"):
                words = line.split()
                with self._changed:
                    if words[0] != "IRQ":
                        self._answers.append(line)
                    elif int(words[2]) in names:
                        self.edges.append(Edge(time.monotonic(), names[int(words[2])], words[1] == "raise"))
                    self._changed.notify_all()

    def _read_uart(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._uart.recv(4096):
                with self._changed:
                    self.line += data
                    self._changed.notify_all()

    def wait_for(self, condition: Callable[[], Any], limit_s: float = LIMIT_S) -> Any:
        """What `condition` gives once it is true; it is looked at whenever a byte or an edge has come.

        What it gives after `limit_s` otherwise. It must not talk to the board: the readers stand still meanwhile.
        """
        with self._changed:
            return self._changed.wait_for(condition, limit_s)

    def _qtest(self, command: str) -> None:
        with self._changed:
            self._answers.clear()
        self._pins.sendall(command.encode() + b"\n")
        if not self.wait_for(lambda: self._answers):
            raise TimeoutError(f"QEMU does not answer {command}")

    def _qmp(self, command: str, **arguments: Any) -> Any:
        self._monitor.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            answer = json.loads(self._monitor.readline())
            if "error" in answer:
                raise RuntimeError(f"{command}: {answer['error']}")
            if "return" in answer:
                return answer["return"]

    def word(self, address: int) -> int:
        """A register or a word of flash."""
        answer = self._qmp("human-monitor-command", **{"command-line": f"xp /1xw {address:#x}"})
        return int(answer.split(":")[1], 16)

    def pin(self, name: str) -> bool:
        """Whether the board drives this pin high. The truth after a reset: its edges arrive late then."""
        return bool(self.word(OUT) >> PADS[name] & self.word(DIRECTION) >> PADS[name] & 1)

    def set_input(self, name: str, high: bool) -> None:
        """The level that a wire puts on this pin."""
        self._qtest(f"set_irq_in /machine/nrf51 unnamed-gpio-in {PADS[name]} {int(high)}")

    def send(self, data: bytes) -> None:
        """Bytes to the board's serial line."""
        self._uart.sendall(data)

    def take(self) -> bytes:
        """What the board has sent since the last call."""
        with self._changed:
            data = bytes(self.line)
            self.line.clear()
            return data

    def reset(self) -> None:
        """As the reset pin does; what the board wrote to its flash stays, images in `flash` are as at first."""
        self._qmp("system_reset")

    def stop(self) -> None:
        """End the emulator."""
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            self._monitor.write(b'{"execute": "quit"}\n')
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
        for link in (self._uart, self._pins, self._monitor):
            link.close()
