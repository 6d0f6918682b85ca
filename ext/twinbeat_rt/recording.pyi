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

class Replay(NamedTuple):
    snapshot: bytes
    differences: list[str]

def write_recording(path: str, settings: CoreSettings, records: bytes) -> int: ...
def read_recording(path: str) -> Recording: ...
def replay(recording: Recording) -> Replay: ...
