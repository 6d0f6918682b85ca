from typing import NamedTuple

from twinbeat_core.errors import TwinbeatError
from twinbeat_core.events import Event
from twinbeat_core.model import EventKind
from twinbeat_core.settings import CoreSettings

class RecordingError(TwinbeatError): ...

class RecordedEvent:
    digest: int
    @property
    def kind(self) -> EventKind: ...
    @property
    def now_ns(self) -> int: ...
    def typed(self) -> Event: ...

class Recording(NamedTuple):
    settings: CoreSettings
    snapshot: bytes
    events: list[RecordedEvent]
    checkpoints: list[tuple[int, bytes]]
    mark: int = 0

_RawEffect = tuple[int, int, int, int, int, int, int, int, int]

class Difference(NamedTuple):
    number: int
    at_ns: int
    what: str
    recorded: int | bytes
    got: int | bytes
    effects: tuple[_RawEffect, ...] = ()
    deadline_ns: int = 0

class Replay(NamedTuple):
    snapshot: bytes
    differences: list[Difference]
    total: int = 0

def core_mark() -> int: ...
def write_recording(path: str, settings: CoreSettings, records: bytes) -> int: ...
def read_recording(path: str) -> Recording: ...
def replay(recording: Recording) -> Replay: ...
