"""Every fault of a configuration file: place, value and remedy in one line each, exit code 3."""
from __future__ import annotations

import os
from pathlib import Path

import pytest
from config_files import GOOD, changed, write

from twinbeat.config import core_settings, load_config
from twinbeat.errors import ConfigError


def problems_of(directory: Path, text: str, node: str | None = "gw-a") -> list[str]:
    """The faults without the file's name, which begins every one."""
    path = write(directory, text)
    with pytest.raises(ConfigError) as caught:
        core_settings(load_config(path, node), realtime=True)
    assert caught.value.exit_code == 3
    for problem in caught.value.problems:
        assert problem.startswith(f"{path}: ")
        assert "\n" not in problem
    return [problem.removeprefix(f"{path}: ") for problem in caught.value.problems]


SERIAL = 'port = "cross"\nperiod_ms = 10\n'
MQTT = 'broker = "mqtt://broker.plant"'
UDP_LINK = '[[link]]\ntype = "udp"\naddress = "direct"\n\n[[group]]\nname = "pump"'
GROUP = '[[group]]\nname = "pump"'
NEEDED_NAME = "a name of at most 63 letters, digits, dots, dashes and underscores that starts with a letter or digit"

ONE_FAULT = [
    # unknown keys and tables
    ("period_ms = 100", "periode_ms = 100", '[[link]] 2: unknown key "periode_ms"; did you mean "period_ms"?'),
    ("outage_budget_ms", "outage_budget", '[pair]: unknown key "outage_budget"; did you mean "outage_budget_ms"?'),
    ("release_ms = 8", "relase_ms = 8", '[[group]] 1, output 1: unknown key "relase_ms"; did you mean "release_ms"?'),
    ('prefer = ["gw-b", "gw-a"]', "xyzzy = 1", '[[group]] 1: unknown key "xyzzy"; known keys: failback, '
     "failback_after_s, hold_down_max_s, hold_down_s, lone, lonely_start_ms, mode, name, overlap, prefer, shards"),
    ("[pair]", "[timeing]\n[pair]", 'top level: unknown table or key "timeing"; did you mean "timing"?'),
    # types and ranges
    (SERIAL, 'port = "cross"\nperiod_ms = "10"\n',
     '[[link]] 1: period_ms = "10" is wrong; it takes a number from 1 to 1000'),
    (SERIAL, 'port = "cross"\nperiod_ms = 0\n', "[[link]] 1: period_ms = 0 is wrong; it takes a number from 1 to 1000"),
    (SERIAL, 'port = "cross"\nperiod_ms = true\n',
     "[[link]] 1: period_ms = true is wrong; it takes a number from 1 to 1000"),
    (SERIAL, 'port = "cross"\nperiod_ms = nan\n',
     "[[link]] 1: period_ms = nan is wrong; it takes a number from 1 to 1000"),
    (SERIAL, 'port = "cross"\nmissed = 2.5\n',
     "[[link]] 1: missed = 2.5 is wrong; it takes a whole number from 2 to 20"),
    ("outage_budget_ms = 100", "outage_budget_ms = -1",
     "[pair]: outage_budget_ms = -1 is wrong; it takes a number above 0, at most 3600000"),
    ('name = "pump-7"', 'name = "pump/7"', f'[pair]: name = "pump/7" is wrong; it takes {NEEDED_NAME}'),
    ('key_file = "pair.key"\n', "", '[pair]: key "key_file" is missing; it takes a text in quotes that is not empty'),
    ('prefer = ["gw-b", "gw-a"]', 'prefer = "gw-b"',
     '[[group]] 1: prefer = "gw-b" is wrong; it takes a list, each item a text in quotes'),
    ('prefer = ["gw-b", "gw-a"]', 'lone = "held"',
     '[[group]] 1: lone = "held" is wrong; it takes "takeover" or "hold"'),
    ("[pair]", '[agent]\nlog_level = "inof"\n[pair]',
     '[agent]: log_level = "inof" is wrong; it takes "debug" or "info" '
     'or "warning" or "error"; did you mean "info"?'),
    ("[pair]", '[timing]\nrealtime = "yes"\n[pair]',
     '[timing]: realtime = "yes" is wrong; it takes true or false or "auto"'),
    # what a later version will do
    (GROUP, GROUP + "\nsync = true", '[[group]] 1: key "sync" is not in this version of twinbeat; remove it'),
    (GROUP, GROUP + '\nfailback = "after: 10min"', '[[group]] 1: failback = "after: 10min" is wrong; it takes "never" '
     'or "manual" or "after"'),
    ("[pair]", '[third_voter]\ntype = "arbiter"\nport = "x"\n[pair]', '[third_voter]: key "id" is missing; it takes '
     "a text in quotes that matches ^[0-9a-f]{8}$"),
    ("[pair]", '[third_voter]\ntype = "witnes"\n[pair]',
     '[third_voter]: type = "witnes" is unknown; did you mean "witness"?'),
    ("[pair]", "[third_voter]\n[pair]",
     '[third_voter]: key "type" is missing; it takes one of "arbiter", "witness", "zookeeper"'),
    # nodes
    ("[pair]", "[node.gw-c]\n[pair]", "[node]: the file has 3 nodes (gw-c, gw-a, gw-b) and none of them is the spare; "
     "write spare = true into the one that backs the others, or remove one"),
    # links
    ('type = "serial"', 'type = "seriel"', '[[link]] 1: type = "seriel" is unknown; did you mean "serial"?'),
    ('type = "serial"\n', "", '[[link]] 1: key "type" is missing; it takes one of "mqtt", "serial", "udp"'),
    ('port = "cross"', 'port = "crosss"', '[[link]] 1: port = "crosss" is not defined in any [node.*]; did you mean '
     '"cross"? (define it as serial.crosss = "/dev/...")'),
    ('port = "cross"', 'port = "/dev/ttyS5"',
     '[[link]] 1: port = "/dev/ttyS5" is a device path; name it in [node.*] as '
     'serial.NAME and write port = "NAME"'),
    ('port = "relay"', 'port = "cross"',
     '[[group]] 1, output 1: port = "cross" is /dev/ttyAMA0 on gw-a, which [[link]] 1 '
     "uses; give it a line of its own"),
    (MQTT, 'broker = "tcp://b"', '[[link]] 2: broker = "tcp://b" must start with mqtt:// or mqtts://, such as '
     '"mqtts://broker.plant:8883"'),
    (MQTT, 'broker = "mqtt://u:p@b"', '[[link]] 2: broker = "mqtt://u:p@b" carries a user; write user = and '
     "password_file = beside it: no password in this file"),
    (MQTT, 'broker = "mqtt://b:99999"',
     '[[link]] 2: broker = "mqtt://b:99999" has no valid port; a port is 1 to 65535'),
    (MQTT, 'broker = "mqtt://"',
     '[[link]] 2: broker = "mqtt://" names no host; write it as "mqtt://HOST" or "mqtt://HOST:PORT"'),
    (MQTT, 'broker = "mqtt://b/topic"',
     '[[link]] 2: broker = "mqtt://b/topic" has something behind the port; only host '
     "and port belong there"),
    (MQTT, 'broker = "mqtt://[b"', '[[link]] 2: broker = "mqtt://[b" has brackets that hold no IPv6 address; write it '
     'as "mqtt://[fd00::1]:1883"'),
    (MQTT, 'broker = "mqtt://a..b"', '[[link]] 2: broker = "mqtt://a..b" has a malformed host name; write a name that '
     "can be looked up, or an address"),
    (MQTT, MQTT + '\nca = "/x"', "[[link]] 2: ca is set, but mqtt://broker.plant is not encrypted; write mqtts:// or "
     "remove ca"),
    (MQTT, 'broker = "mqtts://b"\ncert = "/x"',
     "[[link]] 2: cert is set without key; a client certificate needs both"),
    (MQTT, MQTT + '\npassword_file = "/x"', '[[link]] 2: password_file is set without user; add user = "..."'),
    (MQTT, MQTT + "\nfast_period_ms = 200",
     "[[link]] 2: fast_period_ms = 200 is longer than period_ms = 100; it must be "
     "the same or shorter"),
    (GROUP, '[[link]]\ntype = "mqtt"\nbroker = "mqtt://broker.plant/"\n\n' + GROUP, "[[link]] 3: broker = "
     "mqtt://broker.plant/ is the broker of [[link]] 2 too; a second link to it adds nothing"),
    (GROUP, '[[link]]\ntype = "mqtt"\nbroker = "mqtt://Broker.Plant:1883"\n\n' + GROUP, "[[link]] 3: broker = "
     "mqtt://Broker.Plant:1883 is the broker of [[link]] 2 too; a second link to it adds nothing"),
    (GROUP, '[[link]]\ntype = "udp"\naddress = "directly"\n\n' + GROUP,
     '[[link]] 3: address = "directly" is not defined '
     'in any [node.*]; did you mean "direct"? (define it as udp.directly = "10.0.0.1:7400")'),
    # groups
    ('prefer = ["gw-b", "gw-a"]', 'prefer = ["gw-c"]',
     '[[group]] 1: prefer names "gw-c", which is no node of the file; did you mean "gw-b"?'),
    ('prefer = ["gw-b", "gw-a"]', 'prefer = ["gw-b", "gw-b"]',
     '[[group]] 1: prefer names "gw-b" twice; name every node once'),
    ('type = "serial-relay"', 'type = "serial-rely"',
     '[[group]] 1, output 1: type = "serial-rely" is unknown; did you mean "serial-relay"?'),
    # the timing relations, in the words of the file
    ("[pair]", "[timing]\ngrant_max_ms = 50\n[pair]", None),
]


