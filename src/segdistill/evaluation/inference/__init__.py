"""How images are run through a network: whole, in windows, scaled, mirrored."""
