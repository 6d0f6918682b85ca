"""The board of a Raspberry Pi Pico (RP2040; RP2350 as well): one UART to each gateway, relays, read-back, status LED.

Pins: UART 0 GP0 (TX) GP1 (RX) to node 0; UART 1 GP4 (TX) GP5 (RX) to node 1; relays high = on: GP14, GP15 for group 0,
GP18, GP19 for group 1; read-back GP10, GP11 and GP12, GP13, with pull-ups.

Read-back: an auxiliary contact that is CLOSED to ground while the relay is off (the normally closed mirror contact of a
force-guided relay). Low is the proof that the relay is off; a wire that is broken or was never connected reads high:
closed, and then the other side never closes. A wire shorted to ground is found at the next closing.

pair.py may set GATED (0-2 groups with relays, default 0: a voter only) and READ_BACK (default True).

Ctrl-C on the USB console opens the contacts and restarts the board to its prompt: so a new firmware gets in.
"""

import os
import select
import sys
import time

import machine
import micropython
from machine import UART, WDT, Pin

import frames
import pair
from store import Store

KIND = 1
GROUPS = 8
GATED = getattr(pair, "GATED", 0)
READ_BACK = getattr(pair, "READ_BACK", True)
SHARED_BUS = False
PORTS = 2
BREAK_MS = 30             # of common relays: 5-15 ms with their bounce, more with a diode across the coil
BAUD = 921600
READ_BYTES = 256
WATCHDOG_MS = 1000
RELAY_PINS = ((14, 15), (18, 19))
READ_BACK_PINS = ((10, 11), (12, 13))

# A register that outlives every reset but a loss of power: why this firmware reset the board.
SCRATCH = (0x400D8000 if "RP2350" in sys.implementation._machine else 0x40058000) + 0x0C
FAULT = 0x7B0F
CONSOLE = 0x7B0C

# Eighths of a second over two seconds, for led(0..4): nobody; side 0; side 1; both (several groups); stuck contact.
PATTERNS = (0x0001, 0x0101, 0x0505, 0x1515, 0x5555)

UNIQUE = int.from_bytes(frames.checksum(machine.unique_id()), "little") or 1

_relays = [[Pin(pin, Pin.OUT, value=0) for pin in row] for row in RELAY_PINS[:GATED]]
_inputs = [[Pin(pin, Pin.IN, Pin.PULL_UP) for pin in row] for row in READ_BACK_PINS[:GATED]]

if machine.mem32[SCRATCH] == CONSOLE:
    machine.mem32[SCRATCH] = 0
    raise RuntimeError("stopped from the console; reset the board to start the arbiter")

_light = Pin("LED", Pin.OUT, value=0)
_lit = 0
_uarts = []
_poll = select.poll()
_watchdogs = []
_store = Store("arbiter.")
_now_ms = 0
_ticks = time.ticks_ms()


def start():
    """Contacts off, watchdog and ports on: (reset cause, reserved epoch)."""
    _all_off()
    _watchdogs.append(WDT(timeout=WATCHDOG_MS))
    for number, tx, rx in ((0, 0, 1), (1, 4, 5)):
        uart = UART(number, BAUD, tx=Pin(tx), rx=Pin(rx), rxbuf=1024, txbuf=512, timeout=0)
        _uarts.append(uart)
        _poll.register(uart, select.POLLIN)
    cause = {machine.PWRON_RESET: 1, machine.WDT_RESET: 2}.get(machine.reset_cause(), 0)
    if machine.mem32[SCRATCH] == FAULT:
        cause = 3
    machine.mem32[SCRATCH] = 0
    micropython.kbd_intr(3)       # the console is USB, not one of the ports
    return cause, _store.ceiling


def life():
    """One higher than at the last start; the first one is drawn."""
    number = _store.life or int.from_bytes(os.urandom(4), "little")
    _store.put(number % 0xFFFFFFFF + 1, _store.ceiling)
    return _store.life


def save(epoch):
    """Flash: some 50 ms in which nothing is read beyond the receive buffer."""
    _store.put(_store.life, epoch)


def ticks_ms():
    """ms since the start; the counter below wraps after twelve days."""
    global _ticks, _now_ms
    ticks = time.ticks_ms()
    _now_ms += time.ticks_diff(ticks, _ticks)
    _ticks = ticks
    return _now_ms


def ticks_us():
    return time.ticks_us()


def read(port):
    return _uarts[port].read(READ_BYTES) or b""


def write(port, data):
    _uarts[port].write(data)


def set_contact(group, side, on):
    _relays[group][side].value(1 if on else 0)


def read_contact(group, side):
    """True closed, False proven open, None where there is no read-back."""
    return _inputs[group][side].value() == 1 if READ_BACK else None


def feed():
    _watchdogs[0].feed()


def led(state):
    global _lit
    lit = PATTERNS[state] >> (ticks_ms() >> 7 & 15) & 1
    if lit != _lit:
        _lit = lit
        _light.value(lit)


def idle():
    _poll.poll(1)


def _all_off():
    for row in _relays:
        for relay in row:
            relay.value(0)


def reset(error):
    """Contacts off, then a new start; after Ctrl-C to the prompt."""
    _all_off()
    machine.mem32[SCRATCH] = CONSOLE if isinstance(error, KeyboardInterrupt) else FAULT
    sys.print_exception(error)
    machine.reset()
