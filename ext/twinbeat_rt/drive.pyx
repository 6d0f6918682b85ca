"""The gate's hands: switches outputs by number, watches deadlines, finishes writes that a device took only in part.

A group is off, turning on, on, or turning off. Only `turn_on` starts towards on, and it asks `may_drive` first.
"""
from libc.stdint cimport int64_t, uint8_t, uint64_t

from twinbeat_core.model cimport OUTPUT_DRIVEN, OUTPUT_FAILED, OUTPUT_MISMATCH, OUTPUT_OFF
from twinbeat_rt.shared cimport (
    ANSWER_SLOTS, LEVEL_OFF, LEVEL_ON, LEVEL_TURNING_OFF, LEVEL_TURNING_ON, OUT_BYTES, OUT_GPIO, WHY_EXPIRED,
    WHY_FAULT, WHY_ORDER, answer_t, gate_t, group_t, late_add, order_t, output_t,
)
from twinbeat_rt.sysapi cimport (
    EAGAIN, RT_NEVER, rt_gpio_get, rt_gpio_set, rt_load, rt_load_i, rt_now, rt_sleep_ns, rt_store, rt_write,
)

cdef enum:
    RETRY_NS = 500000            # a device that takes no more bytes is asked again this often
    GIVE_UP_NS = 100000000       # and no longer than this
    REPAIR_NS = 100000000        # an off-level that failed is written again this often, for as long as the gate lives
    MISMATCH = 10000             # error value of a read-back that disagrees; above every errno


cdef void answer(gate_t* g, int index, int code, int why) noexcept nogil:
    cdef group_t* group = &g.group[index]
    cdef uint64_t head = g.page.answer_head
    cdef answer_t* slot
    rt_store(&g.page.level[index], group.level)
    if head - rt_load(&g.page.answer_tail) >= ANSWER_SLOTS:
        g.page.answers_lost += 1
        return
    slot = &g.page.answer[head % ANSWER_SLOTS]
    slot.request = group.seen
    slot.epoch = group.epoch
    slot.at_ns = rt_now()
    slot.group = index
    slot.code = code
    slot.why = why
    slot.error = group.error
    slot.output = group.error_output
    slot.stuck = group.failed and group.error != MISMATCH
    rt_store(&g.page.answer_head, head + 1)
    g.answers_due = 1


cdef int write_some(gate_t* g, output_t* o) noexcept nogil:
    """Go on with one output. 0 done, 1 more to do, <0 failed for good (-errno)."""
    cdef int n = 0
    cdef int size = o.on_bytes if o.target == 1 else o.off_bytes
    cdef const uint8_t* pattern = &o.on[0] if o.target == 1 else &o.off[0]
    cdef uint64_t bits = 0
    g.page.writes += 1
    if o.kind == OUT_GPIO:
        n = rt_gpio_set(o.fd, o.gpio_mask, o.gpio_on if o.target == 1 else o.gpio_off)
        if n == 0 and o.readback:
            n = rt_gpio_get(o.fd, o.gpio_mask, &bits)
            if n == 0 and bits != ((o.gpio_on if o.target == 1 else o.gpio_off) & o.gpio_mask):
                n = -MISMATCH
    elif o.kind == OUT_BYTES and o.at < size:
        n = rt_write(o.fd, pattern + o.at, size - o.at)
        if n > 0:
            o.at += n
            n = 0
        elif n == 0:
            n = -EAGAIN
        if (n == 0 and o.at < size) or n == -EAGAIN:
            if rt_now() - o.since_ns < GIVE_UP_NS:
                g.page.write_retries += 1
                return 1
            n = -EAGAIN
    o.target = -1
    o.error = -n
    if n < 0:
        g.page.write_errors += 1
    return n


cdef int begin(gate_t* g, output_t* o, int target) noexcept nogil:
    o.target = target
    o.at = 0
    o.since_ns = rt_now()
    return write_some(g, o)


cdef void note_fault(gate_t* g, group_t* group, int output, int code) noexcept nogil:
    if group.error == 0:
        group.error = -code
        group.error_output = output


cdef void end_repair(gate_t* g, group_t* group) noexcept nogil:
    """Note after a switch-off whether outputs of the group may still be on."""
    cdef int i
    cdef int was = group.failed
    group.failed = 0
    for i in range(g.output_count):
        if g.output[i].error and &g.group[g.output[i].group] == group:
            group.failed = 1
    if group.failed:
        g.repair_ns = rt_now() + REPAIR_NS
    elif was and g.dead:
        g.repaired = 1


