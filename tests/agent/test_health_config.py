"""[[check]] tables: what is refused, what counts for the digest, and what `twinbeat check` says of them."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from config_files import GOOD, write
from test_config_bad import problems_of

from twinbeat.check import build_report
from twinbeat.check_health import driver_then, health_problems, health_rows, look_at_all
from twinbeat.check_text import report_text
from twinbeat.config import Config, load_config

FILE = '[[check]]\nname = "app"\ntype = "file"\npath = "/run/app/out"\nmax_age_s = 5\n'
TCP = '[[check]]\nname = "plc"\ntype = "tcp"\nhost = "10.0.0.9"\nport = 502\n'
MQTT = '[[check]]\nname = "topic"\ntype = "mqtt"\ntopic = "plant/tick"\nmax_age_s = 5\n'
CPU = '[[check]]\nname = "cpu"\ntype = "cpu"\nmax_percent = 90\n'
P1 = "[[check]] 1: "
RELAY = 'type = "serial-relay"\nport = "relay"\nboard = "lcus-1"'

REFUSED = [
    (FILE.replace('"file"', '"fil"'), '[[check]] 1: type = "fil" is unknown; did you mean "file"?'),
    (
        FILE.replace('type = "file"\n', ""),
        '[[check]] 1: key "type" is missing; it takes one of "clock", "command", "cpu", "disk", "file", "gpio", '
        '"memory", "mqtt", "process", "tcp", "temperature", "throttle", "unit"',
    ),
    (FILE + "riser = 2\n", '[[check]] 1: unknown key "riser"; did you mean "rise"?'),
    (FILE + "every_ms = 50\n", "[[check]] 1: every_ms = 50 is wrong; it takes a whole number from 100 to 60000"),
    (FILE + "rise = 0\n", "[[check]] 1: rise = 0 is wrong; it takes a whole number from 1 to 100"),
    (FILE + 'effect = "fence"\n', '[[check]] 1: effect = "fence" is wrong; it takes "unfit" or "score" or "warn"'),
    (
        FILE + 'effect = "score"\npoints = 0\n',
        "[[check]] 1: points = 0 is wrong; it takes a whole number from 1 to 100",
    ),
    (
        FILE + 'effect = "score"\n',
        '[[check]] 1: effect = "score" needs points = 1 to 100: what it takes off the score of 100',
    ),
    (
        FILE + "points = 5\n",
        '[[check]] 1: points = 5 has no meaning with effect = "unfit"; remove it, or write effect = "score"',
    ),
    (
        FILE + "deadline_ms = 2000\n",
        "[[check]] 1: deadline_ms = 2000 is longer than every_ms = 1000; a check is not started again before it "
        "has answered: lower the one or raise the other",
    ),
    (
        FILE + 'nodes = ["gw-c"]\n',
        '[[check]] 1: nodes names "gw-c", which is no node of the file; did you mean "gw-b"?',
    ),
    (FILE + 'nodes = ["gw-a", "gw-a"]\n', '[[check]] 1: nodes names "gw-a" twice; name every node once'),
    (
        FILE.replace("/run/", "run/"),
        '[[check]] 1: path = "run/app/out" must be written in full, from / on: the agent has no place of its own',
    ),
    (
        FILE + "every_ms = 6000\n",
        "[[check]] 1: max_age_s = 5 is shorter than every_ms = 6000; look more often, or allow a higher age",
    ),
    (
        FILE + TCP.replace("plc", "app"),
        '[[check]] 2: name = "app" is taken by [[check]] 1; give every check a name of its own',
    ),
    (
        TCP + TCP.replace("plc", "two"),
        '[[check]] 2: "two" looks at the same as [[check]] 1 on gw-a, with the same effect: it can change nothing; '
        "remove one of them",
    ),
    (
        '[[check]]\nname = "p"\ntype = "process"\n',
        "[[check]] 1: a process check needs pid_file, or command, or both (then the process must have that name)",
    ),
    (
        '[[check]]\nname = "p"\ntype = "process"\ncommand = "/bin/a"\n',
        '[[check]] 1: command = "/bin/a" is compared with the program\'s name alone; leave the path out',
    ),
    (
        '[[check]]\nname = "c"\ntype = "command"\nargv = []\n',
        "[[check]] 1: argv = [] is wrong; it takes a list, each item a text in quotes that is not empty, not empty",
    ),
    (
        '[[check]]\nname = "c"\ntype = "command"\nargv = ["./a"]\n',
        '[[check]] 1: argv[0] = "./a" must be written in full, or as a name that is found in PATH',
    ),
    (
        '[[check]]\nname = "u"\ntype = "unit"\nunit = "app"\n',
        '[[check]] 1: unit = "app" is wrong; it takes a text in quotes that matches '
        "^[A-Za-z0-9:_.\\\\@-]+\\.[a-z]+$",
    ),
    (
        '[[check]]\nname = "c"\ntype = "cpu"\nmax_percent = 100\n',
        "[[check]] 1: max_percent = 100 is wrong; it takes a number from 1 to 99.9",
    ),
    (
        MQTT.replace("plant/tick", "plant/#"),
        '[[check]] 1: topic = "plant/#" must be one topic, without + and #: a check has one age',
    ),
    (
        MQTT.replace("plant/tick", "twinbeat/v1/pump-7/gw-a/beat"),
        '[[check]] 1: topic = "twinbeat/v1/pump-7/gw-a/beat" is the pair\'s own; name a topic of the application',
    ),
    (MQTT + 'link = "mqtx"\n', '[[check]] 1: link = "mqtx" is no MQTT link of the file; did you mean "mqtt"?'),
    ("[check]\nname = 1\n", "[check]: this is a list of tables; write [[check]] with double brackets"),
]


@pytest.mark.parametrize(("text", "problem"), REFUSED, ids=range(len(REFUSED)))
def test_refused(tmp_path: Path, text: str, problem: str) -> None:
    found = problems_of(tmp_path, GOOD + text)
    assert problem in found
    assert len([line for line in found if " on gw-b" not in line]) == 1


def test_more_rules(tmp_path: Path) -> None:
    without = GOOD.replace('[[link]]\ntype = "mqtt"\nbroker = "mqtt://broker.plant"\nperiod_ms = 100\n', "")
    assert problems_of(tmp_path, without + MQTT) == [
        P1 + 'there is no [[link]] with type = "mqtt" whose broker it could ask; add one, or remove this'
    ]
    two = GOOD + '[[link]]\ntype = "mqtt"\nbroker = "mqtt://other.plant"\n'
    assert problems_of(tmp_path, two + MQTT) == [
        P1 + 'there are 2 MQTT links; say which broker is meant with link = "mqtt"'
    ]
    many = "".join(TCP.replace("plc", f"c{number}").replace("502", str(number)) for number in range(1, 34))
    assert "[[check]]: gw-a has 33 checks; at most 32 are possible" in problems_of(tmp_path, GOOD + many)
    gpio = GOOD.replace(RELAY, 'type = "gpio"\nchip = "c"\nline = "L"')
    gpio += '[[check]]\nname = "g"\ntype = "gpio"\nchip = "c"\nline = "L"\n'
    assert problems_of(tmp_path, gpio) == [P1 + 'line = "L" is an output of group pump; use the output\'s readback']


def loaded(folder: Path, text: str, node: str = "gw-a") -> Config:
    return load_config(write(folder, GOOD + text), node)


def test_checks_belong_to_a_node_and_to_the_digest(tmp_path: Path) -> None:
    bare = loaded(tmp_path, "")
    cfg = loaded(tmp_path, FILE + TCP + 'nodes = ["gw-b"]\n')
    assert [check.name for check in cfg.checks_of("gw-a")] == ["app"]
    assert [check.name for check in cfg.checks_of("gw-b")] == ["app", "plc"]
    digests = {bare.digest, cfg.digest, loaded(tmp_path, FILE).digest, loaded(tmp_path, FILE + "fall = 4\n").digest}
    assert len(digests) == 4
    assert loaded(tmp_path, FILE + "fall = 3\n").digest == loaded(tmp_path, FILE).digest


def test_each_check_failing_alone(tmp_path: Path) -> None:
    score = 'effect = "score"\npoints = 60\n'
    text = FILE + 'nodes = ["gw-a"]\n' + TCP + CPU + score + FILE.replace('"app"', '"two"').replace("5", "9") + score
    text += '[[check]]\nname = "clock"\ntype = "clock"\neffect = "warn"\n'
    report = build_report(loaded(tmp_path, text))
    assert [(row.check, row.node, row.score, row.drives) for row in report.checks] == [
        ("app", "gw-a", 0, {"pump": "gw-b"}),
        ("plc", "gw-a", 0, {"pump": "gw-b"}), ("plc", "gw-b", 0, {"pump": "gw-a"}),
        ("cpu", "gw-a", 40, {"pump": "gw-a"}), ("cpu", "gw-b", 40, {"pump": "gw-b"}),
        ("two", "gw-a", 40, {"pump": "gw-a"}), ("two", "gw-b", 40, {"pump": "gw-b"}),
        ("clock", "gw-a", 100, {"pump": "gw-a"}), ("clock", "gw-b", 100, {"pump": "gw-b"}),
    ]  # fmt: skip
    texts = {row.check: row.text for row in report.checks if row.node == "gw-a"}
    assert texts == {
        "app": "gw-b drives within 4 s, by planned handover",
        "plc": "gw-b drives within 4 s, by planned handover; what all nodes miss at once moves nothing: nobody is "
        "better then",
        "cpu": "gw-a drives on, at score 40 (it counts together with two)",
        "two": "gw-a drives on, at score 40 (it counts together with cpu)",
        "clock": "gw-a drives on; this check only warns",
    }
    assert report.problems == []
    assert "When one health check fails on the node that drives ..." in report_text(report)


def test_a_check_that_can_change_nothing_is_a_problem(tmp_path: Path) -> None:
    report = build_report(loaded(tmp_path, CPU + 'nodes = ["gw-a"]\neffect = "score"\npoints = 99\n'))
    assert report.problems == [
        "check cpu on gw-a can change nothing: it takes 99 of 100 points, and all score checks there take 99, so the "
        'score never comes to 0; raise points, or write effect = "unfit", or "warn" where it shall only be told'
    ]


def test_a_check_where_nobody_else_may_drive_is_a_problem(tmp_path: Path) -> None:
    cfg = loaded(tmp_path, FILE)
    alone = msgspec.structs.replace(cfg, nodes={"gw-a": cfg.nodes["gw-a"]})
    rows = health_rows(alone)
    assert [row.text for row in rows] == ["nobody better: gw-a drives on"]
    assert health_problems(alone, rows) == [
        "check app on gw-a can change nothing: nobody else may drive; remove it"
    ]


def test_the_preferred_of_the_others_would_drive(tmp_path: Path) -> None:
    cfg = loaded(tmp_path, FILE + 'nodes = ["gw-a"]\n')
    three = msgspec.structs.replace(cfg, nodes={**cfg.nodes, "gw-c": cfg.nodes["gw-b"]})
    assert [driver_then(three, 0, node, 0) for node in three.nodes] == ["gw-b", "gw-a", "gw-b"]
    assert driver_then(three, 0, "gw-a", 1) == "gw-a"


def test_without_checks_nothing_is_said(tmp_path: Path) -> None:
    report = build_report(loaded(tmp_path, ""))
    assert report.checks == [] and "health check" not in report_text(report)


def test_every_probe_is_run_once(tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    fresh.write_text("")
    os.utime(fresh, (2**33, 2**33))
    hang = '[[check]]\nname = "slow"\ntype = "command"\nargv = ["/bin/sleep", "60"]\ndeadline_ms = 100\n'
    text = FILE.replace("/run/app/out", str(fresh)) + hang + TCP.replace("10.0.0.9", "127.0.0.1").replace("502", "1")
    text += '[[check]]\nname = "pi"\ntype = "throttle"\n' + CPU + 'nodes = ["gw-b"]\n'
    found, warnings, problems = look_at_all(loaded(tmp_path, text))
    assert found == [f"check app (file): {fresh} is 0.0 s old, at most 5 s: good"]
    heads = [text.partition(":")[0] for text in warnings]
    assert heads == ["check slow (command) fails now", "check plc (tcp) fails now"]
    assert len(problems) == 1 and problems[0].startswith("check pi (throttle): not available: ")


def test_check_devices_ends_with_the_devices_code(tmp_path: Path) -> None:
    plain = GOOD.replace(RELAY, 'type = "mock"')
    plain = plain.replace('type = "serial"\nport = "cross"\nperiod_ms = 10', 'type = "udp"\naddress = "direct"')
    path = write(tmp_path, plain + '[[check]]\nname = "pi"\ntype = "throttle"\n')
    words = ["check", "--config", str(path), "--node", "gw-a", "--devices", "--json"]
    command = [sys.executable, "-m", "twinbeat", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    answer = json.loads(done.stdout)
    assert done.returncode == 5
    assert any("check pi (throttle): not available" in problem for problem in answer["problems"])
    assert answer["checks"][0]["check"] == "pi"


def test_an_agent_without_checks_loads_nothing_of_them(tmp_path: Path) -> None:
    """Memory that nobody asked for: neither the tables nor the probes."""
    code = (
        "import sys; import twinbeat.run; from twinbeat.config import load_config; load_config(sys.argv[1], 'gw-a');"
        "names = [name for name in sys.modules if name.startswith('twinbeat.')];"
        "print([name for name in names if 'health' in name or 'check' in name])"
    )
    for text, expected in (("", "[]\n"), (FILE, "['twinbeat.config_check', 'twinbeat.config_rules_check']\n")):
        path = write(tmp_path, GOOD + text)
        command = [sys.executable, "-c", code, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.stdout, done.stderr) == (expected, "")
