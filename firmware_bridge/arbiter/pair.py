"""What differs from board to board: written by `twinbeat arbiter flash`."""

PAIR = 0            # the pair served; 0: any, for tests alone
BUILD = 0           # first four bytes of the SHA-256 over the files; 0: run from source
GATED = 0           # groups whose contacts are here; 0: a voter only
READ_BACK = True    # False: no auxiliary contacts
