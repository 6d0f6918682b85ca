"""The gate, as the outputs and the peer see it: kill, stop, signals, planned end."""
from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import PATIENCE_S, Child, Line, Relay, alive, in_system_call, lone_node, now_ns, wait_gone

from twinbeat_core.frames import Frame
from twinbeat_core.model import FrameKind, RowFlag, State

ON, OFF = 1, 0


def is_death(frame: Frame) -> bool:
    return bool(frame.kind == FrameKind.FRAME_DEATH)


def driving(child: Child, relay: Relay) -> int:
    """Wait until the node drives; the epoch."""
    relay.wait(ON)
    return int(child.wait("OutputChanged", lambda line: line["code"] == "OUTPUT_DRIVEN")["epoch"])


@pytest.mark.parametrize("fifo", [False, True])
def test_killed_worker_is_dropped_and_announced(fifo: bool) -> None:
    with lone_node(fifo=fifo) as (child, relay, line):
        epoch = driving(child, relay)
        killed_at = now_ns()
        child.kill()
        off_at = relay.wait(OFF)
        notice = line.wait_frame(is_death)
        assert wait_gone(child.gate_pid)
        while line.pump(0.0):
            pass
        notices = [frame for frame in line.frames if is_death(frame)]
        assert relay.drain_to_end() == b"", "nothing is driven after death"
    assert off_at - killed_at < 2_000_000_000
    assert notice.incarnation == 1000 and notice.source == 0 and notice.config_digest == 11
    assert notice.rows[0].epoch == epoch and notice.rows[0].flags & RowFlag.ROW_DROPPED
    assert len(notices) == 5 and len({frame.stamp for frame in notices}) == 5, "repeated, each with a stamp of its own"


def test_stopped_worker_is_dropped_at_the_deadline_and_not_renewed() -> None:
    with lone_node() as (child, relay, _line):
        epoch = driving(child, relay)
        os.kill(child.pid, signal.SIGSTOP)
        relay.wait(OFF)
        assert relay.read(0.3) == b"", "a stopped worker renews nothing"
        assert alive(child.gate_pid)
        os.kill(child.pid, signal.SIGCONT)
        off = child.wait("OutputChanged", lambda line: line["code"] == "OUTPUT_OFF")
        assert off["epoch"] == epoch
        relay.wait(ON)
        again = child.wait("OutputChanged", lambda line: line["code"] == "OUTPUT_DRIVEN")
        assert again["epoch"] > epoch, "an expired order is claimed anew"
        figures = child.ask("View", do="view")["gate"]
        assert figures["drops_expired"] >= 1 and figures["drop_late"]["count"] >= 1


def test_signals_of_a_terminal_or_a_unit_do_not_end_the_gate() -> None:
    with lone_node() as (child, relay, _line):
        driving(child, relay)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGUSR1, signal.SIGALRM):
            os.kill(child.gate_pid, number)
        view = child.ask("View", do="view")
        assert view["gate"]["alive"] and view["levels"] == [True]
        assert relay.read(0.1) == b""
        child.kill()
        relay.wait(OFF)


def test_release_time_passes_before_the_group_is_named() -> None:
    with lone_node(release_ms=60) as (child, relay, line):
        driving(child, relay)
        child.kill()
        off_at = relay.wait(OFF)
        first = line.wait_frame(is_death)
        named = line.wait_frame(lambda frame: is_death(frame) and bool(frame.rows[0].flags & RowFlag.ROW_DROPPED))
        assert not first.rows[0].flags & RowFlag.ROW_DROPPED
        assert named.stamp * 1000 >= off_at - 5_000_000 + 60_000_000


def test_notice_waits_by_a_clock_that_may_run_fast() -> None:
    with lone_node(release_ms=400, drift_ppm=50000) as (child, relay, line):
        driving(child, relay)
        child.kill()
        off_at = relay.wait(OFF)
        named = line.wait_frame(lambda frame: is_death(frame) and bool(frame.rows[0].flags & RowFlag.ROW_DROPPED))
        assert named.stamp * 1000 >= off_at - 5_000_000 + 420_000_000


def test_stop_command_runs_with_ordinary_signals_and_priority(tmp_path: Path) -> None:
    out = tmp_path / "said"
    os.mkfifo(out)
    reading = os.open(out, os.O_RDONLY | os.O_NONBLOCK)
    script = f"(grep -h SigIgn /proc/self/status; grep -h SigBlk /proc/self/status; chrt -p $$ | head -1) > {out}"
    more = [{"kind": "none", "fd": -1, "stop": ["/bin/sh", "-c", script]}]
    with lone_node(fifo=True, more_outputs=more) as (child, relay, line):
        driving(child, relay)
        child.kill()
        relay.wait(OFF)
        line.wait_frame(lambda frame: is_death(frame) and bool(frame.rows[0].flags & RowFlag.ROW_DROPPED))
        text = b""
        while text.count(b"\n") < 3:
            assert select.select([reading], [], [], PATIENCE_S)[0], text
            text += os.read(reading, 4096)
    os.close(reading)
    ignored, blocked, policy = text.decode().splitlines()[:3]
    assert int(ignored.split()[1], 16) & 0x7FFFFFFF == 0, "the C library keeps two signals of its own above these"
    assert int(blocked.split()[1], 16) == 0
    assert "SCHED_OTHER" in policy


