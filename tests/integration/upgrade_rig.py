"""A rolling upgrade of a real pair, one gateway after the other, while an application asks who drives.

The steps are those of the benchmark's row; here a step that fails is a failed test.
"""
from __future__ import annotations

from twinbeat.bench.rolling import NEW, PINNED, SETTINGS, Gap, Traffic, Upgrade, gaps

__all__ = ["NEW", "PINNED", "SETTINGS", "Gap", "Traffic", "Upgrade", "gaps"]
