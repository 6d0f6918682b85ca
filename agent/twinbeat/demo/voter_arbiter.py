"""The arbiter of the demo: its firmware as a process on two ptys, in MicroPython where that is installed."""
from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import twinbeat_bridge.arbiter
from twinbeat.config_digest import pair_id_of
from twinbeat.demo import procs
from twinbeat.demo.agents import CONTACT_MAKE_MS, NODES, PAIR, PairSettings
from twinbeat.demo.contacts import LogReader
from twinbeat.demo.measure import Change
from twinbeat.demo.switchboard import voter_cut
from twinbeat.demo.voter_process import Process

VOTER_ID = "a5b17e50"
LAUNCHER = Path(twinbeat_bridge.arbiter.__file__).resolve().parent / "boards" / "run_unix.py"
GRANT_MS = 40.0                    # about: three heartbeats and a round trip
PORT = "arbiter"
FIFO_PRIORITY = 60
START_LIMIT_S = 15.0


def find_micropython() -> str | None:
    """The program `micropython`, beside this interpreter or in the PATH."""
    return shutil.which("micropython", path=str(Path(sys.executable).parent)) or shutil.which("micropython")


class Arbiter:
    """The process. Its lines outlive it: the process `wire` holds both ends of each cable."""

    kind = "arbiter"

    def __init__(self, directory: Path, settings: PairSettings, add: Callable[[Change], None]) -> None:
        self.grant_ms = max(GRANT_MS, 4 * settings.period_ms)
        self.settings = settings
        self.state_dir = directory / "arbiter"
        self.near = {node: directory / f"{node}-arbiter" for node in NODES}
        self.far = [directory / f"arbiter-{side}" for side in range(len(NODES))]
        self.control_path = directory / "arbiter.stuck"
        self.voter_id = VOTER_ID
        self.pair_id = pair_id_of(PAIR)
        self.micropython = find_micropython()
        self._process = Process("arbiter", directory / "arbiter.log")
        self._add = add
        self._reader: LogReader | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def describe(self) -> str:
        runs_in = "MicroPython" if self.micropython else "CPython"
        return f"arbiter in {runs_in}{', gates the outputs' if self.settings.gated else ''}"

    def config_lines(self) -> list[str]:
        return ["[third_voter]", 'type = "arbiter"', f'port = "{PORT}"', f'id = "{VOTER_ID}"', ""]

    def ports(self) -> dict[str, dict[str, str]]:
        return {node: {PORT: str(path)} for node, path in self.near.items()}

    def wire_words(self) -> list[str]:
        """The options of `wire` for both cables."""
        ends = [path for node, far in zip(NODES, self.far, strict=True) for path in (self.near[node], far)]
        return ["--voter", *(word for path in ends for word in ("--port", str(path)))]

    def command(self, log_fd: int) -> list[str]:
        """How the firmware is started."""
        sides = [word for side, path in enumerate(self.far) for word in (f"--side{side}", str(path))]
        release_ms = self.settings.contact_release_ms
        return [self.micropython or sys.executable, str(LAUNCHER), *sides, "--state", str(self.state_dir),
                "--log", f"/dev/fd/{log_fd}", "--id", self.voter_id, "--pair", str(self.pair_id),
                "--gated", str(int(self.settings.gated)), "--make-ms", f"{CONTACT_MAKE_MS:g}",
                "--release-ms", f"{release_ms:g}", "--control", str(self.control_path)]

    def start(self) -> None:
        self.state_dir.mkdir(exist_ok=True)
        before = self._starts()
        self._reader = LogReader(NODES, self._add)
        self._process.start(self.command(self._reader.write_fd), (self._reader.write_fd,), new_session=False)
        self._reader.start()
        self._process.wait_until(lambda: self._starts() != before, START_LIMIT_S)
        # A board of its own does not feel how busy this computer is. Not sooner: loading its files takes long enough to
        # be in the agents' way.
        if self._process.pid is not None:
            procs.give_fifo(self._process.pid, FIFO_PRIORITY)

    def _starts(self) -> list[bytes]:
        """What the firmware writes anew at every start, before it answers."""
        return [path.read_bytes() for path in sorted(self.state_dir.glob("arbiter.*"))]

    def stop(self) -> None:
        self._process.stop()
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.join()

    def last_words(self) -> str:
        """The last line of its log."""
        return self._process.last_words()

    def flags(self) -> list[int]:
        return [voter_cut(side) for side in range(len(NODES))]
