"""Every fault of nodes, modes, shards and planned moves: place, value and remedy in one line each."""
from __future__ import annotations

from pathlib import Path

import pytest
from config_files import changed, write
from mode_files import HOT_HOT, OVERLAP, SPARE

from twinbeat.config import core_settings, load_config
from twinbeat.errors import ConfigError
from twinbeat.wire_load import heartbeat_bytes


def problems_of(directory: Path, text: str) -> list[str]:
    """The faults without the file's name, which begins every one."""
    path = write(directory, text)
    with pytest.raises(ConfigError) as caught:
        core_settings(load_config(path, "gw-a"), realtime=True)
    assert all("\n" not in problem for problem in caught.value.problems)
    return [problem.removeprefix(f"{path}: ") for problem in caught.value.problems]


WARM = HOT_HOT.replace('mode = "hot-hot"\nshards = 8\n', "")
NODE_C = '[node.gw-c]\nudp.direct = "10.0.0.4:7400"\n'
HOOK_GROUP = '[[group.output]]\ntype = "hook"'
GPIO = '[[group.output]]\ntype = "gpio"\nchip = "pinctrl-rp1"\nline = "GPIO17"\n'
PREPARE = '[[group.prepare]]\ncommand = ["/bin/warm"]\ndeadline_ms = 200000\n'

