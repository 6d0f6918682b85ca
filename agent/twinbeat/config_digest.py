"""Two short numbers that frames carry: who the pair is, and whether both nodes read the same file."""
from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from twinbeat.config_model import GroupConfig, Tables

DIGEST_RULES = 1
"""Goes up when a file that an older version reads gets another digest: that costs a pause (docs/upgrade.md)."""


def hash16(data: bytes) -> int:
    """16 bits of BLAKE2b: the same on every machine, in every version."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=2).digest(), "big")


def pair_id_of(name: str) -> int:
    """The pair's number in frames, 1..65535; a foreign pair's frames are told apart by it and by the key.

    Not 0: an arbiter with pair 0 serves any.
    """
    return hash16(b"twinbeat pair " + name.encode("utf-8")) or 1


def plain(value: object) -> Any:
    """A Struct as plain data without the keys that hold their default.

    Leaving defaults out keeps the digest of an unchanged file when a later version adds a key.
    """
    if isinstance(value, msgspec.Struct):
        data: dict[str, Any] = {}
        if value.__struct_config__.tag is not None:
            data["type"] = value.__struct_config__.tag
        for field in msgspec.structs.fields(value):
            item = getattr(value, field.name)
            default = field.default
            if default is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
                default = field.default_factory()
            if item != default:
                data[field.name] = plain(item)
        return data
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def group_data(group: GroupConfig) -> Any:
    """A group as written, without `failback` where it says what holds anyway."""
    data = plain(group)
    if data.get("failback") == group.usual_failback:
        del data["failback"]
    return data


def config_digest(tables: Tables) -> int:
    """16 bits over all that must be equal on both nodes: everything but [agent].

    The order of nodes, links and groups counts, because their numbers stand in frames; the order of keys
    and the layout of the file do not.
    """
    data = {
        "pair": plain(tables.pair),
        "nodes": [[name, plain(node)] for name, node in tables.nodes.items()],
        "links": plain(tables.links),
        "groups": [group_data(group) for group in tables.groups],
        "timing": plain(tables.timing),
    }
    if tables.third_voter is not None:
        data["third_voter"] = plain(tables.third_voter)
    if tables.checks:
        data["checks"] = plain(tables.checks)
    if tables.remote is not None:
        data["remote"] = plain(tables.remote)
    if tables.warning is not None:
        data["warning"] = plain(tables.warning)
    if tables.balance is not None:
        data["balance"] = plain(tables.balance)
    return hash16(json.dumps(data, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode("ascii"))
