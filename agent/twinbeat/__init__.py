"""twinbeat: two gateways, one driver. The program; `twinbeat.cli` is its door.

Nothing is imported here but the version: the gate is forked before heavy imports (see `twinbeat.cli`).
"""
from twinbeat.version import __version__

__all__ = ["__version__"]
