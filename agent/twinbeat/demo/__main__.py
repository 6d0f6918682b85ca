"""`python -m twinbeat.demo` is `twinbeat demo`."""
import sys

from twinbeat.demo import main

if __name__ == "__main__":
    sys.exit(main())
