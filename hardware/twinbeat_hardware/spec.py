"""The keys of an output in the configuration, one struct per type; they check themselves when made.

Levels are logical everywhere: "on" means that this node drives the thing, "off" that it does not. What
that is electrically (high or low, which bytes, which command) is said in the output's own keys and
nowhere else. A relay that must be energised at rest is an output with its polarity turned round.
"""
from __future__ import annotations

import math
import re
from typing import ClassVar, Literal, TypeAlias, cast

import msgspec

from .errors import OutputSpecError

SWITCH_MS_MAX = 60_000.0
"""Longest release or make time that is believed: beyond this a wrong unit is the likelier cause."""
DEADLINE_MS_MIN = 10.0
DEADLINE_MS_MAX = 600_000.0
PATTERN_BYTES_MAX = 32
"""Longest byte pattern: the gate holds patterns in a table of this width."""
BAUD_MIN = 300
BAUD_MAX = 4_000_000
BAUD_DEFAULT = 9600
WIRE_BITS_PER_BYTE = 10
"""Start bit, eight data bits, stop bit."""
READBACK_SELF = "self"
"""Value of `readback`: the gate reads the driven line itself instead of a second contact."""

LCUS_CHANNELS = {"lcus-1": 1, "lcus-2": 2, "lcus-4": 4, "lcus-8": 8}
"""Built-in boards: A0, channel, state, sum of the three, at 9600 baud."""
ARBITER_GROUPS = 8
"""Groups whose contacts an arbiter can report: what a board with relays has at most."""

_HEX_PAIRS = re.compile(r"[0-9A-Fa-f]{2}")
_UNIT_NAME = re.compile(r"[A-Za-z0-9:_\\@.][A-Za-z0-9:_\\@.-]*")
_UNIT_SUFFIXES = ("service", "target", "socket", "timer", "path", "mount", "slice", "scope")
_UNIT_NAME_BYTES_MAX = 255


