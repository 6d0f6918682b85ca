"""Redundancy modes in a configuration: what a file becomes, who may drive what, what the core gets."""
from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from config_files import GOOD, changed, write
from mode_files import HOT_HOT, OVERLAP, SPARE

from twinbeat.config import Config, core_settings, load_config
from twinbeat.config_core import PREPARE_ROOM_MS
from twinbeat.sharding import orders_of
from twinbeat_hardware.spec import HookSpec, SystemdSpec

DOCS = Path(__file__).parents[2] / "docs"
PREPARE = '[[group.prepare]]\ncommand = ["/bin/warm", "{shard}"]\n\n[[group.prepare]]\ncommand = ["/bin/up"]\n' \
          "deadline_ms = 3000\n"


def loaded(directory: Path, text: str, node: str = "gw-a") -> Config:
    return load_config(write(directory, text), node)


# ---------------------------------------------------------------- shards


def test_shards_become_units(tmp_path: Path) -> None:
    cfg = loaded(tmp_path, HOT_HOT)
    assert [group.name for group in cfg.groups] == [f"poll.{shard}" for shard in range(8)]
    assert [group.shard for group in cfg.groups] == list(range(8))
    assert {(group.family, group.mode, group.failback, group.overlap) for group in cfg.groups} == {
        ("poll", "hot-hot", "after", False)
    }
    (family,) = cfg.families
    assert (family.name, family.mode, family.shards, family.overlap) == ("poll", "hot-hot", 8, False)
    assert family.units == tuple(range(8))


def test_the_number_of_the_shard_is_put_into_commands(tmp_path: Path) -> None:
    cfg = loaded(tmp_path, HOT_HOT + PREPARE)
    hooks = [group.outputs[0] for group in cfg.groups]
    assert all(isinstance(hook, HookSpec) for hook in hooks)
    assert [hook.start for hook in hooks if isinstance(hook, HookSpec)] == [
        ("/bin/poll", "--shard", str(shard), f"--of={shard}/8") for shard in range(8)
    ]
    assert [[hook.command for hook in group.prepare] for group in cfg.groups] == [
        [("/bin/warm", str(shard)), ("/bin/up",)] for shard in range(8)
    ]
    assert [group.prepare_ms for group in cfg.groups] == [5000.0] * 8


def test_the_number_of_the_shard_is_put_into_names_lines_and_ports(tmp_path: Path) -> None:
    ports = "".join(f'serial.r{shard} = "/dev/ttyS{shard}"\n' for shard in range(3))
    text = HOT_HOT.replace("shards = 8", "shards = 3").replace("udp.direct", ports + "udp.direct")
    text += """
[[group.output]]
type = "systemd"
name = "poller-{shard}"
unit = "poller@{shard}.service"
[[group.output]]
type = "gpio"
chip = "pinctrl-rp1"
line = "relay-{shard}"
readback = "sense-{shard}"
[[group.output]]
type = "serial-relay"
port = "r{shard}"
on = "01"
off = "00"
"""
    for shard, group in enumerate(loaded(tmp_path, text).groups):
        unit, line, relay = group.outputs[2:]
        assert isinstance(unit, SystemdSpec)
        assert (unit.unit, unit.name) == (f"poller@{shard}.service", f"poller-{shard}")
        assert (getattr(line, "line", None), getattr(line, "readback", None)) == (f"relay-{shard}", f"sense-{shard}")
        assert getattr(relay, "port", None) == f"r{shard}"


def test_homes_are_those_of_sharding(tmp_path: Path) -> None:
    cfg = loaded(tmp_path, HOT_HOT)
    orders = orders_of("poll", 8, {"gw-a": 100, "gw-b": 100})
    assert tuple(group.drivers for group in cfg.groups) == orders
    settings = core_settings(cfg, realtime=True)
    assert [group.rank for group in settings.groups] == [(0, 1) if order[0] == "gw-a" else (1, 0) for order in orders]
    assert sorted(group.rank for group in settings.groups) == [(0, 1)] * 4 + [(1, 0)] * 4


