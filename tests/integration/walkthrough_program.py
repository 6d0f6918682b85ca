"""`twinbeat` of a host in a folder: the file that it reads without --config is the one of that host."""
from __future__ import annotations

import os
import sys

from twinbeat import cli_options

cli_options.CONFIG_PATH = os.environ["CONFIG_PATH"]

from twinbeat import cli  # noqa: E402

if __name__ == "__main__":
    sys.exit(cli.main())
