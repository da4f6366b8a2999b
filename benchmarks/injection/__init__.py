"""The parts of `benchmarks/faults.py`, a file each: what is done to segdistill, by seed, and what must come of it."""