def test_capacity_moves_homes(tmp_path: Path) -> None:
    cfg = loaded(tmp_path, changed(("[node.gw-b]\n", "[node.gw-b]\ncapacity = 300\n"), base=HOT_HOT))
    assert sum(group.drivers[0] == "gw-b" for group in cfg.groups) == 6


def test_both_nodes_see_the_same_units(tmp_path: Path) -> None:
    one, other = loaded(tmp_path, HOT_HOT), loaded(tmp_path, HOT_HOT, "gw-b")
    assert (one.groups, one.families, one.digest) == (other.groups, other.families, other.digest)


def test_units_follow_each_other_as_in_the_file(tmp_path: Path) -> None:
    text = '[[group]]\nname = "fan"\n[[group.output]]\ntype = "mock"\n'
    cfg = loaded(tmp_path, HOT_HOT.replace("shards = 8", "shards = 2") + text)
    assert [group.name for group in cfg.groups] == ["poll.0", "poll.1", "fan"]
    assert [family.units for family in cfg.families] == [(0, 1), (2,)]
    assert (cfg.groups[2].family, cfg.groups[2].shard, cfg.families[1].shards) == ("fan", None, None)


# ---------------------------------------------------------------- what the core gets


def test_shards_in_the_core(tmp_path: Path) -> None:
    settings = core_settings(loaded(tmp_path, HOT_HOT), realtime=True)
    for group in settings.groups:
        assert (group.exclusive, group.drivers, group.balance, group.prepare_ms) == (True, None, False, 0.0)
        assert (group.failback_ms, group.hold_down_ms, group.hold_down_max_ms) == (60_000.0, 5000.0, 300_000.0)
    assert settings.load_gap_percent == 0


def test_balance_in_the_core(tmp_path: Path) -> None:
    fan = '[[group]]\nname = "fan"\n[[group.output]]\ntype = "mock"\n'
    settings = core_settings(loaded(tmp_path, HOT_HOT + fan + "[balance]\n"), realtime=True)
    assert (settings.load_gap_percent, settings.load_hold_ms, settings.move_gap_ms) == (30, 30_000.0, 10_000.0)
    assert [group.balance for group in settings.groups] == [True] * 8 + [False]
    other = "[balance]\nload_gap_percent = 50\nload_hold_s = 0.5\nmove_gap_s = 2\n"
    settings = core_settings(loaded(tmp_path, HOT_HOT + other), realtime=True)
    assert (settings.load_gap_percent, settings.load_hold_ms, settings.move_gap_ms) == (50, 500.0, 2000.0)


def test_overlap_in_the_core(tmp_path: Path) -> None:
    cfg = loaded(tmp_path, OVERLAP)
    (group,) = core_settings(cfg, realtime=True).groups
    assert (group.exclusive, group.drivers, group.failback_ms) == (False, None, None)
    assert (cfg.families[0].overlap, cfg.families[0].units, cfg.groups[0].name) == (True, (0,), "poll")


@pytest.mark.parametrize(("keys", "failback_ms"), [
    ("", None), ('failback = "never"', None), ('failback = "manual"', None), ('failback = "after"', 60_000.0),
    ('failback = "after"\nfailback_after_s = 0.5', 500.0),
])
def test_failback_in_the_core(tmp_path: Path, keys: str, failback_ms: float | None) -> None:
    text = changed(('prefer = ["gw-b", "gw-a"]', f'prefer = ["gw-b", "gw-a"]\n{keys}'))
    (group,) = core_settings(loaded(tmp_path, text), realtime=True).groups
    assert group.failback_ms == failback_ms


def test_damping_can_be_switched_off(tmp_path: Path) -> None:
    text = changed(('prefer = ["gw-b", "gw-a"]', "hold_down_s = 0"))
    (group,) = core_settings(loaded(tmp_path, text), realtime=True).groups
    assert (group.hold_down_ms, group.hold_down_max_ms) == (0.0, 0.0)


