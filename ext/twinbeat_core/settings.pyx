"""Settings in the form the core reads: one C struct, computed once from validated parameters."""
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from twinbeat_core.codec cimport WIRE_VERSION_NOW, WIRE_VERSION_OLDEST
from twinbeat_core.model cimport MAX_GROUPS, MAX_LINKS, MAX_NODES, settings_t
from twinbeat_core.timing cimport derive, grant_from_lease, lease_from_grant

from .errors import SettingsError, SnapshotError
from .parameters import GroupSettings, LinkSettings, Settings, Term, problems_of

__all__ = ["CoreSettings", "GroupSettings", "LinkSettings", "Settings", "Term"]


cdef int64_t LONGEST_NS = 65_000_000_000


cdef inline int64_t ns(double ms):
    return <int64_t>(ms * 1e6 + 0.5)


cdef class CoreSettings:
    """Validated settings as a C struct. Made by `Settings.compile()`; equal on every machine.

    Raises SettingsError with one sentence for each relation that does not hold.
    """

    def __init__(self, parameters):
        problems = problems_of(parameters)
        if problems:
            raise SettingsError(problems)
        memset(&self.c, 0, sizeof(settings_t))
        self._fill_scalars(parameters)
        for i, link in enumerate(parameters.links):
            self._fill_link(i, link)
        for i, group in enumerate(parameters.groups):
            self._fill_group(i, group)
        derive(&self.c)
        self._fill_grant_max(parameters)
        self._fill_third(parameters)

    def _fill_scalars(self, p):
        self.c.node_count, self.c.self_node = p.node_count, p.self_node
        for node in p.voters:
            self.c.voter_mask |= 1 << node
        self.c.third_voter = p.third_voter
        self.c.third_period_ns, self.c.third_reask_ns = ns(p.third_period_ms), ns(p.third_reask_ms)
        self.c.third_rtt_ns = ns(p.third_rtt_ms) if p.third_voter else 0
        self.c.link_count, self.c.group_count = len(p.links), len(p.groups)
        self.c.mistake_exp, self.c.pair_id, self.c.config_digest = p.mistake_exp, p.pair_id, p.config_digest
        self.c.epoch_block, self.c.drift_ppm = p.epoch_block, p.drift_ppm
        self.c.check_ns, self.c.late_ns = ns(p.check_ms), ns(p.late_ms)
        self.c.load_gap, self.c.load_hold_ns = p.load_gap_percent, ns(p.load_hold_ms)
        self.c.move_gap_ns = ns(p.move_gap_ms)
        self.c.wire_version = p.wire_version_max or WIRE_VERSION_NOW
        self.c.lonely_start_ns, self.c.stagger_ns = ns(p.lonely_start_ms), ns(p.stagger_ms)

    def _fill_link(self, int i, link):
        self.c.link[i].kind, self.c.link[i].missed = int(link.kind), link.missed
        for node in range(self.c.node_count) if link.nodes is None else link.nodes:
            self.c.link[i].nodes_mask |= 1 << node
        self.c.link[i].period_ns = ns(link.period_ms)
        self.c.link[i].fast_period_ns = ns(link.fast_period_ms or link.period_ms)
        self.c.link[i].rtt_ns, self.c.link[i].reask_ns = ns(link.rtt_ms), ns(link.reask_ms)

    def _fill_group(self, int i, group):
        self.c.group[i].lone, self.c.group[i].exclusive = int(group.lone), group.exclusive
        self.c.group[i].gated, self.c.group[i].balance = group.gated, group.balance
        for node in range(self.c.node_count) if group.drivers is None else group.drivers:
            self.c.group[i].drivers_mask |= 1 << node
        for node in range(MAX_NODES):
            self.c.group[i].rank[node] = group.rank[node] if node < len(group.rank) else node
        self.c.group[i].release_ns, self.c.group[i].make_ns = ns(group.release_ms), ns(group.make_ms)
        self.c.group[i].failback_ns = -1 if group.failback_ms is None else ns(group.failback_ms)
        self.c.group[i].hold_down_ns = ns(group.hold_down_ms)
        self.c.group[i].hold_down_max_ns = ns(max(group.hold_down_ms, group.hold_down_max_ms))
        self.c.group[i].prepare_ns = ns(group.prepare_ms)

    def _fill_grant_max(self, p):
        cdef int64_t longest = 0
        cdef int64_t shortest = 1 << 62
        for i in range(self.c.link_count):
            longest = max(longest, self.c.link[i].grant_ns)
            shortest = min(shortest, self.c.link[i].grant_ns)
        # Room to lengthen the fast link's promise when frames are lost or late, also where no slower link exists.
        self.c.grant_max_ns = ns(p.grant_max_ms) if p.grant_max_ms else max(longest, min(5 * shortest, LONGEST_NS))
        problems = []
        if self.c.grant_max_ns < longest:
            problems.append(f"grant_max_ms = {self.c.grant_max_ns / 1e6:g} is shorter than the {longest / 1e6:g} ms"
                            f" that a link needs: set it to {longest / 1e6:g} or more, or leave it out")
        if self.c.grant_max_ns > LONGEST_NS:
            problems.append(f"a promise of {self.c.grant_max_ns / 1e6:g} ms does not fit the frame (65000 ms):"
                            " shorten period_ms")
        for i in range(self.c.link_count):
            if self.c.link[i].lease_ns <= self.c.link[i].beat_ns:
                problems.append(f"link {i}: the lease of {self.c.link[i].lease_ns / 1e6:g} ms is not longer than one"
                                f" beat of {self.c.link[i].beat_ns / 1e6:g} ms: raise missed or lower period_ms")
        if problems:
            raise SettingsError(problems)

    def _fill_third(self, p):
        cdef int64_t beat = max(self.c.third_period_ns, self.c.link[self.c.fast_link].period_ns)
        cdef int64_t lease = p.third_missed * beat + self.c.third_rtt_ns + self.c.late_ns
        if not p.third_voter:
            self.c.longest_ns = self.c.grant_max_ns
            return
        need = grant_from_lease(&self.c, lease)
        self.c.third_grant_ns = ns(p.third_grant_ms) if p.third_grant_ms else need
        problems = []
        if lease_from_grant(&self.c, self.c.third_grant_ns) < beat + self.c.third_rtt_ns + self.c.late_ns:
            problems.append(f"third voter: a promise of {self.c.third_grant_ns / 1e6:g} ms is over before it is"
                            f" renewed: {beat / 1e6:g} ms between asks, a round trip of"
                            f" {self.c.third_rtt_ns / 1e6:g} ms and what outputs and clocks take need {need / 1e6:g} ms"
                            f" with missed = {p.third_missed}: raise grant_ms or lower renew_ms")
        if self.c.third_grant_ns > LONGEST_NS:
            problems.append(f"third voter: a promise of {self.c.third_grant_ns / 1e6:g} ms does not fit the frame"
                            " (65000 ms): lower renew_ms, missed or grant_ms")
        if problems:
            raise SettingsError(problems)
        self.c.longest_ns = max(self.c.grant_max_ns, self.c.third_grant_ns)

    cpdef check_link(self, int link):
        """Raises IndexError for a link that these settings do not have."""
        if not 0 <= link < self.c.link_count:
            raise IndexError(f"link {link}: these settings have links 0 to {self.c.link_count - 1}")

    def lease_ms(self, int link) -> float:
        """T_L of the link in ms."""
        self.check_link(link)
        return self.c.link[link].lease_ns / 1e6

    def grant_ms(self, int link) -> float:
        """T_G of the link in ms."""
        self.check_link(link)
        return self.c.link[link].grant_ns / 1e6

    @property
    def grant_max_ms(self) -> float:
        """The longest promise ever offered, and how long a restarted voter abstains, in ms."""
        return self.c.grant_max_ns / 1e6

    @property
    def third_grant_ms(self) -> float:
        """How long the third voter's promise is asked to last, in ms; 0.0 without one."""
        return self.c.third_grant_ns / 1e6

    @property
    def third_lease_ms(self) -> float:
        """T_L of a promise of the third voter, in ms; 0.0 without one."""
        return lease_from_grant(&self.c, self.c.third_grant_ns) / 1e6 if self.c.third_voter else 0.0

    def to_bytes(self) -> bytes:
        """The struct as bytes, for the flight recorder."""
        return (<char*>&self.c)[:sizeof(settings_t)]

    @staticmethod
    def from_bytes(bytes data not None) -> CoreSettings:
        """Settings from a recording. Raises SnapshotError when the bytes are of another layout."""
        if len(data) != sizeof(settings_t):
            raise SnapshotError(f"settings of {len(data)} bytes; this version writes {sizeof(settings_t)}")
        cdef CoreSettings made = CoreSettings.__new__(CoreSettings)
        memcpy(&made.c, <const char*>data, sizeof(settings_t))
        made._check_counts()
        return made

    def _check_counts(self):
        if not (1 <= self.c.node_count <= MAX_NODES and self.c.self_node < self.c.node_count
                and 1 <= self.c.link_count <= MAX_LINKS and 1 <= self.c.group_count <= MAX_GROUPS
                and self.c.fast_link < self.c.link_count and self.c.mistake_exp <= 11 and self.c.third_voter <= 1
                and 0 <= self.c.drift_ppm <= 50_000 and 0 < self.c.grant_max_ns <= LONGEST_NS
                and WIRE_VERSION_OLDEST <= self.c.wire_version <= WIRE_VERSION_NOW
                and 0 <= self.c.third_grant_ns <= LONGEST_NS and 0 < self.c.longest_ns <= LONGEST_NS
                and 0 <= self.c.third_period_ns <= LONGEST_NS and 0 <= self.c.third_reask_ns <= LONGEST_NS):
            raise SnapshotError("settings with counts out of range: these bytes were not written by this program")
        for i in range(self.c.link_count):
            if self.c.link[i].period_ns < 1_000_000 or self.c.link[i].fast_period_ns < 1_000_000:
                raise SnapshotError(f"settings with a period under 1 ms on link {i}: not written by this program")
