"""The arbiter's port: noise, foreign frames, unplugged and plugged in again, the gate's word over it."""
from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
from harness import KEY, Child, Relay, lone_node, now_ns, wait_gone
from voter_player import GRANT_MS, Ask, figures, figures_when, playing, promises, silent, voted_node

from twinbeat_bridge.arbiter import frames
from twinbeat_core.frames import Echo, Frame, Row
from twinbeat_core.model import FrameKind, RowFlag
from twinbeat_core.wire import encode, wrap

ON, OFF = 1, 0
VECTORS = Path(__file__).parents[1] / "bridge" / "vote_vectors.json"
PORT = 8


def is_death(ask: Ask) -> bool:
    return ask.kind == frames.DEATH


def driving(child: Child, relay: Relay) -> int:
    """Wait until the node drives; the epoch."""
    relay.wait(ON)
    return int(child.wait("OutputChanged", lambda line: line["code"] == "OUTPUT_DRIVEN")["epoch"])


def beat(number: int, kind: int = FrameKind.FRAME_HEARTBEAT, source: int = 1) -> bytes:
    """A signed frame between gateways."""
    return bytes(encode(
        Frame(source=source, incarnation=77, stamp=now_ns() // 1000 + number, pair_id=7, config_digest=11, kind=kind,
              link_seq=number, echoes=(Echo(0, 1, 100, 1000, 1),), rows=(Row(0, 15, RowFlag.ROW_DROPPED, 0),)),
        KEY,
    ))


# ---------------------------------------------------------------- what comes in


