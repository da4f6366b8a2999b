"""Freed memory is kept for the next step or image, where the C library would give it back to the system after each."""

from __future__ import annotations

import contextlib
import ctypes
import platform

import torch

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h
_KEEP = (-1, 0)
_USUAL = (128 * 1024, 65536)
_state = {"keeps": False}


def keep_freed_memory(device: torch.device) -> None:
    """Where networks run on a processor: tell glibc never to give freed memory back, and to map no large tensor alone.

    A step, or an image, makes and frees the same activations over and over. By default each of them is a mapping of
    its own, or the top of the heap, and goes back to the system, which fills it with zeros when it is asked for again:
    117,000 page faults a step of `mobile_pair` on CamVid, a sixth of its time. The process keeps its peak instead of
    returning to it. Nothing happens with another C library or allocator.

    Args:
        device: where networks run.
    """
    if device.type == "cpu":
        _set(*_KEEP)
        _state["keeps"] = True


def keeps_freed_memory() -> bool:
    """Whether `keep_freed_memory` is in force in this process."""
    return _state["keeps"]


def give_freed_memory_back() -> None:
    """Undo `keep_freed_memory`, and give back what is free now, for those who need memory from elsewhere."""
    _set(*_USUAL)
    _state["keeps"] = False
    _libc("malloc_trim", 0)


def _set(trim_threshold: int, most_mappings: int) -> None:
    _libc("mallopt", _M_TRIM_THRESHOLD, trim_threshold)
    _libc("mallopt", _M_MMAP_MAX, most_mappings)


def _libc(name: str, *values: int) -> None:
    if platform.libc_ver()[0] == "glibc":
        with contextlib.suppress(OSError, AttributeError):
            getattr(ctypes.CDLL(None), name)(*values)
