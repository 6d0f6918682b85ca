"""The live screen: what it shows for a state, exactly; and the loop around it, in a terminal of the test's own."""
from __future__ import annotations

import datetime
import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from fake_agent import FakeAgent
from screen_answers import QUIET, group, quiet, sharded, took

from twinbeat.cli_dispatch import dispatch
from twinbeat.screen_paint import Paint, length
from twinbeat.screen_watch import ASCII, BLOCKS, Size, Watching, render, sparkline

UTC = datetime.UTC
NOW = datetime.datetime(2026, 11, 22, 10, 5, tzinfo=UTC)
WAIT_S = 20.0
DIED = took("gw-b", "pump", 20, "DEATH_NOTICE", ms=5)
EVENTS = [{"seq": number, "time": f"2026-11-22T10:04:{number:02d}.000Z", "level": "info", "text": f"event {number}"}
          for number in range(1, 31)]


def watching(status: dict[str, Any], **more: Any) -> Watching:
    state = Watching(NOW, zone=UTC, **more)
    state.note(status)
    return state


SCREEN = """\
gw-a of pump-7  2026-11-22 10:05:00  up 2 h 2 min  live

        gw-a, here       gw-b, by its frames
heard   -                4.2 ms ago
health  100, load 12 %   100, load 7 %
pump    ACTIVE epoch 17  STANDBY epoch 17
    moves held down 23 s, 3 changes
    back to the better ranked node in 41 s

link   to    state  loss   gap
cross  gw-b  UP     0.0 %  11.3 ms   ▄▄x
mqtt   gw-b  UP     0.4 %  131.0 ms  ▆▆▆

role changes (twinbeat why)
10:00:00.005 (4 min ago) the other node died: pump -> gw-b

events (twinbeat events)
10:04:28.000 event 28
10:04:29.000 event 29
10:04:30.000 event 30

q quit   p pause"""


def busy() -> dict[str, Any]:
    return quiet(groups=[group("pump", "gw-a", "ACTIVE", hold_down_ms=23000.0, changes=3, failback_in_ms=41000.0)])


def test_the_screen_exactly() -> None:
    state = watching(busy(), why={"verdicts": [DIED]})
    state.note(state.status)
    silent = deepcopy(state.status)
    silent["links"][0]["paths"]["gw-b"] |= {"heard_ms_ago": None}
    state.note(silent)
    state.status = busy()
    state.events.extend(EVENTS[-3:])
    shown = render(state, Size(80, 22))
    assert "\n".join(shown) == SCREEN


def test_countdowns_tick_with_each_status() -> None:
    state = watching(busy())
    state.note(quiet(groups=[group("pump", "gw-a", "ACTIVE", hold_down_ms=22000.0, changes=3)]))
    text = "\n".join(render(state, Size(80, 40)))
    assert "moves held down 22 s" in text and "23 s" not in text and "back to" not in text


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
@pytest.mark.parametrize("lines", [1, 5, 10, 24, 60])
def test_it_fits_every_terminal_and_fills_it(columns: int, lines: int) -> None:
    bad = sharded(4, 4, early_warnings=[{"text": "long " * 60}] * 9, warnings=["x"])
    bad["groups"][2] |= {"driver": None, "drivers": []}
    for status in (quiet(), bad, {}, {"groups": 3, "peers": [{}], "links": [{}]}):
        state = watching(status, why={"verdicts": [DIED]}, paint=Paint(True))
        state.events.extend(EVENTS)
        shown = render(state, Size(columns, lines))
        assert len(shown) == lines
        assert max(length(line) for line in shown) <= columns


def test_a_pair_in_trouble_says_so_above_all() -> None:
    answer = quiet(groups=[group("pump", None, "STANDBY")])
    answer["peers"][0] |= {"alive": False, "dead": True, "heard_ms_ago": 800.0}
    shown = render(watching(answer), Size(80, 24))
    assert shown[1].startswith("! NOBODY DRIVES pump")
    assert "! gw-b: its agent DIED, said its gate; nobody could take over from here" in shown
    assert any("800.0 ms ago DEAD" in line for line in shown) and "    nobody drives pump" in shown


