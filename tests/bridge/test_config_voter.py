"""[third_voter] and outputs on the arbiter: what a file may say, and one sentence for each thing that it may not."""
from __future__ import annotations

from pathlib import Path

import pytest
from config_files import GOOD, changed, write

from twinbeat.check_voter import voter_warnings
from twinbeat.config import Config, load_config
from twinbeat.config_rules_voter import (
    ASK_BYTES,
    ASK_ROW_BYTES,
    KNOWN_RATES,
    ROWS_MAX,
    VOTE_BYTES,
    VOTE_ROW_BYTES,
    round_bytes,
    zookeeper_host,
)
from twinbeat.errors import ConfigError
from twinbeat_bridge import protocol
from twinbeat_core.wire import wrap
from twinbeat_hardware import arbiter as contact
from twinbeat_hardware.spec import ARBITER_GROUPS, ArbiterSpec

PORT_A = 'serial.cross = "/dev/ttyAMA0"\nserial.relay = "/dev/ttyAMA1"\nudp.direct = "10.0.0.1:7400"'
PORT_B = PORT_A.replace("10.0.0.1", "10.0.0.2")
VOTE_PORT = '\nserial.vote = "/dev/ttyAMA2"'
ARBITER = '[third_voter]\ntype = "arbiter"\nport = "vote"\nid = "a0b1c2d3"\n'
WITNESS = '[third_voter]\ntype = "witness"\nwitness = "w1"\nbroker = "mqtt://other.plant"\n'
ZOOKEEPER = '[third_voter]\ntype = "zookeeper"\nhosts = "zk1,zk2:2181,[fd00::3]:2181"\n'
CONTACT = '[[group.output]]\ntype = "arbiter"\nrelease_ms = 6\n'
SLOW_BUDGET = ("outage_budget_ms = 100", "outage_budget_ms = 10000")
MOCK_GROUP = '[[group]]\nname = "{0}"\n[[group.output]]\ntype = "mock"\n'


def arbiter(*changes: tuple[str, str], after: str = "") -> str:
    """The good file with an arbiter."""
    base = GOOD.replace(PORT_A, PORT_A + VOTE_PORT).replace(PORT_B, PORT_B + VOTE_PORT) + after + ARBITER
    return changed(*changes, base=base)


def networked(voter: str, *changes: tuple[str, str]) -> str:
    """The good file with a voter behind the network, and the time that one takes."""
    return changed(SLOW_BUDGET, *changes, base=GOOD + voter)


def loaded(directory: Path, text: str) -> Config:
    return load_config(write(directory, text), "gw-a")


def problems_of(directory: Path, text: str) -> list[str]:
    path = write(directory, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, "gw-a")
    assert caught.value.exit_code == 3
    assert all("\n" not in problem for problem in caught.value.problems)
    return [problem.removeprefix(f"{path}: ") for problem in caught.value.problems]


@pytest.mark.parametrize(
    "text",
    [
        arbiter(),
        arbiter(after=CONTACT),
        arbiter(('id = "a0b1c2d3"', 'id = "a0b1c2d3"\nbaud = 230400\nrtt_ms = 5\nrenew_ms = 20\ngrant_ms = 80')),
        networked(WITNESS),
        networked(WITNESS.replace("other", "broker")),
        networked(ZOOKEEPER),
        networked(ZOOKEEPER + 'user = "tb"\npassword_file = "pw"\nca = "ca"\ncert = "c"\nkey = "k"\n'),
        networked(ZOOKEEPER.replace('hosts = "zk1,', 'hosts = "10.0.0.7:2182, ZK1.plant:2181 ,')),
    ],
    ids=[
        "arbiter", "arbiter-contact", "arbiter-slow", "witness", "witness-on-a-links-broker", "zookeeper",
        "zookeeper-tls", "zookeeper-addresses",
    ],
)  # fmt: skip
def test_a_right_table_is_taken(tmp_path: Path, text: str) -> None:
    cfg = loaded(tmp_path, text)
    assert cfg.third_voter is not None


