"""The gate has ended before the agent: outputs keep their level, and only this process can still switch them off."""
from __future__ import annotations

import logging
import os
import select
import time

from twinbeat.config import Config
from twinbeat.run_open import OpenedOutputs, open_outputs
from twinbeat_core.errors import TwinbeatError
from twinbeat_core.outputs import FastOutput

log = logging.getLogger("twinbeat")

WRITE_LIMIT_S = 0.5


def switch_off(cfg: Config, held: OpenedOutputs) -> bool:
    """Open every output anew and switch it off. False, and a line in the log, where that fails.

    Until then this node says that it still holds its groups, so that no other begins to drive beside it.
    """
    held.close()
    try:
        opened = open_outputs(cfg)  # the first level of a GPIO line is set with its direction
    except TwinbeatError as error:
        log.error("%s; its output keeps its level: switch it off by hand", error)
        return False
    done = True
    try:
        for output in opened.fast:
            if output.kind == "bytes" and not write_whole(output):
                log.error("output %s takes no bytes; it keeps its level: switch it off by hand", output.name)
                done = False
    finally:
        opened.drop_descriptors()
        opened.close()
    if done:
        log.warning("the gate is gone: every output was switched off by the agent itself")
    return done


def write_whole(output: FastOutput) -> bool:
    """Write the pattern that switches off, within WRITE_LIMIT_S."""
    rest = output.off
    os.set_blocking(output.fd, False)
    end = time.monotonic() + WRITE_LIMIT_S
    while rest:
        left_s = end - time.monotonic()
        if left_s <= 0 or not select.select([], [output.fd], [], left_s)[1]:
            return False
        try:
            rest = rest[os.write(output.fd, rest):]
        except BlockingIOError:
            continue
        except OSError:
            return False
    return True
