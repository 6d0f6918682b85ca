"""Scenarios: a world, what is done to it and what must come of it, as text that people read and write.

    pins: R5: the gate's death notice hands over at once
    world pair release=12ms seed=3
    at 0ms start all
    at 1s kill a for 500ms
    run 3s

    expect:
      ...

`#` begins a comment. `at +20ms` counts from the statement before; a statement without a time happens at the same one.
`run bound` runs on after `heal all` for as long as settling may take. `expect summary:` keeps the closing lines only.
A line `---` begins another scenario in the same file. `twinbeat sim --help` lists every statement.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from twinbeat.sim.scenario_actions import FIRST_WORDS, action_text, read_action
from twinbeat.sim.scenario_words import Fault, Names, ScenarioError, Token, duration, nearest, read_duration, tokens
from twinbeat.sim.scenario_world import read_world, world_text
from twinbeat.sim.spec import Action, Verb
from twinbeat.sim.worlds import Shape

DIVIDER = "---"
BOUND = "bound"
EXPECT = ("expect:", "expect summary:")
HEADERS = ("title:", "pins:")
KEYWORDS = ("world", "at", "run", *HEADERS, *EXPECT)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One scenario.

    title, pins   one line each; `pins` says which rule or promise would be seen to break
    run_ns        virtual length; None: `bound`, until everything must have settled after HEAL_ALL
    expected      lines of the expected output, None where there are none yet; `brief`: the closing lines only
    line          of the file, from 1: the scenario's first that is not blank. It has the lines from `start_line` on;
                  `expect_line` is that of "expect:", or the line behind the scenario's last where there is none
    """

    shape: Shape
    seed: int
    actions: tuple[Action, ...]
    run_ns: int | None
    pins: str
    title: str = ""
    expected: tuple[str, ...] | None = None
    brief: bool = False
    line: int = 1
    start_line: int = 1
    expect_line: int = 1

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return self.title or self.pins

    @property
    def healed_ns(self) -> int | None:
        """When HEAL_ALL is due; None: never."""
        times = [action.at_ns for action in self.actions if action.verb == Verb.HEAL_ALL]
        return times[-1] if times else None


class Reader:
    """Reads one scenario line by line."""

    def __init__(self, path: str, line: int) -> None:
        self.path = path
        self.line = line
        self.headers: dict[str, str] = {}
        self.world: tuple[Shape, int] | None = None
        self.names = Names((), (), ())
        self.actions: list[Action] = []
        self.at_ns = 0
        self.run: tuple[Token, int | None] | None = None

    def read(self, text: str, number: int) -> None:
        """One line above the expectation."""
        for header in HEADERS:
            if text.lstrip().startswith(header):
                self.header(header, text, number)
                return
        words = tokens(text, number)
        if not words:
            return
        if self.run is not None:
            raise Fault(words[0], f'"{words[0].text}" stands after "run"; expected "expect:" or the end')
        if words[0].text == "world":
            if self.world is not None:
                raise Fault(words[0], "a scenario has one world line; begin another scenario with ---")
            self.world = read_world(words)
            self.names = Names.of(self.world[0].spec())
        elif words[0].text == "run":
            self.read_run(words)
        else:
            self.read_statement(words)

    def header(self, header: str, text: str, number: int) -> None:
        """A header line, taken as it is."""
        place = Token(header, number, text.index(header) + 1)
        value = " ".join(text.partition(header)[2].split())
        if header in self.headers:
            raise Fault(place, f'"{header}" stands in this scenario already; one line each')
        if self.world is not None:
            raise Fault(place, f'"{header}" comes too late; headers stand above the world line')
        if not value:
            raise Fault(place, f'"{header}" says nothing; write it out, such as "pins: R5: a death notice hands over"')
        self.headers[header] = value

    def read_run(self, words: list[Token]) -> None:
        """The length of the run."""
        self.need_world(words[0])
        if len(words) != 2:
            place = words[2] if len(words) > 2 else words[0]
            raise Fault(place, '"run" wants one time such as 3s, or "bound"')
        if words[1].text == BOUND:
            if not any(action.verb == Verb.HEAL_ALL for action in self.actions):
                raise Fault(words[1], '"run bound" counts from "heal all", which is missing; add it or give a time')
            self.run = (words[1], None)
            return
        run_ns = read_duration(words[1])
        if run_ns <= self.at_ns and (self.actions or run_ns == 0):
            raise Fault(words[1], f'the run of {words[1].text} ends before its last action at {duration(self.at_ns)}')
        self.run = (words[1], run_ns)

    def read_statement(self, words: list[Token]) -> None:
        """`at TIME STATEMENT`, or a statement at the time of the one before."""
        if words[0].text == "at":
            self.need_world(words[0])
            if len(words) < 3:
                raise Fault(words[-1], '"at" wants a time and an action, such as "at 1s kill a"')
            self.read_time(words[1])
            words = words[2:]
        elif words[0].text not in FIRST_WORDS:
            hint = nearest(words[0].text, (*FIRST_WORDS, *KEYWORDS))
            raise Fault(words[0], f'"{words[0].text}" is no action; {hint}')
        self.need_world(words[0])
        self.actions += read_action(words, self.at_ns, self.names)

    def read_time(self, token: Token) -> None:
        """A time from the beginning, or with `+` from the statement before."""
        if token.text.startswith("+"):
            self.at_ns += read_duration(token, token.text[1:])
            return
        at_ns = read_duration(token)
        if at_ns < self.at_ns:
            raise Fault(token, f"time runs backwards: {token.text} after {duration(self.at_ns)}; move the line up, "
                               f"or write +{token.text} for so much later")
        self.at_ns = at_ns

    def need_world(self, token: Token) -> None:
        """Actions name parts of a world."""
        if self.world is None:
            raise Fault(token, f'"{token.text}" stands before the world line; write one above, such as "world pair"')

    def finish(self, end: Token) -> Scenario:
        """The scenario, when its last line above the expectation has been read."""
        if "pins:" not in self.headers:
            raise Fault(Token("", self.line, 1), 'the header "pins:" is missing; say in a line what the scenario pins, '
                                                 'such as "pins: R5: a death notice hands over at once"')
        if self.world is None:
            raise Fault(end, 'the world line is missing; write one, such as "world pair"')
        if self.run is None:
            raise Fault(end, 'the length of the run is missing; write "run 3s" or "run bound" below the last action')
        return Scenario(
            shape=self.world[0], seed=self.world[1], actions=tuple(self.actions), run_ns=self.run[1],
            pins=self.headers["pins:"], title=self.headers.get("title:", ""), line=self.line,
        )


