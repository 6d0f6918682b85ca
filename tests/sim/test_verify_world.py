"""The world that is verified: from a file or by name, with everything at the limit of what is promised."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from twinbeat.config import core_settings, load_config
from twinbeat.config_rules_voter import round_ms
from twinbeat.errors import ConfigError, UsageError
from twinbeat.sim.engine import Engine
from twinbeat.sim.verify_world import Subject, config_subjects, named_subject, still, variants
from twinbeat.wire_load import frame_ms
from twinbeat_core.settings import Settings

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "example.toml"
TIMING = "[timing]\nrealtime = true\ncheck_ms = 4\n"
HOOK = '\n[[group.output]]\ntype = "hook"\nstart = ["a"]\nstop = ["b"]\n'


def subjects(tmp_path: Path, text: str, budget_ms: float | None = None) -> list[Subject]:
    path = tmp_path / "twinbeat.toml"
    path.write_text(text)
    return config_subjects(load_config(path, "gw-a"), budget_ms)


def example(*changes: tuple[str, str]) -> str:
    text = EXAMPLE.read_text()
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return TIMING + text


def stilled(settings: Settings) -> Settings:
    """Settings whose groups move for faults and commands alone."""
    return replace(settings, groups=tuple(map(still, settings.groups)))


def test_links_are_as_slow_as_the_timing_counts_with(tmp_path: Path) -> None:
    (subject,) = subjects(tmp_path, example())
    serial, udp, mqtt = subject.spec.links
    assert serial.latency_us == int(frame_ms(2, 1, 921600) * 1000)
    assert (udp.latency_us + udp.jitter_us, mqtt.latency_us + mqtt.jitter_us) == (500, 4000)
    assert (serial.fifo, udp.fifo, mqtt.fifo) == (True, False, True)
    for link, settings in zip(subject.spec.links, subject.spec.settings[0].links, strict=True):
        assert (link.latency_us + link.jitter_us) / 1000 <= settings.rtt_ms / 2, "it would count as impaired"


def test_settings_are_those_of_check_for_each_node(tmp_path: Path) -> None:
    (subject,) = subjects(tmp_path, example())
    mine = stilled(core_settings(load_config(tmp_path / "twinbeat.toml", "gw-a")))
    assert subject.spec.settings == (mine, replace(mine, self_node=1))
    assert subject.spec.gate_late_us == 4000
    assert subject.spec.nodes_named == ("gw-a", "gw-b")
    assert subject.spec.links_named == ("cross", "direct", "plant")
    Engine(subject.spec)


def test_clocks_are_wrong_by_the_bound_both_ways(tmp_path: Path) -> None:
    (subject,) = subjects(tmp_path, TIMING + "drift_ppm = 300\n" + EXAMPLE.read_text())
    worlds = variants(subject.spec)
    assert [world.drift_ppb for world in worlds] == [(300_000, -300_000), (-300_000, 300_000)] * 2
    assert [world.worst for world in worlds] == [False, False, True, True]


def test_budget_of_the_file_or_of_the_command_line(tmp_path: Path) -> None:
    assert subjects(tmp_path, example())[0].budget_ms == 100
    assert subjects(tmp_path, example(), 7.5)[0].budget_ms == 7.5
    assert subjects(tmp_path, example(("outage_budget_ms = 100", "")))[0].budget_ms is None


def test_a_relay_decides_what_its_group_does_in_a_freeze(tmp_path: Path) -> None:
    with_relay = subjects(tmp_path, example())[0]
    assert with_relay.keeps_level and with_relay.spec.hold_us == (-1,)
    text = TIMING + EXAMPLE.read_text().split("[[group.output]]")[0] + HOOK
    programs = subjects(tmp_path, text)[0]
    assert not programs.keeps_level and programs.spec.hold_us == (0,)


def test_groups_of_different_promises_are_judged_apart(tmp_path: Path) -> None:
    second = '\n[[group]]\nname = "fan"\nlone = "hold"\n[[group.output]]\ntype = "mock"\nmake_ms = 5\n'
    third = '\n[[group]]\nname = "lamp"\n[[group.output]]\ntype = "gpio"\nchip = "c"\nline = 1\n'
    found = subjects(tmp_path, example() + second + third)
    assert [(one.title, one.groups, one.holds) for one in found] == [
        ("pump-7, group pump, lamp", (0, 2), False), ("pump-7, group fan", (1,), True)]
    assert [group.name for group in load_config(tmp_path / "twinbeat.toml", "gw-a").groups] == ["pump", "fan", "lamp"]


def test_the_last_output_ends_an_outage(tmp_path: Path) -> None:
    text = TIMING + EXAMPLE.read_text().split("[[group.output]]")[0]
    text += HOOK + "make_ms = 30\n" + HOOK + "make_ms = 4\n"
    (subject,) = subjects(tmp_path, text)
    assert subject.spec.settings[0].groups[0].make_ms == 4
    assert subject.late_make_ms == (26,)


ARBITER = '[third_voter]\ntype = "arbiter"\nport = "vote"\nid = "a0b1c2d3"\n'
WITNESS = '[third_voter]\ntype = "witness"\nwitness = "w1"\nbroker = "mqtt://w.plant"\n'
ZOOKEEPER = '[third_voter]\ntype = "zookeeper"\nhosts = "zk1,zk2,zk3"\n'
CONTACT = '\n[[group.output]]\ntype = "arbiter"\nrelease_ms = 6\nmake_ms = 4\n'


def with_third(table: str, before: str = "") -> str:
    text = EXAMPLE.read_text().replace("outage_budget_ms = 100 ", "outage_budget_ms = 10000 ")
    return TIMING + text.replace("serial.relay", 'serial.vote = "/dev/ttyAMA2"\nserial.relay') + before + table


@pytest.mark.parametrize(
    ("table", "way_us", "abstains_ms", "hears"),
    [(ARBITER, (int(round_ms(1, 921600) / 2 * 1000), 1500), 2000, True), (WITNESS, (1000, 50_000), 10_000, False),
     (WITNESS + "rtt_ms = 1\n", (500, 500), 10_000, False), (ZOOKEEPER, (1000, 100_000), 0, False)],
)
def test_a_third_voter_is_as_far_away_as_the_timing_counts_with(
    tmp_path: Path, table: str, way_us: tuple[int, int], abstains_ms: int, hears: bool
) -> None:
    (subject,) = subjects(tmp_path, with_third(table))
    mine = stilled(core_settings(load_config(tmp_path / "twinbeat.toml", "gw-a")))
    spec = subject.spec
    assert subject.third_voter and not subject.gated and not subject.alone_decides
    assert spec.settings == (mine, replace(mine, self_node=1))
    assert (spec.voter_us, spec.voter_abstain_ms, spec.voter_hears_gates) == (way_us, abstains_ms, hears)
    assert 2 * spec.voter_us[1] / 1000 <= mine.third_rtt_ms
    Engine(spec)


def test_contacts_of_the_arbiter_are_as_slow_as_the_file_says(tmp_path: Path) -> None:
    (subject,) = subjects(tmp_path, with_third(ARBITER, CONTACT))
    assert subject.gated and subject.keeps_level
    assert subject.spec.select_us == (4000, 6000)


def test_a_contact_alone_stays_closed_while_its_gateway_is_frozen(tmp_path: Path) -> None:
    text = with_third(ARBITER, CONTACT)
    first, last = text.index("[[group.output]]"), text.index(CONTACT)
    (subject,) = subjects(tmp_path, text[:first] + text[last:])
    assert subject.gated and subject.spec.hold_us == (-1,)


def test_groups_with_and_without_a_contact_are_judged_apart(tmp_path: Path) -> None:
    second = '\n[[group]]\nname = "fan"\nlone = "hold"\n[[group.output]]\ntype = "gpio"\nchip = "c"\nline = 1\n'
    third = '\n[[group]]\nname = "lamp"\n[[group.output]]\ntype = "gpio"\nchip = "c"\nline = 2\n'
    found = subjects(tmp_path, with_third(ARBITER, CONTACT + second + third))
    assert [(one.groups, one.gated) for one in found] == [((0,), True), ((1, 2), False)], "lone has no effect"
    for one in found:
        assert {group.gated for settings in one.spec.settings for group in settings.groups} == {one.gated}


def test_contradicting_figures_are_refused_as_check_does(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="grant_max_ms = 20"):
        subjects(tmp_path, "[timing]\nrealtime = true\ngrant_max_ms = 20\n" + EXAMPLE.read_text())


@pytest.mark.parametrize(
    ("name", "nodes", "alone", "holds", "third"),
    [("pair", 2, True, False, False), ("hold", 2, True, True, False), ("three", 3, False, False, False),
     ("voter", 2, False, False, True), ("gated", 2, False, False, True)],
)
def test_named_worlds(name: str, nodes: int, alone: bool, holds: bool, third: bool) -> None:
    subject = named_subject(name, 50)
    assert (subject.nodes, subject.alone_decides, subject.holds, subject.third_voter) == (nodes, alone, holds, third)
    assert subject.has_crosslink and subject.keeps_level and subject.budget_ms == 50
    assert subject.spec.drift_ppb[:2] == (1_000_000, -1_000_000)
    assert subject.fast_link == 0 and subject.grant_ns == 40_000_000 and subject.listen_ns == 200_000_000


def test_an_unknown_world_names_the_nearest() -> None:
    with pytest.raises(UsageError, match='unknown world "vter"; did you mean "voter"'):
        named_subject("vter")


DOCS = EXAMPLE.parent


def test_shards_move_for_faults_alone_and_overlap_is_left_out(tmp_path: Path) -> None:
    (subject,) = subjects(tmp_path, TIMING + (DOCS / "example-hot-hot.toml").read_text())
    assert subject.title == "hall-3 (without horn)"
    assert subject.spec.groups_named == tuple(f"poll.{shard}" for shard in range(8))
    assert subject.groups == tuple(range(8))
    homes = [subject.order(group)[0] for group in subject.groups]
    assert sorted(homes) == [0, 0, 0, 0, 1, 1, 1, 1]
    for settings in subject.spec.settings:
        assert settings.load_gap_percent == 0
        assert {(group.exclusive, group.failback_ms, group.hold_down_ms, group.balance, group.prepare_ms)
                for group in settings.groups} == {(True, None, 0.0, False, 0.0)}


def test_three_nodes_have_a_subject_for_each_set_of_drivers(tmp_path: Path) -> None:
    found = subjects(tmp_path, TIMING + (DOCS / "example-hot-spare.toml").read_text())
    assert [subject.title for subject in found] == [
        f"line-2, group {name} (without cross)" for name in ("press", "saw", "lights")
    ]
    assert [subject.order(subject.groups[0]) for subject in found] == [[0, 2, 1], [1, 2, 0], [0, 1, 2]]
    for subject in found:
        assert (subject.nodes, subject.alone_decides, subject.holds, subject.has_crosslink) == (3, False, False, True)
        assert subject.spec.links_named == ("direct", "plant")
        assert len(subject.spec.links) == len(subject.spec.settings[0].links) == 2
        assert [settings.self_node for settings in subject.spec.settings] == [0, 1, 2]


def test_overlap_alone_is_nothing_to_verify(tmp_path: Path) -> None:
    text = example(('mode = "hot-warm" ', 'mode = "hot-hot"\noverlap = true '), ('prefer = ["gw-a", "gw-b"]', ""))
    with pytest.raises(ConfigError, match="every group has overlap = true"):
        subjects(tmp_path, text)
