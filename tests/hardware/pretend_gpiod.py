"""A stand-in for the gpiod module: chips in memory that refuse what the kernel refuses.

A request's descriptor is the writing end of a pipe. The line is in use as long as any copy of that descriptor is
open, in any process, which is the kernel's rule for line requests too.
"""
from __future__ import annotations

import errno
import os
import select
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any


class Value:
    INACTIVE = 0
    ACTIVE = 1


class Direction:
    INPUT = "input"
    OUTPUT = "output"


@dataclass
class LineSettings:
    direction: str = Direction.INPUT
    active_low: bool = False
    output_value: int = Value.INACTIVE


@dataclass
class Line:
    """One line with its electrical level and the history of levels since it was made an output."""

    name: str = ""
    kernel_consumer: str = ""
    input_only: bool = False
    high: bool = False
    history: list[bool] = field(default_factory=list)
    settings: LineSettings = field(default_factory=LineSettings)
    consumer: str = ""
    watch_fd: int = -1
    refuse_errno: int = 0

    def used(self) -> bool:
        if self.watch_fd >= 0:
            poll = select.poll()
            poll.register(self.watch_fd, 0)
            if poll.poll(0):  # hung up: the last copy of the request's descriptor is closed
                os.close(self.watch_fd)
                self.watch_fd = -1
        return self.watch_fd >= 0 or bool(self.kernel_consumer)

    def drive(self, value: int) -> None:
        self.high = bool(value) != self.settings.active_low
        self.history.append(self.high)


class Hardware:
    """The chips of the pretended machine, by path."""

    def __init__(self) -> None:
        self.chips: dict[str, tuple[str, list[Line]]] = {}
        self.closed_paths: set[str] = set()

    def set_values(self, fd: int, bits: int, mask: int) -> None:
        """The ioctl on a request's descriptor or any copy of it."""
        inode = os.fstat(fd).st_ino
        for _, lines in self.chips.values():
            for line in lines:
                if line.used() and line.watch_fd >= 0 and os.fstat(line.watch_fd).st_ino == inode:
                    if mask & 1:
                        line.drive(bits & 1)
                    return
        raise OSError(errno.ENOTTY, "no line request")

    def module(self) -> ModuleType:
        """What `import gpiod` shall give."""
        hardware = self
        module: Any = ModuleType("gpiod")
        module.__version__ = "2.2.0"
        module.LineSettings = LineSettings
        module.line = SimpleNamespace(Direction=Direction, Value=Value)

        class BoundChip(Chip):
            def __init__(self, path: str) -> None:
                super().__init__(hardware, path)

        module.Chip = BoundChip
        return module  # type: ignore[no-any-return]


class Chip:
    def __init__(self, hardware: Hardware, path: str) -> None:
        if path in hardware.closed_paths:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        if path not in hardware.chips:
            raise OSError(errno.ENOTTY, "Inappropriate ioctl for device", path)
        self.path = path
        self.label, self.lines = hardware.chips[path]

    def __enter__(self) -> Chip:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def get_info(self) -> SimpleNamespace:
        return SimpleNamespace(name=os.path.basename(self.path), label=self.label, num_lines=len(self.lines))

    def get_line_info(self, offset: int) -> SimpleNamespace:
        line = self.lines[offset]
        used = line.used()
        consumer = (line.kernel_consumer or line.consumer) if used else ""
        return SimpleNamespace(offset=offset, name=line.name, used=used, consumer=consumer)

    def request_lines(self, config: dict[int, LineSettings], consumer: str) -> Request:
        [(offset, settings)] = config.items()
        line = self.lines[offset]
        if line.refuse_errno:
            raise OSError(line.refuse_errno, os.strerror(line.refuse_errno))
        if line.used():
            raise OSError(errno.EBUSY, "Device or resource busy")
        if line.input_only and settings.direction == Direction.OUTPUT:
            raise OSError(errno.EINVAL, "Invalid argument")
        assert len(consumer.encode()) <= 31
        line.settings, line.consumer = settings, consumer
        line.watch_fd, fd = os.pipe2(os.O_CLOEXEC)
        if settings.direction == Direction.OUTPUT:
            line.history.clear()
            line.drive(settings.output_value)
        return Request(line, offset, fd)


class Request:
    def __init__(self, line: Line, offset: int, fd: int) -> None:
        self._line, self._offset, self.fd = line, offset, fd

    def get_value(self, offset: int) -> int:
        assert self.fd >= 0 and offset == self._offset
        return int(self._line.high != self._line.settings.active_low)

    def release(self) -> None:
        fd, self.fd = self.fd, -1
        os.close(fd)
