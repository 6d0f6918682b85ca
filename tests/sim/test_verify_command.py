"""`twinbeat verify` end to end with the real engine: exit codes, forms of output, every bad input in one sentence."""
from __future__ import annotations

import json
from pathlib import Path

import pytest

from twinbeat.check import build_report
from twinbeat.cli_dispatch import dispatch
from twinbeat.config import load_config
from twinbeat.sim.verify import cases_of, examine, prepare
from twinbeat.sim.verify_faults import paired_faults
from twinbeat.sim.verify_report import break_of, contradictions_of, keys_of, line_of
from twinbeat.sim.verify_world import config_subjects, named_subject

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs" / "example.toml"
TIMING = "[timing]\nrealtime = true\n\n"
SERIAL = '[[link]]\ntype = "serial"\nport = "cross"                         # a name from [node.*] serial\n' \
         "baud = 921600\nperiod_ms = 10\nmissed = 3\n"
UDP = '[[link]]\ntype = "udp"                           # where there is Ethernet between the gateways\n' \
      'address = "direct"                     # a name from [node.*] udp\n'
HOLD = ('lone = "takeover"', 'lone = "hold"')
RUNS = 30


def changed(*changes: tuple[str, str]) -> str:
    text = EXAMPLE.read_text()
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return TIMING + text


def mqtt_off() -> tuple[str, str]:
    text = EXAMPLE.read_text()
    start = text.index('[[link]]\ntype = "mqtt"')
    return text[start:text.index("[[group]]")], ""


def programs_only() -> tuple[str, str]:
    text = EXAMPLE.read_text()
    return text[text.index('[[group.output]]\ntype = "gpio"'):text.index('[[group.output]]\ntype = "hook"')], ""