def test_the_giver_waits_for_all_prepare_hooks(tmp_path: Path) -> None:
    settings = core_settings(loaded(tmp_path, HOT_HOT + PREPARE), realtime=True)
    assert {group.prepare_ms for group in settings.groups} == {5000.0 + PREPARE_ROOM_MS}


# ---------------------------------------------------------------- a spare


def test_three_nodes_vote_and_two_may_drive(tmp_path: Path) -> None:
    cfg = loaded(tmp_path, SPARE)
    assert (cfg.spare, cfg.node_names) == ("gw-s", ("gw-a", "gw-b", "gw-s"))
    press, lights = cfg.groups
    assert (press.drivers, lights.drivers) == (("gw-a", "gw-s"), ("gw-a", "gw-b"))
    settings = core_settings(cfg, realtime=True)
    assert (settings.node_count, settings.voters, settings.third_voter) == (3, (0, 1, 2), False)
    assert [(group.drivers, group.rank) for group in settings.groups] == [((0, 2), (0, 2, 1)), ((0, 1), (0, 1, 2))]
    assert [cfg.may_drive(press, node) for node in cfg.nodes] == [True, False, True]
    assert [load_config(cfg.path, node).may_drive(lights) for node in cfg.nodes] == [True, True, False]


@pytest.mark.parametrize(("prefer", "drivers"), [
    ('["gw-b"]', ("gw-b", "gw-a")), ('["gw-b", "gw-a"]', ("gw-b", "gw-a")),
    ('["gw-b", "gw-s"]', ("gw-b", "gw-s", "gw-a")), ('["gw-s", "gw-a", "gw-b"]', ("gw-s", "gw-a", "gw-b")),
])
def test_prefer_can_name_the_spare_for_any_group(tmp_path: Path, prefer: str, drivers: tuple[str, ...]) -> None:
    cfg = loaded(tmp_path, changed(('name = "lights"', f'name = "lights"\nprefer = {prefer}'), base=SPARE))
    assert cfg.groups[1].drivers == drivers


def test_both_working_nodes_may_stand_before_the_spare(tmp_path: Path) -> None:
    cfg = loaded(tmp_path, changed(
        ('"gw-a", "gw-s"]', '"gw-b", "gw-a", "gw-s"]'), ('port = "relay"', 'port = "/dev/ttyS9"'), base=SPARE
    ))
    assert cfg.groups[0].drivers == ("gw-b", "gw-a", "gw-s")
    assert core_settings(cfg, realtime=True).groups[0].drivers is None


def test_a_spare_takes_no_shards(tmp_path: Path) -> None:
    text = changed(('mode = "hot-spare"\nprefer = ["gw-a", "gw-s"]', 'mode = "hot-hot"\nshards = 4'),
                   ('type = "serial-relay"\nport = "relay"\nboard = "lcus-1"\nrelease_ms = 8', 'type = "mock"'),
                   base=SPARE)
    cfg = loaded(tmp_path, text)
    assert sorted(group.drivers for group in cfg.groups[:4]) == [("gw-a", "gw-b")] * 2 + [("gw-b", "gw-a")] * 2
    assert {group.drivers for group in core_settings(cfg, realtime=True).groups} == {(0, 1)}


def test_a_cable_reaches_the_two_that_it_joins(tmp_path: Path) -> None:
    cfg = loaded(tmp_path, SPARE)
    udp, cable, mqtt = cfg.links
    assert [[cfg.reaches(link, node) for node in cfg.nodes] for link in (udp, cable, mqtt)] == [
        [True, True, True], [True, True, False], [True, True, True]
    ]
    assert load_config(cfg.path, "gw-s").reaches(cable) is False


# ---------------------------------------------------------------- the digest


