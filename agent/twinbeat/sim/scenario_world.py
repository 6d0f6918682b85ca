"""The world line of a scenario: `world pair release=12ms seed=3` and the Shape that it stands for."""
from __future__ import annotations

from dataclasses import fields
from decimal import Decimal

from twinbeat.sim.scenario_words import (
    Fault,
    Token,
    duration,
    listed,
    nearest,
    plain,
    rate_text,
    read_count,
    read_duration,
    read_rate,
)
from twinbeat.sim.spec import MS
from twinbeat.sim.worlds import KINDS, WORLDS, Shape, shape
from twinbeat_core.errors import SettingsError
from twinbeat_core.parameters import problems_of

SEED_MOST = (1 << 64) - 1
LEVEL_KEPT = "never"
MOST = {"nodes": 8, "groups": 64}
MAY_BE_NONE = {"shared": 64, "load_gap": 100}
CHOICES = {"lone": ("takeover", "hold")}
YES_NO = {"yes": True, "no": False}
UNIT_ENDS = ("_ms", "_ppm")


def key_of(field: str) -> str:
    """How a field of Shape is called in a scenario: without its unit, which the value carries."""
    for end in UNIT_ENDS:
        field = field.removesuffix(end)
    return field.replace("_", "-")


FIELDS = {key_of(field.name): field for field in fields(Shape)}


def read_world(words: list[Token]) -> tuple[Shape, int]:
    """Shape and seed of a world line; Fault names the word that is wrong."""
    if len(words) < 2:
        raise Fault(words[0], f'"world" wants a name; {nearest("", WORLDS)}')
    name = words[1]
    if name.text not in WORLDS:
        raise Fault(name, f'"{name.text}" is no world; {nearest(name.text, WORLDS)}')
    seed = 1
    given: set[str] = set()
    more: dict[str, object] = {}
    for word in words[2:]:
        key, equals, value = word.text.partition("=")
        if key != "seed" and key not in FIELDS:
            raise Fault(word, f'"{key}" is no field of a world; {nearest(key, (*FIELDS, "seed"))}')
        if not equals or not value:
            raise Fault(word, f'"{word.text}" has no value; write {key}=...')
        if key in given:
            raise Fault(word, f'"{key}" is given twice')
        given.add(key)
        place = Token(value, word.line, word.column + len(key) + 1)
        if key == "seed":
            seed = read_count(place, SEED_MOST, "seed")
        else:
            more[FIELDS[key].name] = read_value(key, place)
    made = shape(name.text, **more)
    check(made, name)
    return made, seed


def check(made: Shape, place: Token) -> None:
    """Fault where the core refuses such a world."""
    try:
        for settings in made.spec().settings:
            problems = problems_of(settings)
            if problems:
                raise Fault(place, f"such a world cannot be: {problems[0]}")
            settings.compile()
    except SettingsError as error:
        raise Fault(place, f"such a world cannot be: {error}")


def read_value(key: str, token: Token) -> object:
    """The value of one field, in its unit."""
    field = FIELDS[key]
    if field.name in MOST:
        count = read_count(token, MOST[field.name], f"number of {key}")
        if count == 0:
            raise Fault(token, f"a world has at least one of its {key}")
        return count
    if field.name in MAY_BE_NONE:
        return read_count(token, MAY_BE_NONE[field.name], key)
    if field.name in CHOICES:
        return read_choice(token, CHOICES[field.name])
    if field.name == "links":
        return read_links(token)
    if isinstance(field.default, bool):
        return YES_NO[read_choice(token, tuple(YES_NO))]
    if field.name.endswith("_ppm"):
        return read_drift(token)
    if field.name in ("hold_ms", "failback_ms") and token.text == LEVEL_KEPT:
        return field.default
    return read_duration(token) / MS


def read_drift(token: Token) -> float:
    """How wrong every clock runs, within what the sizing counts with."""
    ppm = read_rate(token) / 1000
    bound_ppm = shape("pair").spec().settings[0].drift_ppm
    if abs(ppm) > bound_ppm:
        raise Fault(token, f'"{token.text}" is beyond the bound of {rate_text(round(bound_ppm * 1000))}; for a clock '
                           f"beyond it write an action, such as at 1s clock a {token.text}")
    return ppm


def read_choice(token: Token, words: tuple[str, ...]) -> str:
    """One of a few words."""
    if token.text not in words:
        raise Fault(token, f'"{token.text}" does not fit here; expected {listed(words)}')
    return token.text


def read_links(token: Token) -> tuple[str, ...]:
    """Names of links, joined by commas, each once."""
    links = tuple(token.text.split(","))
    column = token.column
    for number, link in enumerate(links):
        place = Token(link, token.line, column)
        if link not in KINDS:
            raise Fault(place, f'"{link}" is no kind of link; {nearest(link, KINDS)}')
        if link in links[:number]:
            raise Fault(place, f'"{link}" is given twice; a world has one link of each kind')
        column += len(link) + 1
    return links


# ---------------------------------------------------------------- writing
def world_text(made: Shape, seed: int) -> str:
    """The world line: the name with which the fewest fields differ, and those fields."""
    name, differing = min(((name, differences(made, shape(name))) for name in WORLDS), key=lambda pair: len(pair[1]))
    words = [f"{key}={value_text(field, getattr(made, field))}" for key, field in differing]
    return " ".join(["world", name, *words, f"seed={seed}"])


def differences(made: Shape, base: Shape) -> list[tuple[str, str]]:
    """Key and field of what differs."""
    pairs = ((key, field.name) for key, field in FIELDS.items())
    return [(key, name) for key, name in pairs if getattr(made, name) != getattr(base, name)]


def value_text(field: str, value: object) -> str:
    """What `read_value` reads."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(value)
    if field.endswith("_ppm") and isinstance(value, float | int):
        return rate_text(round(value * 1000))
    if field.endswith("_ms") and isinstance(value, float | int):
        return LEVEL_KEPT if value < 0 else duration(round(value * MS))
    return plain(Decimal(str(value))) if isinstance(value, float) else str(value)
