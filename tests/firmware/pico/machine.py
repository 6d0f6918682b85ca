"""A stand-in for `machine` on a Pico: pins, UARTs, watchdog and scratch registers that the test sees and sets."""

import sys

PWRON_RESET = 1
WDT_RESET = 3
mem32 = {0x4005800C: 0}
cause = [PWRON_RESET]
events = []       # ("pin", number, value), ("wdt", ms), ("feed",), ("uart", number, baud, rxbuf), ("reset",)
levels = {}       # what an input reads; missing: its pull-up
pins = {}
uarts = {}


class Stopped(Exception):
    """machine.reset() does not return."""


def unique_id():
    return b"\xe6\x61\x64\x08\x43\x1b\x7f\x2a"


def reset_cause():
    return cause[0]


def reset():
    events.append(("reset",))
    raise Stopped()


class Pin:
    OUT = 1
    IN = 0
    PULL_UP = 2

    def __init__(self, number, mode=None, pull=None, value=None):
        self.number = number
        self.mode = mode
        self.pull = pull
        self.level = value
        pins[number] = self
        if value is not None:
            events.append(("pin", number, value))

    def value(self, level=None):
        if level is None:
            return levels.get(self.number, 1 if self.pull == Pin.PULL_UP else 0)
        if level != self.level:
            self.level = level
            events.append(("pin", self.number, level))


class WDT:
    def __init__(self, timeout):
        events.append(("wdt", timeout))

    def feed(self):
        events.append(("feed",))


class UART:
    def __init__(self, number, baud, tx, rx, rxbuf, txbuf, timeout):
        self.incoming = b""
        self.outgoing = b""
        uarts[number] = self
        events.append(("uart", number, baud, tx.number, rx.number, rxbuf, timeout))

    def read(self, most):
        data = self.incoming[:most]
        self.incoming = self.incoming[most:]
        return data or None

    def write(self, data):
        self.outgoing += data


class Poll:
    def register(self, _stream, _events):
        pass

    def poll(self, _ms):
        events.append(("idle",))


class Time:
    """`time` and `select` as the board uses them, in virtual time with the board's wrap."""

    now_us = 1000

    def ticks_ms(self):
        return self.now_us // 1000 & 0x3FFFFFFF

    def ticks_us(self):
        return self.now_us & 0x3FFFFFFF

    def ticks_diff(self, later, earlier):
        return ((later - earlier + 0x20000000) & 0x3FFFFFFF) - 0x20000000


class Select:
    POLLIN = 1
    poll = Poll


time = Time()
sys.modules["time"] = time
sys.modules["select"] = Select
