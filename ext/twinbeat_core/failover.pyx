"""The core as Python sees it: one call in, a list of effects out."""
from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from twinbeat_core.machine cimport core_init, core_restore, core_snapshot, core_snapshot_size, core_step
from twinbeat_core.model cimport (
    EV_COMMAND, EV_HEALTH, EV_HEARD, EV_LATE, EV_LINK, EV_OUTPUT, EV_PERSISTED, EV_START, EV_SYNC, EV_VOTE, EV_WAKE,
    FX_ASK, FX_DRIVE, FX_PERSIST, FX_REPORT, FX_RETURN, FX_SEND, MAX_LINKS, NEVER_NS, effect_t, effects_t, event_t,
)
from twinbeat_core.settings cimport CoreSettings
from twinbeat_core.state cimport core_t
from twinbeat_core.view cimport view_of
from twinbeat_core.wire cimport frame_from_c, frame_to_c

from . import events as ev
from .errors import SnapshotError
from .model import DriveCode, ReportCode


EVENTS = frozenset(ev.Event.__args__)


cdef int fill_start(event, event_t* out) except -1:
    if event.incarnation == 0:
        raise ValueError("incarnation 0 stands for no life at all: use a number from 1 on")
    out.kind, out.incarnation, out.epoch, out.value = EV_START, event.incarnation, event.ceiling, event.disk_lost
    return 0


cdef int fill_heard(event, event_t* out) except -1:
    out.kind, out.link, out.code = EV_HEARD, event.link, event.code
    out.rx_at_ns = event.rx_at_ns or event.now_ns
    frame_to_c(event.frame, &out.frame)
    return 0


cdef int fill_event(object event, event_t* out) except -1:
    """The C form of a typed event; everything but a heard frame is cheap."""
    kind = type(event)
    memset(out, 0, sizeof(event_t) - sizeof(out.frame))
    if kind not in EVENTS:
        raise TypeError(f"{kind.__name__} is no event of the core")
    out.now_ns = event.now_ns
    if kind is ev.Wake:
        out.kind = EV_WAKE
    elif kind is ev.Heard:
        fill_heard(event, out)
    elif kind is ev.Command:
        out.kind, out.code, out.group, out.node = EV_COMMAND, event.code, event.group, event.node
    elif kind is ev.Output:
        out.kind, out.group, out.code, out.epoch = EV_OUTPUT, event.group, event.code, event.epoch
    elif kind is ev.Health:
        out.kind, out.code, out.value, out.stamp = EV_HEALTH, event.fit, event.score, event.load
    elif kind is ev.Persisted:
        out.kind, out.epoch = EV_PERSISTED, event.ceiling
    elif kind is ev.LinkChange:
        out.kind, out.link, out.code = EV_LINK, event.link, event.up
    elif kind is ev.Vote:
        out.kind, out.group, out.code, out.epoch = EV_VOTE, event.group, event.code, event.epoch
        out.stamp, out.value = event.stamp, event.grant_ms * 1000000
    elif kind is ev.Sync:
        out.kind, out.value, out.code = EV_SYNC, event.position, event.in_step
    elif kind is ev.Late:
        out.kind, out.code, out.value = EV_LATE, event.code, event.late_ns
    else:
        fill_start(event, out)
    return 0


cdef object effect_from_c(const effect_t* fx, const effects_t* all_of_them):
    cdef int i
    if fx.kind == FX_SEND:
        links = tuple(i for i in range(MAX_LINKS) if (fx.value >> i) & 1)
        return ev.Send(links, frame_from_c(&all_of_them.frame), {i: all_of_them.link_seq[i] for i in links})
    if fx.kind == FX_DRIVE:
        return ev.Drive(fx.group, DriveCode(fx.code), fx.epoch, fx.value)
    if fx.kind == FX_REPORT:
        return ev.Report(ReportCode(fx.code), fx.group, fx.node, fx.link, fx.epoch, fx.value, fx.extra)
    if fx.kind == FX_PERSIST:
        return ev.Persist(fx.epoch)
    if fx.kind == FX_ASK:
        return ev.Ask(fx.group, fx.epoch, fx.stamp)
    return ev.Return(fx.group, fx.epoch)


cdef class Failover:
    """The failover state machine of one node.

    It has no clock: every event carries `now_ns`, which must not run backwards, and `deadline_ns` says when it
    wants a Wake. Two cores with equal settings that are fed equal events are equal in every byte.
    """

    def __cinit__(self, settings):
        self.settings = settings if isinstance(settings, CoreSettings) else settings.compile()
        self.core = <core_t*>calloc(1, sizeof(core_t))
        self.effects = <effects_t*>calloc(1, sizeof(effects_t))
        self.event = <event_t*>calloc(1, sizeof(event_t))
        if self.core == NULL or self.effects == NULL or self.event == NULL:
            raise MemoryError("no memory for the core")
        core_init(self.core, &self.settings.c)

    def __dealloc__(self):
        free(self.core)
        free(self.effects)
        free(self.event)

    def step(self, event) -> list:
        """Take one event; the effects in the order in which they must be carried out."""
        cdef int i
        fill_event(event, self.event)
        with nogil:
            core_step(self.core, self.event, self.effects)
        return [effect_from_c(&self.effects.item[i], self.effects) for i in range(self.effects.count)]

    @property
    def deadline_ns(self) -> int | None:
        """When the core wants a Wake; None when it waits for nothing."""
        return None if self.core.st.deadline_ns == NEVER_NS else self.core.st.deadline_ns

    def snapshot(self) -> bytes:
        """The whole state as bytes."""
        cdef int size = core_snapshot_size(self.core)
        cdef bytearray out = bytearray(size)
        core_snapshot(self.core, <uint8_t*>out)
        return bytes(out)

    def restore(self, bytes data not None) -> None:
        """Go back to a snapshot taken with equal settings. Raises SnapshotError when its size is another."""
        if core_restore(self.core, <const uint8_t*><const char*>data, len(data)) < 0:
            raise SnapshotError(f"snapshot of {len(data)} bytes is none of a core with these settings, which has"
                                f" {core_snapshot_size(self.core)}: it is of other settings or another version")

    def view(self) -> dict:
        """The state as plain data, for people and for status."""
        return view_of(self.core)


def view_state(CoreSettings settings not None, bytes snapshot not None) -> dict:
    """What `Failover.view` gives, from a snapshot."""
    core = Failover(settings)
    core.restore(snapshot)
    return core.view()
