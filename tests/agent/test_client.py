"""twinbeat.Client against a real control socket: deadlines, changes, agents that stand still, vanish and come back."""
from __future__ import annotations

import json
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from owner_rig import MS, SHARDS, SocketRig
from run_fakes import WAIT_S

import twinbeat
from twinbeat import client as client_module
from twinbeat import client_state
from twinbeat.client import Client, Owner
from twinbeat.client_line import WAITING_MAX
from twinbeat.client_state import CHANGES_MAX, News
from twinbeat.errors import AgentNotRunning, ConfigError, ControlError, UsageError
from twinbeat.run_loop import boottime_ns
from twinbeat.sharding import shard_of

LONG_NS = 30_000 * MS


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[SocketRig]:
    rig = SocketRig(tmp_path)
    yield rig
    rig.stop()


@pytest.fixture
def client(rig: SocketRig) -> Iterator[Client]:
    with Client(rig.path, limit_s=WAIT_S) as client:
        client.wait_ready()
        yield client


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Moves the client's clock ahead of the agent's."""
    ahead = [0]
    for module in (client_state, client_module):
        monkeypatch.setattr(module, "boottime_ns", lambda: boottime_ns() + ahead[0])

    def move(ns: int) -> None:
        ahead[0] = ns

    return move


def key_of(shard: int) -> str:
    return next(key for key in map("dev-{}".format, range(1000)) if shard_of(key, SHARDS) == shard)


def ours(rig: SocketRig, shard: int, epoch: int) -> None:
    """A shard that this node has driven for long."""
    rig.change(lambda: rig.world.drive(shard, epoch, ago_ms=500))


def test_the_package_stays_light_and_offers_the_client() -> None:
    code = (
        "import sys, twinbeat; light = 'twinbeat.client' not in sys.modules; twinbeat.Client; "
        "print(light, sorted(m for m in sys.modules if m.split('.')[0] in ('msgspec', 'paho', 'serial', 'gpiod')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("True []\n", "")
    assert twinbeat.Client is Client
    with pytest.raises(AttributeError, match="no attribute 'Server'"):
        twinbeat.Server  # type: ignore[attr-defined]  # noqa: B018


def test_owner_epoch_and_mine(rig: SocketRig, client: Client) -> None:
    changes = client.changes(WAIT_S)
    ours(rig, 2, 17)
    first = next(changes)
    assert (first.unit, first.node, first.epoch, first.mine) == ("lines.2", "gw-a", 17, True)
    key = key_of(2)
    assert client.mine(key)
    lease = client.lease(key, need_ms=1)
    assert lease is not None
    assert (lease.unit, lease.epoch) == ("lines.2", 17)
    assert 1 < lease.left_ms() <= 30
    assert (client.epoch(key), client.owner(key).node, client.node) == (17, "gw-a", "gw-a")
    assert client.nobody_ms_max == 72.5
    assert not client.mine(key_of(1))
    assert client.owner(key_of(1)).node is None
    assert not client.mine(key, need_ms=40), "no lease is ever so long"


def test_a_key_of_the_other_node_costs_no_question(rig: SocketRig, client: Client) -> None:
    changes = client.changes(WAIT_S)
    rig.change(lambda: rig.world.peer_epoch.update({1: 25}))
    assert next(changes).node == "gw-b"
    assert not any(client.mine(key_of(1)) for _ in range(100))
    assert client.asked == 0
    assert client.epoch(key_of(1)) == 25


def test_groups_are_told_apart(rig: SocketRig, client: Client) -> None:
    ours(rig, SHARDS, 6)
    assert client.owner("any", "pump").unit == "pump"
    assert client.owner(key_of(3)).unit == "lines.3"
    for call in (client.owner, client.mine):
        with pytest.raises(UsageError, match='there is no group "tanks"; the groups are lines, pump'):
            call("a", "tanks")
    with pytest.raises(UsageError, match="a key is a text"):
        client.mine(b"dev")  # type: ignore[arg-type]
    with Client(rig.path, group="pump") as other:
        other.wait_ready(WAIT_S)
        assert other.owner(key_of(3)).unit == "pump"
    assert [unit.unit for unit in client.units()] == ["lines.0", "lines.1", "lines.2", "lines.3", "pump"]


def test_a_deadline_that_passed_is_not_believed_whatever_the_agent_does(
    rig: SocketRig, client: Client, clock: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "MINE_LIMIT_S", 0.05)
    changes = client.changes(WAIT_S)
    ours(rig, 0, 5)
    assert next(changes).mine
    key = key_of(0)
    assert client.mine(key)
    held, go_on = threading.Event(), threading.Event()
    rig.loop.call_threadsafe(lambda: (held.set(), go_on.wait(WAIT_S)))     # the agent's loop stands still
    assert held.wait(WAIT_S)
    clock(31 * MS)
    assert not client.mine(key)
    assert client.asked >= 1
    clock(0)
    go_on.set()
    rig.in_loop(lambda: None)
    assert client.mine(key), "it runs again"


def test_a_fresh_deadline_is_asked_for_ahead_of_time(
    rig: SocketRig, client: Client, clock: Callable[[int], None]
) -> None:
    changes = client.changes(WAIT_S)
    ours(rig, 0, 5)
    assert next(changes).mine
    state = client._state
    assert state is not None
    now_ns = boottime_ns()
    state.renew([(0, 5, now_ns + 10_000 * MS)])
    assert client.mine(key_of(0))
    assert client.asked == 0
    clock(9_995 * MS)
    lease = client.lease(key_of(0))
    assert lease is not None and lease.until_ns == now_ns + 10_000 * MS, "it is told without waiting"
    assert client.asked == 1


def test_an_agent_that_answers_nothing_is_not_asked_without_end(rig: SocketRig, client: Client) -> None:
    changes = client.changes(WAIT_S)
    ours(rig, 0, 5)
    assert next(changes).mine
    held, go_on = threading.Event(), threading.Event()
    rig.loop.call_threadsafe(lambda: (held.set(), go_on.wait(WAIT_S)))
    assert held.wait(WAIT_S)
    for _ in range(WAITING_MAX + 10):
        client.report_load(50)
    assert not client.mine(key_of(0), need_ms=20_000)
    go_on.set()
    rig.in_loop(lambda: None)
    assert any(client.mine(key_of(0)) for _ in range(1000)), "it is asked again once it answers"


def test_what_is_lost_is_lost_at_once(rig: SocketRig, client: Client) -> None:
    changes = client.changes(WAIT_S)
    ours(rig, 0, 5)
    assert next(changes).mine
    state = client._state
    assert state is not None
    state.renew([(0, 5, boottime_ns() + LONG_NS)])
    assert client.mine(key_of(0))
    rig.change(lambda: rig.world.leave(0))
    change = next(changes)
    assert (change.node, change.mine, change.epoch) == (None, False, 0)
    assert not client.mine(key_of(0))


def test_an_agent_that_is_gone_owns_nothing_and_is_found_again(rig: SocketRig, client: Client) -> None:
    changes = client.changes(WAIT_S)
    ours(rig, 0, 5)
    assert next(changes).mine
    state = client._state
    assert state is not None
    state.renew([(0, 5, boottime_ns() + LONG_NS)])
    client.report_load(70, ttl_s=600)
    rig.stop()
    gone = next(changes)
    assert (gone.unit, gone.node, gone.mine, gone.cause) == ("lines.0", None, False, "AGENT_LOST")
    assert not client.mine(key_of(0))
    with pytest.raises(ControlError, match=r"no agent is running|the agent closed the connection|the connection broke"):
        client.wait_ready(0)
    rig.world.drive(0, 9, ago_ms=500)
    rig.start()
    back = next(change for change in changes if change.mine)
    assert (back.unit, back.epoch) == ("lines.0", 9)
    client.wait_ready(WAIT_S)
    assert client.mine(key_of(0))
    client.owner(key_of(0))
    assert wait_until(rig, lambda: rig.load.said() == 70), "the load is told again"


def wait_until(rig: SocketRig, true: Callable[[], bool]) -> bool:
    """Whether it comes true in the loop, after at most some thousand rounds of it."""
    return any(rig.in_loop(true) for _ in range(5000))


def test_load_is_reported_and_checked(rig: SocketRig, client: Client) -> None:
    client.report_load(42.4)
    assert wait_until(rig, lambda: [event.load for event in rig.posted] == [42])
    for percent, ttl_s in ((101, 10), (-1, 10), (5, 0), (5, 4000)):
        with pytest.raises(UsageError, match="give 0 to 100 %"):
            client.report_load(percent, ttl_s)


def test_on_change_may_ask_and_may_fail(rig: SocketRig, caplog: pytest.LogCaptureFixture) -> None:
    told: queue.Queue[tuple[Owner, bool]] = queue.Queue()

    def on_change(owner: Owner) -> None:
        told.put((owner, made.mine(key_of(0), need_ms=1000)))
        raise OSError("disk full")

    with Client(rig.path, on_change=on_change) as made:
        made.wait_ready(WAIT_S)
        for epoch in (5, 13):
            ours(rig, 0, epoch)
            owner, mine = told.get(timeout=WAIT_S)
            assert (owner.epoch, mine) == (epoch, False)
    assert "on_change raised OSError: disk full" in caplog.text


def test_changes_end(rig: SocketRig, client: Client) -> None:
    assert list(client.changes(0.01)) == []
    found: list[Owner] = []
    changes = client.changes()
    reader = threading.Thread(target=lambda: found.extend(changes))
    reader.start()
    client.close()
    reader.join(WAIT_S)
    assert not reader.is_alive() and found == []
    assert not client.mine(key_of(0))
    with pytest.raises(ControlError, match="this client is closed"):
        client.owner(key_of(0))


def test_unread_changes_are_bounded_and_the_newest_kept() -> None:
    news = News()
    for epoch in range(CHANGES_MAX + 10):
        news.put(Owner("u", "g", 0, "gw-a", epoch, False, "", 0))
    first = news.get(0)
    assert first is not None and first.epoch == 10


def test_no_agent(tmp_path: Path) -> None:
    with Client(tmp_path / "none.sock", limit_s=0.2) as client:
        assert not client.mine("a")
        assert (client.connected, client.node, client.nobody_ms_max) == (False, "", None)
        with pytest.raises(AgentNotRunning, match=r"none\.sock: no agent is running for this node"):
            client.owner("a")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b'{"ok": true}\n', "the agent's words are not understood"),
        (b"nonsense\n", "no JSON object"),
        (b'{"ok": false, "error": "unknown verb \\"watch\\"", "exit_code": 2}\n', 'unknown verb "watch"'),
        (b"", "closed the connection"),
    ],
)
def test_something_else_at_the_socket(tmp_path: Path, answer: bytes, text: str) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        listening.settimeout(WAIT_S)

        def serve() -> None:
            for _ in range(2):
                connection, _ = listening.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(answer)

        server = threading.Thread(target=serve)
        server.start()
        with Client(path) as client:
            server.join(WAIT_S)
            with pytest.raises(Exception, match=text) as raised:
                client.wait_ready(0)
            assert isinstance(raised.value, twinbeat.client.ControlError | twinbeat.client.RefusedError)
            assert not client.mine("a")


# ------------------------------------------------------------ where the socket is

CONFIG = '[pair]\nname = "pump-7"\n[node.gw-a]\n[node.gw-b]\n'


def find(**how: Any) -> Path:
    with Client(**how) as client:
        return client.path


def test_the_socket_is_found_as_the_agent_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TWINBEAT_NODE", "TWINBEAT_RUN_DIR"):
        monkeypatch.delenv(name, raising=False)
    config = tmp_path / "twinbeat.toml"
    config.write_text(CONFIG)
    assert find(config=config, node="gw-a") == Path("/run/twinbeat/pump-7-gw-a.sock")
    assert find(config=str(config), node="gw-b", run_dir="/x") == Path("/x/pump-7-gw-b.sock")
    config.write_text(CONFIG + f"[agent]\nrun_dir = {json.dumps(str(tmp_path))}\n")
    monkeypatch.setenv("TWINBEAT_NODE", "gw-b")
    assert find(config=config) == tmp_path / "pump-7-gw-b.sock"
    monkeypatch.setenv("TWINBEAT_RUN_DIR", "/y")
    assert find(config=config) == Path("/y/pump-7-gw-b.sock")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (CONFIG, 'there is no node "gw-x"; the nodes are gw-a, gw-b: name one'),
        ("[node.gw-x]\n", r"\[pair\] name or \[node.NAME\] is missing"),
        ("pair = 1\n", "is missing"),
        ("[pair\n", "is no TOML"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_configuration_that_leads_nowhere(tmp_path: Path, text: str | None, problem: str) -> None:
    config = tmp_path / "twinbeat.toml"
    if text is not None:
        config.write_text(text)
    with pytest.raises(ConfigError, match=problem):
        find(config=config, node="gw-x")


def test_the_only_socket_of_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from twinbeat import client_find

    monkeypatch.setattr(client_find, "CONFIG_PATH", str(tmp_path / "none.toml"))
    with pytest.raises(AgentNotRunning, match="no agent is running here"):
        find(run_dir=str(tmp_path))
    (tmp_path / "p-gw-a.sock").touch()
    assert find(run_dir=str(tmp_path)).name == "p-gw-a.sock"
    (tmp_path / "p-gw-b.sock").touch()
    assert find(run_dir=str(tmp_path), node="gw-b").name == "p-gw-b.sock"
    with pytest.raises(ConfigError, match="several agents run here"):
        find(run_dir=str(tmp_path))