@pytest.mark.parametrize(("old", "new", "problem"), ONE_FAULT, ids=[str(n) for n in range(len(ONE_FAULT))])
def test_one_fault_one_sentence(tmp_path: Path, old: str, new: str, problem: str | None) -> None:
    found = problems_of(tmp_path, changed((old, new)))
    if problem is None:
        assert len(found) == 1
        assert found[0].startswith("grant_max_ms = 50 is shorter than the ")
        return
    near = [item.replace('did you mean "gw-a"?', 'did you mean "gw-b"?') for item in found]
    assert near == [problem]


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    text = changed(
        ("period_ms = 100", "periode_ms = 100"), ("release_ms = 8", 'release_ms = "8"'), ("[pair]\n", "[pair]\nx = 1\n")
    )
    found = problems_of(tmp_path, text)
    assert [problem.split(":")[0] for problem in found] == ["[pair]", "[[link]] 2", "[[group]] 1, output 1"]


def test_a_fault_of_an_output_names_its_place(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, changed(('board = "lcus-1"', 'board = "lcus-9"')))
    assert problem.startswith('[[group]] 1, output 1: board = "lcus-9" is not built in')


def test_port_missing_on_one_node(tmp_path: Path) -> None:
    text = GOOD.replace('serial.relay = "/dev/ttyAMA1"\n', "", 1)
    assert problems_of(tmp_path, text) == [
        '[[group]] 1, output 1: port = "relay" is not defined for node gw-a; '
        'add serial.relay = "/dev/..." to [node.gw-a]'
    ]


