"""Two versions of twinbeat in one pair: what each speaks, whether they work together, the way from one to the other."""
