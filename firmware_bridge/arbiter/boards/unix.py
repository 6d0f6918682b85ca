"""The board of tests and of the demo: a process with two ports and emulated contacts. CPython 3.11 or MicroPython.

    run_unix.py --side0 PATH --side1 PATH [options]

  --side0, --side1 PATH   a pty (or any tty), or a unix socket to connect to; opened again when it went away, except
                   /dev/pts/N: that number is given to a stranger's pty next
  --state DIR      where life and reserved epochs are kept (default: the current folder)
  --log FILE       contacts: "<monotonic us> <group> <side> <0|1>", when each has closed (1) or opened (0); appended.
                   /dev/fd/N for a descriptor. When the process ends its contacts open: nothing more is written.
  --id HEX         the voter's id (default: from DIR's name)
  --pair N         the pair served (default 0: any)
  --groups N       groups (default 1);  --gated N  how many of them have contacts (default: all)
  --make-ms X, --release-ms X   how long a contact takes to close and to open (defaults 3 and 4)
  --blind          no read-back
  --control FILE   stuck contacts, read 20 times a second; lines "<group> <side> welded|closed|open":
                   does not open any more; is closed at once; is open and does not close. A line less: healthy again.

Exit codes: 2 wrong options, 3 the firmware met an error and wants a new start, 4 both lines are gone (ptys
at once, others for a minute). A real tty keeps its baud rate.
Not to be started as the leader of a session: opening a tty would make it the controlling one, and its loss the end.
"""

import errno
import os
import select
import sys
import time

import frames
from store import Store

try:
    import fcntl as _cpython
except ImportError:
    _cpython = None

KIND = 3
SHARED_BUS = False
PORTS = 2
READ_BYTES = 256
REOPEN_MS = 200
GIVE_UP_MS = 60000
QUIET_MS = 40       # sleep while nobody is promised and no contact moves: nothing runs out
USAGE = "run_unix.py --side0 PATH --side1 PATH [--state DIR] [--log FILE] [--id HEX] [--pair N] [--groups N]" \
        " [--gated N] [--make-ms X] [--release-ms X] [--blind] [--control FILE]"


def _refuse(text):
    print("run_unix.py: " + text + "\n" + USAGE, file=sys.stderr)
    sys.exit(2)


def _read_options(words):
    found = {}
    names = ("side0", "side1", "state", "log", "id", "pair", "groups", "gated", "make-ms", "release-ms", "control")
    at = 0
    while at < len(words):
        name = words[at][2:]
        if words[at] == "--blind":
            found["blind"] = "1"
        elif words[at][:2] == "--" and name in names and at + 1 < len(words):
            at += 1
            found[name] = words[at]
        else:
            _refuse("cannot read " + repr(words[at]))
        at += 1
    return found


def _number(options, name, kind, default, low, high):
    text = options.get(name)
    if text is None:
        return default
    try:
        value = int(text, 16) if kind == "hex" else float(text) if kind == "ms" else int(text)
    except ValueError:
        _refuse("--" + name + " " + text + " is not a number")
    if not low <= value <= high:
        _refuse("--" + name + " " + text + " is not between " + str(low) + " and " + str(high))
    return value


def ticks_us():
    """Microseconds of CLOCK_MONOTONIC: 64 bits, never wraps here."""
    return time.monotonic_ns() // 1000 if _cpython else time.ticks_us()


def ticks_ms():
    return ticks_us() // 1000


def _is_socket(path):
    return os.stat(path)[0] & 0o170000 == 0o140000


