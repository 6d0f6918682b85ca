"""A set-up of processes, files and networks that is undone however its block is left, its own start included."""
from __future__ import annotations

from contextlib import ExitStack
from typing import Self


class SetUp:
    """A context manager: `_start` makes, `close` undoes; `close` may be called again, and on what is half made."""

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self.close)
            self._start()
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Undo."""
        raise NotImplementedError
