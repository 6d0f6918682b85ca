"""Effects are appended to the step's list; one that finds no room is counted, never lost in silence."""
from libc.stdint cimport int64_t, uint8_t, uint32_t

from twinbeat_core.model cimport FX_DRIVE, FX_PERSIST, FX_REPORT, MAX_EFFECTS, NO_NODE, effect_t
from twinbeat_core.state cimport core_t


cdef inline effect_t* add_effect(core_t* core, uint8_t kind) noexcept nogil:
    cdef effect_t* fx
    if core.out.count >= MAX_EFFECTS:
        core.out.dropped += 1
        fx = &core.out.item[MAX_EFFECTS - 1]
    else:
        fx = &core.out.item[core.out.count]
        core.out.count += 1
    fx.kind = kind
    fx.code = 0
    fx.group = 0
    fx.node = NO_NODE
    fx.link = 0
    fx.epoch = 0
    fx.value = 0
    fx.extra = 0
    fx.stamp = 0
    return fx


cdef inline void report(
    core_t* core, uint8_t code, uint8_t node, uint8_t link, int64_t value, int64_t extra
) noexcept nogil:
    cdef effect_t* fx = add_effect(core, FX_REPORT)
    fx.code = code
    fx.node = node
    fx.link = link
    fx.value = value
    fx.extra = extra


cdef inline void report_group(
    core_t* core, uint8_t code, int group, uint8_t node, uint32_t epoch, int64_t value, int64_t extra
) noexcept nogil:
    cdef effect_t* fx = add_effect(core, FX_REPORT)
    fx.code = code
    fx.group = <uint8_t>group
    fx.node = node
    fx.epoch = epoch
    fx.value = value
    fx.extra = extra


cdef inline void drive(core_t* core, int group, uint8_t code, uint32_t epoch, int64_t deadline_ns) noexcept nogil:
    cdef effect_t* fx = add_effect(core, FX_DRIVE)
    fx.code = code
    fx.group = <uint8_t>group
    fx.epoch = epoch
    fx.value = deadline_ns


cdef inline void persist(core_t* core, uint32_t ceiling) noexcept nogil:
    cdef effect_t* fx = add_effect(core, FX_PERSIST)
    fx.epoch = ceiling