def parse(text: str, path: str = "scenario") -> list[Scenario]:
    """The scenarios of a file; ScenarioError with file, line and column for the first fault."""
    lines = text.splitlines()
    starts = [0, *(number + 1 for number, line in enumerate(lines) if line.rstrip() == DIVIDER)]
    ends = [*(start - 1 for start in starts[1:]), len(lines)]
    try:
        return [parse_one(lines, start, end, path) for start, end in zip(starts, ends, strict=True)]
    except Fault as fault:
        raise ScenarioError(f"{path}:{fault.token.line}:{fault.token.column}: {fault.text}")


def parse_one(lines: list[str], start: int, end: int, path: str) -> Scenario:
    """One scenario from the lines [start, end)."""
    first = next((number for number in range(start, end) if lines[number].strip()), start)
    reader = Reader(path, first + 1)
    at = end
    for number in range(start, end):
        if lines[number].rstrip() in EXPECT:
            at = number
            break
        if lines[number].lstrip().startswith("expect"):
            column = len(lines[number]) - len(lines[number].lstrip()) + 1
            place = Token(lines[number].strip(), number + 1, column)
            raise Fault(place, f'"{place.text}" is not understood; expected "expect:" or "expect summary:" alone '
                               "at the beginning of a line")
        reader.read(lines[number], number + 1)
    scenario = reader.finish(Token("", min(at, len(lines) - 1) + 1, 1))
    expected = None if at == end else tuple(trimmed(lines[at + 1:end]))
    brief = at != end and lines[at].rstrip() == EXPECT[1]
    return replace(scenario, expected=expected, brief=brief, start_line=start + 1, expect_line=at + 1)


def trimmed(lines: Sequence[str]) -> list[str]:
    """Lines without blanks at their ends and without blank lines before and behind."""
    kept = [line.rstrip() for line in lines]
    while kept and not kept[-1]:
        kept.pop()
    while kept and not kept[0]:
        kept.pop(0)
    return kept


# ---------------------------------------------------------------- writing
def format_scenario(scenario: Scenario) -> str:
    """The canonical text: what is said by default is left out, every action has its time. Comments are not kept."""
    run = BOUND if scenario.run_ns is None else duration(scenario.run_ns)
    text = head_text(scenario.shape, scenario.actions, scenario.seed, scenario.title, scenario.pins, run)
    if scenario.expected is None:
        return text
    return "\n".join([text, EXPECT[scenario.brief], *scenario.expected, ""])


def to_text(
    shape: Shape, actions: Sequence[Action], seed: int, title: str, pins: str, run_ns: int | None = None
) -> str:
    """A scenario file without expectation. `run_ns` None: until settled after HEAL_ALL, which is added where missing.

    Only the fields of Shape that differ from the named world's are written, and of actions only what their verbs use.
    """
    listed = sorted(actions, key=lambda action: action.at_ns)
    if run_ns is None and not any(action.verb == Verb.HEAL_ALL for action in listed):
        listed.append(Action(listed[-1].at_ns if listed else 0, Verb.HEAL_ALL))
    return head_text(shape, listed, seed, title, pins, BOUND if run_ns is None else duration(run_ns))


def head_text(shape: Shape, actions: Sequence[Action], seed: int, title: str, pins: str, run: str) -> str:
    """Everything above the expectation."""
    names = Names.of(shape.spec())
    lines = [f"title: {' '.join(title.split())}"] if title.strip() else []
    lines += [f"pins: {' '.join(pins.split())}", world_text(shape, seed)]
    lines += [f"at {duration(action.at_ns)} {action_text(action, names)}" for action in actions]
    return "\n".join([*lines, f"run {run}", ""])
