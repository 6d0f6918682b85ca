"""`python -m twinbeat` is the command `twinbeat`."""
import sys

from twinbeat.cli import main

if __name__ == "__main__":
    sys.exit(main())