ARBITER_FAULTS = [
    ('port = "vote"', 'port = "vot"', '[third_voter]: port = "vot" is not defined in any [node.*]; did you mean '
     '"vote"? (define it as serial.vot = "/dev/...")'),
    ('port = "vote"', 'port = "/dev/ttyAMA2"', '[third_voter]: port = "/dev/ttyAMA2" is a device path; name it in '
     '[node.*] as serial.NAME and write port = "NAME"'),
    ('port = "vote"', 'port = "cross"', '[third_voter]: port = "cross" is /dev/ttyAMA0 on gw-a, which [[link]] 1 uses; '
     "the arbiter needs a line of its own"),
    ('port = "vote"', 'port = "relay"', '[third_voter]: port = "relay" is /dev/ttyAMA1 on gw-a, which [[group]] 1, '
     "output 1 uses; the arbiter needs a line of its own"),
    ('id = "a0b1c2d3"', 'id = "A0B1"', '[third_voter]: id = "A0B1" is wrong; it takes a text in quotes that matches '
     "^[0-9a-f]{8}$"),
    ('id = "a0b1c2d3"\n', "", '[third_voter]: key "id" is missing; it takes a text in quotes that matches '
     "^[0-9a-f]{8}$"),
    (ARBITER, ARBITER + "baud = 921000\n",
     "[third_voter]: baud = 921000 is an unknown baud rate; did you mean 921600?"),
    ("period_ms = 10\n", "period_ms = 10\nbaud = 912600\n",
     "[[link]] 1: baud = 912600 is an unknown baud rate; did you mean 921600?"),
    (ARBITER, ARBITER + "baud = 115200\n", "[third_voter]: baud = 115200 is too slow for an ask every 10 ms: ask and "
     "answer of 85 bytes take 7.38 ms, 74% of it (at most 40%); set baud = 230400 or more, or set renew_ms = 19 or "
     "more"),
    (ARBITER, ARBITER + "baud = 115200\nrenew_ms = 20\n", "[third_voter]: rtt_ms = 3 is shorter than the 7.38 ms that "
     "ask and answer of 85 bytes take at baud = 115200; set rtt_ms = 9 or more"),
    (ARBITER, ARBITER + "grant_ms = 30\n", "[third_voter]: grant_ms = 30 is shorter than 3 renewals of 10 ms and a "
     "round trip of 3 ms, 33 ms together: raise grant_ms, or lower renew_ms or missed"),
    (ARBITER, ARBITER + "renew_ms = 700\n", "[third_voter]: 3 renewals of 700 ms and a round trip of 3 ms need a "
     'promise of 2103 ms, and type = "arbiter" promises at most 2000 ms: lower renew_ms or missed'),
    (ARBITER, ARBITER + "grant_ms = 100\n", "[third_voter]: a gateway that loses power leaves a promise of 100 ms "
     "behind, and nobody can drive before it has run out: outage_budget_ms = 100 cannot be met; lower renew_ms, missed "
     "or grant_ms, or raise the budget"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "problem"), ARBITER_FAULTS, ids=range(len(ARBITER_FAULTS)))
def test_one_fault_of_an_arbiter_one_sentence(tmp_path: Path, old: str, new: str, problem: str) -> None:
    assert problems_of(tmp_path, arbiter((old, new))) == [problem]


def test_a_port_that_one_node_does_not_name(tmp_path: Path) -> None:
    text = changed(base=GOOD.replace(PORT_A, PORT_A + VOTE_PORT) + ARBITER)
    assert problems_of(tmp_path, text) == [
        '[third_voter]: port = "vote" is not defined for node gw-b; add serial.vote = "/dev/..." to [node.gw-b]'
    ]


def test_a_line_shared_under_two_names(tmp_path: Path) -> None:
    text = arbiter((PORT_B + VOTE_PORT, PORT_B + '\nserial.vote = "/dev/ttyAMA0"'))
    assert problems_of(tmp_path, text) == [
        '[third_voter]: port = "vote" is /dev/ttyAMA0 on gw-b, which [[link]] 1 uses; the arbiter needs a line of '
        'its own'
    ]


