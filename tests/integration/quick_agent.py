"""`twinbeat` whose maintenance may be as short as a test: `python quick_agent.py run ...`."""
from __future__ import annotations

import sys

from twinbeat import cli, maintenance, run_maintenance

run_maintenance.LIMITS = maintenance.Limits(shortest_s=0.1, warn_s=(1.0, 0.5), save_s=0.2)

if __name__ == "__main__":
    sys.exit(cli.main())
