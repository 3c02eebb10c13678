"""One run or many: the clock, the loop, the track, checkpoints."""