def test_duplicate_group_names(tmp_path: Path) -> None:
    text = GOOD + '[[group]]\nname = "pump"\n[[group.output]]\ntype = "mock"\n'
    assert problems_of(tmp_path, text) == [
        '[[group]] 2: name = "pump" is taken by [[group]] 1; give every group a name of its own'
    ]


def test_duplicate_link_names(tmp_path: Path) -> None:
    text = changed((SERIAL, SERIAL + 'name = "x"\n'), (MQTT, MQTT + '\nname = "x"'))
    assert problems_of(tmp_path, text) == [
        '[[link]] 2: name = "x" is taken by [[link]] 1; give every link a name of its own'
    ]


def test_two_nodes_with_one_name(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, changed(("[node.gw-b]", "[node.gw-a]")))
    assert problem == (
        'line 11, column 11: there are two nodes with the name "gw-a": [node.gw-a] is declared twice; '
        "give every node a name of its own"
    )


def test_two_nodes_that_differ_in_case_only(tmp_path: Path) -> None:
    text = changed(("[node.gw-b]", "[node.GW-A]"), ('prefer = ["gw-b", "gw-a"]\n', ""))
    assert problems_of(tmp_path, text) == [
        '[node.GW-A]: the name differs from node "gw-a" only in case; give it another name'
    ]