def test_noise_and_half_frames_are_counted_and_stop_nothing() -> None:
    with voted_node(silent) as (child, relay, _line, player):
        ask = player.wait(lambda ask: ask.claims)
        whole = frames.wrap(player.head_of(ask, frames.VOTE, 0))
        before = figures(child)["noise"]
        player.write(b"\x07\x99noise" + whole[: len(whole) // 2])      # the arbiter lost its supply in mid-frame
        player.write(whole)
        player.write(b"\xaa" * 3000 + whole)
        now = figures_when(child, lambda now: now["answers"] >= 2)
        assert now["noise"] - before >= 2 and now["bad_form"] == 0
        assert now["attached"] and now["faults"] == 0
        player.act = promises
        relay.wait(ON)


def test_frames_of_others_on_its_port_are_bad_form() -> None:
    """The crosslink and the arbiter's cable may be swapped; a crossed cable brings the asks back."""
    with voted_node(silent) as (child, relay, _line, player):
        ask = player.wait(lambda ask: ask.claims)
        player.write(wrap(beat(1)))
        back = struct.pack(frames.ASK_HEAD, frames.VERSION, frames.ASK, 0, 0, ask.pair, ask.incarnation,
                                  ask.stamp & 0xFFFFFFFF, ask.stamp >> 32, 0, 0, ask.grant)
        player.write(frames.wrap(back))
        now = figures_when(child, lambda now: now["bad_form"] >= 2)
        assert (now["bad_form"], now["answers"], now["noise"]) == (2, 0, 0)
        assert child.ask("View", do="view")["links"][0]["rx_frames"] == 0, "a heartbeat from there is none"
        player.act = promises
        relay.wait(ON)


def vectors(name: str) -> list[dict[str, Any]]:
    found = json.loads(VECTORS.read_text(encoding="utf-8"))[name]
    assert isinstance(found, list)
    return found


def test_the_vectors_bad_answers_give_no_vote() -> None:
    """Answers to the gateway of the first vector: counted by what is wrong with them, or too late to matter."""
    good = vectors("votes")[0]
    wrong = {vector["name"]: bytes.fromhex(vector["hex"]) for vector in vectors("bad_answers")}
    form = ["heartbeat_version", "short", "row_missing", "row_too_many", "half_row", "seventeen_rows", "unknown_kind",
            "an_ask", "code_zero", "code_nine", "told_short", "told_with_rows"]
    parameters = {"pair_id": good["pair"], "incarnation": good["incarnation"], "voter": good["voter"]}
    with voted_node(silent, **parameters) as (child, relay, _line, player):
        asked = player.wait(lambda ask: ask.claims)
        assert (asked.pair, asked.incarnation) == (good["pair"], good["incarnation"])
        for body in wrong.values():
            player.write(frames.wrap(body))
        now = figures_when(child, lambda now: now["other_node"] >= 2)
        assert now["bad_form"] == len(form) and set(form) <= set(wrong)
        assert (now["other_voter"], now["other_node"]) == (1, 2)
        assert not relay.read(0.0).count(ON) and not any(byte == ON for _, byte in relay.history)
        player.head = {"voter": good["voter"]}
        player.act = promises
        relay.wait(ON)


# ---------------------------------------------------------------- plug


def test_unplugged_and_plugged_in_again() -> None:
    with voted_node() as (child, relay, _line, player), playing() as second:
        driving(child, relay)
        player.unplug()
        assert child.wait("SerialFault")["link"] == PORT
        relay.wait(OFF)
        now = figures(child)
        assert (now["attached"], now["faults"]) == (False, 1)
        assert child.ask("Plugged", do="arbiter", path="")["error"] == ""
        assert child.ask("Plugged", do="arbiter", path=second.path)["error"] == ""
        assert second.wait(lambda ask: ask.claims).incarnation == 1000
        relay.wait(ON)
        now = figures(child)
        assert (now["attached"], now["faults"]) == (True, 1)
        child.kill()
        assert second.wait(is_death).incarnation == 1000, "the gate has the new port as well"


def test_a_port_that_is_taken_away_is_no_fault() -> None:
    with voted_node() as (child, relay, _line, player), playing() as second:
        driving(child, relay)
        assert child.ask("Plugged", do="arbiter", path="")["error"] == ""
        relay.wait(OFF)
        now = figures_when(child, lambda now: not now["attached"])
        assert now["faults"] == 0
        assert child.ask("Plugged", do="arbiter", path=second.path)["error"] == ""
        relay.wait(ON)
        assert player.heard[-1].stamp < second.heard[0].stamp, "nothing goes to the old port"


# ---------------------------------------------------------------- the gate


def test_the_gate_tells_the_arbiter_of_the_death() -> None:
    with voted_node() as (child, relay, _line, player):
        epoch = driving(child, relay)
        child.kill()
        relay.wait(OFF)
        notice = player.wait(is_death)
        assert (notice.node, notice.pair, notice.incarnation) == (0, 7, 1000)
        assert notice.rows == ((0, epoch),)
        player.wait_many(5, is_death)
        assert wait_gone(child.gate_pid)
        deaths = [ask for ask in player.heard if is_death(ask)]
        assert len({ask.stamp for ask in deaths}) == len(deaths), "repeated, each with a stamp of its own"
        assert player.leases.dead(notice.node, notice.incarnation, 0), "its promise was still running"


def test_the_gate_names_a_group_when_its_release_time_is_over() -> None:
    with voted_node(release_ms=200) as (child, relay, _line, player):
        epoch = driving(child, relay)
        killed_at = now_ns()
        child.kill()
        relay.wait(OFF)
        assert player.wait(is_death).rows == ()
        named = player.wait(lambda ask: is_death(ask) and ask.rows == ((0, epoch),))
        assert named.stamp * 1000 >= killed_at + 200_000_000


def test_death_in_mid_frame_does_not_spoil_the_notice() -> None:
    """Half an ask stands on the line: the notice begins with a delimiter of its own."""
    with voted_node() as (child, relay, _line, player):
        driving(child, relay)
        os.write(player.slave, frames.wrap(b"\xd1\x01" + bytes(24))[:9])
        child.kill()
        assert player.wait(is_death).rows


# ---------------------------------------------------------------- set_arbiter, death_notices


def test_settings_without_a_third_voter_take_no_arbiter() -> None:
    with lone_node() as (child, _relay, _line):
        assert child.ask("View", do="view")["arbiter"] is None
        assert child.ask("Plugged", do="arbiter", path="")["error"] == "these settings have no third voter"


@pytest.mark.parametrize(
    ("groups", "error"), [(16, ""), (17, "17 groups; an arbiter serves at most 16")]
)
def test_an_arbiter_serves_sixteen_groups(groups: int, error: str) -> None:
    with lone_node(groups=groups, third_grant_ms=GRANT_MS) as (child, _relay, _line):
        assert child.ask("Plugged", do="arbiter", path="")["error"] == error


def test_asks_go_to_python_where_no_arbiter_is_set() -> None:
    with lone_node(third_grant_ms=GRANT_MS) as (child, _relay, _line):
        asked = child.wait("AskVoter", lambda line: line["epoch"] > 0)
        assert asked["group"] == 0 and asked["stamp"] > 0
        child.ask("Posted", do="command", code="CMD_STOP")
        assert child.wait("ReturnPromise")["epoch"] >= asked["epoch"]


def test_the_newest_death_notice_of_a_node_is_kept_as_it_came() -> None:
    with lone_node(third_grant_ms=GRANT_MS) as (child, _relay, line):
        assert child.ask("Notices", do="notices", node=1)["found"] == []
        for number in (1, 2):
            notice = beat(number, FrameKind.FRAME_DEATH)
            os.write(line.master, wrap(beat(number + 10)) + wrap(notice))
            seen: list[str] = []
            while seen != [notice.hex()]:
                seen = child.ask("Notices", do="notices", node=1)["found"]
                assert len(seen) <= 1
        assert child.ask("Notices", do="notices", node=0)["found"] == []
