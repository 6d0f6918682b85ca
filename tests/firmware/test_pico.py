"""boards/rp2.py on a stand-in for `machine`, in both interpreters: pins, polarity, watchdog, resets, light."""
from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from firmware_rig import ARBITER, NO_MICROPYTHON, TESTS, command_of, interpreters

PORTS = "('uart', 0, 921600, 0, 1, 1024, 0), ('uart', 1, 921600, 4, 5, 1024, 0)"
EXPECTED = [
    "imported [('pin', 14, 0), ('pin', 15, 0), ('pin', 'LED', 0)]",
    "unique 4487a5fe",
    f"started [('wdt', 1000), {PORTS}] 1 [3]",
    "abstained 2002 0 0",
    "waits 7 ['arbiter.0', 'arbiter.1']",
    "promised 1",
    "closed 1 0 3",
    "other 1 0 1",
    "relays [('pin', 14, 1), ('pin', 14, 0), ('pin', 15, 1)]",
    "broken wire 0 21",
    "noise b'' False",
    "wrap 2500000000",
    "reset 0x7b0f 0 0",
    "reset 0x7b0c 0 0",
    "light 0 *...............",
    "light 1 *.......*.......",
    "light 2 *.*.....*.*.....",
    "light 3 *.*.*...*.*.*...",
    "light 4 *.*.*.*.*.*.*.*.",
    "again 2 0",
    "again 3 0",
    "again stopped from the console; reset the board to start the arbiter 0 []",
    "again 0 0",
]


@pytest.mark.parametrize("interpreter", interpreters())
def test_the_picos_board(interpreter: str, tmp_path: Path) -> None:
    """Relays off before anything else; low is open, high is closed; fed once a round; 0 of an error or Ctrl-C is on."""
    if not command_of(interpreter):
        pytest.skip(NO_MICROPYTHON)
    done = subprocess.run(
        [*command_of(interpreter), str(TESTS / "pico" / "pico_run.py"), str(ARBITER)],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    known = {line.split()[0] for line in EXPECTED}
    assert [line for line in done.stdout.splitlines() if line.split(" ")[0] in known] == EXPECTED
