"""Finding the programs that outputs run, before they are needed."""
from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable

from .errors import OutputError, OutputMissingError, OutputPermissionError

MakeError = Callable[[str, type[OutputError]], OutputError]


def resolve_program(key: str, program: str, error: MakeError) -> str:
    """Absolute path of an executable file, from a path or from PATH; raises what `error` makes of the reason."""
    if "/" not in program:
        found = shutil.which(program)
        if found is None:
            raise error(
                f'{key} = "{program}" was not found in PATH ({os.environ.get("PATH", "empty")}): '
                "write its whole path or install it",
                OutputMissingError,
            )
        return os.path.abspath(found)
    path = os.path.abspath(program)
    try:
        mode = os.stat(path).st_mode
    except OSError as problem:
        if problem.errno in (errno.ENOENT, errno.ENOTDIR):
            raise error(f"{key} = {program} does not exist: write its whole path", OutputMissingError) from None
        raise error(f"{key} = {program} cannot be looked at: {problem.strerror}", OutputPermissionError) from None
    if not stat.S_ISREG(mode):
        raise error(f"{key} = {program} is no file: name the program itself", OutputError)
    if not os.access(path, os.X_OK):
        raise error(f"{key} = {program} is not executable: chmod +x {program}", OutputPermissionError)
    return path
