"""A package outside of segdistill: a method, a data set and a network, as a researcher's own."""
