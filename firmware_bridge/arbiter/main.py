"""Starts by itself on the device and runs for ever: an error switches the contacts off and starts the board anew."""

import board


def run():
    """Read, decide, write, feed."""
    import micropython
    import pair
    from arbiter import Arbiter

    micropython.kbd_intr(-1)      # 0x03 on the wire is noise, not Ctrl-C
    served = Arbiter(board, pair.PAIR, getattr(pair, "BUILD", 0))
    while True:
        served.step()
        board.feed()
        board.idle()


try:
    run()
except BaseException as error:
    try:
        for group in range(board.GATED):
            board.set_contact(group, 0, False)
            board.set_contact(group, 1, False)
    finally:
        board.reset(error)
    raise
