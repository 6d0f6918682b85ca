"""Words of a scenario and what they stand for: tokens with their place, durations, shares, names of the world.

A slot reads one word of a statement into fields of an Action and writes it back. Statements are made of them in
`scenario_actions`.
"""
from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from twinbeat.errors import TwinbeatError
from twinbeat.sim.spec import ALL, Action, WorldSpec

UNITS_NS = {"ns": 1, "us": 1000, "ms": 1_000_000, "s": 1_000_000_000, "min": 60_000_000_000}
LONGEST_NS = 10_000 * UNITS_NS["s"]
EXAMPLE = "such as 20ms, 1.5s or 250us"
ANY = "all"
OF_1024 = Decimal(1024) / 100


class ScenarioError(TwinbeatError):
    """A scenario cannot be read; the message begins with its file, line and column."""

    exit_code = 2


class Token(NamedTuple):
    """A word and where it stands; lines and columns count from 1."""

    text: str
    line: int
    column: int


class Fault(Exception):
    """What is wrong with a word, on its way to the one who knows the file's name."""

    def __init__(self, token: Token, text: str) -> None:
        self.token = token
        self.text = text
        super().__init__(text)


class Names(NamedTuple):
    """What nodes, links and groups are called."""

    node: tuple[str, ...]
    link: tuple[str, ...]
    group: tuple[str, ...]

    @classmethod
    def of(cls, spec: WorldSpec) -> Names:
        """The names of a world."""
        return cls(spec.nodes_named, spec.links_named, spec.groups_named)


def tokens(line: str, number: int) -> list[Token]:
    """The words of a line without its comment."""
    text = re.split(r"(?:^|(?<=\s))#", line, maxsplit=1)[0]
    return [Token(match[0], number, match.start() + 1) for match in re.finditer(r"\S+", text)]


def nearest(word: str, known: Iterable[str]) -> str:
    """Second half of a sentence about an unknown word: the nearest known one, or all of them."""
    names = list(dict.fromkeys(known))
    near = difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.5)
    if near:
        return f'did you mean "{near[0]}"?'
    return f"expected {listed(names)}"


def listed(words: Sequence[str]) -> str:
    """`a, b or c`."""
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


# ---------------------------------------------------------------- numbers
def read_duration(token: Token, text: str | None = None) -> int:
    """Nanoseconds of `20ms`; Fault without a unit, below a nanosecond, or longer than a run may be."""
    word = token.text if text is None else text
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,12})?)([a-z]*)", word)
    if match is None:
        raise Fault(token, f'"{word}" is no time; expected a number and a unit, {EXAMPLE}')
    if not match[2]:
        raise Fault(token, f'"{word}" has no unit; write {word}ms, {word}us or {word}s')
    if match[2] not in UNITS_NS:
        raise Fault(token, f'"{match[2]}" in "{word}" is no unit of time; {nearest(match[2], UNITS_NS)}')
    value = Decimal(match[1]) * UNITS_NS[match[2]]
    if value != int(value):
        raise Fault(token, f'"{word}" is no whole number of nanoseconds; give fewer digits')
    if value > LONGEST_NS:
        raise Fault(token, f'"{word}" is too long; a run lasts at most {duration(LONGEST_NS)}')
    return int(value)


def duration(ns: int) -> str:
    """The shortest text of a duration: whole seconds, else milliseconds with the digits they need."""
    if ns and ns % UNITS_NS["s"] == 0:
        return f"{ns // UNITS_NS['s']}s"
    return f"{plain(Decimal(ns) / UNITS_NS['ms'])}ms"


def plain(value: Decimal) -> str:
    """A decimal number without exponent and without zeros at its end."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def read_share(token: Token) -> int:
    """`30%` in parts of 1024."""
    match = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)%", token.text)
    if match is None:
        raise Fault(token, f'"{token.text}" is no share; expected a percentage such as 30%')
    share = Decimal(match[1])
    if share > 100:
        raise Fault(token, f'"{token.text}" is more than all; give a percentage from 0% to 100%')
    return int((share * OF_1024).to_integral_value())


def share_text(value: int) -> str:
    """The shortest percentage that reads as `value` of 1024."""
    exact = Decimal(value) / OF_1024
    for digits in range(4):
        text = plain(round(exact, digits) if digits else Decimal(round(exact)))
        if int((Decimal(text) * OF_1024).to_integral_value()) == value:
            return f"{text}%"
    return f"{plain(exact)}%"


def read_rate(token: Token) -> int:
    """`-5000ppm` in parts per thousand million."""
    match = re.fullmatch(r"([+-]?[0-9]{1,6}(?:\.[0-9]{1,3})?)ppm", token.text)
    if match is None:
        raise Fault(token, f'"{token.text}" is no rate of a clock; expected parts per million such as -80.5ppm')
    return int(Decimal(match[1]) * 1000)


def rate_text(ppb: int) -> str:
    """What `read_rate` reads."""
    return f"{plain(Decimal(ppb) / 1000)}ppm"


def read_count(token: Token, most: int, what: str) -> int:
    """A whole number from 0 to `most`."""
    if not token.text.isascii() or not token.text.isdigit() or int(token.text) > most:
        raise Fault(token, f'"{token.text}" is no {what}; expected a whole number from 0 to {most}')
    return int(token.text)


# ---------------------------------------------------------------- slots
class Slot:
    """One word of a statement that stands for something."""

    def looks(self, token: Token, names: Names) -> bool:
        """Whether the word may be meant for this slot where it may be left out."""
        return True

    def read(self, token: Token, names: Names) -> dict[str, int]:
        """Fields of an Action; Fault for a word that does not fit."""
        raise NotImplementedError

    def write(self, action: Action, names: Names) -> str:
        """The word for the action's fields; empty where it is left out."""
        raise NotImplementedError

    def expects(self, names: Names) -> str:
        """What may stand here, for messages."""
        raise NotImplementedError