ONE_FAULT = [
    # modes
    (HOT_HOT, "shards = 8\n", "",
     '[[group]] 1: mode = "hot-hot" needs shards = 2 to 64 (each shard driven by one node) '
     "or overlap = true (all nodes drive, for outputs that are or-ed in the field)"),
    (HOT_HOT, "shards = 8", "shards = 8\noverlap = true", "[[group]] 1: shards = 8 gives every shard to one node, "
     "overlap = true everything to all: remove one of the two"),
    (HOT_HOT, 'mode = "hot-hot"\n', "", '[[group]] 1: shards = 8 belongs to mode = "hot-hot", and the mode is '
     '"hot-warm": remove it, or change the mode'),
    (OVERLAP, 'mode = "hot-hot"\n', "", '[[group]] 1: overlap = true belongs to mode = "hot-hot", and the mode is '
     '"hot-warm": remove it, or change the mode'),
    (HOT_HOT, "shards = 8", "shards = 65", "[[group]] 1: shards = 65 is wrong; it takes a whole number from 1 to 64"),
    (HOT_HOT, "shards = 8", "shards = 0", "[[group]] 1: shards = 0 is wrong; it takes a whole number from 1 to 64"),
    (HOT_HOT, '"hot-hot"', '"hot-hod"', '[[group]] 1: mode = "hot-hod" is wrong; it takes "hot-warm" or "hot-hot" or '
     '"hot-spare"; did you mean "hot-hot"?'),
    (HOT_HOT, "shards = 8", 'shards = 8\nprefer = ["gw-a"]', '[[group]] 1: prefer means nothing with mode = "hot-hot": '
     "the home of each shard follows from its hash and from capacity; remove it"),
    (OVERLAP, "overlap = true", 'overlap = true\nprefer = ["gw-a"]', "[[group]] 1: prefer means nothing with mode = "
     '"hot-hot": every node drives; remove it'),
    # overlap
    (OVERLAP, "overlap = true", 'overlap = true\nlone = "hold"', '[[group]] 1: lone = "hold" waits for proof before a '
     "takeover, and with overlap = true nothing is taken over, because every node drives already: remove it"),
    (OVERLAP, "overlap = true", 'overlap = true\nfailback = "after"', "[[group]] 1: failback means nothing with "
     "overlap = true: every node that is fit drives; remove it"),
    (OVERLAP, "overlap = true", "overlap = true\nfailback_after_s = 5", "[[group]] 1: failback_after_s means nothing "
     "with overlap = true: every node that is fit drives; remove it"),
    (OVERLAP + "[[group.prepare]]\ncommand = ['x']\n", "[pair]", "[pair]", "[[group]] 1: [[group.prepare]] is run "
     "before a handover, and with overlap = true there is none: remove it"),
    (OVERLAP.replace("[pair]", '[third_voter]\ntype = "arbiter"\nport = "vote"\nid = "a0b1c2d3"\n[pair]')
     .replace("udp.direct", 'serial.vote = "/dev/ttyAMA5"\nudp.direct').replace('type = "mock"', 'type = "arbiter"'),
     "[pair]", "[pair]", '[[group]] 1, output 2: type = "arbiter" closes its contact for one node at a time, and with '
     "overlap = true all drive: use another type of output"),
    # planned moves
    (WARM, 'name = "poll"', 'name = "poll"\nfailback_after_s = 5', "[[group]] 1: failback_after_s = 5 is set, and "
     'failback is not set, which means "never": write failback = "after", or remove it'),
    (WARM, 'name = "poll"', 'name = "poll"\nfailback = "manual"\nfailback_after_s = 5', "[[group]] 1: failback_after_s "
     '= 5 is set, and failback is "manual": write failback = "after", or remove it'),
    (HOT_HOT, "shards = 8", "shards = 8\nhold_down_s = 10\nhold_down_max_s = 9.5", "[[group]] 1: hold_down_s = 10 is "
     "longer than hold_down_max_s = 9.5: lower the one or raise the other"),
    (WARM + PREPARE + PREPARE, "[pair]", "[pair]", "[[group]] 1: the prepare hooks may take 400000 ms one after the "
     "other, and a handover waits for at most 300000 ms: lower their deadline_ms"),
    (WARM + "[[group.prepare]]\ncommand = []\n", "[pair]", "[pair]", "[[group]] 1, prepare 1: command = [] is wrong; "
     "it takes a list, each item a text in quotes that is not empty, not empty"),
    (WARM + "[group.prepare]\ncommand = ['x']\n", "[pair]", "[pair]", "[[group]] 1: prepare is a list of tables; write "
     "[[group.prepare]] with double brackets"),
    (WARM + "[balance]\n", "[pair]", "[pair]", "[balance]: load moves shards only, and no group has any: remove the "
     'table, or write mode = "hot-hot" and shards = N in a group'),
    # shards and their outputs
    (HOT_HOT + GPIO, "[pair]", "[pair]",
     "[[group]] 1, output 3: all 8 shards would switch the same line; write {shard} "
     'where they differ, such as line = "relay-{shard}"'),
    (HOT_HOT + '[[group.output]]\ntype = "systemd"\nunit = "a.service"\n', "[pair]", "[pair]", "[[group]] 1, output 3: "
     'all 8 shards would switch the same unit; write {shard} where they differ, such as unit = '
     '"poller@{shard}.service"'),
    (HOT_HOT + '[[group.output]]\ntype = "serial-relay"\nport = "/dev/ttyS7"\nboard = "lcus-1"\n', "[pair]", "[pair]",
     "[[group]] 1, output 3: all 8 shards would switch the same port; write {shard} where they differ, such as port = "
     '"relay-{shard}"'),
    (HOT_HOT + '[[group.output]]\ntype = "serial-relay"\nport = "/dev/s{shard}"\non = "0{shard}"\noff = "00"\n',
     "[pair]",
     "[pair]", '[[group]] 1, output 3: on = "0{shard}": "0{" is not a byte in hex; write pairs of 0-9 and A-F, such as '
     '"A0 01 01 A2"'),
    (HOT_HOT + '[[group]]\nname = "poll.3"\n[[group.output]]\ntype = "mock"\n', "[pair]", "[pair]", '[[group]] 2: name '
     '= "poll.3" is that of a shard of [[group]] 1 (poll); give one of the two another name'),
    (HOT_HOT, 'name = "poll"', f'name = "{"p" * 62}"', f'[[group]] 1: the last shard would be called "{"p" * 62}.7", '
     "64 characters of at most 63: shorten the name"),
    (HOT_HOT + '[[group]]\nname = "cam"\nmode = "hot-hot"\nshards = 57\n[[group.output]]\ntype = "mock"\n', "[pair]",
     "[pair]", "[[group]]: groups and shards are 65 together (8 of poll + 57 of cam); at most 64 are possible: lower "
     "shards"),
    (WARM + GPIO + '[[group]]\nname = "fan"\n' + GPIO, "[pair]", "[pair]", "[[group]] 2, output 1: pinctrl-rp1 GPIO17 "
     "is switched by [[group]] 1, output 3 already, and gw-a may drive both: give it a line of its own"),
    # nodes
    (WARM, "[node.gw-b]", "[node.gw-b]\nspare = true", "[node.gw-b]: spare = true, and the file has 2 nodes (gw-a, "
     "gw-b); a spare is the third of three: add a second working node, or remove spare"),
    (SPARE, "spare = true\n", "", "[node]: the file has 3 nodes (gw-a, gw-b, gw-s) and none of them is the spare; "
     "write spare = true into the one that backs the others, or remove one"),
    (SPARE, "[node.gw-b]", "[node.gw-b]\nspare = true", "[node.gw-s]: spare = true stands in [node.gw-b] already; one "
     "spare backs all groups: remove one of the two"),
    (SPARE, "[pair]", NODE_C + "[pair]", "[node]: the file has 4 nodes (gw-c, gw-a, gw-b, gw-s); write two tables "
     "[node.NAME], or three of which one has spare = true"),
    (SPARE, "spare = true", "spare = true\ncapacity = 50", "[node.gw-s]: capacity = 50 is the weight in the spreading "
     "of shards, and a spare takes none: remove it"),
    (SPARE, "[pair]", '[third_voter]\ntype = "witness"\nwitness = "w"\nbroker = "mqtt://w"\n[pair]', "[third_voter]: "
     "the spare node gw-s is the pair's third vote already: remove [third_voter], or spare = true and its node"),
    # hot-spare
    (WARM, 'name = "poll"', 'name = "poll"\nmode = "hot-spare"', '[[group]] 1: mode = "hot-spare" needs a spare node, '
     'and the file has none: add a third table [node.NAME] with spare = true, or write mode = "hot-warm"'),
    (SPARE, 'prefer = ["gw-a", "gw-s"]', 'prefer = ["gw-s", "gw-a"]', '[[group]] 1: mode = "hot-spare", and prefer '
     'ends with "gw-a"; the spare stands last, such as prefer = ["gw-a", "gw-s"]'),
    (SPARE, 'prefer = ["gw-a", "gw-s"]', 'prefer = ["gw-s"]',
     "[[group]] 1: prefer names the spare alone; name the node "
     'that it backs first, such as prefer = ["gw-a", "gw-s"]'),
    (SPARE, 'name = "lights"', 'name = "lights"\nprefer = ["gw-x"]', '[[group]] 2: prefer names "gw-x", which is no '
     'node of the file; did you mean "gw-s"?'),
    # cables
    (SPARE, 'between = ["gw-a", "gw-b"]\n', "", "[[link]] 2: a serial cable joins two nodes, and the file has 3; say "
     'which: between = ["gw-a", "gw-b"]'),
    (SPARE, 'between = ["gw-a", "gw-b"]', 'between = ["gw-a", "gw-x"]', '[[link]] 2: between names "gw-x", which is no '
     'node of the file; did you mean "gw-s"?'),
    (SPARE, 'between = ["gw-a", "gw-b"]', 'between = ["gw-a", "gw-a"]', "[[link]] 2: between names gw-a, gw-a; a cable "
     'joins two different nodes, such as between = ["gw-a", "gw-b"]'),
    (SPARE, 'between = ["gw-a", "gw-b"]', 'between = ["gw-a", "gw-s"]', '[[link]] 2: port = "cross" is not defined for '
     'node gw-s; add serial.cross = "/dev/..." to [node.gw-s]'),
    (SPARE, 'between = ["gw-a", "gw-b"]', 'between = ["gw-a", "gw-b"]\nperiod_ms = 9', "[[link]] 2: it is the fastest "
     "link, and a cable does not reach all 3 nodes: put a udp link with period_ms = 9 or less before it, or raise "
     "period_ms here"),
    (SPARE, '"10.0.0.3:7400"', '"10.0.0.1:7400"', "[[link]] 1: gw-s and gw-a have the same address 10.0.0.1:7400; give "
     "each its own"),
    (SPARE, 'serial.relay = "/dev/ttyAMA1"\nudp.direct = "10.0.0.3:7400"', 'udp.direct = "10.0.0.3:7400"',
     '[[group]] 1, output 1: port = "relay" is not defined for node gw-s; add serial.relay = "/dev/..." to '
     "[node.gw-s]"),
]