def write(directory: Path, *changes: tuple[str, str]) -> Path:
    path = directory / "twinbeat.toml"
    path.write_text(changed(*changes))
    return path


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = dispatch(["verify", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


# ---------------------------------------------------------------- agreement with check and its formulae

BUDGET = ("outage_budget_ms = 100 ", "outage_budget_ms = 10000 ")


def third(kind: str, more: str = "", before: str = "") -> tuple[tuple[str, str], ...]:
    """A third voter behind the last line of the file."""
    last = "deadline_ms = 2000\n"
    changes = [(last, last + before + f'\n[third_voter]\ntype = "{kind}"\n{more}')]
    if kind != "arbiter":
        return (*changes, BUDGET)
    relay = 'serial.relay = "/dev/serial/by-path/platform-xhci-hcd.0-usb-0:1:1.0-port0"\nudp.direct = "10.0.0.{}:7400"'
    return (*changes, *((relay.format(node), relay.format(node) + '\nserial.vote = "/dev/ttyAMA2"') for node in (1, 2)))


ARBITER = 'port = "vote"\nid = "a0b1c2d3"\n'
WITNESS = 'witness = "w1"\nbroker = "mqtts://witness.plant:8883"\n'
ZOOKEEPER = 'hosts = "zk1,zk2,zk3"\nsession_ms = 4000\n'
CONTACT = '\n[[group.output]]\ntype = "arbiter"\nrelease_ms = 6\nmake_ms = 4\n'
FAN = '\n[[group]]\nname = "fan"\n[[group.output]]\ntype = "hook"\nstart = ["a"]\nstop = ["b"]\n'

VARIANTS = {
    "as it is": (),
    "hold": (HOLD,),
    "one serial link": ((UDP, ""), mqtt_off()),
    "one serial link, hold": ((UDP, ""), mqtt_off(), HOLD),
    "serial and broker": ((UDP, ""),),
    "udp and broker": ((SERIAL, ""),),
    "broker alone": ((SERIAL, ""), (UDP, "")),
    "broker alone, hold": ((SERIAL, ""), (UDP, ""), HOLD),
    "programs": (programs_only(),),
    "programs, hold": (programs_only(), HOLD),
    "slow relay": (("release_ms = 12", "release_ms = 40"),),
    "slow make": (("release_ms = 12", "release_ms = 12\nmake_ms = 25"),),
    "slow beats": (("period_ms = 10\n", "period_ms = 50\n"),),
    "arbiter": third("arbiter", ARBITER),
    "arbiter, hold": (*third("arbiter", ARBITER), HOLD),
    "arbiter, one serial link": (*third("arbiter", ARBITER), (UDP, ""), mqtt_off()),
    "arbiter, slow renewals": third("arbiter", ARBITER + "renew_ms = 20\n"),
    "arbiter gates": third("arbiter", ARBITER, CONTACT),
    "arbiter gates one of two groups": third("arbiter", ARBITER, CONTACT + FAN),
    "witness": third("witness", WITNESS),
    "witness, one serial link": (*third("witness", WITNESS), (UDP, ""), mqtt_off()),
    "witness, broker alone": (*third("witness", WITNESS), (SERIAL, ""), (UDP, "")),
    "zookeeper": third("zookeeper", ZOOKEEPER),
}
SHARE = {"arbiter gates": 0.7, "arbiter gates one of two groups": 0.7, "witness, broker alone": 0.7, "zookeeper": 0.7}
"""How much of the worst outage that check computes a run comes to: the less, the more must meet by chance."""


@pytest.mark.parametrize("name", VARIANTS)
def test_check_claims_nothing_that_the_simulator_breaks(tmp_path: Path, name: str) -> None:
    cfg = load_config(write(tmp_path, *VARIANTS[name]), "gw-a")
    checked = build_report(cfg)
    for subject in config_subjects(cfg):
        prepare(subject, 1, None)
        results = [examine(number, RUNS) for number in range(len(cases_of(subject)[0]))]
        faults = [case.faults[0] for case in cases_of(subject)[0]]
        lines = [line_of(subject, fault, result) for fault, result in zip(faults, results, strict=True)]
        assert contradictions_of(subject, checked.faults, lines) == []
        assert [line.result.text for line in lines if line.result.broken] == []
        by_key = {line.result.key: line.result for line in lines}
        if not subject.holds:
            power = by_key["power"]
            least_ms = SHARE.get(name, 0.8) * checked.outage.fast_ms
            assert least_ms < power.worst_ms <= checked.outage.fast_ms, "the formula of check"
        known = {fault.key for fault in faults}
        for row in checked.faults:
            assert set(keys_of(subject, row.fault)) & known or row.text == "there is no such link"


def test_a_contradiction_would_be_seen(tmp_path: Path) -> None:
    subject = named_subject("pair")
    prepare(subject, 1, None)
    number = next(n for n, case in enumerate(cases_of(subject)[0]) if case.key == "power")
    assert break_of(examine(number, 5), 10.0).startswith("nobody drives for up to ")


# ---------------------------------------------------------------- output


def test_json_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, mqtt_off(), (UDP, ""))
    code, out, err = run(capsys, path, "--json", "--runs", 2, "--jobs", 1)
    data = json.loads(out)
    (report,) = data["reports"]
    assert err == "" and code == (0 if data["ok"] else 1)
    assert (report["title"], report["budget_ms"], report["runs"], report["seed"]) == ("pump-7", 100, 2, 1)
    size = len(report["paired"])
    assert len(report["doubles"]) == size * (size - 1) and len(report["singles"]) > 30
    assert report["contradictions"] == []


def test_the_same_seed_gives_the_same_answer_and_another_one_another(capsys: pytest.CaptureFixture[str]) -> None:
    answers = [run(capsys, "--world", "pair", "--runs", 2, "--seed", seed, "--jobs", jobs, "--json")[1]
               for seed, jobs in ((1, 1), (1, 2), (2, 1))]
    assert answers[0] == answers[1] != answers[2]


def test_a_pair_that_cannot_meet_its_budget(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write(tmp_path, mqtt_off(), (UDP, ""))
    code, out, _ = run(capsys, path, "--runs", 6, "--budget-ms", 30, "--jobs", 1)
    flat = " ".join(out.split())
    assert code == 1 and "FAILED" in out and "the budget is 30 ms" in flat
    problem = flat[flat.index("- driver without power: nobody drives for up to "):]
    figure, over = problem.split()[9], problem.split()[11]
    assert float(figure) - 30 == pytest.approx(float(over), abs=0.06)
    assert "ms over the budget of 30 ms; lower period_ms or missed of the fastest link" in problem


def test_html_page_of_two_sorts_of_groups(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, mqtt_off(), (UDP, ""))
    path.write_text(path.read_text() + '\n[[group]]\nname = "fan"\nlone = "hold"\n[[group.output]]\ntype = "mock"\n')
    page = tmp_path / "page.html"
    code, out, _ = run(capsys, path, "--runs", 1, "--html", page, "--jobs", 1)
    text = page.read_text()
    assert code in (0, 1) and out.count("every single and double fault") == 2
    assert text.count("<h1>") == 2 and "pump-7, group fan" in text
    assert "<figure>" in text or "There are no pictures: drawing needs matplotlib" in text
    assert "src=\"http" not in text and "<script" not in text


def test_the_double_table_leaves_nothing_out() -> None:
    for name in ("pair", "hold", "three", "voter"):
        subject = named_subject(name)
        keys = {fault.key for fault in paired_faults(subject)}
        assert {"handover", "kill", "stall", "hang", "power", "brownout", "disk", "standby-kill", "standby-power",
                "cut-serial", "cut-mqtt", "mute-serial", "deaf-serial", "loss-30", "cut-all"} <= keys


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("words", "code", "pieces"),
    [
        (("--budget-ms", "soon"), 2, ("--budget-ms", '"soon" is no budget; give ms, a number above 0, at most')),
        (("--budget-ms", "0"), 2, ('"0" is no budget',)),
        (("--budget-ms=-5",), 2, ('"-5" is no budget',)),
        (("--budget-ms", "nan"), 2, ('"nan" is no budget',)),
        (("--runs", "0"), 2, ("--runs", '"0" is no number of runs; give a whole number from 1 to 100000')),
        (("--runs", "100001"), 2, ('"100001" is no number of runs',)),
        (("--runs", "many"), 2, ('"many" is no number of runs',)),
        (("--seed", "x1"), 2, ("--seed", '"x1" is no seed; give a whole number from 0 to 18446744073709551615')),
        (("--seed", "18446744073709551616"), 2, ("is no seed",)),
        (("--jobs", "0"), 2, ('"0" is no number of processes; give a whole number from 1 to 256',)),
        (("--world", "vter"), 2, ('unknown world "vter"; did you mean "voter"?',)),
        (("--world", "pair", "x.toml"), 2, ("--world takes the place of a configuration file; leave out CONFIG",)),
        (("--world", "pair", "--node", "a"), 2, ("--world takes the place of a configuration file",)),
        (("--json", "--markdown"), 2, ("not allowed with argument",)),
        (("--budget", "5"), 2, ("unrecognized arguments: --budget",)),
        (("gone.toml",), 3, ("gone.toml: there is no such file; name the configuration: twinbeat verify FILE",)),
    ],
)
def test_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...],
    code: int, pieces: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    found, out, err = run(capsys, *words)
    assert (found, out) == (code, "") and "Traceback" not in err
    for piece in pieces:
        assert piece in err


def test_a_wrong_file_is_told_as_check_tells_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, ("missed = 3", "misssed = 3"))
    code, out, err = run(capsys, path)
    assert (code, out) == (3, "") and 'did you mean "missed"' in err
    code, _, err = run(capsys, tmp_path)
    assert code == 3 and "this is a directory" in err
    code, _, err = run(capsys, write(tmp_path), "--node", "gw-c")
    assert code == 3 and '--node names node "gw-c", which is not in the file' in err


def test_a_page_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gone" / "page.html"
    code, out, err = run(capsys, "--world", "solo", "--runs", 1, "--jobs", 1, "--html", path)
    assert (code, out) == (2, "")
    assert f"--html {path}: cannot be written: No such file or directory; name a file in a folder that exists" in err
