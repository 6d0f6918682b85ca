"""`twinbeat remote`: what is wrong on the command line is said before anything is connected."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from config_files import GOOD, changed, write

from twinbeat.cli_dispatch import dispatch
from twinbeat.commands.remote import answer_text, is_no, value_of, words
from twinbeat.errors import UsageError

OPERATORS = '[[operator]]\nname = "alice"\nkey_file = "alice.key"\n[[operator]]\nname = "bob"\nkey_file = "bob.key"\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write(tmp_path, GOOD + OPERATORS)


def said(capsys: pytest.CaptureFixture[str], *line: str) -> tuple[int, str]:
    code = dispatch(["remote", *line])
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["gw-a", "handove"], 'no verb "handove" goes over a broker; did you mean "handover"?'),
        (["gw-a", "record"], 'no verb "record" goes over a broker; known verbs: '),
        (["gw-a", "out", "pump"], '"pump": write arguments as key=value, such as group=pump'),
        (["gw-a", "maintenance", "on"], '"on": write arguments as key=value, such as action=on'),
        (["gw-a", "out", "group=a", "group=b"], '"group" stands there twice'),
        (["gw/a", "status"], 'NODE: "gw/a" is no name'),
        (["gw-a", "status", "--operator", "a+"], '--operator: "a+" is no name'),
        (["gw-c", "status"], 'has no node "gw-c"; did you mean "gw-'),
        (["gw-a", "status"], "say who commands with --operator; "),
        (["gw-a", "status", "--operator", "alise"], 'knows no operator "alise"; did you mean "alice"?'),
        (["gw-a", "status", "--operator", "alice", "--pair", "x"], 'is the file of pair "pump-7"; leave --pair out'),
        (["gw-a", "status", "--timeout", "0"], '"0" is no time limit; give seconds from 1 to 900'),
        (["gw-a", "status", "--broker", "mqtt://b"], "--config has no meaning with --broker"),
    ],
)
def test_command_line(
    config: Path, capsys: pytest.CaptureFixture[str], line: list[str], message: str
) -> None:
    more = ["--pair", "p", "--operator", "o", "--key", "k"] if "--broker" in line else []
    code, text = said(capsys, *line, *more, "--config", str(config))
    assert code == 2 and message in text


def test_link_that_is_not_there(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "alice.key"
    code, text = said(capsys, "gw-a", "status", "--config", str(config), "--operator", "alice")
    assert code == 4 and "alice.key: there is no key file; write one with: twinbeat keygen" in text
    key.write_text("a" * 32 + "\n")
    key.chmod(0o600)
    code, text = said(capsys, "gw-a", "status", "--config", str(config), "--operator", "alice", "--link", "mqqt")
    assert code == 2 and 'has no MQTT link "mqqt"; did you mean "mqtt"?' in text


def test_file_without_operators(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = said(capsys, "gw-a", "status", "--config", str(write(tmp_path)))
    assert code == 2 and "it has no [[operator]], so its agents take no commands" in text


def test_file_that_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, changed(("[pair]", "[pear]")))
    code, text = said(capsys, "gw-a", "status", "--config", str(path))
    assert code == 3 and 'did you mean "pair"?' in text


@pytest.mark.parametrize("missing", ["--pair", "--operator", "--key"])
def test_broker_by_hand_needs_the_rest(capsys: pytest.CaptureFixture[str], missing: str) -> None:
    given = {"--pair": "p", "--operator": "o", "--key": "k"}
    del given[missing]
    line = [part for item in given.items() for part in item]
    code, text = said(capsys, "gw-a", "status", "--broker", "mqtt://b", *line)
    assert code == 2 and f"--broker needs {missing} too" in text


def test_broker_that_is_no_url(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = said(capsys, "gw-a", "status", "--broker", "b:1", "--pair", "p", "--operator", "o", "--key", "k")
    assert code == 2 and '--broker "b:1" must start with mqtt://' in text


def test_arguments_are_typed_as_written() -> None:
    assert words(["group=pump", "count=5", "force=true", "for=2h", "empty=", "list=[1]", "sum=a=b"]) == {
        "group": "pump", "count": 5, "force": True, "for": "2h", "empty": "", "list": "[1]", "sum": "a=b",
    }
    assert value_of("1.5") == 1.5 and value_of("null") == "null"
    with pytest.raises(UsageError, match="write arguments as key=value"):
        words(["=x"])


def test_answers_of_verbs_without_a_screen_are_shown_as_they_are() -> None:
    assert answer_text("drill", {"ok": True, "took_ms": 3.5, "note": "ä"}) == 'done\ntook_ms: 3.5\nnote: "ä"'
    assert answer_text("handover", {"ok": True, "driver": "gw-b", "group": "pump"}) == "gw-b drives pump"
    assert answer_text("why", {"ok": True, "verdicts": []})
    assert answer_text("warnings", {"ok": True, "node": "gw-a", "warnings": []}) == "no early warning on gw-a"


@pytest.mark.parametrize(("verb", "answer", "no"), [
    ("status", {"groups": [{"driver": "gw-a"}]}, False),
    ("status", {"groups": [{"driver": None}]}, True),
    ("drain", {"drained": True}, False),
    ("drain", {"drained": False}, True),
    ("handover", {"dry_run": True, "would": False}, True),
    ("handover", {"driver": "gw-b"}, False),
    ("warnings", {"warnings": [{"text": "hot"}]}, True),
    ("maintenance", {"maintenance": None}, False),
])
def test_an_answer_that_is_no_ends_as_on_the_gateway(verb: str, answer: dict[str, Any], no: bool) -> None:
    assert is_no(verb, answer) is no
