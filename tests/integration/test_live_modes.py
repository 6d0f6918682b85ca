"""Real agents whose units move while both are well: by load, by early warning, by an operator over an encrypted broker.

Order, counts and causes are asserted, and that two boards of one unit were never on together; no maximum in
milliseconds, for this machine may stall for longer than any of them.
"""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from broker_fixture import running_broker
from live_modes_rig import WAIT_S, LivePair, gaps_s

import twinbeat
from twinbeat.demo.agents import NODES, PAIR, write_key
from twinbeat.sharding import orders_of

pytestmark = pytest.mark.integration

# ------------------------------------------------------------ load

A, B = NODES
SHARDS = [f"lines.{shard}" for shard in range(6)]
ORDERS = orders_of("lines", len(SHARDS), dict.fromkeys(NODES, 100))
HOME = {unit: best for unit, (best, *_) in zip(SHARDS, ORDERS, strict=True)}
GAP_PERCENT, HOLD_S, MOVE_GAP_S = 40, 0.3, 0.5
BUSY, BUSIER = 30.0, 90.0
"""Above half of the gap: enough to keep a shard away from home, too little to send one away. Above the gap."""
TTL_S, TTL_SHORTEST_S = 60.0, 0.1
WATCH_S = 1.25 * (HOLD_S + MOVE_GAP_S)
SHARED = f"""
[balance]
load_gap_percent = {GAP_PERCENT}
load_hold_s = {HOLD_S}
move_gap_s = {MOVE_GAP_S}

[[group]]
name = "lines"
mode = "hot-hot"
shards = {len(SHARDS)}
failback = "after"
failback_after_s = 0.3
hold_down_s = 0
[[group.output]]
type = "serial-relay"
port = "relay-{{shard}}"
board = "lcus-1"
"""


def test_reported_load_moves_shards_one_by_one_and_nothing_is_tossed(tmp_path: Path) -> None:
    with LivePair(tmp_path, SHARDS, SHARED) as pair:
        begun_ns = pair.begin(lambda drivers: drivers == HOME)
        epochs = pair.epochs()
        with twinbeat.Client(pair.agents[A].socket_path) as application:
            application.wait_ready(WAIT_S)
            application.report_load(BUSIER, TTL_S)
            pair.wait(lambda: len(pair.let_go(A, begun_ns)) >= 2, "two shards leave the loaded node")
            application.report_load(BUSY, TTL_S)
            pair.wait(lambda: pair.ask(B, "status")["peers"][0]["load"] == BUSY, "the other node hears the lower load")
            away = pair.settle()
            assert pair.still(WATCH_S), "neither on nor back while the loads differ a little"
            assert pair.drivers() == away
            application.report_load(BUSY, TTL_SHORTEST_S)
            pair.settle(lambda drivers: drivers == HOME)
            assert pair.still(WATCH_S), "no second round once the report has expired"

        gone, back = pair.let_go(A, begun_ns), pair.let_go(B, begun_ns)
        moved = [unit for _, unit, _ in gone]
        assert len(set(moved)) == len(moved) and {HOME[unit] for unit in moved} == {A}
        assert {cause for *_, cause in gone} == {"LOAD"}
        assert gone[0][0] - begun_ns >= HOLD_S * 1e9 and min(gaps_s(at_ns for at_ns, *_ in gone)) >= MOVE_GAP_S
        assert f"(here {BUSIER:.0f} %, {B} 0 %)" in pair.verdict(A, moved[0], "LOAD")["sentence"]
        assert sorted(unit for _, unit, _ in back) == sorted(moved) and {cause for *_, cause in back} == {"FAILBACK"}
        assert min(gaps_s(at_ns for at_ns, *_ in back)) >= MOVE_GAP_S
        for node in NODES:
            assert {cause for *_, cause in pair.took(node, begun_ns)} == {"HANDOVER"}, "it was given, never taken"

        assert {unit: pair.driven_by(unit) for unit in SHARDS} == {
            unit: [A, B, A] if unit in moved else [home] for unit, home in HOME.items()
        }
        after = pair.epochs()
        assert [unit for unit in SHARDS if after[unit] > epochs[unit]] == sorted(moved)
        assert all(after[unit] == epochs[unit] for unit in SHARDS if unit not in moved)
        pair.assert_never_two()
        pair.assert_nobody_fenced()


# ------------------------------------------------------------ early warning

PUMP = """
[[group]]
name = "pump"
hold_down_s = 60
[[group.output]]
type = "serial-relay"
port = "relay-0"
board = "lcus-1"
"""
WARNED = PUMP + """
[warning]
predict = "handover"
every_s = 1
horizon_s = 600
power_faults_per_hour = 1
""" + "".join(f"""
[[check]]
name = "mark-of-{node}"
nodes = ["{node}"]
type = "file"
path = "{{folder}}/{node}.mark"
max_age_s = 3600
every_ms = 100
rise = 1
fall = 1
effect = "score"
points = 30
""" for node in NODES)
FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"
UNDERVOLTAGE = "0x1\n"


