"""The client of the arbiter: asks leave with the heartbeats, votes come back as events, all without the interpreter.

The decider collects the rows of a step; the tty thread adds what it last heard from the arbiter (its life and clock, so
that a deaf gateway earns nothing) and writes. An ask that was answered "unproven" is repeated once with its own stamp,
which can only make the authority that it earns shorter.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from twinbeat_core.codec cimport MAX_WIRE, serial_wrap
from twinbeat_core.little cimport get
from twinbeat_core.model cimport FX_ASK, effect_t
from twinbeat_core.votewire cimport (
    ROW_ABSTAINS, ROW_CODES, ROW_NO_GROUP, ROW_OTHER_PAIR, ROW_PROMISED, ROW_REFUSED, ROW_UNPROVEN, ROW_WRONG_SIDE,
    VOTE_ASK, VOTE_ASK_BYTES, VOTE_ASK_HEAD, VOTE_QUERY, VOTE_RETURN, VOTE_TOLD, VOTE_TOLD_BYTES, vote_head_t,
    vote_put_echo, vote_put_head, vote_put_row, vote_read, vote_read_row, vote_row_t,
)
from twinbeat_rt.figures cimport histogram
from twinbeat_rt.shared cimport VOTER_PORT, late_add
from twinbeat_rt.sysapi cimport rt_load, rt_now
from twinbeat_rt.worker cimport VOTE_SLOTS, arbiter_t, ring_full, ring_put, rt_t, vote_slot_t

cdef int64_t QUERY_NS = 1000000000       # how often the arbiter is asked what it knows besides votes


# ---------------------------------------------------------------- decider
cdef void arbiter_collect(rt_t* rt, const effect_t* fx) noexcept nogil:
    """FX_ASK or FX_RETURN: one more row of this step's frame."""
    cdef arbiter_t* a = &rt.arbiter
    cdef uint32_t incarnation = <uint32_t>rt_load(&rt.page.incarnation)
    cdef int size
    if fx.kind == FX_ASK:
        if a.ask_bytes == 0:
            vote_put_head(a.ask, VOTE_ASK, rt.settings.self_node, rt.settings.pair_id, incarnation, fx.stamp,
                          a.grant_ms)
        size = vote_put_row(a.ask, fx.group, fx.epoch)
        a.ask_bytes = size if size > 0 else a.ask_bytes
    else:
        if a.return_bytes == 0:
            vote_put_head(a.back, VOTE_RETURN, rt.settings.self_node, rt.settings.pair_id, incarnation, 0, 0)
        size = vote_put_row(a.back, fx.group, fx.epoch)
        a.return_bytes = size if size > 0 else a.return_bytes


# ---------------------------------------------------------------- tty thread: out
cdef int wrapped(rt_t* rt, uint8_t* body, int size, uint8_t* out) noexcept nogil:
    vote_put_echo(body, rt.arbiter.life, rt.arbiter.clock)
    return serial_wrap(body, size, out, MAX_WIRE)


cdef int arbiter_ask(rt_t* rt, uint8_t* body, int size, uint8_t* out) noexcept nogil:
    """A body of the decider as it goes onto the wire; bytes of it."""
    cdef arbiter_t* a = &rt.arbiter
    if body[1] == VOTE_RETURN:
        a.last_bytes = 0                 # a claim that is over is not asked for again
    elif body[1] == VOTE_ASK:
        a.asks += 1
        a.last_bytes = size
        memcpy(a.last, body, size)
    return wrapped(rt, body, size, out)


cdef int arbiter_repeat(rt_t* rt, uint8_t* out) noexcept nogil:
    """The last ask again, where it was answered as unproven; 0: nothing to repeat."""
    cdef arbiter_t* a = &rt.arbiter
    if a.last_bytes == 0 or a.again_stamp == a.repeated_stamp or a.again_stamp != get(&a.last[10], 6):
        return 0
    a.repeated_stamp = a.again_stamp
    a.repeats += 1
    return wrapped(rt, a.last, a.last_bytes, out)