def test_shards_and_the_third_voter() -> None:
    voter = {"type": "witness", "connected": False, "reason": "no answer"}
    text = "\n".join(render(watching(sharded(5, 3, third_voter=voter)), Size(80, 30)))
    assert re.search(r"^lines   5 ACTIVE, 3 STANDBY  5 STANDBY, 3 ACTIVE$", text, re.MULTILINE)
    assert "third voter (witness): NOT CONNECTED, no answer" in text


def test_paused_and_silent_agents_are_marked() -> None:
    state = watching(quiet(), paused=True)
    assert "PAUSED" in render(state, Size(80, 24))[0]
    state.fault = "the agent did not answer\x1b[2J"
    shown = render(state, Size(80, 24))
    assert shown[0].endswith("NO ANSWER") and shown[1] == "! the agent did not answer [2J"


def test_traces() -> None:
    figures = [0.5, 2.0, 9.0, 20.0, 99.0, 299.0, 999.0, 5000.0, None]
    assert sparkline(figures, 60, True) == BLOCKS + "x"
    assert sparkline(figures, 3, False) == ASCII[-2:] + "x"


# ---------------------------------------------------------------- the loop


class Terminal:
    """`twinbeat watch` with a terminal of its own; what it wrote is kept in `text`."""

    def __init__(self, socket: Path, *words: str, **environ: str) -> None:
        self.fd, inner = os.openpty()
        self.resize(100, 30)
        self.before = termios.tcgetattr(self.fd)
        clean = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "twinbeat", "watch", "--socket", str(socket), "--every", "0.1", *words],
            stdin=inner, stdout=inner, stderr=inner, start_new_session=True,
            env=clean | {"TERM": "xterm", "PYTHONIOENCODING": "utf-8"} | environ,
        )
        os.close(inner)
        self.text = ""

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def until(self, pattern: str, after: int = 0) -> int:
        """Read until the pattern is there behind `after`; where it ends."""
        end_s = time.monotonic() + WAIT_S
        while True:
            found = re.compile(pattern, re.DOTALL).search(self.text, after)
            if found:
                return found.end()
            ready, _, _ = select.select([self.fd], [], [], max(0.0, end_s - time.monotonic()))
            assert ready, f"{pattern!r} does not come: {self.text[-2000:]!r}"
            try:
                self.text += os.read(self.fd, 65536).decode(errors="replace")
            except OSError:
                raise AssertionError(f"it ended before {pattern!r} came: {self.text[-2000:]!r}") from None

    def press(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def ended(self) -> int:
        """The exit code, with everything read that it left."""
        code = self.process.wait(WAIT_S)
        while select.select([self.fd], [], [], 0)[0]:
            try:
                self.text += os.read(self.fd, 65536).decode(errors="replace")
            except OSError:
                break
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(WAIT_S)
        os.close(self.fd)


def answers(count: int = 400) -> dict[str, list[dict[str, Any]]]:
    statuses = [quiet(uptime_s=100.0 + number) for number in range(count)]
    events = [{"ok": True, "events": EVENTS[:2]}] + [{"ok": True, "events": []}] * count
    return {"status": statuses, "events": events, "why": [{"ok": True, "verdicts": [DIED]}] * count}  # type: ignore[dict-item]


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[FakeAgent]:
    with FakeAgent(tmp_path / "s", **answers()) as agent:      # type: ignore[arg-type]
        yield agent


@pytest.fixture
def screen(agent: FakeAgent) -> Iterator[Terminal]:
    screen = Terminal(agent.path)
    yield screen
    screen.close()


LEFT = "\x1b[?25h\x1b[?1049l"


def assert_restored(screen: Terminal) -> None:
    assert screen.text.rstrip().endswith(LEFT), "the other screen is left and the cursor is back"
    assert termios.tcgetattr(screen.fd)[3] == screen.before[3], "echo and lines are as before"


def test_it_refreshes_and_ends_with_q(screen: Terminal) -> None:
    at = screen.until(r"\x1b\[\?1049h.*gw-a of pump-7.*up 100 s.*event 2.*q quit")
    assert not termios.tcgetattr(screen.fd)[3] & (termios.ECHO | termios.ICANON)
    screen.until(r"up 103 s", at)
    screen.press("q")
    assert screen.ended() == 0
    assert_restored(screen)
    assert screen.text.count("\x1b[?1049h") == screen.text.count("\x1b[?1049l") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_with_the_terminal_as_before(screen: Terminal, number: signal.Signals) -> None:
    screen.until("q quit")
    os.kill(screen.process.pid, number)
    assert screen.ended() == 128 + number
    assert_restored(screen)


def test_a_resize_is_drawn_at_once(screen: Terminal) -> None:
    at = screen.until("q quit")
    screen.resize(30, 8)
    os.kill(screen.process.pid, signal.SIGWINCH)
    at = screen.until(r"gw-a of pump-7[^\n]*\.\.", at)
    drawn = screen.until(r"\x1b\[H(?:[^\n]*\n){7}[^\n]*q quit", at)
    assert drawn
    screen.press("q")
    assert screen.ended() == 0


def test_pause_stops_asking_and_goes_on(screen: Terminal, agent: FakeAgent) -> None:
    screen.until("live")
    screen.press("p")
    at = screen.until("PAUSED")
    asked = len(agent.requests)
    screen.press("\x1b[A")                       # an arrow key: drawn anew, nothing else
    at = screen.until("PAUSED", at)
    assert len(agent.requests) == asked
    screen.press("p")
    screen.until("live", at)
    screen.press("Q")
    assert screen.ended() == 0


def test_an_agent_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    with FakeAgent(tmp_path / "s", **answers(3)) as first:     # type: ignore[arg-type]
        screen = Terminal(first.path)
        screen.until("agent closed the")
    try:
        at = screen.until("NO ANSWER.{0,400}systemctl")
        first.path.unlink()
        with FakeAgent(first.path, **answers()):               # type: ignore[arg-type]
            screen.until("live", at)
            screen.press("q")
            assert screen.ended() == 0
    finally:
        screen.close()


def test_without_unicode_the_traces_are_ascii(agent: FakeAgent) -> None:
    screen = Terminal(agent.path, "--color", "never", PYTHONIOENCODING="ascii")
    try:
        screen.until(r"cross  gw-b  UP     0\.0 %  11\.3 ms   ~")
        assert screen.text.isascii() and "\x1b[32m" not in screen.text
        screen.press("q")
        assert screen.ended() == 0
    finally:
        screen.close()


def test_ctrl_z_gives_the_terminal_back_until_it_goes_on(screen: Terminal) -> None:
    screen.until("q quit")
    os.kill(screen.process.pid, signal.SIGTSTP)
    at = screen.until(re.escape(LEFT))
    _, status = os.waitpid(screen.process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    os.kill(screen.process.pid, signal.SIGCONT)
    screen.until(r"\x1b\[\?1049h.*q quit", at)
    screen.press("q")
    assert screen.ended() == 0
    assert_restored(screen)


def test_it_needs_an_agent_before_it_takes_the_screen(tmp_path: Path) -> None:
    screen = Terminal(tmp_path / "none")
    try:
        screen.until("no agent is running")
        assert screen.ended() == 6
        assert "\x1b" not in screen.text
    finally:
        screen.close()


@pytest.mark.parametrize("words", [[], ["--every", "0"]])
def test_it_refuses_what_is_no_terminal_and_names_the_other_way(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(["watch", "--socket", str(tmp_path / "s"), *words]) == 2
    said = capsys.readouterr().err
    assert ("twinbeat events --follow" in said) if not words else ("give seconds from 0.1 to 60" in said)


def test_the_answers_of_these_tests_are_those_of_an_agent() -> None:
    """What the fakes say must be what the agent's own view says, or all this proves nothing."""
    from run_fakes import core_view

    from twinbeat.run_view import groups_status, links_status, peers_status
    from twinbeat.run_words import Names

    names = Names("gw-a", ("gw-a", "gw-b"), ("pump",), ("cross",))
    view = core_view("ACTIVE", epoch=17)
    view["groups"][0] |= {"hold_down_ms": 0.0, "changes": 0, "failback_in_ms": None, "may_drive": True}
    assert set(QUIET["groups"][0]) <= set(groups_status(view, names)[0])
    assert set(QUIET["peers"][0]) <= set(peers_status(view, names)[0])
    (link,) = links_status(view, names, ["serial"])
    assert set(QUIET["links"][0]["paths"]["gw-b"]) <= set(link["paths"]["gw-b"])
