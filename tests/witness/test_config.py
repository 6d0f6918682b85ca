"""The witness's file and keys: each fault is one line that names place, value and remedy."""
from __future__ import annotations

import json
from pathlib import Path

import pytest
from witness_rig import KEY, write_config, write_key

from twinbeat.cli_dispatch import dispatch
from twinbeat.errors import ConfigError, KeyFileError
from twinbeat.witness import keyring as keyring_module
from twinbeat.witness.config import load_witness_config
from twinbeat.witness.desk import Desk
from twinbeat.witness.keyring import Keyring
from twinbeat.witness.lane import Lane, Message
from twinbeat.witness.service import version_numbers
from twinbeat_bridge.witness import Witness, voter_id

GOOD = '[witness]\nname = "plant"\nbroker = "mqtt://b"\nkeys_dir = "keys"\n'


def problems(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "witness.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_witness_config(path)
    return [problem.removeprefix(f"{path}: ") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 'top level: there is no [witness] table'),
        (GOOD + "grant_max = 5\n", '[witness]: unknown key "grant_max"; did you mean "grant_max_ms"?'),
        (GOOD + "grant_max_ms = 5\n", "[witness]: grant_max_ms = 5 is wrong; it takes a whole number from 50 to 60000"),
        (GOOD + "metrics_port = 70000\n", "[witness]: metrics_port = 70000 is wrong"),
        (GOOD + 'ca = "ca.pem"\n', "[witness]: ca is set, but mqtt://b is not encrypted"),
        (GOOD + 'password_file = "p"\n', "[witness]: password_file is set without user"),
        (GOOD.replace("mqtt:", "mqtts:") + 'cert = "c"\n', "[witness]: cert is set without key"),
        (GOOD.replace("mqtt:", "http:"), '[witness]: broker = "http://b" must start with mqtt://'),
        (GOOD.replace("plant", "a/b"), '[witness]: name = "a/b" is wrong; it takes a name'),
        (GOOD.replace('keys_dir = "keys"\n', ""), "[witness]: there is no pair to serve"),
        (GOOD + "[pair]\n", "[pair]: pairs are a list here; write [[pair]] with two brackets"),
        (GOOD + '[[pair]]\nname = "a"\n', '[[pair]] 1: key "key_file" is missing'),
        (GOOD + '[[pairs]]\nname = "a"\n', 'top level: unknown table or key "pairs"; did you mean "pair"?'),
        (GOOD + 2 * '[[pair]]\nname = "a"\nkey_file = "k"\n', '[[pair]]: name = "a" stands there twice'),
    ],
)
def test_a_fault_is_one_line(tmp_path: Path, text: str, expected: str) -> None:
    [problem] = problems(tmp_path, text)
    assert problem.startswith(expected)


def test_paths_count_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "witness.toml"
    secret = tmp_path / "secret"
    secret.write_text("word\n")
    secret.chmod(0o600)
    path.write_text(GOOD.replace("mqtt:", "mqtts:") + 'user = "u"\npassword_file = "secret"\nca = "ca.pem"\n')
    cfg = load_witness_config(path)
    options = cfg.options()
    assert (options.host, options.port, options.tls, options.password) == ("b", 8883, True, "word")
    assert (options.ca, cfg.keys_dir) == (str(tmp_path / "ca.pem"), tmp_path / "keys")


def ring(tmp_path: Path, pairs: dict[str, bytes], extra: str = "") -> Keyring:
    path = write_config(tmp_path, 1883, pairs)
    path.write_text(path.read_text() + extra)
    return Keyring(load_witness_config(path))


def test_one_bad_key_file_costs_one_pair(tmp_path: Path) -> None:
    keys = ring(tmp_path, {"pump-7": KEY, "fan-1": bytes(16)})
    (tmp_path / "keys" / "open.key").touch(0o644)
    (tmp_path / "keys" / "open.key").chmod(0o644)
    (tmp_path / "keys" / "-x.key").touch(0o600)
    (tmp_path / "keys" / "notes.txt").touch()
    found, faults = keys.read_all()
    assert sorted(found) == ["fan-1", "pump-7"]
    assert len(faults) == 2
    assert "open.key: everybody can read the key (mode 0644); run: chmod 600" in faults[1]
    assert "-x.key: its name is no pair's name" in faults[0]


def test_a_key_that_the_file_names_must_be_usable(tmp_path: Path) -> None:
    keys = ring(tmp_path, {}, '[[pair]]\nname = "pump-7"\nkey_file = "gone.key"\n')
    with pytest.raises(KeyFileError, match=r"gone\.key: there is no key file"):
        keys.read_all()


