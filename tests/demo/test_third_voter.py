"""The demo's third voter in pieces: configuration, cables, contact log, what its absence may do, its part in words."""
from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import sys
import tty
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from twinbeat.bench import arbiter_trip
from twinbeat.config import Config, load_config
from twinbeat.config_schema import ArbiterVoter, WitnessVoter, ZookeeperVoter
from twinbeat.demo import explain, procs, switchboard, voter_arbiter, voter_zookeeper
from twinbeat.demo.agents import NODES, PairSettings, config_text
from twinbeat.demo.command import exit_code, make_report, parse
from twinbeat.demo.contacts import ContactLog, LogReader
from twinbeat.demo.faults import FAULTS
from twinbeat.demo.helper import Helper, RigError
from twinbeat.demo.lines import Socket
from twinbeat.demo.measure import Change, evaluate
from twinbeat.demo.status import both_ready, voter_word
from twinbeat.demo.switchboard import Switchboard
from twinbeat.demo.trial import TrialRecord
from twinbeat.demo.voter_arbiter import Arbiter
from twinbeat.demo.voter_process import Process, ThirdVoter
from twinbeat.demo.voter_witness import Witness
from twinbeat.demo.voter_zookeeper import ZooKeeper

MS = 1_000_000
WAIT_S = 5.0
ARBITER = PairSettings(third_voter="arbiter")
GATED = replace(ARBITER, gated=True)


# ---------------------------------------------------------------- configuration
def read(tmp_path: Path, settings: PairSettings, voter: ThirdVoter) -> Config:
    """What the agents read."""
    kinds = ["cross"] if settings.gated else ["cross", "relay"]
    ports = {node: {kind: f"/dev/{node}-{kind}" for kind in kinds} | voter.ports().get(node, {}) for node in NODES}
    path = tmp_path / "twinbeat.toml"
    path.write_text(config_text(settings, 18830, ports, voter.config_lines()))
    return load_config(path, NODES[0])


def test_the_arbiter_is_configured_with_a_line_of_its_own(tmp_path: Path) -> None:
    arbiter = Arbiter(tmp_path, ARBITER, lambda _change: None)
    config = read(tmp_path, ARBITER, arbiter)
    assert isinstance(config.third_voter, ArbiterVoter)
    assert config.third_voter.id == arbiter.voter_id
    assert config.serial_path(config.third_voter.port) == str(arbiter.near[NODES[0]])
    assert [type(output).__struct_config__.tag for output in config.groups[0].outputs] == ["serial-relay"]
    assert f"{config.pair_id}" == arbiter.command(7)[arbiter.command(7).index("--pair") + 1]
    assert arbiter.command(7)[arbiter.command(7).index("--gated") + 1] == "0"


def test_a_gating_arbiter_is_the_output_and_needs_no_board(tmp_path: Path) -> None:
    arbiter = Arbiter(tmp_path, GATED, lambda _change: None)
    config = read(tmp_path, GATED, arbiter)
    assert [type(output).__struct_config__.tag for output in config.groups[0].outputs] == ["arbiter"]
    assert config.groups[0].release_ms == GATED.contact_release_ms
    command = arbiter.command(7)
    assert command[command.index("--gated") + 1] == "1"
    assert command[command.index("--release-ms") + 1] == f"{GATED.contact_release_ms:g}"
    assert command[command.index("--log") + 1] == "/dev/fd/7"


def test_the_witness_asks_through_the_proxy_and_is_asked_past_it(tmp_path: Path) -> None:
    witness = Witness(tmp_path, SimpleNamespace(port=18831, speaks_mqtt5=True), 18830)    # type: ignore[arg-type]
    config = read(tmp_path, PairSettings(third_voter="witness"), witness)
    assert isinstance(config.third_voter, WitnessVoter)
    assert config.third_voter.broker.endswith(":18831")
    assert ':18830"' in (tmp_path / "witness.toml").read_text()


def test_a_witness_behind_an_old_broker_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(RigError, match="install mosquitto"):
        Witness(tmp_path, SimpleNamespace(port=1, speaks_mqtt5=False), 2)    # type: ignore[arg-type]


