"""Predictions as files that labelling tools read, so that people correct them: one format a module."""
