"""The statements of a scenario: for each Verb its sentence, read into an Action and written back.

A sentence is made of words that stand as they are, slots in capitals, and parts in brackets that may be left out.
"""
from __future__ import annotations

import re
from typing import NamedTuple

from twinbeat.sim.scenario_words import (
    ChoiceSlot,
    CountSlot,
    Fault,
    Names,
    NameSlot,
    PathSlot,
    RateSlot,
    ShareSlot,
    Slot,
    TimeSlot,
    Token,
    listed,
    nearest,
)
from twinbeat.sim.spec import ALL, Action, Verb

SLOTS: dict[str, Slot] = {
    "NODE": NameSlot("node", "node"),
    "PEER": NameSlot("peer", "node"),
    "LINK": NameSlot("link", "link"),
    "LINKS": NameSlot("link", "link", "links"),
    "GROUP": NameSlot("group", "group"),
    "PATH": PathSlot(),
    "LENGTH": TimeSlot("lasts_ns"),
    "TIME": TimeSlot("value"),
    "SHARE": ShareSlot(),
    "RATE": RateSlot(),
    "COUNT": CountSlot("number of frames"),
    "DISK": ChoiceSlot("value", {"disk-lost": 1}),
    "STUCK": ChoiceSlot("value", {"on": 1, "off": 2}),
    "WAYS": ChoiceSlot("value", {"asks": 1, "answers": 2}),
    "WRITES": ChoiceSlot("value", {"normal": 0}, TimeSlot("value")),
    "FIT": ChoiceSlot("value", {"unfit": 0, "fit": 1}),
    "PERCENT": CountSlot("percentage of load", 100),
    "PREPARES": ChoiceSlot("value", {"fails": 0, "works": 1}),
    "POSITION": ChoiceSlot("value", {"behind": -1}, CountSlot("position")),
    "THREAD": ChoiceSlot("group", {"decider": 1, "receiver": 2, "canary": 3}, unsaid="canary"),
}
OPTIONAL_FOR = "[for LENGTH]"
OF_GROUP = "[group GROUP]"

