"""[[operator]] and [remote]: who may command the pair over a broker."""
from __future__ import annotations

from pathlib import Path

import pytest
from config_files import GOOD, changed, write

from twinbeat.config import Config, load_config
from twinbeat.errors import ConfigError, KeyFileError
from twinbeat.remote import PAIR_OPERATOR, REMOTE_VERBS, operators_of
from twinbeat.remote.envelope import signing_key

ALICE = '[[operator]]\nname = "alice"\nkey_file = "alice.key"\n'
BOB = '[[operator]]\nname = "bob"\nkey_file = "bob.key"\nverbs = ["status", "why"]\n'
PAIR_KEY = "[remote]\npair_key = true\n"


def load(folder: Path, more: str = "", base: str = GOOD) -> Config:
    return load_config(write(folder, base + more), "gw-a")


def faults(folder: Path, more: str, base: str = GOOD) -> str:
    with pytest.raises(ConfigError) as error:
        load(folder, more, base)
    return str(error.value)


def key(folder: Path, name: str, digit: str) -> None:
    path = folder / name
    path.write_text(digit * 32 + "\n")
    path.chmod(0o600)


def test_without_an_operator_nothing_is_taken_and_the_digest_is_as_it_was(tmp_path: Path) -> None:
    plain = load(tmp_path)
    off = load(tmp_path, "[remote]\npair_key = false\n")
    assert plain.remote is None and off.remote is None
    assert operators_of(plain) == {}
    assert plain.digest == off.digest
    assert len({plain.digest, load(tmp_path, ALICE).digest, load(tmp_path, PAIR_KEY).digest}) == 3


def test_operators_with_their_keys_and_verbs(tmp_path: Path) -> None:
    key(tmp_path, "alice.key", "a")
    key(tmp_path, "bob.key", "b")
    found = operators_of(load(tmp_path, ALICE + BOB + PAIR_KEY))
    assert list(found) == [PAIR_OPERATOR, "alice", "bob"]
    assert found["alice"].key == signing_key(b"\xaa" * 16) and found["alice"].verbs == REMOTE_VERBS
    assert found["bob"].verbs == ("status", "why") and found["bob"].who == "operator bob"
    assert found[PAIR_OPERATOR].who == "whoever has the pair's key"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('[[operator]]\nname = "a/b"\nkey_file = "k"\n', 'name = "a/b" is wrong; it takes a name of at most 63'),
        ('[[operator]]\nname = "alice"\n', 'key "key_file" is missing'),
        (ALICE + 'verb = ["status"]\n', 'unknown key "verb"; did you mean "verbs"?'),
        (ALICE + "verbs = []\n", "verbs = [] is wrong; it takes a list, each item a text in quotes, not empty"),
        (ALICE + 'verbs = ["statsu"]\n', 'names "statsu", which is no remote verb; did you mean "status"?'),
        (ALICE + 'verbs = ["record"]\n', 'names "record", which is no remote verb'),
        (ALICE + 'verbs = ["out", "out"]\n', "verbs names a verb twice"),
        (ALICE + BOB.replace('"bob"', '"Alice"'), 'name = "Alice" is taken by [[operator]] 1'),
        (ALICE + ALICE.replace('"alice"', '"bob"'), "is the key of [[operator]] 1 too: nobody could tell who"),
        (ALICE.replace("alice.key", "pair.key"), "is the pair's own key; make another with twinbeat keygen"),
        (ALICE.replace('"alice"', '"pair"'), "is what whoever has the pair's own key is called"),
        ("[remote]\nenabled = true\n", 'unknown key "enabled"; known keys: pair_key'),
        ("[remote]\npair_key = 1\n", "pair_key = 1 is wrong; it takes true or false"),
        ("[operator]\nname = 1\n", "write [[operator]] with double brackets"),
        ("".join(ALICE.replace("alice", f"o{number}") for number in range(33)), "there are 33 operators; at most 32"),
    ],
)
def test_every_fault_has_its_message(tmp_path: Path, more: str, message: str) -> None:
    assert message in faults(tmp_path, more)


@pytest.mark.parametrize("more", [ALICE, PAIR_KEY])
def test_without_a_broker_no_command_could_come(tmp_path: Path, more: str) -> None:
    base = changed(('[[link]]\ntype = "mqtt"\nbroker = "mqtt://broker.plant"\nperiod_ms = 100\n', ""))
    assert 'there is no [[link]] with type = "mqtt" over which a command could come' in faults(tmp_path, more, base)


def test_keys_that_are_missing_open_or_the_same(tmp_path: Path) -> None:
    cfg = load(tmp_path, ALICE + BOB)
    with pytest.raises(KeyFileError, match=r'\[\[operator\]\] "alice": .*alice.key: there is no key file; write one'):
        operators_of(cfg)
    key(tmp_path, "alice.key", "a")
    key(tmp_path, "bob.key", "a")
    with pytest.raises(KeyFileError, match="holds the same key as that of operator alice"):
        operators_of(cfg)
    (tmp_path / "bob.key").write_bytes((tmp_path / "pair.key").read_bytes())
    with pytest.raises(KeyFileError, match="holds the same key as that of the pair"):
        operators_of(cfg)
    (tmp_path / "bob.key").chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        operators_of(cfg)
