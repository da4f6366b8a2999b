"""The verbs, one file each: the same names, words and results from Python and from the command line."""
