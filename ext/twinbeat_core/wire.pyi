from enum import IntEnum

from .errors import FrameError as FrameError
from .frames import Echo as Echo
from .frames import Frame as Frame
from .frames import Row as Row

class WireCode(IntEnum):
    WIRE_OK = 0
    WIRE_SHORT = 1
    WIRE_UNKNOWN_VERSION = 2
    WIRE_OTHER_PAIR = 3
    WIRE_BAD_TAG = 4
    WIRE_BAD_FORM = 5

WIRE_TEXT: dict[WireCode, str]

def encode(frame: Frame, key: bytes) -> bytes: ...
def decode(data: bytes, key: bytes, pair_id: int) -> Frame: ...
def wrap(frame: bytes) -> bytes: ...
def frame_wire_bytes(nodes: int, groups: int) -> int: ...

class SerialReader:
    def __init__(self) -> None: ...
    @property
    def noise(self) -> int: ...
    def feed(self, data: bytes) -> list[bytes]: ...
