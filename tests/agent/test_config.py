"""A good configuration: what is read, what is filled in, what the core gets."""
from __future__ import annotations

from pathlib import Path

import pytest
from config_files import GOOD, changed, write

from twinbeat.config import Config, MqttLink, SerialLink, UdpLink, core_settings, load_config
from twinbeat.config_core import CHECK_ORDINARY_MS, CHECK_REALTIME_MS
from twinbeat.config_digest import pair_id_of
from twinbeat_core.model import LinkKind, Lone
from twinbeat_core.wire import frame_wire_bytes

EXAMPLE = Path(__file__).parents[2] / "docs" / "example.toml"
UDP = '[[group]]\nname = "pump"'
UDP_LINK = '[[link]]\ntype = "udp"\naddress = "direct"\n\n'


@pytest.fixture
def good(tmp_path: Path) -> Config:
    return load_config(write(tmp_path), "gw-a")


def test_example_file_loads_for_both_nodes() -> None:
    for node in ("gw-a", "gw-b"):
        cfg = load_config(EXAMPLE, node)
        assert [type(link) for link in cfg.links] == [SerialLink, UdpLink, MqttLink]
        assert core_settings(cfg, realtime=True).node_count == 2


def test_names_numbers_and_paths(good: Config, tmp_path: Path) -> None:
    assert (good.node_names, good.self_index, good.peer_names) == (("gw-a", "gw-b"), 0, ("gw-b",))
    assert [good.link_name(number) for number in range(2)] == ["cross", "mqtt"]
    assert good.key_path == tmp_path / "pair.key"
    assert good.serial_path("cross") == "/dev/ttyAMA0"
    assert good.serial_path("/dev/ttyS9") == "/dev/ttyS9"
    assert good.pair_id == pair_id_of("pump-7") == load_config(good.path, "gw-b").pair_id


def test_defaults_are_filled_in(good: Config) -> None:
    serial, mqtt = good.links
    assert isinstance(serial, SerialLink) and isinstance(mqtt, MqttLink)
    assert (serial.baud, serial.period_ms, serial.missed) == (921600, 10.0, 3)
    assert (mqtt.period_ms, mqtt.fast_ms, mqtt.missed, mqtt.rtt_ms, mqtt.expiry_s) == (100.0, 20.0, 3, 8.0, 1)
    group = good.groups[0]
    assert (group.mode, group.failback, group.lone, group.lonely_start_ms) == ("hot-warm", "never", "takeover", 2000.0)
    # 4 bytes at 9600 baud belong to the relay's release time.
    assert group.release_ms == pytest.approx(8 + 4 * 10_000 / 9600)
    assert group.make_ms == 0.0


def test_fast_period_never_exceeds_a_short_period(tmp_path: Path) -> None:
    cfg = load_config(write(tmp_path, changed(("period_ms = 100", "period_ms = 12"))), "gw-a")
    assert isinstance(cfg.links[1], MqttLink)
    assert cfg.links[1].fast_ms == 12.0


def test_second_link_of_a_kind_gets_a_name_of_its_own(tmp_path: Path) -> None:
    second = '[[link]]\ntype = "mqtt"\nbroker = "mqtt://other"\n\n[[group]]\nname = "pump"'
    cfg = load_config(write(tmp_path, changed((UDP, second))), "gw-a")
    assert [link.name for link in cfg.links] == ["cross", "mqtt", "mqtt-2"]


def test_given_link_name_is_not_taken_by_a_made_one(tmp_path: Path) -> None:
    second = '[[link]]\ntype = "udp"\nname = "mqtt"\naddress = "direct"\n\n[[group]]\nname = "pump"'
    cfg = load_config(write(tmp_path, changed((UDP, second))), "gw-a")
    assert [link.name for link in cfg.links] == ["cross", "mqtt-2", "mqtt"]


def test_udp_addresses_per_node(tmp_path: Path) -> None:
    cfg = load_config(write(tmp_path, changed((UDP, UDP_LINK + UDP))), "gw-b")
    link = cfg.links[2]
    assert isinstance(link, UdpLink)
    assert cfg.udp_address(link) == ("10.0.0.2", 7400)
    assert cfg.udp_address(link, "gw-a") == ("10.0.0.1", 7400)


