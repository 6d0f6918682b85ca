"""The operators of a configuration with their keys, read once at the start."""
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twinbeat.errors import KeyFileError
from twinbeat.keys import load_key, read_key
from twinbeat.remote import PAIR_OPERATOR, REMOTE_VERBS
from twinbeat.remote.envelope import signing_key

if TYPE_CHECKING:
    from twinbeat.config import Config


@dataclass(frozen=True)
class Operator:
    """Somebody who may command. `key` signs remote messages (made from the key file's); `verbs`: what is allowed."""

    name: str
    key: bytes
    verbs: tuple[str, ...] = REMOTE_VERBS

    @property
    def who(self) -> str:
        """How events and refusals call them."""
        return "whoever has the pair's key" if self.name == PAIR_OPERATOR else f"operator {self.name}"


def read_operators(cfg: Config) -> dict[str, Operator]:
    """All of them by name; none where remote commands are off. Raises KeyFileError naming the table."""
    remote = cfg.remote
    if remote is None:
        return {}
    pair_key = load_key(cfg)
    found: dict[str, Operator] = {}
    owners = {pair_key: "the pair"}
    if remote.pair_key:
        found[PAIR_OPERATOR] = Operator(PAIR_OPERATOR, signing_key(pair_key))
    for table in remote.operators:
        try:
            secret = read_key(cfg.resolve(table.key_file))
        except KeyFileError as error:
            raise KeyFileError(f'[[operator]] "{table.name}": {error}') from None
        other = owners.setdefault(secret, f"operator {table.name}")
        if other != f"operator {table.name}":
            raise KeyFileError(
                f'[[operator]] "{table.name}": {table.key_file} holds the same key as that of {other}, so nobody could '
                f"tell who gave a command; make a new one with: twinbeat keygen --force {table.key_file}"
            )
        found[table.name] = Operator(table.name, signing_key(secret), table.verbs or REMOTE_VERBS)
    return found