def test_the_remedies_of_a_slow_baud_work(tmp_path: Path) -> None:
    for fixed in ("baud = 230400\nrtt_ms = 5\n", "baud = 115200\nrenew_ms = 19\nrtt_ms = 9\n"):
        loaded(tmp_path, arbiter((ARBITER, ARBITER + fixed)))


def test_more_groups_than_a_frame_holds(tmp_path: Path) -> None:
    full = "".join(MOCK_GROUP.format(f"g{number}") for number in range(ROWS_MAX - 1))
    loaded(tmp_path, arbiter((ARBITER, full + ARBITER + "rtt_ms = 5\n")))
    one_more = full + MOCK_GROUP.format("last")
    (problem,) = problems_of(tmp_path, arbiter((ARBITER, one_more + ARBITER + "rtt_ms = 5\n")))
    assert problem == (
        '[third_voter]: the file has 17 groups, and type = "arbiter" carries at most 16: let outputs that move '
        'together share a group, or use type = "zookeeper"'
    )
    (problem,) = problems_of(tmp_path, networked(one_more + WITNESS))
    assert 'type = "witness" carries at most 16' in problem
    loaded(tmp_path, networked(one_more + ZOOKEEPER))


NETWORK_FAULTS = [
    (WITNESS, ("mqtt://other.plant", "tcp://other.plant"), '[third_voter]: broker = "tcp://other.plant" must start '
     'with mqtt:// or mqtts://, such as "mqtts://broker.plant:8883"'),
    (WITNESS, ("mqtt://other.plant", "mqtt://u:p@other.plant"), '[third_voter]: broker = "mqtt://u:p@other.plant" '
     "carries a user; write user = and password_file = beside it: no password in this file"),
    (WITNESS, ('witness = "w1"', 'witness = "w1"\nca = "/x"'), "[third_voter]: ca is set, but mqtt://other.plant is "
     "not encrypted; write mqtts:// or remove ca"),
    (WITNESS, ('"mqtt://other.plant"', '"mqtts://other.plant"\nkey = "/x"'), "[third_voter]: key is set without "
     "cert; a client certificate needs both"),
    (WITNESS, ('witness = "w1"', 'witness = "w1"\npassword_file = "/x"'), "[third_voter]: password_file is set without "
     'user; add user = "..."'),
    (WITNESS, ('witness = "w1"', 'witness = "w1"\nrenew_ms = 20000'), "[third_voter]: 3 renewals of 20000 ms and a "
     'round trip of 100 ms need a promise of 60100 ms, and type = "witness" promises at most 60000 ms: lower '
     "renew_ms or missed"),
    (WITNESS, ('witness = "w1"', 'witness = "w1"\ngrant_ms = 3000'), "[third_voter]: grant_ms = 3000 is shorter than 3 "
     "renewals of 1000 ms and a round trip of 100 ms, 3100 ms together: raise grant_ms, or lower renew_ms or missed"),
    (WITNESS, ("= 10000", "= 3000"), "[third_voter]: a gateway that loses power leaves a promise of 3100 ms behind, "
     "and nobody can drive before it has run out: outage_budget_ms = 3000 cannot be met; lower renew_ms, missed or "
     'grant_ms, or raise the budget, or use a faster voter: type = "arbiter"'),
    (ZOOKEEPER, ("zk1,", "zk1,,"), '[third_voter]: hosts = "zk1,,zk2:2181,[fd00::3]:2181": "" names no server; write '
     '"zk1:2181,zk2:2181,zk3:2181"'),
    (ZOOKEEPER, ("zk1,", "zk2,"), '[third_voter]: hosts = "zk2,zk2:2181,[fd00::3]:2181": "zk2:2181" is named twice; '
     "name every server once"),
    (ZOOKEEPER, ('3]:2181"', '3]:2181"\ncert = "c"\nkey = "k"'), "[third_voter]: cert is set without ca; TLS needs the "
     "certificates to trust"),
    (ZOOKEEPER, ('3]:2181"', '3]:2181"\nca = "c"\nkey = "k"'), "[third_voter]: key is set without cert; a client "
     "certificate needs both"),
    (ZOOKEEPER, ('3]:2181"', '3]:2181"\nuser = "u"'), "[third_voter]: user is set without password_file; ZooKeeper's "
     "digest needs both"),
    (ZOOKEEPER, ("= 10000", "= 100"), "[third_voter]: a gateway that loses power leaves a promise of 3200 ms "
     "behind, and nobody can drive before it has run out: outage_budget_ms = 100 cannot be met; lower renew_ms, "
     'missed or grant_ms, or raise the budget, or use a faster voter: type = "arbiter"'),
]  # fmt: skip