FULL = changed(
    ("outage_budget_ms = 100\n", ""),
    ("[[group]]\n", """\
[[link]]
type = "udp"
address = "direct"
missed = 4

[third_voter]
type = "witness"
witness = "w1"
broker = "mqtts://w"

[timing]
lost_asks = 2

[[check]]
name = "disk"
type = "disk"
path = "/"
min_free_percent = 5

[[group]]
"""),
    ('prefer = ["gw-b", "gw-a"]', 'prefer = ["gw-b", "gw-a"]\nmode = "hot-warm"\nfailback = "never"\nlone = "hold"'),
) + """\
[[group]]
name = "fan"
[[group.output]]
type = "gpio"
chip = "pinctrl-rp1"
line = "GPIO17"
[[group.output]]
type = "hook"
start = ["/bin/true"]
stop = ["/bin/false"]
"""


@pytest.mark.parametrize(("text", "digest"), [(GOOD, 0x02D9), (FULL, 0x3595)], ids=["good", "full"])
def test_files_of_older_versions_keep_their_digest(tmp_path: Path, text: str, digest: int) -> None:
    """Gateways are upgraded one at a time: files that both versions can read must agree."""
    assert loaded(tmp_path, text).digest == digest


def test_the_example_keeps_its_digest() -> None:
    assert load_config(DOCS / "example.toml", "gw-a").digest == 0x2A9A


@pytest.mark.parametrize(("base", "old", "new"), [
    (HOT_HOT, "shards = 8", "shards = 7"),
    (HOT_HOT, "--of={shard}/8", "--of={shard}/9"),
    (HOT_HOT, '"--shard", "{shard}"', '"--shard", "0"'),
    (HOT_HOT, "shards = 8", "overlap = true"),
    (HOT_HOT, "shards = 8", 'shards = 8\nfailback = "never"'),
    (HOT_HOT, "shards = 8", "shards = 8\nfailback_after_s = 61"),
    (HOT_HOT, "shards = 8", "shards = 8\nhold_down_s = 6"),
    (HOT_HOT, "shards = 8", "shards = 8\nhold_down_max_s = 299"),
    (HOT_HOT, "[pair]\n", "[balance]\n[pair]\n"),
    (HOT_HOT + "[balance]\n", "[balance]\n", "[balance]\nmove_gap_s = 9\n"),
    (HOT_HOT, "[node.gw-b]\n", "[node.gw-b]\ncapacity = 101\n"),
    (HOT_HOT + PREPARE, "deadline_ms = 3000", "deadline_ms = 3001"),
    (SPARE, 'prefer = ["gw-a", "gw-s"]', 'prefer = ["gw-a", "gw-s"]\nfailback = "manual"'),
    (SPARE, 'between = ["gw-a", "gw-b"]', 'between = ["gw-b", "gw-a"]'),
])
def test_the_digest_covers_the_keys_of_the_modes(tmp_path: Path, base: str, old: str, new: str) -> None:
    before = loaded(tmp_path, base).digest
    assert loaded(tmp_path, changed((old, new), base=base)).digest != before


def test_a_default_that_is_written_out_changes_no_digest(tmp_path: Path) -> None:
    written = changed(("shards = 8", 'shards = 8\nfailback = "after"\nhold_down_s = 5\noverlap = false'), base=HOT_HOT)
    assert loaded(tmp_path, written).digest == loaded(tmp_path, HOT_HOT).digest


# ---------------------------------------------------------------- the examples


@pytest.mark.parametrize(("name", "nodes", "units"), [("hot-hot", 2, 9), ("hot-spare", 3, 3)])
def test_the_examples_are_complete_and_good(name: str, nodes: int, units: int, tmp_path: Path) -> None:
    from twinbeat.check import build_report

    text = (DOCS / f"example-{name}.toml").read_text()
    assert set(tomllib.loads(text)) >= {"pair", "node", "link", "group"}
    for node in tomllib.loads(text)["node"]:
        cfg = loaded(tmp_path, text, node)
        assert (len(cfg.nodes), len(cfg.groups)) == (nodes, units)
        assert build_report(cfg).problems == []
