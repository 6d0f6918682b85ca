"""Two nodes on one line: what the gates do, seen at both outputs."""
from __future__ import annotations

import contextlib
import os
import pty
import signal
import tty
from collections.abc import Iterator

from harness import Child, Relay, alive, wait_gone

from twinbeat_core.model import State

ON, OFF = 1, 0


@contextlib.contextmanager
def pair() -> Iterator[tuple[list[Child], list[Relay]]]:
    """Node 0 drives, node 1 stands by."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    relays = [Relay(), Relay()]
    children: list[Child] = []
    try:
        for node, fd in enumerate((master, slave)):
            children.append(Child([fd, relays[node].write_fd], node=node, serial={"0": fd},
                                  outputs=[{"fd": relays[node].write_fd}]))
            os.close(fd)
            relays[node].hand_over()
        relays[0].wait(ON)
        children[1].wait("Reported", lambda line: line["code"] == "RP_PEER_UP")
        yield children, relays
    finally:
        for child in children:
            child.close()
        for relay in relays:
            os.close(relay.fd)


def test_kill_moves_the_output_without_overlap() -> None:
    with pair() as (children, relays):
        children[0].kill()
        off_at = relays[0].wait(OFF)
        on_at = relays[1].wait(ON)
        assert off_at < on_at + 1_000_000, "two stamps of one reader may be a little out of order"
        children[1].wait_state(State.ACTIVE)
        assert wait_gone(children[0].gate_pid)


def test_stopped_node_lets_go_first_and_follows_afterwards() -> None:
    with pair() as (children, relays):
        os.kill(children[0].pid, signal.SIGSTOP)
        off_at = relays[0].wait(OFF)
        on_at = relays[1].wait(ON)
        assert off_at < on_at
        os.kill(children[0].pid, signal.SIGCONT)
        children[0].wait_state(State.STANDBY)
        assert ON not in relays[0].read(0.3), "the one that slept does not drive again"
        assert alive(children[0].gate_pid)


def test_planned_handover() -> None:
    with pair() as (children, relays):
        assert children[0].ask("Posted", do="command", code="CMD_HANDOVER")["ok"]
        off_at = relays[0].wait(OFF)
        on_at = relays[1].wait(ON)
        assert off_at < on_at + 1_000_000
        children[0].wait_state(State.STANDBY)


def test_standby_that_dies_moves_nothing() -> None:
    with pair() as (children, relays):
        children[1].kill()
        children[0].wait("Reported", lambda line: line["code"] == "RP_PEER_DEAD")
        assert relays[0].read(0.5) == b""
        assert children[0].ask("View", do="view")["levels"] == [True]
