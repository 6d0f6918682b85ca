"""BBC micro:bit (nRF51822, MicroPython 1.9.2): one serial bus for all gateways, two contacts, one group.

  pin 0, 1    relay of side 0, 1: high closes. A resistor must pull each down: at reset the pins float.
  pin 2, 8    read-back of side 0, 1: a mirror contact (closed while the relay is open) to ground. The pin pulls itself
              up, so that a broken wire reads as closed, and then the other side never closes.
  pin 13, 14  transmit to both gateways; receive from both, wired so that an idle gateway leaves the line high

The reservation of epochs lies in two pages of flash at 0x3F000, in a part of MicroPython's file system that nobody
uses (nothing here writes files), as a ring of 128 entries of (number, epoch, check). The number goes up with each entry
and is the `life` of a start. A page is erased only while the newest entry is in the other one, and an entry that was
cut short does not check: so no power cut loses a reservation.

Copying a program to the board erases the ring: floor and reservation begin at 0 again. Two holders at once there are
not even then, for that hangs on the promise alone, and the board abstains after its start. But an epoch could come
again if a gateway had lost its disk as well: put a program on the board while both gateways have theirs.
"""
# ruff: noqa: F821  the names in `crc` are registers and labels

import machine
import micropython
import ustruct as struct
from machine import mem32
from microbit import display, pin0, pin1, pin2, pin8, pin13, pin14, running_time, sleep, uart

KIND = 2
GROUPS = 1
GATED = 1
SHARED_BUS = True
PORTS = 1
READ_BACK = True
BREAK_MS = 60         # a round may take 20 ms on this board
U32 = 0xFFFFFFFF

IDENTITY = 0x3EFF8    # pair and build number, put there by the bundle: the program is the same for every pair
RING = 0x3F000
SLOTS = 128
MARK = 0x5A5A
NVMC = 0x4001E504     # 0 read, 1 write, 2 erase
NVMC_ERASE = 0x4001E508
NVMC_READY = 0x4001E400
RESET_REASON = 0x40000400
WATCHDOG = 0x40010000
WATCHDOG_TICKS = 8191     # of 32768 Hz: 250 ms
WATCHDOG_FOOD = 0x6E524635

pair_served = mem32[IDENTITY]
build = mem32[IDENTITY + 4]
_ring = [0, 0]        # the place of the next entry, and the number of the last
_late = 0             # the last reading of the clock, and how much it has wrapped
_wraps = 0


def checksum(data):
    """CRC-32 as four bytes, least first."""
    out = bytearray(4)
    crc(bytearray(data), len(data), out)
    return bytes(out)


@micropython.asm_thumb
def crc(r0, r1, r2):
    """CRC-32 of r1 bytes at r0 to r2."""
    mov(r3, 0xED)
    lsl(r3, r3, 8)
    mov(r4, 0xB8)
    orr(r3, r4)
    lsl(r3, r3, 8)
    mov(r4, 0x83)
    orr(r3, r4)
    lsl(r3, r3, 8)
    mov(r4, 0x20)
    orr(r3, r4)
    mov(r4, 0)
    mvn(r4, r4)
    label(BYTE)
    ldrb(r5, [r0, 0])
    add(r0, 1)
    eor(r4, r5)
    mov(r5, 8)
    label(BIT)
    lsr(r4, r4, 1)
    bcc(EVEN)
    eor(r4, r3)
    label(EVEN)
    sub(r5, 1)
    bne(BIT)
    sub(r1, 1)
    bne(BYTE)
    mvn(r4, r4)
    str(r4, [r2, 0])


UNIQUE = struct.unpack("<I", checksum(machine.unique_id()))[0]


def start():
    """Contacts off, then the rest: (reset cause, reserved epoch)."""
    pin0.write_digital(0)
    pin1.write_digital(0)
    if READ_BACK:
        pin2.set_pull(pin2.PULL_UP)
        pin8.set_pull(pin8.PULL_UP)
    display.off()
    mem32[WATCHDOG + 0x504] = WATCHDOG_TICKS
    mem32[WATCHDOG + 0x508] = 1
    uart.init(115200, tx=pin13, rx=pin14)
    reason = mem32[RESET_REASON]
    mem32[RESET_REASON] = 15
    ceiling = _newest()
    save(ceiling)
    return 2 if reason & 2 else 3 if reason & 4 else 0 if reason else 1, ceiling


def _newest():
    """The reservation in the ring; finds where the next one goes."""
    ceiling = 0
    for slot in range(SLOTS):
        at = RING + slot * 16
        number = mem32[at] & U32
        epoch = mem32[at + 4] & U32
        if number > _ring[1] and number ^ epoch ^ MARK == mem32[at + 8] & U32:
            _ring[0] = slot + 1
            _ring[1] = number
            ceiling = epoch
    return ceiling


def save(epoch):
    """Keep the reservation over a power cut. Takes 22 ms once in 64 times, else less than 1 ms."""
    while True:
        slot, number = _ring
        at = RING + slot % SLOTS * 16
        if slot % 64 == 0:
            mem32[NVMC] = 2
            mem32[NVMC_ERASE] = at
            while not mem32[NVMC_READY]:
                pass
        number += 1
        _ring[0] = slot + 1
        _ring[1] = number
        mem32[NVMC] = 1
        mem32[at] = number
        mem32[at + 4] = epoch
        mem32[at + 8] = number ^ epoch ^ MARK
        mem32[NVMC] = 0
        # A place where a write was cut short keeps bits of it, in the epoch alone perhaps.
        if mem32[at] == number and mem32[at + 4] & U32 == epoch and mem32[at + 8] & U32 == number ^ epoch ^ MARK:
            return


def life():
    """The number of the entry that this start wrote."""
    return _ring[1]


def ticks_ms():
    """Never backwards: the interpreter's own count of ms begins again after 12 days."""
    global _late, _wraps
    now = running_time() & 0x3FFFFFFF
    if now < _late:
        _wraps += 0x40000000
    _late = now
    return now + _wraps


def ticks_us():
    """To the ms: this board looks at its contacts no more often."""
    return running_time() * 1000 & 0x3FFFFFFF


def read(port):
    """At most 32 bytes; returns when the line has been still for 1 ms."""
    return uart.read(32) or b""


def write(port, data):
    """Returns when the line has taken it: 87 us a byte."""
    uart.write(data)


def set_contact(group, side, on):
    """Close or open a side's relay."""
    (pin1 if side else pin0).write_digital(on)


def read_contact(group, side):
    """True closed (or the wire is broken), False open, None: this board was flashed for relays without read-back."""
    if READ_BACK:
        return bool((pin8 if side else pin2).read_digital())


def feed():
    """The nRF51's watchdog, which MicroPython 1.9 does not know; it runs from the first call on.

    Without a call for 250 ms the board is reset, and its outputs are off.
    """
    mem32[WATCHDOG] = 1
    mem32[WATCHDOG + 0x600] = WATCHDOG_FOOD


def led(state):
    """Nothing: the display's scan would cost time that the serial line needs."""


def idle():
    """Until something comes, at most about 1 ms."""
    sleep(1)


def reset(error):
    """Contacts off and a new start."""
    machine.reset()
