"""twinbeat: two gateways, one driver. The program; `twinbeat.cli` is its door, `twinbeat.Client` that of applications.

Nothing is imported here but the version: the gate is forked before heavy imports (see `twinbeat.cli`).
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from twinbeat.version import __version__

if TYPE_CHECKING:
    from twinbeat.client import Client, Lease, Owner

__all__ = ["Client", "Lease", "Owner", "__version__"]


def __getattr__(name: str) -> object:
    """The client's names, imported at their first use."""
    if name in ("Client", "Lease", "Owner"):
        from twinbeat import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