def test_a_pair_has_one_key_file(tmp_path: Path) -> None:
    write_key(tmp_path / "other.key", KEY)
    keys = ring(tmp_path, {"pump-7": KEY}, '[[pair]]\nname = "pump-7"\nkey_file = "other.key"\n')
    with pytest.raises(ConfigError, match='pair "pump-7" has two key files'):
        keys.read_all()
    same = ring(tmp_path / "b", {"pump-7": KEY}, '[[pair]]\nname = "pump-7"\nkey_file = "keys/pump-7.key"\n')
    assert list(same.read_all()[0]) == ["pump-7"]


def test_pairs_with_one_number_need_keys_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring_module, "pair_id_of", lambda name: 7)
    with pytest.raises(ConfigError, match=r'pairs "a" and "b" have the same number \(7.*twinbeat keygen --force'):
        ring(tmp_path, {"a": KEY, "b": KEY}).read_all()
    found, faults = ring(tmp_path / "c", {"a": KEY, "b": bytes(16)}).read_all()
    assert sorted(found) == ["a", "b"] and not faults
    assert keyring_module.shared_numbers(found) == 1


def test_keys_are_found_by_name_and_not_by_path(tmp_path: Path) -> None:
    keys = ring(tmp_path, {"pump-7": KEY})
    found = keys.find("pump-7")
    assert found is not None and found.key == KEY
    for name in ("gone", "../keys/pump-7", "", ".", "pump-7\n", "a" * 64):
        assert keys.find(name) is None


def test_a_missing_keys_directory_is_named(tmp_path: Path) -> None:
    path = write_config(tmp_path, 1883, {}, keys_dir="elsewhere")
    with pytest.raises(ConfigError, match=r"keys_dir .*elsewhere: No such file or directory; make the directory"):
        Keyring(load_witness_config(path)).read_all()


def test_check_says_what_is_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_config(tmp_path, 1883, {"pump-7": KEY})
    assert dispatch(["witness", "--config", str(path), "--check"]) == 0
    assert f"id {voter_id('plant'):08x}" in capsys.readouterr().out
    (tmp_path / "keys" / "bad.key").touch(0o600)
    assert dispatch(["witness", "--config", str(path), "--check", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["pairs"] == ["pump-7"] and len(said["problems"]) == 1
    assert dispatch(["witness", "--config", str(path), "--json"]) == 2
    assert dispatch(["witness", "--config", str(tmp_path / "none.toml")]) == 3


@pytest.mark.parametrize(
    ("text", "numbers"), [("0.1.0", (0, 1, 0)), ("1.2", (1, 2, 0)), ("3.4.5rc1+local.7", (3, 4, 51)), ("x", (0, 0, 0))]
)
def test_versions_as_numbers(text: str, numbers: tuple[int, int, int]) -> None:
    assert version_numbers(text) == numbers


BASE = b"twinbeat/v1/pump-7/witness/plant/"


@pytest.mark.parametrize(
    ("wished", "used"),
    [
        (b"", BASE + b"1"),
        (BASE + b"1", BASE + b"1"),
        (BASE + b"gw-b", BASE + b"gw-b"),
        (BASE + b"ask", BASE + b"1"),
        (BASE + b"a/b", BASE + b"1"),
        (BASE + b"#", BASE + b"1"),
        (BASE, BASE + b"1"),
        (b"twinbeat/v1/fan-1/witness/plant/1", BASE + b"1"),
        (b"twinbeat/v1/pump-7/gw-a/beat", BASE + b"1"),
    ],
)
def test_answers_stay_with_their_pair(wished: bytes, used: bytes) -> None:
    class Answering(Witness):
        def handle(self, pair_name: str, payload: bytes, now_ms: int) -> tuple[int, bytes] | None:
            return 1, b"answer"

    desk = Desk(Answering("plant", 1, 1000, 0), print)
    [packet] = desk.answer([Message(BASE + b"ask", b"", False, wished, b"corr")], 0)
    assert Lane().feed(packet) == [Message(used, b"answer", False, b"", b"corr")]


@pytest.mark.parametrize(
    "topic",
    [BASE + b"other", b"twinbeat/v1/a b/witness/plant/ask", b"ask", b"twinbeat/v1/\xff/witness/plant/ask"],
)
def test_topics_that_are_no_asks_are_counted(topic: bytes) -> None:
    desk = Desk(Witness("plant", 1, 1000, 0), print)
    assert desk.answer([Message(topic, b"x", False, b"", b"")], 0) == []
    assert desk.other_topics == 1 and desk.witness.refused["unknown_pair"] == 0
