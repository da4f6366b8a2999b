"""Looking at many files at once, to the end whatever is wrong with one, or until Ctrl-C."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from os import cpu_count

from segdistill.data import SegmentationDataset
from segdistill.data.pairs import FilePairs
from segdistill.diagnosis.files import Look, look_at, look_at_sample
from segdistill.training.display import Display


def chosen(count: int, most: int | None) -> list[int]:
    """`most` of `count` places, evenly spread; all if there are no more, or for None."""
    number = count if most is None else min(count, most)
    return [place * count // number for place in range(number)]


def scan(title: str, data: SegmentationDataset, places: Sequence[int], *, quiet: bool) -> tuple[dict[int, Look], bool]:
    """Place -> what is seen there, in order, and whether it was interrupted before all were seen."""

    def look(place: int) -> Look:
        return look_at(data, place) if isinstance(data, FilePairs) else look_at_sample(data[place])

    pool = ThreadPoolExecutor(min(8, cpu_count() or 1))
    found: dict[int, Look] = {}
    interrupted = False
    try:
        futures = {pool.submit(look, place): place for place in places}
        with Display(title, start=0, steps=len(places), quiet=quiet) as display:
            for future in as_completed(futures):
                found[futures[future]] = future.result()
                display.step(len(found), {})
    except KeyboardInterrupt:
        interrupted = True
    finally:
        pool.shutdown(cancel_futures=True)
    return dict(sorted(found.items())), interrupted
