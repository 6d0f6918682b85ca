"""Runs the arbiter's firmware on a PC, in CPython or in MicroPython's unix port: see boards/unix.py for the options.

    micropython boards/run_unix.py --side0 PTY --side1 PTY --state DIR ...
"""

import sys

HERE = __file__.rpartition("/")[0] or "."
sys.path[0] = HERE + "/.."     # where the files lie that stand at the root of a device
sys.path.append(HERE)


class NoConsole:
    """What main.py needs of the module `micropython`, for CPython: the console's Ctrl-C is not on the wire there."""

    @staticmethod
    def kbd_intr(_char):
        pass


if sys.implementation.name == "cpython":
    sys.modules["micropython"] = NoConsole
    sys.dont_write_bytecode = True

import unix  # noqa: E402

sys.modules["board"] = unix
import pair  # noqa: E402

pair.PAIR = unix.PAIR
import main  # noqa: E402, F401