@pytest.mark.parametrize(("voter", "change", "problem"), NETWORK_FAULTS, ids=range(len(NETWORK_FAULTS)))
def test_one_fault_of_a_networked_voter_one_sentence(
    tmp_path: Path, voter: str, change: tuple[str, str], problem: str
) -> None:
    assert problems_of(tmp_path, networked(voter, change)) == [problem]


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("", "names no server"),
        (" ", "names no server"),
        ("tcp://zk1", "has a scheme"),
        ("zk1:2181/twinbeat", 'has a path; write it as path = "/..." beside hosts'),
        ("fd00::1", r'is no server; an IPv6 address is written as "\[fd00::1\]:2181"'),
        ("[fd00::1", "is no server"),
        ("[fd00::1]2181", "is no server"),
        ("[fd00::g]:1", "is no server"),
        ("zk 1", "has no valid host name"),
        ("-zk", "has no valid host name"),
        ("zk..1", "has no valid host name"),
        (":2181", "has no valid host name"),
        ("zk1:", "has no valid port; a port is 1 to 65535"),
        ("zk1:0", "has no valid port"),
        ("zk1:65536", "has no valid port"),
        ("zk1:x", "has no valid port"),
        ("[fd00::1]:", "has no valid port"),
    ],
)
def test_zookeeper_servers_that_are_none(entry: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        zookeeper_host(entry)


def test_zookeeper_servers_that_are_one() -> None:
    assert [zookeeper_host(entry) for entry in ("ZK1", " zk1:2181", "10.0.0.1:21", "[FD00::1]", "[fd00::1]:9")] == [
        "zk1:2181", "zk1:2181", "10.0.0.1:21", "[fd00::1]:2181", "[fd00::1]:9",
    ]  # fmt: skip


# ---------------------------------------------------------------- outputs on the arbiter's board
@pytest.mark.parametrize("voter", ["", WITNESS, ZOOKEEPER], ids=["none", "witness", "zookeeper"])
def test_a_contact_without_an_arbiter(tmp_path: Path, voter: str) -> None:
    assert problems_of(tmp_path, networked(CONTACT + voter)) == [
        '[[group]] 1, output 2: type = "arbiter" is a contact on the arbiter\'s board, and the file has no '
        '[third_voter] with type = "arbiter": add it, or use another type of output'
    ]


def test_a_contact_beyond_what_a_board_has(tmp_path: Path) -> None:
    many = "".join(MOCK_GROUP.format(f"g{number}") for number in range(ARBITER_GROUPS - 1))
    loaded(tmp_path, arbiter(after=many + CONTACT))
    assert problems_of(tmp_path, arbiter(after=many + MOCK_GROUP.format("last") + CONTACT)) == [
        "[[group]] 9, output 2: an arbiter has contacts for the first 8 groups at most, and this is group 9 of the "
        "file: move its table up, or use another type of output"
    ]


def test_two_contacts_in_one_group(tmp_path: Path) -> None:
    assert problems_of(tmp_path, arbiter(after=CONTACT + CONTACT)) == [
        "[[group]] 1, output 3: output 2 is this group's contact on the arbiter already, and there is one for each "
        "group: remove one of the two"
    ]


def test_a_contact_takes_no_level_at_exit(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, arbiter(after=CONTACT + 'exit = "hold"\n'))
    assert problem.startswith('[[group]] 1, output 2: exit = "hold" is refused: the arbiter opens the contact')


def test_the_contacts_times_count_for_the_group(tmp_path: Path) -> None:
    (group,) = loaded(tmp_path, arbiter(after=CONTACT.replace("6", "30") + "make_ms = 1\n")).groups
    assert isinstance(group.outputs[1], ArbiterSpec)
    assert (group.release_ms, group.make_ms) == (30.0, 0.0)


# ---------------------------------------------------------------- the same figures on both floors
def test_the_load_is_that_of_the_frames() -> None:
    for groups in (1, 3, ROWS_MAX):
        session = protocol.Session(0, 0x1234, 1, None, 60)
        ask = session.ask([(group, 8) for group in range(groups)], 1)
        answer_bytes = VOTE_BYTES + VOTE_ROW_BYTES * groups
        assert len(ask) == ASK_BYTES + ASK_ROW_BYTES * groups
        assert round_bytes(groups) == len(wrap(ask)) + len(wrap(bytes(answer_bytes)))
    assert VOTE_BYTES + VOTE_ROW_BYTES * ROWS_MAX == protocol.MAX_VOTE_BYTES
    assert ROWS_MAX == protocol.MAX_ROWS


def test_the_contacts_bits_are_those_of_the_protocol() -> None:
    for bit in protocol.Contacts:
        assert bit.name is not None
        assert getattr(contact, bit.name) == bit


def test_the_rates_of_links_are_known() -> None:
    from twinbeat.wire_load import BAUD_RATES

    assert set(BAUD_RATES) <= set(KNOWN_RATES)
    assert 0 not in KNOWN_RATES


# ---------------------------------------------------------------- allowed but doubtful
def test_no_voter_no_remark(tmp_path: Path) -> None:
    assert list(voter_warnings(loaded(tmp_path, GOOD))) == []


def test_lone_means_nothing_beside_a_third_voter(tmp_path: Path) -> None:
    cfg = loaded(tmp_path, arbiter(('name = "pump"', 'name = "pump"\nlone = "hold"')))
    assert any('lone = "hold" says what a pair without third voter does' in text for text in voter_warnings(cfg))


def test_outputs_that_a_frozen_gateway_keeps(tmp_path: Path) -> None:
    (warning,) = voter_warnings(loaded(tmp_path, arbiter()))
    assert "keeps its level while its gateway is frozen as a whole" in warning
    assert list(voter_warnings(loaded(tmp_path, arbiter(after=CONTACT)))) == []
    (warning,) = voter_warnings(loaded(tmp_path, arbiter(after=CONTACT.replace("release_ms = 6\n", ""))))
    assert warning.startswith('group "pump", output contact: release_ms is 0')


def test_a_witness_that_fails_with_the_links(tmp_path: Path) -> None:
    serial = '[[link]]\ntype = "serial"\nport = "cross"\nperiod_ms = 10\n\n'
    voter = WITNESS.replace("other.plant", "broker.plant:1884") + 'user = "u"\n'
    warnings = list(voter_warnings(loaded(tmp_path, networked(voter, (serial, "")))))
    assert "user and password go to mqtt://broker.plant:1884 unencrypted" in warnings[0]
    assert "its loss takes peer and witness at once" in warnings[1]
    assert list(voter_warnings(loaded(tmp_path, networked(WITNESS)))) == []


def test_an_ensemble_that_fails_with_its_first_server(tmp_path: Path) -> None:
    text = networked(ZOOKEEPER.replace(",[fd00::3]:2181", "") + 'user = "u"\npassword_file = "p"\n')
    warnings = list(voter_warnings(loaded(tmp_path, text)))
    assert [warning.split(":")[1][:6] for warning in warnings] == [" hosts", " the p"]
    assert "hosts names 2 servers: an ensemble of fewer than 3" in warnings[0]