def test_zookeeper_is_configured_or_missed_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voter_zookeeper, "unavailable", lambda: None)
    config = read(tmp_path, PairSettings(third_voter="zookeeper"), ZooKeeper(tmp_path))
    assert isinstance(config.third_voter, ZookeeperVoter)
    port = config.third_voter.hosts.rpartition(":")[2]
    assert f"clientPort={port}" in (tmp_path / "zoo.cfg").read_text()
    monkeypatch.undo()
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(RigError, match="apt install zookeeper"):
        ZooKeeper(tmp_path)


def test_micropython_is_taken_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for found, runner in ((None, sys.executable), ("/opt/micropython", "/opt/micropython")):
        monkeypatch.setattr(voter_arbiter, "find_micropython", lambda found=found: found)
        arbiter = Arbiter(tmp_path, GATED, lambda _change: None)
        assert arbiter.command(7)[0] == runner
        assert arbiter.describe().startswith(f"arbiter in {'Micro' if found else 'C'}Python")


# ---------------------------------------------------------------- the contact log
def test_contacts_are_read_in_any_pieces_of_the_demos_group_alone() -> None:
    log = ContactLog(NODES, 500)
    text = b"10 0 0 1\n20 1 1 1\nnonsense\n30 0 9 1\n40 0 0 0\n45 0 1 1\n"
    found = [change for place in range(len(text)) for change in log.feed(text[place:place + 1])]
    assert found == [Change(10_500, "gw-a", True), Change(40_500, "gw-a", False), Change(45_500, "gw-b", True)]
    assert log.noise == 2
    assert log.end(99) == [Change(99, "gw-b", False, "power")]
    assert log.end(100) == []


def test_a_contact_that_closes_before_the_other_opens_is_both_on_at_once() -> None:
    log = ContactLog(NODES, 0)
    good = log.feed(b"1000 0 0 1\n120000 0 0 0\n123000 0 1 1\n")
    bad = ContactLog(NODES, 0).feed(b"1000 0 0 1\n123000 0 1 1\n125000 0 0 0\n")
    seen = [evaluate(changes, 100 * MS, 300 * MS, 400 * MS, GATED.judged_release_ms) for changes in (good, bad)]
    assert [(figures.overlap_ms, figures.gap_ms, figures.role_changes) for figures in seen] == [(0, 3, 1), (2, 0, 1)]


def test_when_the_arbiters_process_ends_its_contacts_are_open() -> None:
    added: queue.Queue[Change] = queue.Queue()
    reader = LogReader(NODES, added.put)
    with subprocess.Popen([sys.executable, "-c", f"import os; os.write({reader.write_fd}, b'5 0 1 1\\n')"],
                          pass_fds=(reader.write_fd,)):
        reader.start()
        assert (added.get(timeout=WAIT_S).node, added.get(timeout=WAIT_S).cause) == ("gw-b", "power")
    reader.join()
    assert added.empty()


# ---------------------------------------------------------------- cables
def test_no_two_cuts_share_a_place() -> None:
    clients = [*range(switchboard.NODES), switchboard.WITNESS]
    places = [place(node) for place in (switchboard.dark, switchboard.wire_cut, switchboard.voter_cut)
              for node in range(switchboard.NODES)] + [switchboard.mqtt_cut(client) for client in clients]
    assert len(set(places)) == len(places)


def test_third_voters_have_a_supply_of_their_own(tmp_path: Path) -> None:
    board = Switchboard(tmp_path / "board", create=True)
    board.set(switchboard.dark(0), True)
    assert (board.voter_silent(0), board.voter_silent(1)) == (True, False)
    assert not board.mqtt_silent(switchboard.WITNESS)
    board.set(switchboard.mqtt_cut(switchboard.WITNESS), True)
    assert board.mqtt_silent(switchboard.WITNESS)
    assert not board.mqtt_silent(1)


def connect(path: Path) -> socket.socket:
    """A board plugged into a socket line."""
    plug = socket.socket(socket.AF_UNIX)
    plug.connect(str(path))
    plug.settimeout(WAIT_S)
    return plug


