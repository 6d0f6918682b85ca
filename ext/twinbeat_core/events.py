"""Events and effects of the core as typed values. Times are monotonic nanoseconds, stamps microseconds."""
from __future__ import annotations

from dataclasses import dataclass, field

from .frames import Frame
from .model import Cause, CommandCode, DriveCode, LateCode, OutputCode, ReportCode, VoteCode

NOBODY = 15


@dataclass(frozen=True, slots=True)
class Start:
    """The agent starts as `incarnation`; `ceiling` is the epoch reserved on disk by the life before (0: none)."""

    now_ns: int
    incarnation: int
    ceiling: int = 0
    disk_lost: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """An authenticated frame; `rx_at_ns` is when it arrived, `now_ns` when it is processed.

    `code` is the WireCode: 0, or 2 for a frame of another protocol version of which only the head is read.
    """

    now_ns: int
    link: int
    frame: Frame
    rx_at_ns: int = 0
    code: int = 0


@dataclass(frozen=True, slots=True)
class LinkChange:
    """The transport of a link came up or went down: a hint."""

    now_ns: int
    link: int
    up: bool


@dataclass(frozen=True, slots=True)
class Vote:
    """The third voter's answer to the ask with `stamp`: its promise lasts `grant_ms`."""

    now_ns: int
    group: int
    code: VoteCode
    epoch: int
    stamp: int = 0
    grant_ms: int = 0


@dataclass(frozen=True, slots=True)
class Health:
    """Fit to drive or not; score and load from 0 to 100."""

    now_ns: int
    fit: bool
    score: int = 100
    load: int = 0


@dataclass(frozen=True, slots=True)
class Output:
    """What the gate or a slow output says of a group's outputs."""

    now_ns: int
    group: int
    code: OutputCode
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Sync:
    """Replication: own position, and whether it is in step."""

    now_ns: int
    position: int
    in_step: bool = True


@dataclass(frozen=True, slots=True)
class Command:
    """An operator's or the agent's own wish; `node` 15 lets the core pick the taker."""

    now_ns: int
    code: CommandCode
    group: int = 0
    node: int = NOBODY


@dataclass(frozen=True, slots=True)
class Wake:
    """Time passed; the core looks at its deadlines."""

    now_ns: int


@dataclass(frozen=True, slots=True)
class Persisted:
    """Epochs up to `ceiling` are reserved on disk now."""

    now_ns: int
    ceiling: int


@dataclass(frozen=True, slots=True)
class Late:
    """A thread by which silence is judged did not run for `late_ns`."""

    now_ns: int
    code: LateCode
    late_ns: int = 0


Event = Start | Heard | LinkChange | Vote | Health | Output | Sync | Command | Wake | Persisted | Late


@dataclass(frozen=True, slots=True)
class Send:
    """Send `frame` on each link of `links`; `link_seq` holds the frame's sequence number on each of them."""

    links: tuple[int, ...]
    frame: Frame
    link_seq: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Drive:
    """Switch a group's outputs; ON and EXTEND hold until `deadline_ns`."""

    group: int
    code: DriveCode
    epoch: int
    deadline_ns: int


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the third voter for a promise to (group, epoch)."""

    group: int
    epoch: int
    stamp: int


@dataclass(frozen=True, slots=True)
class Return:
    """Give the third voter's promise for (group, epoch) back; a later claim's promise is not meant."""

    group: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Report:
    """Something worth telling; what `value` and `extra` mean is said at the ReportCode."""

    code: ReportCode
    group: int
    node: int
    link: int
    epoch: int
    value: int
    extra: int

    @property
    def cause(self) -> Cause:
        """The cause of a state change (code RP_STATE)."""
        return Cause(self.extra)


@dataclass(frozen=True, slots=True)
class Persist:
    """Reserve epochs up to `ceiling` on disk, then answer with Persisted."""

    ceiling: int


Effect = Send | Drive | Ask | Return | Report | Persist
