"""What a simulated world is made of, what can be done to it, and what a run tells: plain values."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import NamedTuple

from twinbeat_core.settings import Settings

ALL = -1
"""In an Action: every node, link or group."""
MS = 1_000_000
"""Nanoseconds in a millisecond."""


class Verb(IntEnum):
    """What an Action does. `value` and `lasts_ns` mean what stands here; without a mention they are ignored.

    With `lasts_ns` above 0 the engine undoes the action by itself that much later (RESTART, RESUME, HEAL, UNSTICK ...).
    """

    START = 1            # node's agent starts; value 1: its disk was lost
    KILL = 2             # the worker dies, its gate drops the outputs and says so; lasts_ns: then it restarts
    POWER = 3            # the node is without power: nobody says anything; lasts_ns: then it restarts
    RESTART = 4          # ends what is left of the node and starts it again; value 1: its disk was lost
    STALL = 5            # the worker stands still, the gate runs; lasts_ns, else until RESUME
    FREEZE = 6           # the whole node stands still, gate too, its clock runs
    SUSPEND = 7          # the whole node stands still and so does its clock
    RESUME = 8           # ends STALL, FREEZE, SUSPEND
    LATE = 9             # a thread by which silence is judged was late: value ns, group = LateCode
    CLOCK = 10           # the node's clock goes wrong by value ppb from now on (beyond the bound: nothing is promised)
    DEAF = 12            # the node's receivers stand still, its timers run; it finds out, again and again
    DISK = 11            # writes take value ns from now on; 0: as the world says

    CUT = 20             # frames from node to peer on link are lost from now on
    HEAL = 21            # link from node to peer is as the world made it
    LOSS = 22            # value of 1024 frames are lost
    DELAY = 23           # every frame takes value ns longer
    JITTER = 24          # and up to value ns more, at random
    DUPLICATE = 25       # value of 1024 frames arrive twice
    REORDER = 26         # value of 1024 frames are held for up to a period, so that later ones overtake them
    CORRUPT = 27         # value of 1024 frames have a bit wrong: they go through the real codec
    CLOG = 28            # frames are held for lasts_ns and then arrive at once
    REPLAY = 29          # the frame that node sent `value` frames ago arrives once more on link at peer
    HINT = 30            # node's transport of link says that it went down (no decision may hang on it)

    DROP = 40            # node's gate drops the group's outputs by itself
    STICK = 41           # node's contact stays as it is whatever the gate does; value 1: welded on, 2: does not close
    UNSTICK = 42
    FAIL = 43            # node's output reports that it could not be switched

    HANDOVER = 50        # an operator at node asks for a handover of group, to peer (ALL: the best candidate)
    OUT = 51             # group leaves service on node; lasts_ns: then IN
    IN = 52
    STOP = 53            # planned stop of node's agent; lasts_ns: then RESTART
    HEALTH = 54          # value 0 unfit, 1 fit; lasts_ns: then the other
    SYNC = 55            # replication position value >= 0 and in step; -1: behind; lasts_ns: then in step
    CLEAR = 56           # clears an output fault
    LOAD = 57            # node's load is value percent; lasts_ns: then 0
    MOVE = 58            # a handover of group is proposed at node, to peer (ALL: the best candidate)
    PREPARE = 59         # value 0: what node must prepare before a handover fails from now on, 1: works; lasts_ns

    VOTER_KILL = 60      # the third voter dies; lasts_ns: then it restarts
    VOTER_RESTART = 61
    VOTER_CUT = 62       # nothing passes between node and the third voter; value 1: asks only, 2: answers only
    VOTER_HEAL = 63
    VOTER_DELAY = 64     # asks and answers of node take value ns longer

    HEAL_ALL = 70        # every fault ends: links, clocks, contacts, health, operators; dead nodes restart; now judge


class Action(NamedTuple):
    """One thing done to the world at `at_ns` (virtual nanoseconds from the start of the run)."""

    at_ns: int
    verb: Verb
    node: int = ALL
    peer: int = ALL
    link: int = ALL
    group: int = ALL
    value: int = 0
    lasts_ns: int = 0


@dataclass(frozen=True, kw_only=True)
class LinkSpec:
    """How a link behaves when nothing is wrong: `latency_us` plus up to `jitter_us`; `fifo` keeps frames in order."""

    latency_us: int = 200
    jitter_us: int = 100
    fifo: bool = True


@dataclass(frozen=True, kw_only=True)
class WorldSpec:
    """A world. `settings[i]` are node i's; lists by node, link or group are as long as the settings say.

    gate_late_us    the gate acts up to this late at a deadline (at most check_ms, or nothing is promised)
    make_us, release_us   per group: how long its contact really takes (None: as the settings say)
    hold_us         per group: a frozen gateway's output falls by itself after this (a pulse output); -1: it stays
    drift_ppb       per node: how wrong its clock runs, parts per thousand million
    persist_us      least and longest time of a write to disk
    voter_us        least and longest way to the third voter, one way
    voter_grant_ms  how long the third voter promises; 0: as long as it is asked to
    voter_abstain_ms   how long the third voter abstains after a start; 0: as long as it promises
    voter_hears_gates  a gate's death notice reaches it; else the peer passes it on
    prepare_us      least and longest time that a taker takes to prepare, where the settings ask for it
    select_us       make and release of the third voter's contacts, where groups are gated
    worst           no chance at all: every lateness, way and release is the longest allowed
    """

    settings: tuple[Settings, ...]
    links: tuple[LinkSpec, ...]
    nodes_named: tuple[str, ...]
    links_named: tuple[str, ...]
    groups_named: tuple[str, ...]
    gate_late_us: int = 0
    make_us: tuple[int, ...] | None = None
    release_us: tuple[int, ...] | None = None
    hold_us: tuple[int, ...] | None = None
    drift_ppb: tuple[int, ...] = ()
    persist_us: tuple[int, int] = (1000, 8000)
    voter_us: tuple[int, int] = (200, 500)
    voter_grant_ms: int = 0
    voter_abstain_ms: int = 0
    voter_hears_gates: bool = True
    prepare_us: tuple[int, int] = (5000, 30000)
    select_us: tuple[int, int] = (3000, 3000)
    worst: bool = False

    def with_drift(self, drift_ppb: Sequence[int]) -> WorldSpec:
        """The same world with other clocks."""
        return replace(self, drift_ppb=tuple(drift_ppb))


class Rule(IntEnum):
    """What a violation breaks; RULE_TEXT names the rule of docs/protocol.md."""

    TWO_DRIVERS = 1       # two nodes' outputs were on for an exclusive group
    EPOCH_NOT_RISING = 2  # an output came on at an epoch not above every earlier one
    EPOCH_NOT_ON_DISK = 3 # an output came on at an epoch above what this node had reserved on disk
    NO_MAJORITY = 4       # authority that no majority of promises outlasts
    RESTARTED_OWNS = 5    # a node drove before its abstention was over
    TABLE = 6             # the transition table refused a trigger
    DEADLINE = 7          # the core asked to be woken in the past
    EFFECTS_LOST = 8      # a step had more effects than fit
    FORGED = 9            # a frame with a wrong bit was taken as genuine
    NO_DRIVER = 10        # after healing nobody drives
    TWO_AT_END = 11       # after healing two drive
    NOT_SETTLED = 12      # after healing the roles went on changing longer than the bound
    DISTURBED = 14        # a node lost what it drove though it was well, its links too, and the others well or away
    MOVED = 15            # a group moved that need not have: to nobody, to one that was not ready for it, or too soon
    LIMIT = 13            # a limit of the simulator was reached: this run proves nothing


RULE_TEXT = {
    Rule.TWO_DRIVERS: "Authority: one driver",
    Rule.EPOCH_NOT_RISING: "R1: epochs only rise",
    Rule.EPOCH_NOT_ON_DISK: "R1: an epoch is on disk before it is used",
    Rule.NO_MAJORITY: "A5, A7: a majority's promises outlast the authority",
    Rule.RESTARTED_OWNS: "A11: a restarted node abstains",
    Rule.TABLE: "states.md: the transition table",
    Rule.DEADLINE: "core: a deadline lies ahead",
    Rule.EFFECTS_LOST: "core: effects fit one step",
    Rule.FORGED: "Frame: authenticated",
    Rule.NO_DRIVER: "liveness: one driver after healing",
    Rule.TWO_AT_END: "liveness: one driver after healing",
    Rule.NOT_SETTLED: "liveness: settled within the bound",
    Rule.DISTURBED: "M6: a fault costs only what the faulty node held",
    Rule.MOVED: "M1 to M5: a group moves by itself only where and when it may",
    Rule.LIMIT: "simulator: limit",
}
SAFETY = frozenset({Rule.TWO_DRIVERS, Rule.EPOCH_NOT_RISING, Rule.EPOCH_NOT_ON_DISK, Rule.NO_MAJORITY,
                    Rule.RESTARTED_OWNS, Rule.TABLE, Rule.DEADLINE, Rule.EFFECTS_LOST, Rule.FORGED})


class Excuse(IntEnum):
    """Why what happened is not promised to be excluded (docs/protocol.md); 0: it is promised."""

    NONE = 0
    L3 = 1         # lone = takeover and all links impaired in at least one direction
    FROZEN = 2     # a whole gateway stood still and its output keeps its level
    CONTACT = 3    # a contact was stuck
    CLOCK = 4      # a clock beyond the bound, or one that stood still
    DISK = 5       # every voter that knew the epoch has lost its disk
    ALONE = 6      # lone = takeover: driven alone by one who has not heard of the epoch


class Violation(NamedTuple):
    """`length_ns`: how long both were on, by how much it was late; `epoch` where the rule is about one."""

    at_ns: int
    rule: Rule
    excuse: Excuse
    group: int
    node: int
    other: int
    length_ns: int
    epoch: int


class Gap(NamedTuple):
    """Time in which nobody's output was on for a group: it began at `at_ns`, after action number `action` (-1: none).

    `before` and `after` are the nodes that drove (ALL: nobody yet, nobody until the end); the same twice: a drop-out.
    """

    at_ns: int
    length_ns: int
    group: int
    action: int
    before: int
    after: int


class LogKind(IntEnum):
    """What a log entry tells; the fields are named in LogEntry's order after `kind`."""

    STATE = 1      # node, group, a = old State, b = new State, c = Cause, d = epoch
    OUTPUT = 2     # node, group, a = 1 on / 0 off (at the contact), d = epoch
    ACTION = 3     # a = number of the action, b = 1 done / 2 undone by lasts_ns
    SENT = 4       # node, link, a = peer, b = fate (0 arrives, 1 cut, 2 lost, 3 corrupt), c = FrameFlag, d = arrival ns
    REPORT = 5     # node, link, a = ReportCode, b = value, c = extra, group = group
    VIOLATION = 6  # node, group, a = Rule, b = Excuse, c = other node, d = length ns
    DIED = 7       # node, a = 1 killed / 2 power / 3 stopped
    STARTED = 8    # node, a = incarnation, b = 1 disk lost
    VOTE = 9       # node, group, a = VoteCode of the third voter's answer, d = epoch
    VOTER = 10     # what the third voter did, node, group; the other fields are told at note_voter in voter.pyx


class LogEntry(NamedTuple):
    """One line of a run's log."""

    at_ns: int
    kind: LogKind
    node: int
    group: int
    link: int
    a: int
    b: int
    c: int
    d: int


@dataclass(slots=True)
class RunResult:
    """What a run gave. `violations` are broken promises, `excused` the same where nothing was promised.

    steps       steps of cores
    end_ns      virtual length
    healed_ns   when HEAL_ALL came (-1: never); liveness is judged then
    settled_ns  from there to the last change of an output (0: nothing changed)
    drivers     per group: the nodes whose contact is on at the end
    epochs      per group: the highest epoch that ever drove
    """

    steps: int
    end_ns: int
    healed_ns: int
    settled_ns: int
    violations: list[Violation]
    excused: list[Violation]
    gaps: list[Gap]
    drivers: list[list[int]]
    epochs: list[int]
    log: list[LogEntry] = field(default_factory=list)

    @property
    def safe(self) -> bool:
        """No safety rule broken where it was promised."""
        return not any(violation.rule in SAFETY for violation in self.violations)
