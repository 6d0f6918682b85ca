"""How long a promise lasts: the inequality between holder and voter, and what loss and delay demand.

The holder may act on a promise for T_L from the moment it sent the frame that earned it; the voter keeps it
for T_G from the moment it processed that frame. With clocks wrong by r, a gate late by T_chk, an output
that releases in T_off and makes in T_on (Gray, Cheriton: Leases, SOSP 1989, with the output's terms added):

    T_G >= (1 + r) * ((T_L + T_chk) / (1 - r) + T_off - T_on)

Integers only, so that every machine computes the same figure.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from twinbeat_core.model cimport settings_t
from twinbeat_core.settings cimport CoreSettings

from .parameters import Settings, Term

cdef enum:
    NO_LINK = 255

cdef int64_t MILLION = 1000000
cdef int64_t LONGEST_NS = 65000000000      # what the frame's 16 bit of milliseconds hold, rounded down


cdef int64_t grant_from_lease(const settings_t* s, int64_t lease_ns) noexcept nogil:
    """The least T_G for T_L, rounded up to the whole millisecond that the wire carries."""
    cdef int64_t inner = ((lease_ns + s.check_ns) * MILLION + MILLION - s.drift_ppm - 1) // (MILLION - s.drift_ppm)
    cdef int64_t grant = ((inner + s.hold_over_ns) * (MILLION + s.drift_ppm) + MILLION - 1) // MILLION
    return (grant + MILLION - 1) // MILLION * MILLION


cdef int64_t lease_from_grant(const settings_t* s, int64_t grant_ns) noexcept nogil:
    """The longest T_L that the inequality allows for T_G; 0 when none is left."""
    cdef int64_t outer = grant_ns * MILLION // (MILLION + s.drift_ppm) - s.hold_over_ns
    cdef int64_t lease = outer * (MILLION - s.drift_ppm) // MILLION - s.check_ns
    return lease if lease > 0 else 0


cdef bint both_may_drive(const settings_t* s) noexcept nogil:
    """A pair without a third vote whose nodes may each drive a group while the other drives another."""
    cdef int exclusive = 0
    cdef int g
    for g in range(s.group_count):
        exclusive += s.group[g].exclusive
    return exclusive > 1 and s.pair_of_two


cdef int64_t sharing_lease(const settings_t* s, int link) noexcept nogil:
    """T_L with which the survivor of two that both drive knows itself alone before its authority ends (M6).

    It is alone two and a half beats after the peer's last frame, and one that drives beats by itself: its last frame
    may answer a stamp that is a whole beat older. (One that stands by only answers.)
    """
    return s.link[link].beat_ns * 7 // 2 + s.link[link].rtt_ns + s.late_ns


cdef int64_t base_lease(const settings_t* s, int link) noexcept nogil:
    """T_L of a link without loss: missed beats, and the other link's round trip once this one fell silent."""
    cdef int64_t period = s.link[link].beat_ns
    cdef int64_t lease = s.link[link].missed * period + s.link[link].rtt_ns + s.late_ns
    cdef int64_t other = -1
    cdef int i
    for i in range(s.link_count):
        if i != link and (other < 0 or s.link[i].rtt_ns < other):
            other = s.link[i].rtt_ns
    if other >= 0 and period + period // 2 + other + s.late_ns > lease:
        lease = period + period // 2 + other + s.late_ns
    if both_may_drive(s) and sharing_lease(s, link) > lease:
        lease = sharing_lease(s, link)
    return lease


cdef int64_t lease_for_loss(const settings_t* s, int link, uint32_t loss_1024) noexcept nogil:
    """T_L at which 10^-mistake_exp of the heartbeats end without any answered ask, at that frame loss each way.

    A round trip fails with q = 1 - (1 - p)^2; n asks one re-ask interval apart fail together with q^n
    (Chen, Toueg, Aguilera: On the quality of service of failure detectors, IEEE ToC 51(5), 2002, for the aim).
    """
    cdef uint64_t keep = 1024 - loss_1024 if loss_1024 < 1000 else 24
    cdef uint64_t fail = (<uint64_t>1 << 20) - keep * keep       # q in 2^-20
    cdef uint64_t left = <uint64_t>1 << 60                       # probability in 2^-60, rounded up
    cdef uint64_t aim = <uint64_t>1 << 60
    cdef int64_t lease
    cdef int asks = 0
    cdef int i
    for i in range(s.mistake_exp):
        aim = aim // 10
    if fail == 0:
        return 0
    while left > aim and asks < 400:
        left = ((left + (1 << 20) - 1) >> 20) * fail
        asks += 1
    lease = s.link[link].beat_ns + asks * s.link[link].reask_ns + s.link[link].rtt_ns + s.late_ns
    return lease if lease < LONGEST_NS else LONGEST_NS


cdef void derive_outputs(settings_t* s) noexcept nogil:
    """T_off - T_on of the slowest exclusive group; never below zero, so that a slow make is no credit."""
    cdef int64_t value
    cdef int g
    s.hold_over_ns = 0
    for g in range(s.group_count):
        value = s.group[g].release_ns - s.group[g].make_ns
        if s.group[g].exclusive and value > s.hold_over_ns:
            s.hold_over_ns = value


