"""Published weight files: their layouts, one file each, and the reading of them."""