cdef int arbiter_query(rt_t* rt, int64_t now, uint8_t* out) noexcept nogil:
    """QUERY now and then: its answer is for people, and for status."""
    cdef uint8_t body[VOTE_ASK_BYTES]
    if now < rt.arbiter.query_at_ns or rt_load(&rt.page.incarnation) == 0:
        return 0
    rt.arbiter.query_at_ns = now + QUERY_NS
    rt.arbiter.queries += 1
    vote_put_head(body, VOTE_QUERY, rt.settings.self_node, rt.settings.pair_id,
                  <uint32_t>rt_load(&rt.page.incarnation), <uint64_t>(now // 1000), rt.arbiter.grant_ms)
    return wrapped(rt, body, VOTE_ASK_HEAD, out)


# ---------------------------------------------------------------- tty thread: in
cdef int ours(rt_t* rt, const vote_head_t* head) noexcept nogil:
    """Whether an answer is to this life of this gateway and comes from the arbiter of the configuration."""
    cdef arbiter_t* a = &rt.arbiter
    if head.node != rt.settings.self_node or head.incarnation != <uint32_t>rt_load(&rt.page.incarnation):
        a.other_node += 1                # on a shared line the other gateway's answers are heard too
        return 0
    a.voter_heard = head.voter
    if head.voter != a.voter:
        a.other_voter += 1
        return 0
    return 1


cdef int pass_row(rt_t* rt, const vote_head_t* head, const vote_row_t* row, int64_t at_ns) noexcept nogil:
    """One row to the decider. 1: done."""
    cdef arbiter_t* a = &rt.arbiter
    cdef vote_slot_t* slot
    if row.code < ROW_PROMISED or row.code >= ROW_CODES:
        a.bad_form += 1
        return 0
    if row.group < rt.settings.group_count:
        a.contacts[row.group], a.code[row.group], a.row_at_ns[row.group] = row.contacts, row.code, at_ns
    a.rows[row.code] += 1
    if row.code == ROW_UNPROVEN:
        a.again_stamp = head.stamp
        return 0
    if ring_full(&rt.vote, VOTE_SLOTS):
        return 0
    slot = &rt.vote_slot[rt.vote.head % VOTE_SLOTS]
    slot.at_ns, slot.stamp, slot.row = at_ns, head.stamp, row[0]
    ring_put(&rt.vote)
    return 1


cdef int arbiter_hear(rt_t* rt, const uint8_t* body, int size, int64_t at_ns) noexcept nogil:
    """One frame from the arbiter's port. > 0: the decider has something to hear."""
    cdef arbiter_t* a = &rt.arbiter
    cdef vote_head_t head
    cdef vote_row_t row
    cdef int rows = vote_read(body, size, &head)
    cdef int passed = 0
    cdef int i
    if rows < 0:
        a.bad_form += 1
        return 0
    if not ours(rt, &head):
        return 0
    if head.life != a.life:
        a.lives += 1
    a.life, a.clock, a.heard_at_ns, a.heard_ms = head.life, head.clock, at_ns, head.heard_ms
    a.answers += 1
    if head.kind == VOTE_TOLD:
        memcpy(a.told, body, VOTE_TOLD_BYTES)
        a.told_count += 1
        return 0
    if <int64_t>(head.stamp * 1000) <= at_ns:
        late_add(&a.round_trip, at_ns - <int64_t>(head.stamp * 1000))
    for i in range(rows):
        vote_read_row(body, i, &row)
        passed += pass_row(rt, &head, &row, at_ns)
    return passed


# ---------------------------------------------------------------- for people
cdef dict arbiter_figures(rt_t* rt):
    """What the client has seen; contacts as docs/third-voter.md has them."""
    cdef arbiter_t* a = &rt.arbiter
    cdef int64_t now = rt_now()
    groups = []
    for i in range(rt.settings.group_count):
        heard = a.row_at_ns[i] != 0
        groups.append({"group": i, "code": a.code[i], "contacts": a.contacts[i] if heard else None,
                       "ago_ms": (now - a.row_at_ns[i]) / 1e6 if heard else None})
    return {
        "attached": rt.tty.port[VOTER_PORT].fd >= 0, "voter": a.voter, "voter_heard": a.voter_heard, "life": a.life,
        "heard_ago_ms": (now - a.heard_at_ns) / 1e6 if a.heard_at_ns else None, "other_heard_ms": a.heard_ms,
        "asks": a.asks, "repeats": a.repeats, "queries": a.queries, "answers": a.answers, "lives": a.lives,
        "promises": a.rows[ROW_PROMISED], "refusals": a.rows[ROW_REFUSED], "unproven": a.rows[ROW_UNPROVEN],
        "abstains": a.rows[ROW_ABSTAINS], "other_pair": a.rows[ROW_OTHER_PAIR], "wrong_side": a.rows[ROW_WRONG_SIDE],
        "no_group": a.rows[ROW_NO_GROUP], "bad_form": a.bad_form, "other_voter": a.other_voter,
        "other_node": a.other_node, "votes_lost": rt.vote.lost,
        "noise": rt.count[VOTER_PORT].noise, "faults": rt.count[VOTER_PORT].faults,
        "tx_dropped": rt.count[VOTER_PORT].tx_dropped, "round_trip": histogram(&a.round_trip), "groups": groups,
        "told": (<char*>a.told)[:VOTE_TOLD_BYTES] if a.told_count else b"",
    }