def test_node_name_that_no_topic_can_carry(tmp_path: Path) -> None:
    text = changed(("[node.gw-b]", '[node."gw/b"]'), ('prefer = ["gw-b", "gw-a"]\n', ""))
    assert problems_of(tmp_path, text)[0].startswith('[node."gw/b"]: "gw/b" is no node name; use ')


def test_one_node_is_no_pair(tmp_path: Path) -> None:
    second_node = GOOD[GOOD.index("[node.gw-b]") : GOOD.index("[[link]]")]
    text = changed((second_node, ""), ('prefer = ["gw-b", "gw-a"]\n', ""))
    assert problems_of(tmp_path, text) == [
        "[node]: the file has 1 node (gw-a); write two tables [node.NAME], or three of which one has spare = true"
    ]


def test_other_tables_declared_twice(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, GOOD + '[pair]\nname = "y"\n')
    assert problem.endswith("[pair] is declared twice; put its keys into one table (lists are written [[pair]])")
    (problem,) = problems_of(tmp_path, changed(("outage_budget_ms = 100", 'name = "z"')))
    assert problem == 'line 4, column 11: "name = "z"" sets a key or table for the second time; keep one of the two'


def test_single_brackets_for_a_list(tmp_path: Path) -> None:
    text = '[pair]\nname = "a"\nkey_file = "k"\n[node.a]\n[node.b]\n[link]\ntype = "udp"\n[group]\nname = "g"\n'
    assert problems_of(tmp_path, text) == [
        "[link]: this is a list of tables; write [[link]] with double brackets",
        "[group]: this is a list of tables; write [[group]] with double brackets",
    ]


def test_an_empty_file_says_what_is_needed(tmp_path: Path) -> None:
    assert problems_of(tmp_path, "") == [
        '[pair]: the table is missing; add [pair] with name = "..." and key_file = "..."',
        "[node]: no node is there; add one table [node.NAME] for each gateway",
        "[[link]]: no link is there; add at least one [[link]]",
        "[[group]]: no group is there; add at least one [[group]]",
    ]


def test_a_group_without_outputs(tmp_path: Path) -> None:
    text = GOOD[: GOOD.index("[[group.output]]")]
    assert problems_of(tmp_path, text) == [
        "[[group]] 1: the group has no output; add at least one [[group.output]] below it"
    ]


def test_no_toml(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, changed(('type = "mqtt"', "type = mqtt")))
    assert problem == "line 22, column 8: not valid TOML: Invalid value"


# ---------------------------------------------------------------- serial speed


def test_baud_too_slow_for_the_period(tmp_path: Path) -> None:
    assert problems_of(tmp_path, changed((SERIAL, SERIAL + "baud = 115200\n"))) == [
        "[[link]] 1: baud = 115200 is too slow for period_ms = 10: one heartbeat of 61 bytes takes 5.30 ms, 53% of the "
        "period (at most 40%); set baud = 230400 or more, or set period_ms = 14 or more"
    ]