@pytest.mark.parametrize(("base", "old", "new", "problem"), ONE_FAULT, ids=[str(n) for n in range(len(ONE_FAULT))])
def test_one_fault_one_sentence(tmp_path: Path, base: str, old: str, new: str, problem: str) -> None:
    found = problems_of(tmp_path, changed((old, new), base=base))
    assert [item.replace('did you mean "gw-a"?', 'did you mean "gw-s"?')
            .replace('did you mean "gw-b"?', 'did you mean "gw-s"?') for item in found] == [problem]


def test_a_hot_spare_group_without_prefer(tmp_path: Path) -> None:
    assert problems_of(tmp_path, changed(('prefer = ["gw-a", "gw-s"]\n', ""), base=SPARE)) == [
        '[[group]] 1: mode = "hot-spare" needs prefer: the nodes that may drive it, the spare last, such as '
        'prefer = ["gw-a", "gw-s"]',
    ]


def test_a_key_of_the_hook_that_is_wrong_is_told_once_for_all_shards(tmp_path: Path) -> None:
    assert problems_of(tmp_path, changed(("release_ms = 12", "relase_ms = 12"), base=HOT_HOT)) == [
        '[[group]] 1, output 1: unknown key "relase_ms"; did you mean "release_ms"?'
    ]


def test_the_load_of_a_line_counts_every_shard(tmp_path: Path) -> None:
    text = changed(("shards = 8", "shards = 64"), ('port = "cross"', 'port = "cross"\nbaud = 230400'), base=HOT_HOT)
    (problem,) = problems_of(tmp_path, text)
    assert f"one heartbeat of {heartbeat_bytes(2, 64)} bytes takes" in problem
    assert problem.startswith("[[link]] 2: baud = 230400 is too slow for period_ms = 10: ")


