from .model import State
from .triggers import Trigger

def fill_table(transitions: dict[State, dict[Trigger, State | None]]) -> None: ...