def test_a_socket_line_is_who_connected_last(tmp_path: Path) -> None:
    line = Socket(tmp_path / "line")
    assert line.write(b"lost") == 0
    first, second = connect(line.path), connect(line.path)
    first.sendall(b"old")
    second.sendall(b"new")
    assert line.read() == b"old"
    assert line.read() == b"new"
    assert first.recv(9) == b""
    assert line.write(b"down") == 4
    assert second.recv(9) == b"down"
    second.close()
    assert line.read() == b""
    assert len(line.masters) == 1
    line.close()
    assert not line.path.exists()
    first.close()


def test_each_gateway_has_its_own_cable_to_the_arbiter(tmp_path: Path) -> None:
    board = Switchboard(tmp_path / "board", create=True)
    near = [tmp_path / f"{node}-arbiter" for node in NODES]
    far = [tmp_path / f"arbiter-{side}" for side in range(2)]
    words = [str(word) for pair in zip(near, far, strict=True) for path in pair for word in ("--port", path)]
    helper = Helper("voter-wire", "twinbeat.demo.wire", ["--board", str(tmp_path / "board"), "--voter", *words],
                    tmp_path / "log")
    helper.wait_ready()
    ends = [os.open(path, os.O_RDWR | os.O_NOCTTY) for path in near]
    for end in ends:
        tty.setraw(end)
    boards = [connect(path) for path in far]
    board.set(switchboard.voter_cut(0), True)
    for end in ends:
        os.write(end, b"ask\0")
    deadline = procs.now_ns() + WAIT_S * 1e9
    while helper.request(stats=True, cable=0)["stats"][0]["bytes_in"] < 4:
        assert procs.now_ns() < deadline
    assert boards[1].recv(9) == b"ask\0"
    boards[1].sendall(b"vote\0")
    assert os.read(ends[1], 9) == b"vote\0"
    board.set(switchboard.voter_cut(0), False)
    os.write(ends[0], b"again\0")
    assert boards[0].recv(9) == b"again\0"
    stats = [helper.request(stats=True, cable=cable)["stats"][0]["bytes_cut"] for cable in range(2)]
    assert stats == [4, 0]
    for plug in boards:
        plug.close()
    for end in ends:
        os.close(end)
    helper.close()


# ---------------------------------------------------------------- processes
def test_a_voter_that_ends_while_it_starts_is_reported_with_its_last_words(tmp_path: Path) -> None:
    process = Process("witness", tmp_path / "log")
    process.start([sys.executable, "-c", "import sys; sys.exit('the key file is missing')"])
    with pytest.raises(RigError, match="witness did not start: the key file is missing"):
        process.wait_until(lambda: False, WAIT_S)
    assert process.pid is None
    process.stop()


def test_the_arbiter_answers_and_promises_over_a_pty() -> None:
    found = arbiter_trip.measure(quick=True)
    assert found["promised"] == found["asks"] == arbiter_trip.ASKS[True]
    assert 0 < found["round_trip_ms"]["p50"] <= found["round_trip_ms"]["p99"]