# ---------------------------------------------------------------- which node


def test_node_argument_goes_before_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path)
    monkeypatch.setenv("TWINBEAT_NODE", "gw-b")
    assert load_config(path).node == "gw-b"
    assert load_config(path, "gw-a").node == "gw-a"


@pytest.mark.parametrize("host", ["gw-b", "gw-b.plant.example"])
def test_host_name_names_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.delenv("TWINBEAT_NODE", raising=False)
    monkeypatch.setattr("socket.gethostname", lambda: host)
    assert load_config(write(tmp_path)).node == "gw-b"


def test_any_node_is_for_looking_on_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TWINBEAT_NODE", raising=False)
    monkeypatch.setattr("socket.gethostname", lambda: "laptop")
    assert load_config(write(tmp_path), any_node=True).node == "gw-a"


# ---------------------------------------------------------------- digest


def digest_of(directory: Path, text: str, node: str = "gw-a") -> int:
    return load_config(write(directory, text), node).digest


def test_digest_is_the_same_on_both_nodes_and_fits_16_bits(tmp_path: Path) -> None:
    assert digest_of(tmp_path, GOOD, "gw-a") == digest_of(tmp_path, GOOD, "gw-b") <= 0xFFFF


def test_digest_is_stable_over_versions(tmp_path: Path) -> None:
    # A changed value here means that two gateways with the same file but different versions raise an alarm.
    assert digest_of(tmp_path, GOOD) == STABLE_DIGEST
    assert pair_id_of("pump-7") == 13599


STABLE_DIGEST = 729


@pytest.mark.parametrize(
    "change",
    [
        ("period_ms = 10\n", "period_ms = 10.0\n"),
        ("period_ms = 10\n", ""),
        ("period_ms = 100", "period_ms = 100\nmissed = 3  # the default"),
        ("[pair]", '[agent]\nlog_level = "debug"\n\n[pair]'),
        ('name = "pump-7"\nkey_file = "pair.key"', 'key_file = "pair.key"\nname = "pump-7"'),
    ],
)
def test_digest_ignores_layout_defaults_and_agent(tmp_path: Path, change: tuple[str, str]) -> None:
    assert digest_of(tmp_path, changed(change)) == digest_of(tmp_path, GOOD)


@pytest.mark.parametrize(
    "change",
    [
        ("period_ms = 10\n", "period_ms = 11\n"),
        ('"/dev/ttyAMA1"\nudp.direct = "10.0.0.2:7400"', '"/dev/ttyAMA2"\nudp.direct = "10.0.0.2:7400"'),
        ("release_ms = 8", "release_ms = 9"),
        ('prefer = ["gw-b", "gw-a"]', 'prefer = ["gw-a", "gw-b"]'),
        ("[pair]", "[timing]\ndrift_ppm = 500\n\n[pair]"),
        ('board = "lcus-1"', 'on = "01"\noff = "02"'),
    ],
)
def test_digest_sees_what_must_be_equal(tmp_path: Path, change: tuple[str, str]) -> None:
    assert digest_of(tmp_path, changed(change)) != digest_of(tmp_path, GOOD)


def test_digest_sees_the_order_of_nodes(tmp_path: Path) -> None:
    swapped = GOOD.replace("gw-a]", "gw-x]").replace("gw-b]", "gw-a]").replace("gw-x]", "gw-b]")
    swapped = swapped.replace("10.0.0.1", "10.0.0.9").replace("10.0.0.2", "10.0.0.1").replace("10.0.0.9", "10.0.0.2")
    assert digest_of(tmp_path, swapped) != digest_of(tmp_path, GOOD)


# ---------------------------------------------------------------- what the core gets


def test_core_settings_of_links(good: Config) -> None:
    serial, mqtt = core_settings(good, realtime=True).links
    frame_ms = frame_wire_bytes(2, 1) * 10_000 / 921600
    assert serial.kind == LinkKind.LINK_SERIAL
    assert serial.rtt_ms == pytest.approx(2 * frame_ms + 0.5)
    assert serial.reask_ms == pytest.approx(max(2 * frame_ms, 10 / 8))
    assert (mqtt.kind, mqtt.rtt_ms, mqtt.reask_ms, mqtt.fast_period_ms) == (LinkKind.LINK_MQTT, 8.0, 8.0, 20.0)