cdef void drive_repair(gate_t* g) noexcept nogil:
    """Off once more where it failed: a device that was full or unplugged may be back."""
    cdef group_t* group
    cdef int i, k
    if rt_now() < g.repair_ns:
        return
    for i in range(g.group_count):
        group = &g.group[i]
        if not group.failed or group.level != LEVEL_OFF:
            continue
        group.level, group.why, group.repairing = LEVEL_TURNING_OFF, WHY_ORDER, 1
        group.error, group.error_output = 0, -1
        for k in range(g.output_count):
            if g.output[k].group == i and g.output[k].error:
                begin(g, &g.output[k], 0)
        finish_off(g, i)


cdef int drive_failed(gate_t* g) noexcept nogil:
    """Is there a group whose off-level failed?"""
    cdef int i
    for i in range(g.group_count):
        if g.group[i].failed:
            return 1
    return 0


cdef void finish_off(gate_t* g, int index) noexcept nogil:
    cdef group_t* group = &g.group[index]
    cdef int64_t now = rt_now()
    cdef int code = OUTPUT_OFF
    cdef int i
    for i in range(g.output_count):
        if g.output[i].group == index and g.output[i].target != -1:
            return
    group.level = LEVEL_OFF
    group.off_at_ns = now
    if group.why == WHY_EXPIRED and group.armed_ns != RT_NEVER:
        late_add(&g.page.drop_late, now - group.armed_ns)
    group.armed_ns = RT_NEVER
    for i in range(g.output_count):
        if g.output[i].group == index and g.output[i].error:
            note_fault(g, group, i, -g.output[i].error)
            code = OUTPUT_FAILED
    if group.error == MISMATCH:
        code = OUTPUT_MISMATCH
    elif group.why == WHY_FAULT:
        code = OUTPUT_FAILED
    end_repair(g, group)
    if group.repairing and group.failed:
        group.repairing = 0              # said already
        return
    group.repairing = 0
    answer(g, index, code, group.why)


cdef void turn_off(gate_t* g, int index, int why) noexcept nogil:
    """All outputs of the group at once; those that take no bytes now are finished by the timer."""
    cdef group_t* group = &g.group[index]
    cdef int i
    if group.level == LEVEL_TURNING_OFF:
        return
    group.level = LEVEL_TURNING_OFF
    group.why = why
    if why == WHY_EXPIRED:
        g.page.drops_expired += 1
    for i in range(g.output_count):
        if g.output[i].group == index:
            begin(g, &g.output[i], 0)
    finish_off(g, index)


cdef int may_drive(gate_t* g, int index) noexcept nogil:
    cdef order_t* order = &g.page.order[index]
    return not g.dead and not g.ending and rt_load_i(&order.deadline_ns) > rt_now()


cdef void go_on(gate_t* g, int index) noexcept nogil:
    """Switch on in order; after each write look again whether the authority still lies ahead."""
    cdef group_t* group = &g.group[index]
    cdef int i, rc
    for i in range(g.output_count):
        if g.output[i].group != index or g.output[i].passed:
            continue
        rc = write_some(g, &g.output[i]) if g.output[i].target == 1 else begin(g, &g.output[i], 1)
        if rc == 1:
            return
        if rc < 0:
            note_fault(g, group, i, rc)
            turn_off(g, index, WHY_FAULT)
            return
        g.output[i].passed = 1
        if not may_drive(g, index):
            turn_off(g, index, WHY_EXPIRED)
            return
    group.level = LEVEL_ON
    if not may_drive(g, index):
        turn_off(g, index, WHY_EXPIRED)
        return
    answer(g, index, OUTPUT_DRIVEN, WHY_ORDER)


cdef void turn_on(gate_t* g, int index) noexcept nogil:
    cdef group_t* group = &g.group[index]
    cdef int i
    group.error = 0
    group.error_output = -1
    group.armed_ns = rt_load_i(&g.page.order[index].deadline_ns)
    if not may_drive(g, index):
        g.page.refused_expired += 1
        group.armed_ns = RT_NEVER        # an order that came late says nothing about our own lateness
        turn_off(g, index, WHY_EXPIRED)
        return
    group.level = LEVEL_TURNING_ON
    for i in range(g.output_count):
        if g.output[i].group == index:
            g.output[i].passed = 0
            g.output[i].target = -1
    go_on(g, index)


