"""Lines as they are: noise, half frames, unplugged ports, strangers on UDP, full rings."""
from __future__ import annotations

import contextlib
import os
import socket

from harness import KEY, Child, Line, Relay, lone_node, now_ns

from twinbeat_core.frames import Echo, Frame, Row
from twinbeat_core.model import FrameFlag
from twinbeat_core.wire import decode, encode, wrap


def peer_frame(number: int, pair_id: int = 7) -> bytes:
    """A signed heartbeat of node 1, not yet wrapped."""
    frame = Frame(
        source=1, incarnation=77, stamp=now_ns() // 1000 + number, pair_id=pair_id,
        config_digest=11, link_seq=number,
        echoes=(Echo(0, 1, 100, 1000, 1),), rows=(Row(0, 15, 0, 0),),
    )
    return bytes(encode(frame, KEY))


def test_noise_and_half_frames_cost_only_themselves() -> None:
    with lone_node() as (child, _relay, line):
        whole = wrap(peer_frame(1))
        os.write(line.master, b"\x07\x99noise" + whole[: len(whole) // 2])   # the sender dies in mid-frame
        os.write(line.master, wrap(peer_frame(2)))
        wrong_key = encode(decode(peer_frame(3), KEY, 7), bytes(16))
        os.write(line.master, wrap(wrong_key) + wrap(peer_frame(4, pair_id=8)))
        os.write(line.master, b"\xaa" * 3000 + wrap(peer_frame(5)))
        for _ in range(100):
            counts = child.ask("View", do="view")["links"][0]
            if counts["rx_frames"] >= 2 and counts["other_pair"]:
                break
        assert counts["rx_frames"] == 2, counts
        assert counts["noise"] >= 2 and counts["bad_tag"] == 1 and counts["other_pair"] == 1


def test_unplugged_port_is_told_once_and_can_be_plugged_in_again() -> None:
    with lone_node() as (child, _relay, line):
        line.wait_frame(lambda frame: True)
        os.write(line.master, b"\xaa" * 3000 + wrap(peer_frame(1)))
        for _ in range(200):
            before = child.ask("View", do="view")["links"][0]
            if before["rx_frames"]:
                break
        os.close(line.master)
        assert child.wait("SerialFault")["link"] == 0
        view = child.ask("View", do="view")
        assert view["links"][0]["attached"] is False and view["links"][0]["faults"] == 1
        fresh = Line()
        child.ask("Plugged", do="plug", link=0, path=fresh.path)
        fresh.hand_over()
        first = fresh.wait_frame(lambda frame: True)
        assert first.source == 0
        spins = child.ask("View", do="view")
        assert spins["links"][0]["attached"] is True and spins["links"][0]["faults"] == 1
        assert spins["links"][0]["noise"] >= before["noise"] > 0, "a counter does not go back at a new descriptor"
        child.kill()
        fresh.wait_frame(lambda frame: frame.kind == 1)      # the gate has the new port as well
        line.master = fresh.master


def test_a_line_that_nobody_reads_is_not_waited_for() -> None:
    with lone_node(period_ms=2, check_ms=1) as (child, relay, _line):
        for _ in range(2000):
            counts = child.ask("View", do="view")["links"][0]
            if counts["tx_dropped"] > 3:
                break
            relay.read(0.01)
        assert counts["tx_dropped"] > 3 and counts["attached"]
        assert child.ask("View", do="view")["decider"]["steps"] > 0


def test_udp_knows_its_peers() -> None:
    ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ours.bind(("127.0.0.1", 0))
    theirs = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    theirs.bind(("127.0.0.1", 0))
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ours.settimeout(20)
    with contextlib.ExitStack() as stack:
        for item in (ours, theirs, stranger):
            stack.callback(item.close)
        relay = Relay()
        child = Child(
            [relay.write_fd, theirs.fileno()], links=["LINK_UDP"], outputs=[{"fd": relay.write_fd}],
            udp={"0": [theirs.fileno(), [["127.0.0.1", ours.getsockname()[1]]]]},
        )
        stack.callback(child.close)
        relay.hand_over()
        assert decode(ours.recv(1000), KEY, 7).source == 0
        stranger.sendto(peer_frame(1), theirs.getsockname())
        ours.sendto(peer_frame(2), theirs.getsockname())
        for _ in range(200):
            counts = child.ask("View", do="view")["links"][0]
            if counts["rx_frames"] and counts["stranger"]:
                break
        assert counts["rx_frames"] == 1 and counts["stranger"] == 1
        relay.wait(1)
        child.kill()
        relay.wait(0)
        while decode(ours.recv(1000), KEY, 7).kind != 1:
            pass


def test_full_rings_are_counted_and_a_still_interpreter_is_noticed() -> None:
    with lone_node(links=["LINK_SERIAL", "LINK_MQTT"], period_ms=5, zombie_ms=300) as (child, relay, line):
        relay.wait(1)
        posted = child.ask("Flooded", do="flood", n=3000)["ok"]
        lost = child.ask("View", do="view")["lost"]
        assert posted + lost["python_events"] == 3000
        child.tell(do="freeze")
        unfit = 0

        def long_unfit(frame: Frame) -> bool:
            nonlocal unfit
            unfit += bool(frame.flags & FrameFlag.FLAG_UNFIT)
            return unfit > 150           # more beats for MQTT than its ring holds

        line.wait_frame(long_unfit)
        child.tell(do="thaw")
        assert "stood still" in child.wait("Warned", lambda line: "still" in line["text"])["text"]
        child.wait("Warned", lambda line: "runs again" in line["text"])
        assert child.ask("View", do="view")["lost"]["sends"] > 0
