"""`twinbeat arbiter flash | status | test`: the board that is a pair's third voter."""
