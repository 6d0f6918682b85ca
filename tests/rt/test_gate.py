"""The gate, as the outputs and the peer see it: kill, stop, signals, planned end."""
from __future__ import annotations

import fcntl
import os
import select
import signal
from pathlib import Path

import pytest
from harness import PATIENCE_S, Child, Relay, alive, lone_node, now_ns, wait_gone

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


def test_full_output_is_finished_later() -> None:
    with lone_node() as (child, relay, _line):
        driving(child, relay)
        path = f"/proc/{child.gate_pid}/fd"
        name = os.readlink(f"/proc/self/fd/{relay.fd}")
        held = next(fd for fd in os.listdir(path) if os.readlink(f"{path}/{fd}") == name)
        with open(f"{path}/{held}", "wb", buffering=0) as stuffing:
            fcntl.fcntl(stuffing, fcntl.F_SETPIPE_SZ, 4096)
            os.set_blocking(stuffing.fileno(), False)
            while stuffing.write(b"\x55" * 4096):
                pass
        child.kill()
        assert wait_gone(child.pid)
        assert relay.drain_to_end().endswith(bytes([OFF]))


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
    with lone_node() as (child, relay, _line):
        driving(child, relay)
        os.kill(child.gate_pid, signal.SIGKILL)
        assert "gate process has ended" in child.wait("Warned")["text"]
        left = child.wait("Reported", lambda line: line["code"] == "RP_STATE" and line["node"] == State.ACTIVE)
        assert left["value"] != State.ACTIVE
