"""Converting many files: in threads, with a bar, each result complete or absent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from os import cpu_count
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segdistill.core.storage import write_aside
from segdistill.runtime.display import Display

Job = TypeVar("Job")


def do_all(title: str, jobs: Sequence[Job], work: Callable[[Job], None], *, quiet: bool) -> int:
    """Do jobs in threads. The first error ends it and is raised.

    Args:
        title: of the progress bar.
        jobs: of any type.
        work: what is done with each.
        quiet: show no progress.

    Returns:
        How many jobs there were.
    """
    if not jobs:
        return 0
    pool = ThreadPoolExecutor(min(8, cpu_count() or 1))
    try:
        with Display(title, start=0, steps=len(jobs), quiet=quiet) as display:
            for done, future in enumerate(as_completed([pool.submit(work, job) for job in jobs]), 1):
                future.result()
                display.step(done, {})
    finally:
        pool.shutdown(cancel_futures=True)
    return len(jobs)


def save_index_mask(path: Path, label: NDArray[np.uint8]) -> None:
    """Write class indices as grey PNG: the one form that every reader takes for indices, and none for colors.

    Args:
        path: of the PNG.
        label: class indices or void (H,W), uint8.

    Raises:
        SegdistillError: the file can't be written.
    """
    write_aside(path, lambda aside: Image.fromarray(label).save(aside, format="PNG"))
