"""The steps of `twinbeat arbiter test`. Without `close` no contact moves: only groups without contacts are promised."""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from twinbeat.arbiter.lines import GRANT_MS, OpenLine, Target
from twinbeat.errors import UsageError
from twinbeat_bridge.protocol import NEVER_MS, Contacts, Row, Told, VoteCode, Votes, voter_text
from twinbeat_bridge.session import ArbiterError, SerialSession
from twinbeat_bridge.status import faults

ROUNDS = 100
RESERVE_S = 5.0
"""Longest wait for an epoch to be reserved: a board writes its flash at most once a second."""
RESET_S = 60.0
JUNK = b"\x03\x04\x00\xff" * 40 + b"\x03\x03\r\n" + bytes(range(256))
"""Ctrl-C and Ctrl-D among it: what would end a program at a MicroPython prompt."""
NODE_BITS = 3
SHORT_MS = 200


@dataclass(frozen=True)
class Step:
    """One thing that was tried. `ok` None: not tried, `text` says why."""

    name: str
    ok: bool | None
    text: str
    figures: dict[str, Any] = field(default_factory=dict)


def row_of(serial: SerialSession, group: int, epoch: int) -> Row:
    """The answer for one group. Raises ArbiterError."""
    votes = serial.ask([(group, epoch)]).answer
    assert isinstance(votes, Votes)
    return votes.rows[0]


def claim(serial: SerialSession, group: int, side: int) -> tuple[Row, int]:
    """Ask for a promise above the floor: (the answer, the epoch asked). Waits while the epoch is being reserved."""
    floor = row_of(serial, group, 0).epoch
    epoch = ((floor >> NODE_BITS) + 1) << NODE_BITS | side
    until_s = time.monotonic() + RESERVE_S
    row = row_of(serial, group, epoch)
    while row.code is VoteCode.WAITS and time.monotonic() < until_s:
        row = row_of(serial, group, epoch)
    return row, epoch


