"""Looking at many files at once, to the end whatever is wrong with one, or until Ctrl-C."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count

from segdistill.data import SegmentationDataset
from segdistill.data.pairs import FilePairs
from segdistill.data.unlabeled import Unlabeled
from segdistill.diagnosis.files import PairReport, report_image, report_pair, report_sample
from segdistill.runtime.display import Display
from segdistill.runtime.interruption import StopRequest

_AT_A_TIME = 64  # files; Ctrl-C waits for them


def scan(
    title: str, data: SegmentationDataset, indices: Sequence[int], *, quiet: bool
) -> tuple[dict[int, PairReport], bool]:
    """Read samples to the last pixel, with a bar.

    Args:
        title: of the bar.
        data: the data set.
        indices: of the samples.
        quiet: show no progress.

    Returns:
        Index -> what is seen there, in order; and whether it was interrupted before all were seen.
    """

    def look(index: int) -> PairReport:
        if isinstance(data, FilePairs):
            return report_pair(data, index)
        if isinstance(data, Unlabeled):
            return report_image(data.paths[index], "apply", data.pixels)[0]
        return report_sample(data[index])

    samples: dict[int, PairReport] = {}
    # A KeyboardInterrupt inside the pool could leave one of its locks taken, and the threads waiting for ever.
    threads = min(8, cpu_count() or 1)
    with (
        StopRequest() as stop,
        ThreadPoolExecutor(threads) as pool,
        Display(title, start=0, steps=len(indices), quiet=quiet) as display,
    ):
        for start in range(0, len(indices), _AT_A_TIME):
            part = indices[start : start + _AT_A_TIME]
            for index, seen in zip(part, pool.map(look, part), strict=True):
                samples[index] = seen
                display.step(len(samples), {})
            if stop.received is not None:
                break
    return samples, stop.received is not None