def test_the_remedies_of_a_slow_baud_work(tmp_path: Path) -> None:
    for fixed in ("period_ms = 10\nbaud = 230400\n", "period_ms = 14\nbaud = 115200\n"):
        load_config(write(tmp_path, changed(("period_ms = 10\n", fixed))), "gw-a")
    problems_of(tmp_path, changed(("period_ms = 10\n", "period_ms = 13\nbaud = 115200\n")))


def test_more_groups_need_a_faster_line(tmp_path: Path) -> None:
    many = "".join(f'[[group]]\nname = "g{n}"\n[[group.output]]\ntype = "mock"\n' for n in range(63))
    (problem,) = problems_of(tmp_path, GOOD + many)
    assert "one heartbeat of 440 bytes takes 4.77 ms, 48% of the period" in problem
    (problem,) = problems_of(tmp_path, GOOD + many + '[[group]]\nname = "last"\n[[group.output]]\ntype = "mock"\n')[:1]
    assert problem == "[[group]]: the file has 65 of them; at most 64 are possible"


# ---------------------------------------------------------------- udp addresses


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("10.0.0.2", 'must be ADDRESS:PORT, such as "10.0.0.1:7400"'),
        ("gateway-b:7400", "must be a numeric address: a gateway must find its peer without name service"),
        ("10.0.0.2:0", "has no valid port; a port is 1 to 65535"),
        ("10.0.0.2:70000", "has no valid port; a port is 1 to 65535"),
        ("0.0.0.0:7400", "must be the gateway's own address, neither 0.0.0.0 nor a group address"),
        ("224.0.0.1:7400", "must be the gateway's own address, neither 0.0.0.0 nor a group address"),
    ],
)
def test_udp_address_that_cannot_be_used(tmp_path: Path, address: str, problem: str) -> None:
    found = problems_of(tmp_path, changed(("10.0.0.2:7400", address)))
    assert found == [f'[node.gw-b]: udp.direct = "{address}" {problem}']


def test_udp_nodes_with_one_address_or_two_families(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, changed(("10.0.0.2", "10.0.0.1"), (GROUP, UDP_LINK)))
    assert problem == "[[link]] 3: gw-b and gw-a have the same address 10.0.0.1:7400; give each its own"
    (problem,) = problems_of(tmp_path, changed(("10.0.0.2", "[fd00::2]"), (GROUP, UDP_LINK)))
    assert problem == "[[link]] 3: gw-a has an IPv4 and gw-b an IPv6 address; use one family on all nodes"


# ---------------------------------------------------------------- which node, which file


def test_node_that_is_not_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TWINBEAT_NODE", raising=False)
    assert problems_of(tmp_path, GOOD, "gw-aa") == [
        '--node names node "gw-aa", which is not in the file; did you mean "gw-a"?'
    ]
    monkeypatch.setenv("TWINBEAT_NODE", "other")
    assert problems_of(tmp_path, GOOD, None) == [
        'TWINBEAT_NODE names node "other", which is not in the file; known nodes: gw-a, gw-b'
    ]


def test_host_name_that_is_no_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TWINBEAT_NODE", raising=False)
    monkeypatch.setattr("socket.gethostname", lambda: "laptop")
    (problem,) = problems_of(tmp_path, GOOD, None)
    assert problem.startswith('this machine is called "laptop", and the file has only the nodes gw-a, gw-b; say which')


def test_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"/none\.toml: there is no such file; write it, or name another"):
        load_config(tmp_path / "none.toml", "gw-a")
    with pytest.raises(ConfigError, match="this is a directory; name the file in it"):
        load_config(tmp_path, "gw-a")
    path = write(tmp_path)
    path.write_bytes(b"# \xff\n")
    with pytest.raises(ConfigError, match=r"byte 2 is not UTF-8; save the file as UTF-8"):
        load_config(path, "gw-a")

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ConfigError, match="this user may not read it; run as root or as the agent's user"):
        load_config(path, "gw-a")
