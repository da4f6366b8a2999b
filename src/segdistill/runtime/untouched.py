"""What a call of a public function leaves as it was: random numbers, warnings, logging, limits of other libraries."""

from __future__ import annotations

import contextlib
import functools
import logging
import random
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

import numpy as np
import torch
from PIL import Image, ImageFile

from segdistill.runtime.allocator import give_freed_memory_back, keeps_freed_memory

P = ParamSpec("P")
R = TypeVar("R")


@contextlib.contextmanager
def untouched() -> Iterator[None]:
    """While entered, what is global may change; afterwards it is as it was before.

    Yields:
        None.
    """
    numbers = random.getstate(), np.random.get_state(), torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    hooks = sys.excepthook, threading.excepthook
    root = logging.getLogger()
    logs = root.level, root.manager.disable, [*root.handlers]
    limits = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    threads, cudnn = torch.get_num_threads(), (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic)
    kept = keeps_freed_memory()
    try:
        with warnings.catch_warnings():
            yield
    finally:
        random.setstate(numbers[0])
        np.random.set_state(numbers[1])
        torch.set_rng_state(numbers[2])
        if devices:
            torch.cuda.set_rng_state_all(devices)
        sys.excepthook, threading.excepthook = hooks
        root.setLevel(logs[0])
        logging.disable(logs[1])
        root.handlers[:] = logs[2]
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = limits
        torch.set_num_threads(threads)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn
        if keeps_freed_memory() and not kept:
            give_freed_memory_back()


def leaving_untouched(function: Callable[P, R]) -> Callable[P, R]:
    """A function that leaves what is global as it was.

    Args:
        function: Any.

    Returns:
        The same function, of the same signature.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with untouched():
            return function(*args, **kwargs)

    return call
