from enum import IntEnum

class Trigger(IntEnum):
    TR_START = 0
    TR_LISTEN_OVER = 1
    TR_CLAIM = 2
    TR_MAJORITY = 3
    TR_YIELD = 4
    TR_LAPSE = 5
    TR_SUPERSEDED = 6
    TR_GIVE = 7
    TR_OFF = 8
    TR_OUT = 9
    TR_IN = 10
