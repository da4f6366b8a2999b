"""The page on this machine that a network is tried on."""