class Trial:
    """Runs the steps on open lines. `told` gets each step as it ends, `hint` what the person has to do."""

    def __init__(
        self,
        target: Target,
        lines: list[OpenLine],
        *,
        group: int | None = None,
        told: Callable[[Step], None] | None = None,
        hint: Callable[[str], None] = print,
    ) -> None:
        self.target = target
        self.lines = lines
        self._only = None if group is None else group - 1
        self._told = told
        self._hint = hint
        self._told_of: dict[int, Told] = {}

    def run(self, *, close: bool, reset: bool) -> list[Step]:
        """Every step, in order; a line on which nobody answers ends the trial."""
        from twinbeat.arbiter.trial_contacts import contact_steps

        steps: list[Step] = []
        try:
            for step in self._steps(close=close, reset=reset):
                self._note(steps, step)
            for step in contact_steps(self, close=close, groups=self.gated_groups()):
                self._note(steps, step)
        except ArbiterError as error:
            self._note(steps, Step("answer", False, str(error)))
        return steps

    def _note(self, steps: list[Step], step: Step) -> None:
        steps.append(step)
        if self._told is not None:
            self._told(step)

    def told(self, line: OpenLine) -> Told:
        """What the board says of itself now."""
        answer = line.serial.query().answer
        assert isinstance(answer, Told)
        self._told_of[line.line.side] = answer
        return answer

    def groups(self) -> list[int]:
        """The groups that are tried."""
        count = min(told.groups for told in self._told_of.values())
        return [group for group in range(count) if self._only in (None, group)]

    def gated_groups(self) -> list[int]:
        """Those with contacts on this board."""
        return [group for group in self.groups() if self._gated(group)]

    def free_group(self) -> int | None:
        """A group whose promise closes nothing; one that the configuration does not use, where there is any."""
        free = [group for group in self.groups() if not self._gated(group)]
        unused = [group for group in free if group >= len(self.target.group_names)]
        return next(iter(unused or free), None)

    def _gated(self, group: int) -> bool:
        return bool(row_of(self.lines[0].serial, group, 0).contacts & Contacts.GATED)

    def _steps(self, *, close: bool, reset: bool) -> Iterator[Step]:
        for line in self.lines:
            yield self.identity(line)
        if not self.groups():
            raise UsageError(f"--group {(self._only or 0) + 1}: the board has fewer groups")
        if len(self.lines) > 1:
            yield self.one_board()
        for line in self.lines:
            yield self.wiring(line)
            yield self.round_trip(line)
            yield self.junk(line)
        yield self.abstention() if reset else Step(
            "abstention after a reset", None, "not tried: --reset waits for the board's reset button"
        )
        yield self.exclusion()
        yield self.expiry()

    def identity(self, line: OpenLine) -> Step:
        """The right board, serving the right pair."""
        told = self.told(line)
        name = f"identity, {line.line.name}"
        shown = voter_text(told.voter)
        if self.target.pair_id is None or self.target.voter is None:
            missing = "the pair" if self.target.voter is not None else "id and pair"
            text = f"board {shown} serves pair number {told.pair_id}; {missing} not compared: no --config"
            return Step(name, True, text)
        return Step(name, True, f"board {shown} serves this pair, firmware {told.version}")

    def one_board(self) -> Step:
        """Both lines lead to the same start of the same board."""
        first, second = (self._told_of[line.line.side] for line in self.lines)
        if first.voter != second.voter:
            boards = f"{voter_text(first.voter)} and {voter_text(second.voter)}"
            return Step("one arbiter", False, f"the lines lead to two boards, {boards}: a pair has one")
        return Step("one arbiter", True, "both lines lead to the same board")

    def wiring(self, line: OpenLine) -> Step:
        """The line ends on the side of the node that it is meant for."""
        name = f"side, {line.line.name}"
        row = row_of(line.serial, 0, 0)
        if row.code is VoteCode.WRONG_SIDE:
            other = 1 - line.line.side
            text = (
                f"{line.line.path} leads to side {other} of the board, and {line.line.name} is node {line.line.side} "
                "of the file: exchange the two cables at the board"
            )
            return Step(name, False, text)
        heard_ms = self.told(line).heard_ms
        heard = "was not heard lately" if heard_ms == NEVER_MS else f"was heard {heard_ms} ms ago"
        return Step(name, True, f"{line.line.path} leads to side {line.line.side}; the other gateway {heard}")

    def round_trip(self, line: OpenLine) -> Step:
        """How long an ask and its answer take."""
        took = sorted(line.serial.ask([(0, 0)]).ms for _ in range(ROUNDS))
        figures = {"asks": ROUNDS, "p50_ms": took[ROUNDS // 2], "p99_ms": took[ROUNDS * 99 // 100], "max_ms": took[-1]}
        figures = {key: round(value, 3) for key, value in figures.items()}
        text = f"{figures['p50_ms']:.2f} ms half of the time, {figures['p99_ms']:.2f} ms 99 of 100 times"
        return Step(f"round trip, {line.line.name}", True, text, figures)

    def junk(self, line: OpenLine) -> Step:
        """Noise with Ctrl-C in it does not stop the arbiter, and it counts it."""
        before = self.told(line)
        line.serial.send_noise(JUNK)
        after = self.told(line)
        name = f"noise, {line.line.name}"
        if after.life != before.life:
            return Step(name, False, "the board restarted over it: put the firmware on it anew")
        return Step(name, True, f"{len(JUNK)} bytes of it with Ctrl-C among them changed nothing")

    def abstention(self) -> Step:
        """After a reset nobody is promised until every promise of the earlier life is over, and contacts are open."""
        name = "abstention after a reset"
        line = self.lines[0]
        life = self.told(line).life
        self._hint(f"Press the board's reset button now, or cut its supply for a moment (waiting {RESET_S:g} s).")
        told = self._next_life(line, life)
        if told is None:
            return Step(name, False, f"the board did not restart within {RESET_S:g} s")
        begun_s = time.monotonic()
        row = row_of(line.serial, 0, 0)
        if row.code is not VoteCode.ABSTAINS:
            return Step(name, False, f"the first answer was {row.code.name}: the board may promise twice; put the "
                        "firmware on it anew")
        if row.contacts & (Contacts.OWN_CLOSED | Contacts.OTHER_CLOSED):
            return Step(name, False, "a contact is closed right after the start: check the relays' pull-downs")
        limit_s = begun_s + 2 * told.grant_max_ms / 1000
        while row.code is VoteCode.ABSTAINS and time.monotonic() < limit_s:
            row = row_of(line.serial, 0, 0)
        took_ms = (time.monotonic() - begun_s) * 1000
        if row.code is VoteCode.ABSTAINS:
            return Step(name, False, f"it still abstains after {took_ms:.0f} ms, its longest promise is "
                        f"{told.grant_max_ms} ms")
        return Step(name, True, f"nobody was promised for {took_ms:.0f} ms after the first answer of the new life",
                    {"abstained_ms": round(took_ms, 1), "grant_max_ms": told.grant_max_ms})

    def _next_life(self, line: OpenLine, life: int) -> Told | None:
        until_s = time.monotonic() + RESET_S
        while time.monotonic() < until_s:
            try:
                answer = line.serial.query(tries=1).answer
            except ArbiterError:
                continue
            if isinstance(answer, Told) and answer.life != life:
                return answer
        return None

    def exclusion(self) -> Step:
        """What one life was promised, another does not get: that of the other side, or a second one of this side."""
        name = "exclusion"
        group = self.free_group()
        if group is None:
            return Step(name, None, "not tried: every group has contacts here; --close tries it with them")
        first, side = self.lines[0].serial, self.lines[0].line.side
        second, second_side = self.rival()
        row, epoch = claim(first, group, side)
        if row.code is not VoteCode.PROMISED:
            return self._not_promised(name, group, row)
        try:
            refused, _ = claim(second, group, second_side)
        finally:
            first.give_back([(group, epoch)])
        if refused.code is not VoteCode.REFUSED:
            second.give_back([(group, refused.epoch)])
            text = f"group {group + 1} was promised to two ({refused.code.name}): do not use this board"
            return Step(name, False, text)
        row, epoch = claim(second, group, second_side)
        second.give_back([(group, epoch)])
        if row.code is not VoteCode.PROMISED:
            return Step(name, False, f"group {group + 1} was given back, and not promised again: {row.code.name}")
        who = "the other side" if second is not first and len(self.lines) > 1 else "a second life of this side"
        return Step(name, True, f"{who} was refused what this one held, and promised it once it was given back")

    def expiry(self) -> Step:
        """A promise that is not renewed ends by itself, and not before its time."""
        name = "a promise runs out"
        group = self.free_group()
        if group is None:
            return Step(name, None, "not tried: every group has contacts here")
        first, side = self.lines[0].serial, self.lines[0].line.side
        second, second_side = self.rival()
        first.session.grant_ms = SHORT_MS
        try:
            begun_s = time.monotonic()
            row, _ = claim(first, group, side)
            if row.code is not VoteCode.PROMISED:
                return self._not_promised(name, group, row)
            limit_s = begun_s + RESERVE_S
            row, epoch = claim(second, group, second_side)
            while row.code is VoteCode.REFUSED and time.monotonic() < limit_s:
                row, epoch = claim(second, group, second_side)
            took_ms = (time.monotonic() - begun_s) * 1000
        finally:
            first.session.grant_ms = GRANT_MS
        second.give_back([(group, epoch)])
        if row.code is not VoteCode.PROMISED:
            return Step(name, False, f"a promise of {SHORT_MS} ms still stood after {took_ms:.0f} ms")
        if took_ms < SHORT_MS:
            text = f"a promise of {SHORT_MS} ms was over after {took_ms:.0f} ms: do not use this board"
            return Step(name, False, text)
        figures = {"asked_ms": SHORT_MS, "took_ms": round(took_ms, 1)}
        return Step(name, True, f"one of {SHORT_MS} ms was over after {took_ms:.0f} ms", figures)

    def rival(self) -> tuple[SerialSession, int]:
        """Another life, on the other side where there is a line to it, and its side."""
        if len(self.lines) > 1:
            return self.lines[1].serial, self.lines[1].line.side
        life = self.lines[0].life()
        life.query()
        return life, self.lines[0].line.side

    def _not_promised(self, name: str, group: int, row: Row) -> Step:
        if row.code is VoteCode.REFUSED and row.ms:
            text = f"not tried: a running gateway holds group {group + 1}; stop its agent, or test later"
            return Step(name, None, text)
        if row.code is VoteCode.ABSTAINS:
            return Step(name, None, f"not tried: the board has just started and abstains for {row.ms} ms; test again")
        if row.code is VoteCode.WRONG_SIDE:
            return Step(name, None, "not tried: the line leads to the other side of the board")
        return Step(name, False, f"group {group + 1} was not promised: {row.code.name}")

    def contact_faults(self) -> list[str]:
        """What the board says is wrong at its contacts."""
        return faults(self.told(self.lines[0]))