class _Common(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Keys that every output has.

    name        what status and messages call it; empty: made from its type and device
    safe        the level before the first claim and after every loss; only "off" is accepted
    exit        the level left behind by a planned end of the agent: "off" or "hold"; a crash always means off
    release_ms  longest time from the off command to the output being off (T_off), 0..60000
    make_ms     shortest time from the on command to the output being on (T_on), 0..60000
    """

    name: str = ""
    safe: str = "off"
    exit: str = "off"
    release_ms: float = 0.0
    make_ms: float = 0.0

    def __post_init__(self) -> None:
        if self.safe != "off":
            raise OutputSpecError(
                f'safe = "{self.safe}" is refused: a node that does not drive must leave the output off; '
                'write safe = "off", and where the rest level is the energised one turn the polarity round '
                "(active_low, or on and off exchanged)"
            )
        if self.exit not in ("off", "hold"):
            raise OutputSpecError(f'exit = "{self.exit}" is unknown: write "off" or "hold"')
        _in_range("release_ms", self.release_ms, 0.0, SWITCH_MS_MAX)
        _in_range("make_ms", self.make_ms, 0.0, SWITCH_MS_MAX)

    @property
    def exit_level(self) -> Literal["off", "hold"]:
        """`exit` with its type narrowed."""
        return cast(Literal["off", "hold"], self.exit)


class GpioSpec(_Common, kw_only=True, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="gpio"):
    """One line of a GPIO chip.

    chip        label ("pinctrl-rp1"), name ("gpiochip0") or path ("/dev/gpiochip0")
    line        line name ("GPIO17") or offset (17)
    active_low  true: on is the low level
    readback    line (name or offset) of the same chip that senses the real contact, or "self"
    readback_active_low  true: the sensing line is low while the output is on
    """

    chip: str
    line: str | int
    active_low: bool = False
    readback: str | int | None = None
    readback_active_low: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _not_empty("chip", self.chip, 'the label of the GPIO chip, such as "pinctrl-rp1"')
        _line_id("line", self.line)
        if self.readback is not None:
            _line_id("readback", self.readback)
            if self.readback == self.line:
                raise OutputSpecError(
                    f"readback = {self.readback!r} is the driven line itself: name the line that senses the contact, "
                    f'or write readback = "{READBACK_SELF}"'
                )

    @property
    def label(self) -> str:
        """Short name for messages when `name` is empty."""
        return self.name or f"{self.chip}/{self.line}"


class SerialRelaySpec(
    _Common, kw_only=True, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="serial-relay"
):
    """A relay board that is switched by bytes on a serial port.

    port     a name from [node.*].serial, or a device path
    baud     300..4000000; default the board's, else 9600
    board    a built-in board ("lcus-1", "lcus-2", "lcus-4", "lcus-8"); then without `on` and `off`
    channel  the board's channel, from 1
    on, off  bytes in hex ("A0 01 01 A2"), 1..32 bytes each; then without `board`
    """

    port: str
    baud: int | None = None
    board: str = ""
    channel: int = 1
    on: str = ""
    off: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        _not_empty("port", self.port, "the serial port's name from [node.NAME] serial, or its path")
        if self.baud is not None:
            _in_range("baud", self.baud, BAUD_MIN, BAUD_MAX)
        self.patterns()

    def patterns(self) -> tuple[bytes, bytes]:
        """The bytes that switch (on, off)."""
        if self.board:
            if self.on or self.off:
                raise OutputSpecError(f'board = "{self.board}" already says the bytes: take out on and off, or board')
            return board_patterns(self.board, self.channel)
        if self.channel != 1:
            raise OutputSpecError(f"channel = {self.channel} means nothing without board: put it into the bytes")
        on, off = parse_pattern("on", self.on), parse_pattern("off", self.off)
        if on == off:
            raise OutputSpecError(f'on and off are the same bytes "{self.on}": the board could never be switched')
        return on, off

    @property
    def baud_used(self) -> int:
        """Bits per second on the wire."""
        return self.baud if self.baud is not None else BAUD_DEFAULT

    @property
    def wire_ms(self) -> float:
        """Time the longer of the two patterns takes on the wire; part of T_off."""
        longest_bytes = max(len(pattern) for pattern in self.patterns())
        return longest_bytes * WIRE_BITS_PER_BYTE * 1000.0 / self.baud_used

    @property
    def label(self) -> str:
        """Short name for messages when `name` is empty."""
        return self.name or (f"{self.port}#{self.channel}" if self.board else self.port)


class HookSpec(_Common, kw_only=True, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="hook"):
    """Two commands, run without a shell.

    start, stop  program and arguments; the program is a path or is found in PATH
    deadline_ms  a command that runs longer is ended, with everything it started; 10..600000
    """

    start: tuple[str, ...]
    stop: tuple[str, ...]
    deadline_ms: float = 2000.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, argv in (("start", self.start), ("stop", self.stop)):
            if not argv or not argv[0].strip():
                raise OutputSpecError(f'{key} is empty: write the command as a list, {key} = ["/usr/local/bin/x"]')
            if any("\0" in word for word in argv):
                raise OutputSpecError(f"{key} holds a zero byte, which no command line can carry: take it out")
        _in_range("deadline_ms", self.deadline_ms, DEADLINE_MS_MIN, DEADLINE_MS_MAX)

    @property
    def label(self) -> str:
        """Short name for messages when `name` is empty."""
        return self.name or self.start[0].rsplit("/", 1)[-1]


class SystemdSpec(_Common, kw_only=True, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="systemd"):
    """A unit that runs where the group is driven.

    unit         full unit name with its suffix ("historian.service", "cam@3.service")
    deadline_ms  longest wait for the job; 10..600000
    """

    unit: str
    deadline_ms: float = 10_000.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_unit_name(self.unit)
        _in_range("deadline_ms", self.deadline_ms, DEADLINE_MS_MIN, DEADLINE_MS_MAX)

    @property
    def label(self) -> str:
        """Short name for messages when `name` is empty."""
        return self.name or self.unit


class ArbiterSpec(_Common, kw_only=True, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="arbiter"):
    """A contact on the arbiter's board: closed for whom the arbiter promised the group to. Needs the arbiter itself."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.exit == "hold":
            raise OutputSpecError(
                'exit = "hold" is refused: the arbiter opens the contact when its promise ends, whatever the agent '
                'leaves behind; write exit = "off" or take the key out'
            )

    @property
    def label(self) -> str:
        """Short name for messages when `name` is empty."""
        return self.name or "contact"


class MockSpec(_Common, kw_only=True, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="mock"):
    """An output that switches nothing and remembers what it was told, for tests and first trials.

    fail   "open": cannot be opened; "write": every switching fails; empty: works
    stuck  "on" or "off": its contact stays there whatever it is told; empty: follows
    """

    FAILS: ClassVar[tuple[str, ...]] = ("", "open", "write")
    STUCKS: ClassVar[tuple[str, ...]] = ("", "on", "off")

    fail: str = ""
    stuck: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fail not in self.FAILS:
            raise OutputSpecError(f'fail = "{self.fail}" is unknown: write "open", "write" or leave it out')
        if self.stuck not in self.STUCKS:
            raise OutputSpecError(f'stuck = "{self.stuck}" is unknown: write "on", "off" or leave it out')

    @property
    def label(self) -> str:
        """Short name for messages when `name` is empty."""
        return self.name or "mock"


OutputSpec: TypeAlias = GpioSpec | SerialRelaySpec | HookSpec | SystemdSpec | ArbiterSpec | MockSpec


def switch_off_ms(spec: OutputSpec) -> float:
    """T_off of an output as the timing rules need it: release time plus what the command takes on its wire."""
    return spec.release_ms + (spec.wire_ms if isinstance(spec, SerialRelaySpec) else 0.0)


def parse_pattern(key: str, text: str) -> bytes:
    """Bytes from hex pairs, blanks allowed between pairs; OutputSpecError names the key and the wrong piece."""
    pieces = text.split()
    if not pieces:
        raise OutputSpecError(f'{key} is empty: write its bytes in hex, such as {key} = "A0 01 01 A2", or name a board')
    for piece in pieces:
        pairs = [piece[at : at + 2] for at in range(0, len(piece), 2)]
        wrong = next((pair for pair in pairs if not _HEX_PAIRS.fullmatch(pair)), None)
        if wrong is not None:
            raise OutputSpecError(
                f'{key} = "{text}": "{wrong}" is not a byte in hex; write pairs of 0-9 and A-F, such as "A0 01 01 A2"'
            )
    pattern = bytes.fromhex("".join(pieces))
    if len(pattern) > PATTERN_BYTES_MAX:
        raise OutputSpecError(f"{key} has {len(pattern)} bytes, at most {PATTERN_BYTES_MAX} are possible: shorten it")
    return pattern


def board_patterns(board: str, channel: int) -> tuple[bytes, bytes]:
    """The bytes that switch (on, off) of a built-in board's channel, counted from 1."""
    channels = LCUS_CHANNELS.get(board)
    if channels is None:
        known = ", ".join(LCUS_CHANNELS)
        raise OutputSpecError(f'board = "{board}" is not built in: known are {known}; or give on and off in hex')
    if not 1 <= channel <= channels:
        raise OutputSpecError(f"channel = {channel}: {board} has channels 1 to {channels}")

    def pattern(state: int) -> bytes:
        head = bytes((0xA0, channel, state))
        return head + bytes((sum(head) & 0xFF,))

    return pattern(1), pattern(0)


def check_unit_name(unit: str) -> None:
    """OutputSpecError unless `unit` is a full, startable unit name."""
    if not unit:
        raise OutputSpecError('unit is empty: write the full name, such as unit = "historian.service"')
    if len(unit) > _UNIT_NAME_BYTES_MAX or not _UNIT_NAME.fullmatch(unit):
        raise OutputSpecError(
            f'unit = "{unit}" is no unit name: letters, digits and : _ . \\ @ - only, at most '
            f"{_UNIT_NAME_BYTES_MAX} characters, no path and no option"
        )
    stem, dot, suffix = unit.rpartition(".")
    if not dot or not stem or suffix not in _UNIT_SUFFIXES:
        raise OutputSpecError(f'unit = "{unit}" has no unit suffix: write "{unit}.service" if it is a service')
    if stem.endswith("@"):
        raise OutputSpecError(f'unit = "{unit}" is a template: name an instance, such as "{stem}1.{suffix}"')


def _in_range(key: str, value: float, low: float, high: float) -> None:
    if not math.isfinite(value) or not low <= value <= high:
        raise OutputSpecError(f"{key} = {value:g} is out of range: {low:g} to {high:g}")


def _not_empty(key: str, value: str, what: str) -> None:
    if not value.strip():
        raise OutputSpecError(f"{key} is empty: write {what}")


def _line_id(key: str, line: str | int) -> None:
    if isinstance(line, int):
        if line < 0:
            raise OutputSpecError(f"{key} = {line} is negative: lines are counted from 0")
    else:
        _not_empty(key, line, 'the line\'s name, such as "GPIO17", or its offset')
