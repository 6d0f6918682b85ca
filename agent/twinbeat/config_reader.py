"""From a parsed TOML table to a Struct, with every fault named by place, value and remedy.

msgspec alone stops at the first fault and names it by a path such as `$.link[1]`. An operator who writes
a file wants all faults at once, in the words of the file.
"""
from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from twinbeat.config_schema import LATER_KEYS, LATER_VALUES, NAME_PATTERN

S = TypeVar("S", bound=msgspec.Struct)
SHOWN_CHARS_MAX = 60


def toml_text(value: object) -> str:
    """A value as the file would write it, cut to what fits a message."""
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, str):
        text = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    elif isinstance(value, (list, tuple)):
        text = "[" + ", ".join(toml_text(item) for item in value) + "]"
    elif isinstance(value, Mapping):
        text = "{" + ", ".join(f"{key} = {toml_text(item)}" for key, item in value.items()) + "}"
    else:
        text = str(value)
    return text if len(text) <= SHOWN_CHARS_MAX else text[: SHOWN_CHARS_MAX - 3] + "..."


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word`, None when none is near."""
    found = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def suggestion(word: str, known: Iterable[str], what: str) -> str:
    """The second half of an "unknown ..." sentence: the nearest known word, or all of them."""
    names = sorted(known)
    near = nearest(word, names)
    if near is not None:
        return f'did you mean "{near}"?'
    return f"known {what}: {', '.join(names)}" if names else f"there are no {what} here"


def number_text(value: float) -> str:
    """A limit without a useless `.0`."""
    return str(int(value)) if float(value).is_integer() else str(value)


def describe(annotation: Any) -> str:
    """What a key takes, in words: "a number from 1 to 1000", '"takeover" or "hold"'."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return describe_limited(annotation)
    if origin in (Union, types.UnionType):
        parts = [describe(item) for item in get_args(annotation) if item is not type(None)]
        return " or ".join(parts)
    if origin is Literal:
        return " or ".join(toml_text(item) for item in get_args(annotation))
    if origin in (tuple, list):
        return "a list, each item " + describe(get_args(annotation)[0])
    if origin is dict:
        return "a table of names, each with a text in quotes"
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text in quotes"}
    return names.get(annotation, str(getattr(annotation, "__name__", annotation)))


def describe_limited(annotation: Any) -> str:
    """`describe` for a type with limits."""
    base, *extras = get_args(annotation)
    meta = next((extra for extra in extras if isinstance(extra, msgspec.Meta)), None)
    text = describe(base)
    if meta is None:
        return text
    if meta.pattern == NAME_PATTERN:
        return "a name of at most 63 letters, digits, dots, dashes and underscores that starts with a letter or digit"
    if meta.pattern is not None:
        return f"{text} that matches {meta.pattern}"
    if meta.min_length:
        return f"{text} that is not empty" if base is str else f"{text}, not empty"
    if meta.gt is not None and meta.le is not None:
        return f"{text} above {number_text(meta.gt)}, at most {number_text(meta.le)}"
    if meta.ge is not None and meta.le is not None:
        return f"{text} from {number_text(meta.ge)} to {number_text(meta.le)}"
    return text


class Reader:
    """Collects the faults of one file while its tables are turned into Structs."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def add(self, place: str, text: str) -> None:
        """Note one fault; `place` is a table as the file writes it."""
        self.problems.append(f"{place}: {text}")

    def table(self, value: object, place: str) -> dict[str, Any] | None:
        """`value` if it is a table, else None and a noted fault."""
        if isinstance(value, dict):
            return value
        self.add(place, f"expected a table, found {toml_text(value)}")
        return None

    def struct(self, table: Mapping[str, Any], cls: type[S], place: str, kind: str = "") -> S | None:
        """The Struct of a table; None and noted faults when it has any. `kind` selects the words for later keys."""
        before = len(self.problems)
        fields = {field.encode_name: field for field in msgspec.structs.fields(cls)}
        for key in table:
            if key not in fields:
                self.unknown_key(key, fields, place, kind)
        values: dict[str, Any] = {}
        for key, field in fields.items():
            if key not in table:
                if field.required:
                    self.add(place, f'key "{key}" is missing; it takes {describe(field.type)}')
                continue
            try:
                values[field.name] = msgspec.convert(table[key], field.type)
            except msgspec.ValidationError:
                self.wrong_value(key, table[key], field.type, place, kind)
        if len(self.problems) != before:
            return None
        return cls(**values)

    def unknown_key(self, key: str, known: Iterable[str], place: str, kind: str = "") -> None:
        """Note a key that the table does not have."""
        if key in LATER_KEYS.get(kind, ()):
            self.add(place, f'key "{key}" is not in this version of twinbeat; remove it')
        else:
            self.add(place, f'unknown key "{key}"; {suggestion(key, known, "keys")}')

    def wrong_value(self, key: str, value: object, annotation: Any, place: str, kind: str) -> None:
        """Note a value of the wrong type or outside its range."""
        later = LATER_VALUES.get((kind, key), ())
        if isinstance(value, str) and value.split(":")[0] in later:
            shown, usable = toml_text(value), describe(annotation)
            self.add(place, f"{key} = {shown} is not in this version of twinbeat; use {usable}")
            return
        text = f"{key} = {toml_text(value)} is wrong; it takes {describe(annotation)}"
        if isinstance(value, str) and get_origin(annotation) is Literal:
            near = nearest(value, [item for item in get_args(annotation) if isinstance(item, str)])
            text += f'; did you mean "{near}"?' if near and len(get_args(annotation)) > 2 else ""
        self.add(place, text)
