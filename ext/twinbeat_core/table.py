"""The transition table of a group on one node: state x trigger -> next state, total, as data.

Rules of this file: every transition that exists is written here and nowhere else; the compiled core fills
its own table from it at import and enters a state by no other way; the diagram in docs/states.md is drawn
from it. `None` means that the trigger must not occur in that state: the core counts it and stays.
"""
from __future__ import annotations

from .model import State
from .triggers import Trigger

S, T = State, Trigger

TRANSITIONS: dict[State, dict[Trigger, State | None]] = {
    S.LISTEN: {
        T.TR_START: S.LISTEN, T.TR_LISTEN_OVER: S.STANDBY, T.TR_CLAIM: None, T.TR_MAJORITY: None, T.TR_YIELD: None,
        T.TR_LAPSE: None, T.TR_SUPERSEDED: None, T.TR_GIVE: None, T.TR_OFF: None, T.TR_OUT: None, T.TR_IN: None,
    },
    S.STANDBY: {
        T.TR_START: S.LISTEN, T.TR_LISTEN_OVER: None, T.TR_CLAIM: S.CLAIMING, T.TR_MAJORITY: None, T.TR_YIELD: None,
        T.TR_LAPSE: None, T.TR_SUPERSEDED: None, T.TR_GIVE: None, T.TR_OFF: None, T.TR_OUT: S.OUT, T.TR_IN: None,
    },
    S.CLAIMING: {
        T.TR_START: S.LISTEN, T.TR_LISTEN_OVER: None, T.TR_CLAIM: S.CLAIMING, T.TR_MAJORITY: S.ACTIVE,
        T.TR_YIELD: S.STANDBY, T.TR_LAPSE: None, T.TR_SUPERSEDED: None, T.TR_GIVE: None, T.TR_OFF: None,
        T.TR_OUT: S.OUT, T.TR_IN: None,
    },
    S.ACTIVE: {
        T.TR_START: S.LISTEN, T.TR_LISTEN_OVER: None, T.TR_CLAIM: S.ACTIVE, T.TR_MAJORITY: None, T.TR_YIELD: None,
        T.TR_LAPSE: S.RELEASING, T.TR_SUPERSEDED: S.RELEASING, T.TR_GIVE: S.RELEASING, T.TR_OFF: None,
        T.TR_OUT: None, T.TR_IN: None,
    },
    S.RELEASING: {
        T.TR_START: S.LISTEN, T.TR_LISTEN_OVER: None, T.TR_CLAIM: None, T.TR_MAJORITY: None, T.TR_YIELD: None,
        T.TR_LAPSE: None, T.TR_SUPERSEDED: None, T.TR_GIVE: None, T.TR_OFF: S.STANDBY, T.TR_OUT: None, T.TR_IN: None,
    },
    S.OUT: {
        T.TR_START: S.LISTEN, T.TR_LISTEN_OVER: None, T.TR_CLAIM: None, T.TR_MAJORITY: None, T.TR_YIELD: None,
        T.TR_LAPSE: None, T.TR_SUPERSEDED: None, T.TR_GIVE: None, T.TR_OFF: None, T.TR_OUT: None, T.TR_IN: S.STANDBY,
    },
}

MEANING: dict[Trigger, str] = {
    T.TR_START: "the agent starts",
    T.TR_LISTEN_OVER: "abstained long enough",
    T.TR_CLAIM: "nobody else may drive: claim, or claim above a higher epoch",
    T.TR_MAJORITY: "promises of a majority, or alone where that is allowed",
    T.TR_YIELD: "another drives, or claims with right of way",
    T.TR_LAPSE: "authority ran out",
    T.TR_SUPERSEDED: "another drives at a higher epoch",
    T.TR_GIVE: "planned handover, planned stop, unfit, or output fault",
    T.TR_OFF: "outputs are physically off",
    T.TR_OUT: "operator, fault or stop takes the group out of service here",
    T.TR_IN: "back in service",
}