def test_a_command_that_cannot_start_leaves_the_group_unnamed() -> None:
    more = [{"kind": "none", "fd": -1, "stop": ["/nowhere/stop"]}]
    with lone_node(more_outputs=more) as (child, relay, line):
        driving(child, relay)
        child.kill()
        relay.wait(OFF)
        assert wait_gone(child.gate_pid)
        while line.pump(0.0):
            pass
        deaths = [frame for frame in line.frames if is_death(frame)]
        assert deaths and not any(frame.rows[0].flags & RowFlag.ROW_DROPPED for frame in deaths)


@pytest.mark.parametrize("level", ["off", "hold"])
def test_planned_end_is_quiet_and_leaves_the_exit_level(level: str) -> None:
    relay_level = {"off": bytes([OFF]), "hold": b""}[level]
    second = Relay()
    more = [{"fd": second.write_fd, "exit": level}]
    with lone_node(more_outputs=more, more_fds=[second.write_fd]) as (child, relay, line):
        second.hand_over()
        driving(child, relay)
        second.wait(ON)
        assert child.ask("Stopped", do="stop")["gate_alive"] is False
        assert second.drain_to_end() == relay_level
        while line.pump(0.0):
            pass
        assert line.frames and not any(is_death(frame) for frame in line.frames)
    os.close(second.fd)


@contextlib.contextmanager
def full_output(child: Child, relay: Relay) -> Iterator[None]:
    """The output takes no more bytes."""
    path = f"/proc/{child.gate_pid}/fd"
    name = os.readlink(f"/proc/self/fd/{relay.fd}")
    held = next(fd for fd in os.listdir(path) if os.readlink(f"{path}/{fd}") == name)
    with open(f"{path}/{held}", "wb", buffering=0) as stuffing:
        fcntl.fcntl(stuffing, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(stuffing.fileno(), False)
        while stuffing.write(b"\x55" * 4096):
            pass
        yield


def test_full_output_is_finished_later() -> None:
    with lone_node() as (child, relay, _line):
        driving(child, relay)
        with full_output(child, relay):
            child.kill()
        assert wait_gone(child.pid)
        assert relay.drain_to_end().endswith(bytes([OFF]))


def test_output_that_could_not_go_off_goes_off_when_it_can() -> None:
    with lone_node() as (child, relay, _line):
        epoch = driving(child, relay)
        with full_output(child, relay):
            child.ask("Posted", do="command", code="CMD_OUT")
            child.wait("OutputChanged", lambda line: line["code"] == "OUTPUT_FAILED")
        relay.wait(OFF)
        off = child.wait("OutputChanged", lambda line: line["code"] == "OUTPUT_OFF")
        assert off["epoch"] == epoch and off["error"] == 0


def test_output_that_went_off_late_is_named_after_all() -> None:
    with lone_node() as (child, relay, line):
        driving(child, relay)
        with full_output(child, relay):
            child.kill()
            first = line.wait_frame(is_death)
            line.wait_frame(lambda frame: is_death(frame) and frame.stamp > first.stamp + 120_000)
        relay.wait(OFF)
        line.wait_frame(lambda frame: is_death(frame) and bool(frame.rows[0].flags & RowFlag.ROW_DROPPED))
        assert not first.rows[0].flags & RowFlag.ROW_DROPPED


@pytest.mark.parametrize("level", ["off", "hold"])
def test_end_by_a_fault_is_like_a_death(level: str) -> None:
    second = Relay()
    with lone_node(more_outputs=[{"fd": second.write_fd, "exit": level}], more_fds=[second.write_fd]) as (
        child, relay, line,
    ):
        second.hand_over()
        driving(child, relay)
        second.wait(ON)
        assert child.ask("Stopped", do="stop", planned=False)["gate_alive"] is False
        assert second.drain_to_end() == bytes([OFF])
        line.wait_frame(lambda frame: is_death(frame) and bool(frame.rows[0].flags & RowFlag.ROW_DROPPED))
    os.close(second.fd)


def test_signal_during_a_wait_for_the_gate_is_no_failure() -> None:
    with lone_node() as (child, _relay, _line):
        child.ask("Heeded", do="heed")
        fresh = Line()
        os.kill(child.gate_pid, signal.SIGSTOP)
        child.tell(do="plug", link=0, path=fresh.path)
        until = time.monotonic() + PATIENCE_S
        while not in_system_call(child.pid, "poll"):
            assert time.monotonic() < until
        os.kill(child.pid, signal.SIGUSR2)
        os.kill(child.gate_pid, signal.SIGCONT)
        child.wait("Plugged")
        fresh.hand_over()
        assert fresh.wait_frame(lambda frame: True).source == 0
        os.close(fresh.master)


def test_lock_is_held_by_the_gate(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    fd = os.open(path, os.O_CREAT | os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with lone_node(hold_fd=fd, more_fds=[fd]) as (child, _relay, _line):
        os.close(fd)
        with open(path) as second, pytest.raises(BlockingIOError):
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        child.kill()
        assert wait_gone(child.gate_pid)
        with open(path) as second:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_death_of_the_gate_is_noticed() -> None:
    with lone_node() as (child, relay, line):
        driving(child, relay)
        os.kill(child.gate_pid, signal.SIGKILL)
        assert "gate process has ended" in child.wait("Warned")["text"]
        left = child.wait("Reported", lambda line: line["code"] == "RP_STATE" and line["node"] == State.ACTIVE)
        assert left["value"] == State.RELEASING
        first = line.wait_frame(lambda frame: frame.rows[0].state == State.RELEASING)
        line.wait_frame(lambda frame: frame.stamp > first.stamp + 500_000)     # longer than any promise of this pair
        states = {frame.rows[0].state for frame in line.frames if frame.stamp > first.stamp}
        assert states == {State.RELEASING}, "the output may still be on: nobody else may drive"
