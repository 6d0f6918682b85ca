"""`twinbeat owner` against a real control socket, and the verbs in a whole agent."""
from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from owner_rig import SHARDS, SocketRig
from run_fakes import core_view, peer_view, state_report
from run_rig import Rig

from twinbeat.cli_dispatch import dispatch
from twinbeat.client import Client, Owner
from twinbeat.run_loop import boottime_ns
from twinbeat.sharding import shard_of
from twinbeat_core.events import Health
from twinbeat_core.model import Cause, State

KEY = next(key for key in map("dev-{}".format, range(1000)) if shard_of(key, SHARDS) == 2)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[SocketRig]:
    rig = SocketRig(tmp_path)
    yield rig
    rig.stop()


def ask(rig: SocketRig, *words: str) -> int:
    return dispatch(["owner", *words, "--socket", str(rig.path)])


def test_who_owns_a_key(rig: SocketRig, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(rig, KEY) == 1
    assert capsys.readouterr().out == (
        f"{KEY}: lines.2: nobody owns it now; nobody for at most 72.5 ms when a node fails\n")
    rig.change(lambda: rig.world.peer_epoch.update({2: 25}))
    assert ask(rig, KEY) == 0
    assert f"{KEY}: lines.2: gw-b, epoch 25, for " in capsys.readouterr().out
    rig.change(lambda: (rig.world.peer_epoch.clear(), rig.world.drive(2, 33)))
    assert ask(rig, KEY) == 0
    assert "gw-a (this node, but not to be handled yet), epoch 33" in capsys.readouterr().out
    rig.change(lambda: rig.world.drive(2, 33, ago_ms=500))
    assert ask(rig, KEY) == 0
    assert "gw-a (this node, its authority lasts 2" in capsys.readouterr().out
    assert ask(rig, KEY, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["owner"], answer["epoch"], answer["mine"], answer["key"]) == ("gw-a", 33, True, KEY)


def test_all_units(rig: SocketRig, capsys: pytest.CaptureFixture[str]) -> None:
    for shard in range(SHARDS):
        rig.change(lambda shard=shard: rig.world.drive(shard, 33, ago_ms=500))
    assert ask(rig) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "lines.0: gw-a, epoch 33, may be handled here" and lines[-1] == "pump: nobody"
    assert ask(rig, "--group", "lines", "--json") == 0
    assert [unit["unit"] for unit in json.loads(capsys.readouterr().out)] == [f"lines.{n}" for n in range(SHARDS)]


def test_wrong_groups_and_no_agent(rig: SocketRig, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for words in (["--group", "tanks"], [KEY, "--group", "tanks"], [KEY, "--group", "tanks", "--watch"]):
        assert ask(rig, *words) == 2
        assert 'there is no group "tanks"; the groups are lines' in capsys.readouterr().err
    for words in ([KEY], ["--watch"]):
        assert dispatch(["owner", *words, "--socket", str(tmp_path / "none")]) == 6
        assert "no agent is running" in capsys.readouterr().err


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_watching(
    rig: SocketRig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, form: tuple[str, ...]
) -> None:
    """The command ends where a person would interrupt it: with the first change of the key that it is about."""
    seen = threading.Event()

    class Interrupted(Client):
        def changes(self, limit_s: float | None = None) -> Iterator[Owner]:
            found = super().changes(10)

            def until_ours() -> Iterator[Owner]:
                rig.change(lambda: rig.world.drive(1, 9, ago_ms=500))
                rig.change(lambda: rig.world.drive(2, 17, ago_ms=500))
                for change in found:
                    yield change
                    if change.unit == "lines.2":
                        seen.set()
                        return

            return until_ours()

    monkeypatch.setattr("twinbeat.commands.owner.Client", Interrupted)
    assert ask(rig, KEY, "--watch", *form) == 0
    assert seen.is_set()
    lines = capsys.readouterr().out.splitlines()
    if form:
        first, last = (json.loads(line) for line in lines)
        assert (first["node"], last["node"], last["epoch"]) == (None, "gw-a", 17)
    else:
        assert lines == ["lines.2: nobody", "lines.2: gw-a, epoch 17, may be handled here"]


# ------------------------------------------------------------ in a whole agent


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Rig]:
    whole = Rig(tmp_path)
    yield whole
    whole.gate.end()


def active(epoch: int, since_ms: float) -> dict[str, Any]:
    view = core_view("ACTIVE", epoch=epoch, now_ns=boottime_ns())
    view["groups"][0] |= {"since_ms": since_ms}
    return view


def test_the_agent_answers_and_pushes(whole: Rig) -> None:
    def scenario() -> None:
        whole.rt.core = core_view(peers=[peer_view(1, state="ACTIVE", epoch=9)])
        assert whole.ask("owner", key="any")["owner"] == "gw-b"
        whole.rt.push(state_report(State.STANDBY, State.CLAIMING, Cause.CAUSE_DEATH_NOTICE),
                      state_report(State.CLAIMING, State.ACTIVE, Cause.CAUSE_MAJORITY))
        whole.in_loop(whole.agent.notified)
        assert whole.ask("owner", key="any")["cause"] == "DEATH_NOTICE", "why it claimed, not how it was granted"
        assert whole.ask("status")["watchers"] == 0
        with Client(whole.socket_path) as client:
            client.wait_ready(10)
            assert whole.ask("status")["watchers"] == 1
            changes = client.changes(10)
            whole.rt.core = active(17, 9000.0)
            whole.in_loop(whole.agent.look)
            change = next(changes)
            assert (change.unit, change.node, change.epoch, change.mine) == ("pump", "gw-a", 17, True)
            whole.rt.core = active(17, 9000.0)
            lease = client.lease("any")
            assert lease is None or lease.epoch == 17
        assert whole.ask("lease")["ok"]
        assert whole.ask("owner", key="any")["nobody_ms_max"] > 0
        whole.rt.core = core_view()

    whole.run(scenario)


CHECK = '[[check]]\nname = "file"\ntype = "file"\npath = "/proc/stat"\nmax_age_s = 60\n'


@pytest.mark.parametrize("check", ["", CHECK])
def test_a_reported_load_reaches_the_core(whole: Rig, check: str) -> None:
    whole.voter = check

    def scenario() -> None:
        assert whole.ask("load", percent=100, ttl_s=600) == {"ok": True, "load": 100}
        whole.rt.wait(
            lambda: any(isinstance(event, Health) and event.load == 100 for event in whole.rt.posted), "the load"
        )
        assert whole.ask("load", percent=500)["exit_code"] == 2

    whole.run(scenario)
