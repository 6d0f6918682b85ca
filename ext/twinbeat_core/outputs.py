"""What the gate needs to know of one output; shared by the drivers that open it and the gate that drives it."""
from __future__ import annotations

from typing import Literal, NamedTuple


class FastOutput(NamedTuple):
    """One output as the gate switches it, without asking anybody.

    kind "bytes" writes `on` or `off` to `fd`; kind "gpio" sets the bits `gpio_on` or `gpio_off` under
    `gpio_mask` on the line request `fd`; kind "none" has nothing fast, only `stop_argv`.
    `exit` is the level left behind at a planned end of the gate. `stop_argv` is a command that the gate
    starts when the agent has died (the stop command of a hook or a unit). The gate owns `fd` from the
    moment it is handed over; the caller closes its copy.
    """

    name: str
    group: int
    kind: Literal["bytes", "gpio", "none"]
    fd: int
    on: bytes = b""
    off: bytes = b""
    gpio_mask: int = 1
    gpio_on: int = 1
    gpio_off: int = 0
    exit: Literal["off", "hold"] = "off"
    readback: bool = False
    stop_argv: tuple[str, ...] = ()
    fd_is_tty: bool = False