# ---------------------------------------------------------------- options and promises
@pytest.mark.parametrize(("words", "message"), [
    (["--fault", "voter-kill"], "needs --third-voter arbiter or witness or zookeeper"),
    (["--fault", "cut-voter", "--third-voter", "witness"], "needs --third-voter arbiter"),
    (["--gated"], "needs --third-voter arbiter"),
    (["--gated", "--third-voter", "zookeeper"], "needs --third-voter arbiter"),
    (["--third-voter", "judge"], "invalid choice"),
])
def test_what_does_not_go_together_is_a_usage_error(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(words)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def record(fault: str, changes: list[Change], votes: dict[str, str] | None = None) -> TrialRecord:
    """A trial with the fault at 100 ms and gw-a driving."""
    figures = evaluate(changes, 100 * MS, 500 * MS, 900 * MS)
    return TrialRecord(1, FAULTS[fault], "gw-a", 100 * MS, 500 * MS, 900 * MS, changes, figures, {}, False, "arbiter",
                       votes or {})


BOTH = [Change(0, "gw-a", True), Change(140 * MS, "gw-b", True), Change(180 * MS, "gw-a", False)]
GONE = [Change(0, "gw-a", True), Change(120 * MS, "gw-a", False)]


@pytest.mark.parametrize(("words", "changes", "expected"), [
    (["--fault", "cut-all", "--third-voter", "arbiter"], BOTH, 1),
    (["--fault", "cut-all", "--third-voter", "arbiter", "--lone", "hold"], GONE, 1),
    (["--fault", "cut-all"], BOTH, 0),
    (["--fault", "freeze"], BOTH, 0),
    (["--fault", "freeze", "--third-voter", "arbiter"], BOTH, 0),
    (["--fault", "freeze", "--third-voter", "arbiter", "--gated"], BOTH, 1),
    (["--fault", "voter-kill", "--third-voter", "arbiter"], GONE, 1),
    (["--fault", "voter-kill", "--third-voter", "arbiter", "--gated"], GONE, 0),
    (["--fault", "cut-voter", "--third-voter", "arbiter", "--gated"], GONE, 1),
    (["--fault", "voter-unplug", "--third-voter", "witness"], GONE, 1),
])
def test_exit_code_follows_what_a_third_voter_promises(words: list[str], changes: list[Change], expected: int) -> None:
    options = parse(words)
    report = json.loads(json.dumps(make_report(options, [record(options.fault.name, changes)], {}, {})))
    assert exit_code(options, report) == expected
    assert report["machine"]["gated"] is ("--gated" in words)


def test_where_the_arbiter_gates_a_cut_cable_moves_the_role() -> None:
    assert FAULTS["cut-voter"].moves(GATED)
    assert not FAULTS["cut-voter"].moves(ARBITER)


# ---------------------------------------------------------------- what it says
def arbiter_status(code: int, ago_ms: float | None) -> dict[str, Any]:
    """A status with what an arbiter last said."""
    return {"third_voter": {"type": "arbiter", "groups": [{"group": 0, "code": code, "ago_ms": ago_ms}]}}


@pytest.mark.parametrize(("status", "word"), [
    ({}, None),
    ({"third_voter": None}, None),
    (arbiter_status(1, 3.0), "promised"),
    (arbiter_status(2, 30.0), "refused"),
    (arbiter_status(3, 3.0), "abstains"),
    (arbiter_status(1, 900.0), "silent"),
    (arbiter_status(1, None), "silent"),
    ({"third_voter": {"type": "arbiter", "groups": []}}, "silent"),
    ({"third_voter": {"type": "witness", "connected": True, "answering": True}}, "answers"),
    ({"third_voter": {"type": "witness", "connected": True, "answering": False}}, "silent"),
    ({"third_voter": {"type": "zookeeper", "connected": False}}, "silent"),
    ({"third_voter": {"type": "zookeeper", "connected": True}, "groups": [{"votes": {"the third voter": 9.0}}]},
     "promised"),
])
def test_the_status_tells_what_the_third_voter_said(status: dict[str, Any], word: str | None) -> None:
    assert voter_word(status) == word


@pytest.mark.parametrize(("codes", "ready"), [((1, 2), True), ((2, 1), False), ((1, 3), False), ((3, 3), False)])
def test_the_next_fault_waits_for_the_third_voter(codes: tuple[int, int], ready: bool) -> None:
    states = ("ACTIVE", "STANDBY")
    answers = {node: {"ok": True, "groups": [{"state": state}], "links": [{"up": True}], **arbiter_status(code, 1.0)}
               for node, state, code in zip(NODES, states, codes, strict=True)}
    assert both_ready(answers, NODES[0]) is ready


@pytest.mark.parametrize(("votes", "sentence"), [
    ({"gw-a": "promised", "gw-b": "refused"}, "The arbiter holds its promise to gw-a, refuses gw-b."),
    ({"gw-a": "silent", "gw-b": "silent"}, "The arbiter is silent for gw-a and gw-b."),
    ({"gw-b": "wrong side"}, "The arbiter tells gw-b: wrong side."),
])
def test_its_part_is_told_in_words(votes: dict[str, str], sentence: str) -> None:
    assert sentence in explain.sentences(record("cut-all", [Change(0, "gw-a", True)], votes))
    assert "arbiter" not in " ".join(explain.sentences(record("cut-all", [Change(0, "gw-a", True)])))