class NameSlot(Slot):
    """A node, link or group by its name, or the word for all of them."""

    def __init__(self, field: str, kind: str, every: str = ANY) -> None:
        self.field, self.kind, self.every = field, kind, every

    def known(self, names: Names) -> tuple[str, ...]:
        """The names there are."""
        return tuple(getattr(names, self.kind))

    def read(self, token: Token, names: Names) -> dict[str, int]:
        return {self.field: read_name(token, token.text, self.kind, self.known(names), self.every)}

    def write(self, action: Action, names: Names) -> str:
        number = int(getattr(action, self.field))
        return self.every if number == ALL else self.known(names)[number]

    def expects(self, names: Names) -> str:
        return f"a {self.kind} ({', '.join(self.known(names))}, {self.every})"


def read_name(token: Token, word: str, kind: str, known: tuple[str, ...], every: str = ANY) -> int:
    """The number behind a name, ALL for all of them."""
    if word == every:
        return ALL
    if word not in known:
        raise Fault(token, f'"{word}" is no {kind} of this world; expected {listed((*known, every))}')
    return known.index(word)


class PathSlot(Slot):
    """`a->b`: from node to peer. Left out: every direction. (`a<->b` is made two statements before it gets here.)"""

    def looks(self, token: Token, names: Names) -> bool:
        return "->" in token.text

    def read(self, token: Token, names: Names) -> dict[str, int]:
        parts = token.text.split("->")
        if len(parts) != 2 or not all(parts):
            raise Fault(token, f'"{token.text}" is no direction; expected {self.expects(names)}')
        node, peer = (read_name(token, part, "node", names.node) for part in parts)
        if node == peer != ALL:
            raise Fault(token, f'"{token.text}" leads from a node to itself; expected {self.expects(names)}')
        return {"node": node, "peer": peer}

    def write(self, action: Action, names: Names) -> str:
        if action.node == ALL and action.peer == ALL:
            return ""
        return "->".join(ANY if end == ALL else names.node[end] for end in (action.node, action.peer))

    def expects(self, names: Names) -> str:
        first, last = names.node[0], names.node[-1]
        return f"a direction such as {first}->{last}, {first}<->{last} or {first}->{ANY}"


class TimeSlot(Slot):
    """A duration."""

    def __init__(self, field: str) -> None:
        self.field = field

    def read(self, token: Token, names: Names) -> dict[str, int]:
        return {self.field: read_duration(token)}

    def write(self, action: Action, names: Names) -> str:
        return duration(getattr(action, self.field))

    def expects(self, names: Names) -> str:
        return f"a time {EXAMPLE}"


class ShareSlot(Slot):
    """A percentage, kept as parts of 1024."""

    def read(self, token: Token, names: Names) -> dict[str, int]:
        return {"value": read_share(token)}

    def write(self, action: Action, names: Names) -> str:
        return share_text(action.value)

    def expects(self, names: Names) -> str:
        return "a percentage such as 30%"


class RateSlot(Slot):
    """How wrong a clock runs."""

    def read(self, token: Token, names: Names) -> dict[str, int]:
        return {"value": read_rate(token)}

    def write(self, action: Action, names: Names) -> str:
        return rate_text(action.value)

    def expects(self, names: Names) -> str:
        return "a rate such as 500ppm"


class CountSlot(Slot):
    """A whole number."""

    def __init__(self, what: str, most: int = 1_000_000) -> None:
        self.what, self.most = what, most

    def read(self, token: Token, names: Names) -> dict[str, int]:
        return {"value": read_count(token, self.most, self.what)}

    def write(self, action: Action, names: Names) -> str:
        return str(action.value)

    def expects(self, names: Names) -> str:
        return f"a {self.what}"


class ChoiceSlot(Slot):
    """One of a few words, each for a number; or what another slot takes. `unsaid`: the word for any other number."""

    def __init__(self, field: str, words: dict[str, int], otherwise: Slot | None = None, unsaid: str = "") -> None:
        self.field, self.words, self.otherwise, self.unsaid = field, words, otherwise, unsaid

    def looks(self, token: Token, names: Names) -> bool:
        return token.text in self.words

    def read(self, token: Token, names: Names) -> dict[str, int]:
        if token.text in self.words:
            return {self.field: self.words[token.text]}
        if self.otherwise is not None and token.text[:1].isdigit():
            return self.otherwise.read(token, names)
        raise Fault(token, f'"{token.text}" does not fit here; expected {self.expects(names)}')

    def write(self, action: Action, names: Names) -> str:
        number = getattr(action, self.field)
        for word, value in self.words.items():
            if value == number:
                return word
        return self.unsaid if self.otherwise is None else self.otherwise.write(action, names)

    def expects(self, names: Names) -> str:
        texts = list(self.words)
        if self.otherwise is not None:
            texts.append(self.otherwise.expects(names))
        return listed(texts)