SENTENCES: dict[Verb, str] = {
    Verb.START: "start NODE [DISK]",
    Verb.KILL: f"kill NODE {OPTIONAL_FOR} [DISK]",
    Verb.POWER: f"power off NODE {OPTIONAL_FOR} [DISK]",
    Verb.RESTART: "restart NODE [DISK]",
    Verb.STALL: f"stall NODE {OPTIONAL_FOR}",
    Verb.FREEZE: f"freeze NODE {OPTIONAL_FOR}",
    Verb.SUSPEND: f"suspend NODE {OPTIONAL_FOR}",
    Verb.RESUME: "resume NODE",
    Verb.LATE: "late NODE THREAD by TIME",
    Verb.DEAF: f"deaf NODE {OPTIONAL_FOR}",
    Verb.CLOCK: f"clock NODE RATE {OPTIONAL_FOR}",
    Verb.DISK: f"disk NODE WRITES {OPTIONAL_FOR}",
    Verb.CUT: f"cut LINK [PATH] {OPTIONAL_FOR}",
    Verb.HEAL: "heal LINKS [PATH]",
    Verb.LOSS: f"loss LINK [PATH] SHARE {OPTIONAL_FOR}",
    Verb.DELAY: f"delay LINK [PATH] TIME {OPTIONAL_FOR}",
    Verb.JITTER: f"jitter LINK [PATH] TIME {OPTIONAL_FOR}",
    Verb.DUPLICATE: f"duplicate LINK [PATH] SHARE {OPTIONAL_FOR}",
    Verb.REORDER: f"reorder LINK [PATH] SHARE {OPTIONAL_FOR}",
    Verb.CORRUPT: f"corrupt LINK [PATH] SHARE {OPTIONAL_FOR}",
    Verb.CLOG: "clog LINK [PATH] for LENGTH",
    Verb.REPLAY: "replay NODE COUNT frames old over LINK to PEER",
    Verb.HINT: "hint NODE LINK",
    Verb.DROP: f"drop NODE {OF_GROUP}",
    Verb.STICK: f"stick NODE [STUCK] {OF_GROUP} {OPTIONAL_FOR}",
    Verb.UNSTICK: f"unstick NODE {OF_GROUP}",
    Verb.FAIL: f"fail NODE {OF_GROUP} {OPTIONAL_FOR}",
    Verb.HANDOVER: f"handover NODE [to PEER] {OF_GROUP}",
    Verb.OUT: f"out NODE {OF_GROUP} {OPTIONAL_FOR}",
    Verb.IN: f"in NODE {OF_GROUP}",
    Verb.STOP: f"stop NODE {OPTIONAL_FOR} [DISK]",
    Verb.HEALTH: f"health NODE FIT {OPTIONAL_FOR}",
    Verb.SYNC: f"sync NODE POSITION {OPTIONAL_FOR}",
    Verb.LOAD: f"load NODE PERCENT {OPTIONAL_FOR}",
    Verb.MOVE: f"move NODE [to PEER] {OF_GROUP}",
    Verb.PREPARE: f"prepare NODE PREPARES {OPTIONAL_FOR}",
    Verb.CLEAR: f"clear NODE {OF_GROUP}",
    Verb.VOTER_KILL: f"voter kill {OPTIONAL_FOR}",
    Verb.VOTER_RESTART: "voter restart",
    Verb.VOTER_CUT: f"voter cut NODE [WAYS] {OPTIONAL_FOR}",
    Verb.VOTER_HEAL: "voter heal NODE",
    Verb.VOTER_DELAY: f"voter delay NODE TIME {OPTIONAL_FOR}",
    Verb.HEAL_ALL: "heal all",
}
OPTIONAL_SLOTS = {"DISK", "STUCK", "WAYS"}
"""Slots that write nothing for the value 0."""


class Part(NamedTuple):
    """Words that stand together; an optional part is left out as a whole."""

    words: tuple[str, ...]
    optional: bool

    def begins_with(self, token: Token, names: Names) -> bool:
        """Whether the token can be the part's first word."""
        slot = SLOTS.get(self.words[0])
        return token.text == self.words[0] if slot is None else slot.looks(token, names)

    def expects(self, names: Names) -> str:
        """The part's first word, for messages."""
        slot = SLOTS.get(self.words[0])
        return f'"{self.words[0]}"' if slot is None else slot.expects(names)


def parts_of(sentence: str) -> tuple[Part, ...]:
    """A sentence cut into its parts."""
    found = re.findall(r"\[([^\]]*)\]|(\S+)", sentence)
    return tuple(Part(tuple((option or word).split()), bool(option)) for option, word in found)


PARTS = {verb: parts_of(sentence) for verb, sentence in SENTENCES.items()}


def head_of(parts: tuple[Part, ...]) -> tuple[str, ...]:
    """The fixed words at the beginning, by which a sentence is known."""
    words: list[str] = []
    for part in parts:
        if part.optional or part.words[0] in SLOTS:
            break
        words += part.words
    return tuple(words)


HEADS = {head_of(parts): verb for verb, parts in PARTS.items()}
FIRST_WORDS = tuple(dict.fromkeys(head[0] for head in HEADS))


def verb_of(words: list[Token]) -> Verb:
    """Which sentence the words begin, the longer one first; Fault names the nearest."""
    first = words[0]
    for length in (2, 1):
        verb = HEADS.get(tuple(word.text for word in words[:length]))
        if verb is not None:
            return verb
    seconds = [head[1] for head in HEADS if head[0] == first.text and len(head) > 1]
    if not seconds:
        raise Fault(first, f'"{first.text}" is no action; {nearest(first.text, FIRST_WORDS)}')
    if len(words) == 1:
        raise Fault(end_of(first), f'the line ends after "{first.text}"; expected {listed(seconds)}')
    raise Fault(words[1], f'"{words[1].text}" does not fit after "{first.text}"; {nearest(words[1].text, seconds)}')