def test_an_early_warning_hands_over_once_and_the_hold_down_keeps_the_role_there(tmp_path: Path) -> None:
    """Both supplies fade; whoever also has a failed check is worse off. First that is the driver, then the other."""
    marks = {node: tmp_path / f"{node}.mark" for node in NODES}
    for mark in marks.values():
        mark.touch()
    pair = LivePair(tmp_path, ["pump"], WARNED)
    for node in NODES:
        pair.machine_file(node, FIRMWARE, UNDERVOLTAGE)
    with pair:
        begun_ns = pair.begin()
        driver = pair.drivers()["pump"]
        other = next(node for node in NODES if node != driver)
        marks[driver].unlink()
        pair.settle(lambda drivers: drivers["pump"] == other)
        assert [(unit, cause) for _, unit, cause in pair.let_go(driver, begun_ns)] == [("pump", "WARNING")]
        assert "an early warning proposed the move" in pair.verdict(driver, "pump", "WARNING")["sentence"]
        assert [(unit, cause) for _, unit, cause in pair.took(other, begun_ns)] == [("pump", "HANDOVER")]
        told, proposal = pair.codes(driver, "EARLY_WARNING")
        assert told.startswith("early warning: undervoltage (firmware)") and told.endswith("it matters now")
        assert proposal.startswith(f"pump: handover to {other} proposed because of undervoltage (firmware)")

        marks[driver].touch()
        marks[other].unlink()
        pair.wait(lambda: bool(pair.codes(other, "HANDOVER_REFUSED")), "the way back is refused")
        (refusal,) = pair.codes(other, "HANDOVER_REFUSED")
        assert "moves are held down after changes of driver" in refusal
        assert pair.codes(other, "EARLY_WARNING")[-1].startswith(f"pump: handover to {driver} proposed")
        assert pair.group(other, "pump")["hold_down_ms"] > 0
        assert pair.settle() == {"pump": other}
        assert pair.driven_by("pump") == [driver, other]
        pair.assert_never_two()
        pair.assert_nobody_fenced()


# ------------------------------------------------------------ an operator, over TLS

CERTIFICATES = """\
req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=plant
req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout other.key -out other.crt -days 2 -subj /CN=x
req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout broker.key -out broker.csr -subj /CN=broker
x509 -req -in broker.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile san -out broker.crt"""
TLS = "allow_anonymous true\ncertfile {0}/broker.crt\nkeyfile {0}/broker.key\n"
COMMANDED = PUMP + """
[[link]]
type = "mqtt"
name = "plant"
broker = "mqtts://127.0.0.1:{port}"
ca = "ca.crt"

[[operator]]
name = "alice"
key_file = "alice.key"
"""


def make_certificates(folder: Path) -> None:
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1\n")
    try:
        for line in CERTIFICATES.splitlines():
            subprocess.run(["openssl", *line.split()], cwd=folder, check=True, capture_output=True, timeout=WAIT_S)
    except FileNotFoundError:
        pytest.skip("openssl is not installed: TLS is not tested")


def remote(*words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "twinbeat", "remote", *words, "--timeout", str(WAIT_S)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_an_operator_hands_over_through_tls_and_nobody_who_trusts_another_authority(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    key = tmp_path / "alice.key"
    write_key(key)
    with running_broker(tmp_path, TLS.format(tmp_path)) as broker:
        with LivePair(tmp_path, ["pump"], COMMANDED.replace("{port}", str(broker.port))) as pair:
            begun_ns = pair.begin()
            driver = pair.drivers()["pump"]
            other = next(node for node in NODES if node != driver)
            pair.wait(lambda: all(link["up"] for node in NODES for link in pair.ask(node, "status")["links"]), "TLS")
            by_hand = (driver, "handover", "group=pump", f"node={other}", "--pair", PAIR, "--operator", "alice",
                       "--key", str(key), "--broker")
            url = f"mqtts://127.0.0.1:{broker.port}"
            remedies = {
                "name the certificate authority's file as `ca`": remote(*by_hand, url, "--ca", f"{tmp_path}/other.crt"),
                "does this port expect TLS?": remote(*by_hand, url.replace("mqtts", "mqtt")),
            }
            for remedy, client in remedies.items():
                out, said = client.communicate(timeout=3 * WAIT_S)
                assert (client.returncode, out, len(said.splitlines())) == (5, "", 1), said
                assert said.startswith("twinbeat: ") and remedy in said
            assert pair.driven_by("pump") == [driver] and len(pair.codes(driver, "REMOTE")) == 1

            client = remote(*by_hand, url, "--ca", f"{tmp_path}/ca.crt", "--json")
            out, said = client.communicate(timeout=3 * WAIT_S)
            assert client.returncode == 0, said
            assert json.loads(out)["driver"] == other
            assert pair.settle() == {"pump": other}
            order = f"handover group=pump node={other}"
            assert pair.codes(driver, "REMOTE")[1:] == [
                f"operator alice commands over a broker: {order}", f"{order}, by operator alice: done",
            ]
            assert [(unit, cause) for _, unit, cause in pair.let_go(driver, begun_ns)] == [("pump", "HANDOVER")]
            assert [(unit, cause) for _, unit, cause in pair.took(other, begun_ns)] == [("pump", "HANDOVER")]
            assert pair.driven_by("pump") == [driver, other]
            pair.assert_never_two()
            pair.assert_nobody_fenced()
