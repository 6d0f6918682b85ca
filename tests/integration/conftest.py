"""Makes the helpers beside the tests importable, and the pretended GPIO chips and the broker of other parts."""
from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "agent"), str(HERE.parent / "hardware")]