cdef void derive_voters(settings_t* s) noexcept nogil:
    cdef int voters = s.third_voter
    cdef int i
    for i in range(s.node_count):
        voters += (s.voter_mask >> i) & 1
    s.quorum = <uint8_t>(voters // 2 + 1)
    s.pair_of_two = voters == 2


cdef void derive_plans(settings_t* s) noexcept nogil:
    """What no group asks for costs no step anything."""
    cdef int g
    s.prepares = 0
    s.plans = s.load_gap > 0
    for g in range(s.group_count):
        s.prepares = s.prepares or s.group[g].prepare_ns > 0
        s.plans = s.plans or s.group[g].hold_down_ns > 0 or s.group[g].failback_ns >= 0
    s.plans = s.plans or s.prepares


cdef void derive(settings_t* s) noexcept nogil:
    """Everything that follows from the parameters: the fast link, beats, lengths, majority."""
    cdef int i
    cdef bint fastest
    cdef uint8_t everybody = <uint8_t>((1 << s.node_count) - 1)
    s.fast_link = NO_LINK
    s.own_links = 0
    for i in range(s.link_count):
        s.own_links |= <uint8_t>((s.link[i].nodes_mask >> s.self_node & 1) << i)
        if s.link[i].nodes_mask != everybody:
            continue                     # silence on it tells nothing of those it does not join
        if s.fast_link == NO_LINK or s.link[i].period_ns < s.link[s.fast_link].period_ns:
            s.fast_link = <uint8_t>i
    if s.fast_link == NO_LINK:
        s.fast_link = 0
    derive_outputs(s)
    derive_plans(s)
    derive_voters(s)
    for i in range(s.link_count):
        # When a slower link is the one that counts, suspicion has sped it up.
        fastest = s.link[i].period_ns <= s.link[s.fast_link].period_ns
        s.link[i].beat_ns = s.link[i].period_ns if fastest else s.link[i].fast_period_ns
    s.shortest_lease_ns = 0
    for i in range(s.link_count):
        s.link[i].grant_ns = grant_from_lease(s, base_lease(s, i))
        s.link[i].lease_ns = lease_from_grant(s, s.link[i].grant_ns)
        if s.shortest_lease_ns == 0 or s.link[i].lease_ns < s.shortest_lease_ns:
            s.shortest_lease_ns = s.link[i].lease_ns


def _ms(int64_t ns) -> float:
    return ns / 1e6


def grant_from_lease_ms(CoreSettings settings not None, double lease_ms) -> float:
    """T_G in ms, in whole milliseconds, for a T_L in ms."""
    return _ms(grant_from_lease(&settings.c, <int64_t>(lease_ms * 1e6)))


def lease_from_grant_ms(CoreSettings settings not None, double grant_ms) -> float:
    """T_L in ms that a T_G in ms allows; 0.0 when nothing is left."""
    return _ms(lease_from_grant(&settings.c, <int64_t>(grant_ms * 1e6)))


def lease_for_loss_ms(CoreSettings settings not None, int link, double loss) -> float:
    """T_L in ms that the configured mistake rate needs at a frame loss of `loss` (0..1) each way on `link`."""
    settings.check_link(link)
    return _ms(lease_for_loss(&settings.c, link, <uint32_t>(loss * 1024)))


def tolerated_loss(CoreSettings settings not None, int link) -> float:
    """The frame loss each way (0..1) that the link's promise without lengthening covers at the mistake rate."""
    cdef uint32_t loss = 0
    settings.check_link(link)
    while loss < 1000 and lease_for_loss(&settings.c, link, loss + 1) <= settings.c.link[link].lease_ns:
        loss += 1
    return loss / 1024.0


def timing_terms(settings: Settings) -> list[Term]:
    """The whole sum behind each link's promise, term by term, in ms, in the order in which it is added up."""
    cdef CoreSettings core = settings.compile()
    cdef settings_t* s = &core.c
    cdef int i
    cdef int64_t inner
    terms = []
    for i in range(s.link_count):
        base = base_lease(s, i)
        beats = s.link[i].missed * s.link[i].beat_ns
        terms.append(Term(i, "beats", _ms(beats), f"{s.link[i].missed} periods of {_ms(s.link[i].beat_ns):g} ms"))
        terms.append(Term(i, "round_trip", _ms(s.link[i].rtt_ns), "one ask and its answer"))
        terms.append(Term(i, "decider_late", _ms(s.late_ns), "lateness of the decider"))
        extra = base - beats - s.link[i].rtt_ns - s.late_ns
        if extra > 0 and both_may_drive(s) and base == sharing_lease(s, i):
            terms.append(Term(i, "sharing", _ms(extra), "so that a node that drives too finds itself alone in time"))
        elif extra > 0:
            terms.append(Term(i, "other_link", _ms(extra), "so that the next link can answer once this one is silent"))
        terms.append(Term(i, "whole_ms", _ms(s.link[i].lease_ns - base), "what rounding T_G up to whole ms adds"))
        terms.append(Term(i, "lease", _ms(s.link[i].lease_ns), "T_L: the holder acts this long on an answered frame"))
        terms.append(Term(i, "gate_late", _ms(s.check_ns), "T_chk: lateness of the gate at a deadline"))
        terms.append(Term(i, "release", _ms(s.hold_over_ns), "T_off - T_on: the slowest output"))
        inner = s.link[i].grant_ns - s.link[i].lease_ns - s.check_ns - s.hold_over_ns
        terms.append(Term(i, "drift", _ms(inner), f"clocks wrong by {s.drift_ppm} ppm"))
        terms.append(Term(i, "grant", _ms(s.link[i].grant_ns), "T_G: the voter keeps its promise this long"))
    return terms