class _Port:
    """A tty or a socket that is opened again when it goes away. Reading and writing never wait."""

    def __init__(self, path):
        self.path = path
        self.stream = None
        self.is_socket = False
        self.retry_at = 0
        self.gone = False           # for good
        self.poll = select.poll()
        self.open()

    def open(self):
        self.retry_at = ticks_ms() + REOPEN_MS
        try:
            self.is_socket = _is_socket(self.path)
            self.stream = self._connect() if self.is_socket else self._tty()
        except OSError:
            self.gone = self.path[:9] == "/dev/pts/"
            return
        self.poll.register(self.stream, select.POLLIN)
        _all.register(self.stream, select.POLLIN)

    def _connect(self):
        import socket
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            stream.connect(self.path if _cpython else b"\x01\x00" + self.path.encode() + b"\0")
        except OSError:
            stream.close()
            raise
        stream.setblocking(False)
        return stream

    def _tty(self):
        if _cpython:
            import tty
            stream = os.open(self.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            tty.setraw(stream)
            return stream
        import termios
        stream = open(self.path, "r+b")
        termios.setraw(stream.fileno())
        return stream

    def close(self):
        self.poll.unregister(self.stream)
        _all.unregister(self.stream)
        if _cpython and not self.is_socket:
            os.close(self.stream)
        else:
            self.stream.close()
        self.stream = None
        self.gone = self.path[:9] == "/dev/pts/"

    def ready(self, event):
        found = self.poll.poll(0)
        return bool(found) and bool(found[0][1] & event)

    def read(self):
        if self.stream is None:
            if not self.gone and ticks_ms() >= self.retry_at:
                self.open()
            return b""
        if not self.poll.poll(0):
            return b""
        try:
            data = self._take()
        except OSError as error:
            if error.errno == errno.EAGAIN:
                return b""
            data = b""
        if not data:
            self.close()
        return data

    def _take(self):
        if self.is_socket:
            return self.stream.recv(READ_BYTES)
        if _cpython:
            return os.read(self.stream, READ_BYTES)
        data = self.stream.read(1)      # one at a time: read(n) would wait for all of them
        taken = [data]
        while data and len(taken) < READ_BYTES and self.ready(select.POLLIN):
            data = self.stream.read(1)
            taken.append(data)
        return b"".join(taken)

    def write(self, data):
        if self.stream is None:
            return
        self.poll.modify(self.stream, select.POLLOUT)
        try:
            if not self.ready(select.POLLOUT):
                return                  # nobody reads: as on a wire, it is lost
            if self.is_socket:
                self.stream.send(data)
            elif _cpython:
                os.write(self.stream, data)
            else:
                self.stream.write(data)
        except OSError:
            pass                        # the next read finds out
        finally:
            self.poll.modify(self.stream, select.POLLIN)


class _Contact:
    """One emulated contact: moves some time after it was commanded, or is stuck."""

    def __init__(self, group, side):
        self.name = " " + str(group) + " " + str(side) + " "
        self.on = False
        self.closed = False
        self.due_us = None
        self.stuck = ""

    def command(self, on, now_us):
        self.on = on
        if on == self.closed:
            self.due_us = None
        elif self.due_us is None:
            self.due_us = now_us + (_MAKE_US if on else _RELEASE_US)

    def settle(self, now_us):
        if self.stuck == "closed" or self.stuck == "open":
            self._move(self.stuck == "closed", now_us)
        elif self.due_us is not None and now_us >= self.due_us:
            if self.on or self.stuck != "welded":
                self._move(self.on, self.due_us)
            self.due_us = None

    def _move(self, closed, at_us):
        if closed != self.closed:
            self.closed = closed
            if _log:
                _log.write(str(at_us) + self.name + ("1\n" if closed else "0\n"))
                if _cpython:
                    _log.flush()        # MicroPython writes at once, and its flush would wait for the disk

    def afflict(self, stuck, now_us):
        if stuck != self.stuck:
            self.stuck = stuck
            self.due_us = None
            self.command(self.on, now_us)


_options = _read_options(sys.argv[1:])
for _name in ("side0", "side1"):
    if _name not in _options:
        _refuse("--" + _name + " is missing")
GROUPS = _number(_options, "groups", "int", 1, 1, 16)
GATED = _number(_options, "gated", "int", GROUPS, 0, GROUPS)
PAIR = _number(_options, "pair", "int", 0, 0, 65535)
_STATE = _options.get("state", ".")
UNIQUE = _number(_options, "id", "hex", int.from_bytes(frames.checksum(_STATE.encode()), "little"), 1, 0xFFFFFFFF)
_MAKE_US = int(_number(_options, "make-ms", "ms", 3.0, 0, 1000) * 1000)
_RELEASE_US = int(_number(_options, "release-ms", "ms", 4.0, 0, 1000) * 1000)
BREAK_MS = max(_MAKE_US, _RELEASE_US) // 1000 + 10
_log = open(_options["log"], "a") if "log" in _options else None
_control = _options.get("control")
_all = select.poll()
_contacts = []
_ports = []
_store = Store(_STATE + "/arbiter.")
_control_text = ""
_control_at = 0
_busy = True
_lines_at = ticks_ms()


def start():
    """Contacts open, ports opened: (reset cause, reserved epoch)."""
    for group in range(GATED):
        _contacts.append(_Contact(group, 0))
        _contacts.append(_Contact(group, 1))
    for name in ("side0", "side1"):
        _ports.append(_Port(_options[name]))
    return 1, _store.ceiling


def life():
    number = _store.life
    if number == 0:
        with open("/dev/urandom", "rb") as source:
            number = int.from_bytes(source.read(4), "little")
    _store.put(number % 0xFFFFFFFF + 1, _store.ceiling)
    return _store.life


def save(epoch):
    _store.put(_store.life, epoch)


def read(port):
    return _ports[port].read()


def write(port, data):
    _ports[port].write(data)


def set_contact(group, side, on):
    _contacts[2 * group + side].command(on, ticks_us())


def read_contact(group, side):
    """True closed, False open, None where there is no read-back."""
    contact = _contacts[2 * group + side]
    contact.settle(ticks_us())
    return None if "blind" in _options else contact.closed


def _read_control():
    global _control_text, _control_at
    now_ms = ticks_ms()
    if now_ms < _control_at:
        return
    _control_at = now_ms + 50
    try:
        with open(_control) as file:
            text = file.read(4096)
    except OSError:
        text = ""
    if text == _control_text:
        return
    _control_text = text
    stuck = {}
    for line in text.split("\n"):
        words = line.split()
        if len(words) == 3:
            stuck[words[0] + " " + words[1]] = words[2]
    for contact in _contacts:
        contact.afflict(stuck.get(contact.name.strip(), ""), ticks_us())


def feed():
    """No watchdog here. Ends without lines; looks up stuck contacts."""
    global _lines_at
    now_ms = ticks_ms()
    if _ports[0].stream is not None or _ports[1].stream is not None:
        _lines_at = now_ms
    elif now_ms - _lines_at > GIVE_UP_MS or (_ports[0].gone and _ports[1].gone):
        sys.exit(4)
    if _control:
        _read_control()


def led(state):
    """No light. It tells `idle` whether anything can run out."""
    global _busy
    _busy = state != 0


def idle():
    """Waits for input: 1 ms, or longer while nobody is promised and no contact moves."""
    wait_ms = 1 if _busy else QUIET_MS
    for contact in _contacts:
        if contact.due_us is not None:
            wait_ms = 1
    _all.poll(wait_ms)


def reset(error):
    """Says what went wrong, lets the contacts open and ends the process with code 3, or as `sys.exit` said."""
    for contact in _contacts:
        contact.settle(ticks_us() + _RELEASE_US)
    if isinstance(error, SystemExit):
        raise error
    if _cpython:
        import traceback
        traceback.print_exception(error)
    else:
        sys.print_exception(error, sys.stderr)
    sys.exit(3)