def test_slow_serial_reasks_no_faster_than_two_frames(tmp_path: Path) -> None:
    text = changed(("period_ms = 10\n", "period_ms = 20\nbaud = 115200\n"))
    link = core_settings(load_config(write(tmp_path, text), "gw-a"), realtime=True).links[0]
    assert link.reask_ms == pytest.approx(2 * frame_wire_bytes(2, 1) * 10_000 / 115200)
    assert link.reask_ms > 20 / 8


def test_core_settings_of_the_group_follow_prefer(good: Config) -> None:
    group = core_settings(good, realtime=True).groups[0]
    assert (group.rank, group.lone) == ((1, 0), Lone.LONE_TAKEOVER)
    assert group.release_ms == good.groups[0].release_ms


def test_nodes_not_preferred_follow_in_file_order(tmp_path: Path) -> None:
    text = changed(('prefer = ["gw-b", "gw-a"]', 'prefer = ["gw-b"]\nlone = "hold"'))
    group = core_settings(load_config(write(tmp_path, text), "gw-a"), realtime=True).groups[0]
    assert (group.rank, group.lone) == ((1, 0), Lone.LONE_HOLD)


def test_gate_lateness_follows_scheduling(good: Config) -> None:
    assert core_settings(good, realtime=True).check_ms == CHECK_REALTIME_MS == 5.0
    assert core_settings(good, realtime=False).check_ms == CHECK_ORDINARY_MS == 15.0


@pytest.mark.parametrize(("key", "check_ms"), [("true", 5.0), ("false", 15.0)])
def test_realtime_key_decides(tmp_path: Path, key: str, check_ms: float) -> None:
    cfg = load_config(write(tmp_path, changed(("[pair]", f"[timing]\nrealtime = {key}\n\n[pair]"))), "gw-a")
    assert core_settings(cfg).check_ms == check_ms


def test_check_ms_of_the_file_goes_before_scheduling(tmp_path: Path) -> None:
    cfg = load_config(write(tmp_path, changed(("[pair]", "[timing]\ncheck_ms = 7\n\n[pair]"))), "gw-a")
    assert core_settings(cfg, realtime=False).check_ms == core_settings(cfg, realtime=True).check_ms == 7.0


def test_realtime_auto_is_what_the_kernel_permits(good: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*unused: object) -> None:
        raise PermissionError

    monkeypatch.setattr("os.sched_setscheduler", refuse)
    assert core_settings(good).check_ms == 15.0
    monkeypatch.setattr("os.sched_setscheduler", lambda *unused: None)
    assert core_settings(good).check_ms == 5.0


def test_core_settings_compile_on_both_nodes(good: Config) -> None:
    for node in ("gw-a", "gw-b"):
        core = core_settings(load_config(good.path, node), realtime=True).compile()
        assert core.grant_ms(0) > core.lease_ms(0) > 30


# ---------------------------------------------------------------- directories


def test_directories_by_precedence(good: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TWINBEAT_RUN_DIR", raising=False)
    monkeypatch.delenv("TWINBEAT_STATE_DIR", raising=False)
    assert good.socket_path() == Path("/run/twinbeat/pump-7-gw-a.sock")
    assert good.state_dir() == Path("/var/lib/twinbeat")
    text = changed(("[pair]", '[agent]\nrun_dir = "/a"\nstate_dir = "/b"\n\n[pair]'))
    cfg = load_config(write(tmp_path, text), "gw-a")
    assert (cfg.run_dir(), cfg.state_dir()) == (Path("/a"), Path("/b"))
    monkeypatch.setenv("TWINBEAT_RUN_DIR", "/c")
    monkeypatch.setenv("TWINBEAT_STATE_DIR", "/d")
    assert (cfg.run_dir(), cfg.state_dir()) == (Path("/c"), Path("/d"))
    assert (cfg.run_dir("/e"), cfg.state_dir("/f")) == (Path("/e"), Path("/f"))
