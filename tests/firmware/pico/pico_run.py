"""Drives boards/rp2.py and the arbiter on the stand-in: pico_run.py ARBITER, in a folder of its own; prints.

The same in CPython and in MicroPython; the caller compares and checks what is printed.
"""

# ruff: noqa: E402, I001, UP031 (paths and stand-ins first; MicroPython's dialect)
import os
import struct
import sys

sys.path.insert(0, sys.argv[1])
sys.path.append(sys.argv[1] + "/boards")
import machine                 # the stand-in: this script's folder is on the path as well

if sys.implementation.name == "cpython":
    sys.implementation._machine = "Raspberry Pi Pico with RP2040"
    sys.print_exception = print

interrupts = []


class Console:
    @staticmethod
    def kbd_intr(char):
        interrupts.append(char)


sys.modules["micropython"] = Console
import frames
import pair

pair.GATED = 1
import rp2 as board
from arbiter import Arbiter

clock = machine.time
stamp = 0


def contacts(on):
    """The relays follow at once: their normally closed mirror contacts read low while off."""
    for relay, mirror in ((14, 10), (15, 11)):
        machine.levels[mirror] = machine.pins[relay].level if on else 1


def rounds(served, ms):
    for _ in range(ms):
        served.step()
        board.feed()
        board.idle()
        clock.now_us += 1000
        contacts(True)


def ask(served, node, epoch):
    global stamp
    stamp += 1
    body = struct.pack(frames.ASK_HEAD, frames.VERSION, 1, node, 1, 7, 99, stamp, 0, served.leases.life,
                       board.ticks_ms() & 0x3FFFFFFF, 200)
    machine.uarts[node].incoming += frames.wrap(body + struct.pack(frames.ASK_ROW, 0, epoch))
    machine.uarts[node].outgoing = b""
    rounds(served, 1)
    [answer] = frames.Reader().feed(machine.uarts[node].outgoing)
    return struct.unpack(frames.VOTE_ROW, answer[frames.VOTE_HEAD_BYTES:])


def seen(*kinds):
    found = [event for event in machine.events if event[0] in kinds]
    machine.events[:] = []
    return found


def start_again(scratch, cause):
    """What the board says after a reset for that cause."""
    machine.mem32[board.SCRATCH] = scratch
    machine.cause[0] = cause
    sys.modules.pop("rp2", None)
    seen()
    try:
        import rp2
        print("again", rp2.start()[0], machine.mem32[board.SCRATCH])
    except RuntimeError as error:
        print("again", error, machine.mem32[board.SCRATCH], seen("wdt"))


def light(state):
    """Two seconds of the LED in eighths."""
    clock.now_us += 2048000 - board.ticks_ms() % 2048 * 1000
    found = ""
    for _ in range(16):
        board.led(state)
        found += "*" if machine.pins["LED"].level else "."
        clock.now_us += 128000
    print("light", state, found)


def main():
    print("imported", seen("pin", "uart", "wdt", "feed"))
    print("unique %08x" % board.UNIQUE)
    contacts(True)
    served = Arbiter(board, 7, 0)
    print("started", seen("pin", "uart", "wdt", "feed"), served.cause, interrupts)
    rounds(served, 2002)
    print("abstained", len(seen("feed")), machine.pins[14].level, machine.pins[15].level)
    print("waits", ask(served, 0, 8)[1], sorted(name for name in os.listdir(".") if name.startswith("arbiter.")))
    print("promised", ask(served, 0, 8)[1])
    rounds(served, 3)
    print("closed", machine.pins[14].level, machine.pins[15].level, ask(served, 0, 8)[2])
    rounds(served, 250)
    print("other", ask(served, 1, 17)[1], machine.pins[14].level, machine.pins[15].level)
    machine.levels[10] = 1
    rounds(served, 1)
    print("relays", [event for event in seen("pin") if event[1] in (14, 15)])
    for _ in range(40):              # the read-back wire of side 0 has come off: it reads closed
        served.step()
        clock.now_us += 1000
        contacts(True)
        machine.levels[10] = 1
    print("broken wire", machine.pins[15].level, ask(served, 1, 17)[2])
    print("noise", board.read(0), board.read_contact(0, 1))
    before = board.ticks_ms()
    for _ in range(5):
        clock.now_us += 500000000 * 1000
        board.ticks_ms()
    print("wrap", board.ticks_ms() - before)
    for error in (OSError(5), KeyboardInterrupt()):
        try:
            board.reset(error)
        except machine.Stopped:
            print("reset", hex(machine.mem32[board.SCRATCH]), machine.pins[14].level, machine.pins[15].level)
    for state in range(5):
        light(state)
    start_again(0, machine.WDT_RESET)
    start_again(board.FAULT, machine.WDT_RESET)
    start_again(board.CONSOLE, machine.WDT_RESET)
    start_again(0, 99)


main()
