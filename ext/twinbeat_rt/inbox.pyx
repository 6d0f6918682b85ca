"""Notes of the decider as messages for Python."""
from twinbeat_core.model cimport ACTIVE, RP_STATE
from twinbeat_rt.worker cimport (
    NOTE_ASK, NOTE_DRIVE, NOTE_EFFECTS_LOST, NOTE_GATE_GONE, NOTE_OUTPUT, NOTE_PERSIST, NOTE_REPORT, NOTE_RETURN,
    NOTE_ZOMBIE, note_t,
)

from twinbeat_core.model import OutputCode, ReportCode

from .messages import (
    AskVoter, DriveChanged, OutputChanged, PersistCeiling, RecordingDue, Reported, ReturnPromise, Warned,
)


cdef translate(note_t* n, list out):
    """Append what one note of the decider says."""
    if n.kind == NOTE_REPORT:
        out.append(Reported(n.at_ns, ReportCode(n.code), n.group, n.node, n.link, n.epoch, n.value, n.extra))
        if n.code == RP_STATE and (n.value == ACTIVE or n.node == ACTIVE):
            out.append(RecordingDue(n.group, n.epoch, n.at_ns))
    elif n.kind == NOTE_PERSIST:
        out.append(PersistCeiling(n.epoch))
    elif n.kind == NOTE_DRIVE:
        out.append(DriveChanged(n.group, n.epoch, bool(n.code), n.at_ns))
    elif n.kind == NOTE_OUTPUT:
        out.append(OutputChanged(n.group, n.epoch, OutputCode(n.code), n.at_ns, n.value))
    elif n.kind == NOTE_ASK:
        out.append(AskVoter(n.group, n.epoch, n.stamp, n.at_ns))
    elif n.kind == NOTE_RETURN:
        out.append(ReturnPromise(n.group, n.epoch, n.at_ns))
    elif n.kind == NOTE_GATE_GONE:
        out.append(Warned("the gate process has ended: its outputs keep their level and nothing can switch them;"
                          " stop this agent and start it anew"))
    elif n.kind == NOTE_EFFECTS_LOST:
        out.append(Warned("the core had more to say in one step than fits: effects were lost"))
    elif n.kind == NOTE_ZOMBIE and n.code:
        out.append(Warned(f"the interpreter stood still for {n.value // 1000000} ms: this node counts as unfit"))
    elif n.kind == NOTE_ZOMBIE:
        out.append(Warned("the interpreter runs again"))
