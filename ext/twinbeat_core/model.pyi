from enum import IntEnum

class State(IntEnum):
    LISTEN = 0
    STANDBY = 1
    CLAIMING = 2
    ACTIVE = 3
    RELEASING = 4
    OUT = 5

class EventKind(IntEnum):
    EV_START = 1
    EV_HEARD = 2
    EV_LINK = 3
    EV_VOTE = 4
    EV_HEALTH = 5
    EV_OUTPUT = 6
    EV_SYNC = 7
    EV_COMMAND = 8
    EV_WAKE = 9
    EV_PERSISTED = 10
    EV_LATE = 11

class VoteCode(IntEnum):
    VOTE_PROMISED = 1
    VOTE_REFUSED = 2
    VOTE_GONE = 3

class OutputCode(IntEnum):
    OUTPUT_DRIVEN = 1
    OUTPUT_OFF = 2
    OUTPUT_FAILED = 3
    OUTPUT_MISMATCH = 4

class CommandCode(IntEnum):
    CMD_HANDOVER = 1
    CMD_OUT = 2
    CMD_IN = 3
    CMD_STOP = 4
    CMD_CLEAR = 5
    CMD_LAST_DRIVER = 6
    CMD_MOVE = 7
    CMD_PREPARED = 8

class LateCode(IntEnum):
    LATE_DECIDER = 1
    LATE_RECEIVER = 2
    LATE_CANARY = 3

class EffectKind(IntEnum):
    FX_SEND = 1
    FX_DRIVE = 2
    FX_ASK = 3
    FX_RETURN = 4
    FX_REPORT = 5
    FX_PERSIST = 6

class DriveCode(IntEnum):
    DRIVE_OFF = 0
    DRIVE_ON = 1
    DRIVE_EXTEND = 2

class ReportCode(IntEnum):
    RP_STATE = 1
    RP_LINK_UP = 2
    RP_LINK_DOWN = 3
    RP_RX_DEAD = 4
    RP_TX_DEAD = 5
    RP_LINK_OK = 6
    RP_PEER_UP = 7
    RP_PEER_SILENT = 8
    RP_PEER_DEAD = 9
    RP_CONFIG_MISMATCH = 10
    RP_VERSION_MISMATCH = 11
    RP_SELF_LATE = 12
    RP_HANDOVER_REFUSED = 13
    RP_GRANT = 14
    RP_EPOCH_CEILING = 15
    RP_OUTPUT_FAULT = 16
    RP_PREPARE = 17
    RP_HELD = 18

class RefusalCode(IntEnum):
    REFUSED_NOT_DRIVING = 1
    REFUSED_NOBODY = 2
    REFUSED_NOT_READY = 3
    REFUSED_UNPREPARED = 4
    REFUSED_HELD = 5
    REFUSED_SHARED = 6

class Cause(IntEnum):
    CAUSE_NONE = 0
    CAUSE_START = 1
    CAUSE_LISTEN_OVER = 2
    CAUSE_COLD_START = 3
    CAUSE_SILENCE = 4
    CAUSE_RELEASED = 5
    CAUSE_DEATH_NOTICE = 6
    CAUSE_HANDOVER = 7
    CAUSE_MAJORITY = 8
    CAUSE_ALONE = 9
    CAUSE_LAPSED = 10
    CAUSE_YIELD = 11
    CAUSE_HIGHER_EPOCH = 12
    CAUSE_UNFIT = 13
    CAUSE_OPERATOR = 14
    CAUSE_OUTPUT_FAULT = 15
    CAUSE_OFF = 16
    CAUSE_STOP = 17
    CAUSE_SELF_LATE = 18
    CAUSE_THIRD_LOST = 19
    CAUSE_FAILBACK = 20
    CAUSE_LOAD = 21
    CAUSE_WARNING = 22

class FrameKind(IntEnum):
    FRAME_HEARTBEAT = 0
    FRAME_DEATH = 1

class FrameFlag(IntEnum):
    FLAG_ASK = 1
    FLAG_ANSWER = 2
    FLAG_UNFIT = 4
    FLAG_STOPPING = 8
    FLAG_BEHIND = 16
    FLAG_THIRD = 32

class RowFlag(IntEnum):
    ROW_DROPPED = 1
    ROW_TARGET = 2
    ROW_FLOOR = 8
    ROW_KEPT = 4

class LinkKind(IntEnum):
    LINK_SERIAL = 1
    LINK_MQTT = 2
    LINK_UDP = 3

class Lone(IntEnum):
    LONE_TAKEOVER = 0
    LONE_HOLD = 1
