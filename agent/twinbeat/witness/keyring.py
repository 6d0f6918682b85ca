"""The keys of the pairs: named one by one in the file, or one `<pair>.key` each in a directory."""
from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from twinbeat.config_digest import pair_id_of
from twinbeat.config_schema import NAME_PATTERN
from twinbeat.errors import ConfigError, KeyFileError
from twinbeat.keys import read_key
from twinbeat.witness.config import WitnessConfig

KEY_SUFFIX = ".key"
_NAME = re.compile(NAME_PATTERN)


class PairKey(NamedTuple):
    """One pair as its gateways know it. `pair_id`: 16 bits, made from the name."""

    name: str
    key: bytes
    pair_id: int
    path: Path


class Keyring:
    """Reads key files; keeps none of them. Reading touches the disk: not for the thread that answers."""

    def __init__(self, cfg: WitnessConfig) -> None:
        self._named = {pair.name: cfg.key_path(pair) for pair in cfg.pairs}
        self._folder = cfg.keys_dir

    def read_all(self) -> tuple[dict[str, PairKey], list[str]]:
        """Every pair whose key can be used, and one sentence for each fault: one bad file costs one pair.

        Raises KeyFileError for a file that [[pair]] names, and ConfigError for pairs that cannot be told apart.
        """
        found = {name: pair_key(name, path) for name, path in self._named.items()}
        faults = []
        for path in self._files():
            name = path.name.removesuffix(KEY_SUFFIX)
            if not is_name(name):
                faults.append(f"{path}: its name is no pair's name; a key file is called <pair>{KEY_SUFFIX}")
            elif name in found and not path.samefile(found[name].path):
                raise ConfigError(
                    f'pair "{name}" has two key files, {found[name].path} of [[pair]] and {path}; remove one of them'
                )
            elif name not in found:
                try:
                    found[name] = pair_key(name, path)
                except KeyFileError as error:
                    faults.append(str(error))
        check_apart(found)
        return found, faults

    def find(self, name: str) -> PairKey | None:
        """The key of a pair that asks for the first time; None where there is none. Raises KeyFileError."""
        path = self._named.get(name)
        if path is None and self._folder is not None and is_name(name):
            path = self._folder / f"{name}{KEY_SUFFIX}"
            if not path.exists():
                return None
        return pair_key(name, path) if path is not None else None

    def _files(self) -> list[Path]:
        if self._folder is None:
            return []
        try:
            return sorted(path for path in self._folder.iterdir() if path.name.endswith(KEY_SUFFIX))
        except OSError as error:
            raise ConfigError(
                f"keys_dir {self._folder}: {error.strerror}; make the directory, readable for the witness's user, "
                f"and put the key file of each pair into it as <pair>{KEY_SUFFIX}"
            ) from None


def is_name(text: str) -> bool:
    """Whether it can be a pair's name: it becomes a file name and a topic."""
    return _NAME.fullmatch(text) is not None and not text.endswith("\n")


def pair_key(name: str, path: Path) -> PairKey:
    """A pair from its key file. Raises KeyFileError."""
    return PairKey(name, read_key(path), pair_id_of(name), path)


def check_apart(found: dict[str, PairKey]) -> None:
    """ConfigError for two pairs that have number and key in common: a message of one would be valid for the other.

    The number alone has 16 bits, so among some hundred pairs two will share one; key and topic keep them apart.
    """
    seen: dict[tuple[int, bytes], PairKey] = {}
    for pair in found.values():
        other = seen.setdefault((pair.pair_id, pair.key), pair)
        if other is not pair:
            raise ConfigError(
                f'pairs "{other.name}" and "{pair.name}" have the same number ({pair.pair_id}, made from the name) and '
                f"the same key: frames of one would count for the other; give {pair.name} a key of its own with: "
                f"twinbeat keygen --force {pair.path}"
            )


def shared_numbers(found: dict[str, PairKey]) -> int:
    """How many pairs have the number of an earlier one."""
    return len(found) - len({pair.pair_id for pair in found.values()})