def end_of(token: Token) -> Token:
    """The place behind a word."""
    return Token("", token.line, token.column + len(token.text))


def read_action(words: list[Token], at_ns: int, names: Names) -> list[Action]:
    """The actions of one statement: two for `a<->b`, else one."""
    for number, word in enumerate(words):
        if "<->" in word.text:
            one, _, other = word.text.partition("<->")
            both = (word._replace(text=f"{one}->{other}"), word._replace(text=f"{other}->{one}"))
            return [read_one([*words[:number], way, *words[number + 1:]], at_ns, names) for way in both]
    return [read_one(words, at_ns, names)]


def read_one(words: list[Token], at_ns: int, names: Names) -> Action:
    """One sentence."""
    verb = verb_of(words)
    values: dict[str, int] = {}
    rest = list(words)
    skipped: list[Part] = []
    for part in PARTS[verb]:
        if part.optional and not (rest and part.begins_with(rest[0], names)):
            skipped.append(part)
            continue
        for word in part.words:
            values.update(read_word(word, rest, words[-1], skipped, names))
        skipped = []
    if rest:
        hopes = listed([part.expects(names) for part in skipped] or ["the end of the line"])
        raise Fault(rest[0], f'"{rest[0].text}" is not understood here; expected {hopes}')
    return Action(at_ns, verb, **values)


def read_word(word: str, rest: list[Token], last: Token, skipped: list[Part], names: Names) -> dict[str, int]:
    """Take one word off `rest`; `skipped` are optional parts that might have stood here instead."""
    slot = SLOTS.get(word)
    expected = f'"{word}"' if slot is None else slot.expects(names)
    if not rest:
        raise Fault(end_of(last), f'the line ends after "{last.text}"; expected {expected}')
    token = rest.pop(0)
    if slot is not None:
        return slot.read(token, names)
    if token.text != word:
        hopes = listed([*(part.expects(names) for part in skipped), expected])
        raise Fault(token, f'"{token.text}" is not understood here; expected {hopes}')
    return {}


def action_text(action: Action, names: Names) -> str:
    """The statement of an action, without its time."""
    words = [text for part in PARTS[Verb(action.verb)] for text in part_texts(part, action, names)]
    return " ".join(words)


def part_texts(part: Part, action: Action, names: Names) -> list[str]:
    """The words of one part; none where it is left out."""
    if part.optional and left_out(part, action):
        return []
    return [text for word in part.words if (text := SLOTS[word].write(action, names) if word in SLOTS else word)]


def left_out(part: Part, action: Action) -> bool:
    """Whether an optional part has nothing to say about the action."""
    if "LENGTH" in part.words:
        return action.lasts_ns <= 0
    if "GROUP" in part.words:
        return action.group == ALL
    if "PEER" in part.words:
        return action.peer == ALL
    return part.words[0] in OPTIONAL_SLOTS and action.value == 0


def statement_list() -> list[str]:
    """Every sentence as a person writes it, for the help: choices written out, `NODE` and the like left in capitals."""
    return [re.sub(r"[A-Z]{3,}", lambda word: spelled(word[0]), sentence) for sentence in SENTENCES.values()]


def spelled(name: str) -> str:
    """A slot's name, or the words it takes."""
    slot = SLOTS.get(name)
    if not isinstance(slot, ChoiceSlot):
        return {"LINKS": "LINK|links", "PATH": "NODE->NODE", "LENGTH": "TIME", "SHARE": "PERCENT%",
                "RATE": "NUMBERppm", "PEER": "NODE"}.get(name, name)
    more = {"WRITES": ["TIME"], "POSITION": ["NUMBER"]}.get(name, [])
    return "|".join([*slot.words, *more])
