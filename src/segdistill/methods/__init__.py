"""Distillation methods, one file each."""

from segdistill.methods.base import Method, create_method, method_names

__all__ = ["Method", "create_method", "method_names"]