def test_a_third_voter_counts_every_shard(tmp_path: Path) -> None:
    voter = '[third_voter]\ntype = "witness"\nwitness = "w"\nbroker = "mqtt://w"\n[pair]'
    text = changed(("[pair]", voter), ("shards = 8", "shards = 17"), ("outage_budget_ms = 100\n", ""), base=HOT_HOT)
    assert problems_of(tmp_path, text) == [
        '[third_voter]: the file has 17 groups and shards, and type = "witness" carries at most 16: lower shards, or '
        'use type = "zookeeper"'
    ]


def test_contacts_of_an_arbiter_are_for_the_first_eight_shards(tmp_path: Path) -> None:
    voter = '[third_voter]\ntype = "arbiter"\nport = "vote"\nid = "a0b1c2d3"\n[pair]'
    text = changed(("[pair]", voter), ('type = "mock"', 'type = "arbiter"'), base=HOT_HOT)
    text = text.replace("udp.direct", 'serial.vote = "/dev/ttyAMA5"\nudp.direct').replace("budget_ms = 100",
     "budget_ms = 900")
    core_settings(load_config(write(tmp_path, text), "gw-a"), realtime=True)
    assert problems_of(tmp_path, changed(("shards = 8", "shards = 9"), base=text)) == [
        "[[group]] 1, output 2: an arbiter has contacts for the first 8 groups at most, and this is beyond them, every "
        "shard counting: lower shards, move its table up, or use another type of output"
    ]
