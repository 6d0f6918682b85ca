"""`python -m twinbeat.bench` is `twinbeat bench`."""
import sys

from twinbeat.bench import main

if __name__ == "__main__":
    sys.exit(main())
