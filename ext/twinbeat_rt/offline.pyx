"""What tools need beside recordings as they are read, and an agent never: a core whose steps are recorded by hand."""
import struct

from twinbeat_core.failover cimport Failover
from twinbeat_core.machine cimport core_deadline_ns
from twinbeat_core.model cimport MAX_NODES, event_t, settings_t
from twinbeat_core.settings cimport CoreSettings
from twinbeat_rt.recorder cimport RECORD_EVENT, RECORD_SNAPSHOT, digest_effects, pack_event

from twinbeat_core.parameters import GroupSettings, LinkSettings, Settings

from .recording import write_recording


cdef class CoreRecorder:
    """A core that is driven by hand or by a simulator, and everything it takes recorded as the runtime does.

    `step(event)` as in Failover; `save(path)` writes what has been taken since it was made.
    """

    cdef readonly Failover core
    cdef list pieces

    def __init__(self, Failover core not None):
        self.core = core
        self.pieces = []
        self.note_state()

    def note_state(self) -> None:
        """Record the state as it is: a checkpoint."""
        self._put(RECORD_SNAPSHOT, self.core.snapshot())

    def step(self, event) -> list:
        """Let the core take one event; its effects."""
        cdef bytearray packed = bytearray(sizeof(event_t))
        cdef int size
        effects = self.core.step(event)
        size = pack_event(self.core.event, packed)
        digest = digest_effects(self.core.effects, core_deadline_ns(self.core.core))
        self._put(RECORD_EVENT, struct.pack("<Q", digest) + bytes(packed[:size]))
        return effects

    def save(self, str path) -> int:
        """Write a recording with the state of now as its last checkpoint; bytes written. OSError as usual."""
        self.note_state()
        return write_recording(path, self.core.settings, b"".join(self.pieces))

    def _put(self, kind, bytes payload):
        self.pieces.append(struct.pack("<II", len(payload), kind) + payload + bytes(-len(payload) % 8))


def parameters_of(CoreSettings settings not None) -> Settings:
    """The parameters that settings were compiled from, as far as the core needs them (`lost_asks` only checks)."""
    cdef const settings_t* s = &settings.c
    cdef int i
    links = tuple(LinkSettings(
        kind=s.link[i].kind, period_ms=s.link[i].period_ns / 1e6, missed=s.link[i].missed,
        fast_period_ms=s.link[i].fast_period_ns / 1e6, rtt_ms=s.link[i].rtt_ns / 1e6,
        reask_ms=s.link[i].reask_ns / 1e6,
        nodes=tuple(n for n in range(s.node_count) if (s.link[i].nodes_mask >> n) & 1)) for i in range(s.link_count))
    groups = tuple(GroupSettings(
        lone=s.group[g].lone, rank=tuple(s.group[g].rank[i] for i in range(s.node_count)),
        release_ms=s.group[g].release_ns / 1e6, make_ms=s.group[g].make_ns / 1e6,
        exclusive=bool(s.group[g].exclusive), gated=bool(s.group[g].gated), balance=bool(s.group[g].balance),
        drivers=tuple(i for i in range(s.node_count) if (s.group[g].drivers_mask >> i) & 1),
        failback_ms=s.group[g].failback_ns / 1e6 if s.group[g].failback_ns >= 0 else None,
        hold_down_ms=s.group[g].hold_down_ns / 1e6, hold_down_max_ms=s.group[g].hold_down_max_ns / 1e6,
        prepare_ms=s.group[g].prepare_ns / 1e6) for g in range(s.group_count))
    return Settings(
        node_count=s.node_count, self_node=s.self_node, links=links, groups=groups, pair_id=s.pair_id,
        config_digest=s.config_digest, voters=tuple(i for i in range(MAX_NODES) if (s.voter_mask >> i) & 1),
        third_voter=bool(s.third_voter), drift_ppm=s.drift_ppm, check_ms=s.check_ns / 1e6, late_ms=s.late_ns / 1e6,
        lost_asks=0, mistake_exp=s.mistake_exp, lonely_start_ms=s.lonely_start_ns / 1e6,
        stagger_ms=s.stagger_ns / 1e6, epoch_block=s.epoch_block, grant_max_ms=s.grant_max_ns / 1e6,
        load_gap_percent=s.load_gap, load_hold_ms=s.load_hold_ns / 1e6, move_gap_ms=s.move_gap_ns / 1e6,
        wire_version_max=s.wire_version)