cdef void take(gate_t* g, int index) noexcept nogil:
    """Take the newest order of one group, if there is one. Numbers make an order that was dropped stay dropped."""
    cdef order_t* order = &g.page.order[index]
    cdef group_t* group = &g.group[index]
    cdef uint64_t request = rt_load(&order.request)
    cdef uint64_t epoch, last_off
    if request >> 1 == group.seen:
        return
    while True:
        epoch = rt_load(&order.epoch)
        last_off = rt_load(&order.last_off)
        if rt_load(&order.request) == request:
            break
        request = rt_load(&order.request)
    if last_off > group.seen:
        if request & 1:
            group.seen = last_off
        else:
            group.seen = request >> 1
            group.epoch = epoch
        group.error = 0
        group.error_output = -1
        if group.level == LEVEL_TURNING_OFF:
            group.why = WHY_ORDER
            group.repairing = 0          # this order wants an answer
        else:
            turn_off(g, index, WHY_ORDER)
    if not request & 1 or group.level == LEVEL_TURNING_OFF:
        return                           # a new claim waits until the old level is off
    group.seen = request >> 1
    group.epoch = epoch
    if group.level == LEVEL_ON and may_drive(g, index):
        group.armed_ns = rt_load_i(&order.deadline_ns)
        answer(g, index, OUTPUT_DRIVEN, WHY_ORDER)
        return
    if group.level != LEVEL_TURNING_ON:
        turn_on(g, index)


cdef void drive_orders(gate_t* g) noexcept nogil:
    cdef int i
    if g.dead or g.ending:
        return
    for i in range(g.group_count):
        take(g, i)


cdef void drive_deadlines(gate_t* g) noexcept nogil:
    """Drop what has run out. A renewal that was stored in time is found here, without a wake-up of its own."""
    cdef int64_t now = rt_now()
    cdef int64_t deadline
    cdef group_t* group
    cdef int i
    for i in range(g.group_count):
        group = &g.group[i]
        if group.level != LEVEL_ON and group.level != LEVEL_TURNING_ON:
            continue
        deadline = rt_load_i(&g.page.order[i].deadline_ns)
        if group.armed_ns <= now:
            late_add(&g.page.look_late, now - group.armed_ns)
        if deadline > now:
            group.armed_ns = deadline
            continue
        group.armed_ns = deadline
        turn_off(g, i, WHY_EXPIRED)


cdef void drive_pending(gate_t* g) noexcept nogil:
    """Finish writes that met a full device."""
    cdef int i
    for i in range(g.output_count):
        # Only a byte pattern can be half done; a GPIO call is complete or failed.
        if g.output[i].target == 0 and g.output[i].kind == OUT_BYTES:
            if write_some(g, &g.output[i]) != 1 and g.group[g.output[i].group].level == LEVEL_TURNING_OFF:
                finish_off(g, g.output[i].group)
    for i in range(g.group_count):
        if g.group[i].level == LEVEL_TURNING_ON:
            go_on(g, i)


cdef void drive_all_off(gate_t* g, int why) noexcept nogil:
    """Everything, off or not."""
    cdef int i
    for i in range(g.group_count):
        turn_off(g, i, why)


cdef void drive_on_off(gate_t* g, int why) noexcept nogil:
    """Only what is on, or on its way: with many groups writing the others once more would hold up the notice."""
    cdef int i
    for i in range(g.group_count):
        if g.group[i].level != LEVEL_OFF:
            turn_off(g, i, why)


cdef void drive_others_off(gate_t* g, int why) noexcept nogil:
    """The rest, once more for what a fault may have left on."""
    cdef int i
    for i in range(g.group_count):
        if g.group[i].why != why:
            turn_off(g, i, why)


cdef void drive_exit(gate_t* g) noexcept nogil:
    """A planned end: off, but outputs that hold their level at the end keep it."""
    cdef int i
    for i in range(g.output_count):
        if not g.output[i].exit_hold:
            begin(g, &g.output[i], 0)


cdef int drive_safe(gate_t* g, int* index) noexcept nogil:
    """The safe level on every output; errno of the first that could not be switched, at `index`."""
    cdef int i
    cdef int first = 0
    index[0] = -1
    drive_all_off(g, WHY_ORDER)
    while drive_busy(g):                 # bounded by GIVE_UP_NS; nothing is driven yet
        rt_sleep_ns(RETRY_NS)
        drive_pending(g)
    for i in range(g.output_count):
        if g.output[i].error and not first:
            first = g.output[i].error
            index[0] = i
    return first


cdef int drive_busy(gate_t* g) noexcept nogil:
    cdef int i
    for i in range(g.output_count):
        if g.output[i].target != -1:
            return 1
    return 0


cdef int64_t drive_next_ns(gate_t* g) noexcept nogil:
    """When the gate must look again by itself."""
    cdef int64_t next_ns = RT_NEVER
    cdef int i
    for i in range(g.group_count):
        if g.group[i].level == LEVEL_ON or g.group[i].level == LEVEL_TURNING_ON:
            if g.group[i].armed_ns < next_ns:
                next_ns = g.group[i].armed_ns
    if drive_busy(g) and rt_now() + RETRY_NS < next_ns:
        next_ns = rt_now() + RETRY_NS
    if drive_failed(g) and g.repair_ns < next_ns:
        next_ns = g.repair_ns
    return next_ns
