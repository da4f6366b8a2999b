"""Imported last by the server of processes: its garbage collector need not look through what it has imported."""

import gc

gc.collect()
gc.freeze()
