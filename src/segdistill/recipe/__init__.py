"""Recipes: the typed description of a run, and the words it is composed from."""
