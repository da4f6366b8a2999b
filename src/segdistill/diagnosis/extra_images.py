"""Looking at the images without labels that `data.extra` names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from segdistill.core.errors import DataError
from segdistill.core.findings import Finding
from segdistill.data import DatasetConfig, SegmentationDataset
from segdistill.data.spread import chosen
from segdistill.data.unlabeled import Unlabeled
from segdistill.diagnosis.duplicates import also_validated
from segdistill.diagnosis.evidence import add_up
from segdistill.diagnosis.files import PairReport
from segdistill.diagnosis.masks import findings_of
from segdistill.diagnosis.opening import Split
from segdistill.diagnosis.scan import scan

EXTRA = "extra"
"""Where a finding about these images is."""


def look_at_extra(
    config: DatasetConfig,
    data: Mapping[Split, SegmentationDataset],
    validated: Sequence[PairReport],
    images: int | None,
    *,
    quiet: bool,
) -> Iterator[Finding]:
    """Read the images of the folders of `data.extra`.

    Args:
        config: the data set.
        data: its splits, as far as they could be opened.
        validated: what was seen of the validation images.
        images: how many are read, evenly spread; None for all.
        quiet: show no progress.

    Yields:
        How many there are, what is wrong with them, and which are validation images.

    Raises:
        KeyboardInterrupt: After Ctrl-C, once what was found until then was yielded.
    """
    if config.extra is None or not config.extra.images or "train" not in data:
        return
    train = data["train"]
    try:
        extra = Unlabeled(config.extra.images, train.classes, pixels=train.pixels)
    except DataError as error:
        yield Finding("problem", EXTRA, str(error))
        return
    reports, interrupted = scan(f"reading {EXTRA}", extra, chosen(len(extra), images), quiet=quiet)
    seen = [*reports.values()]
    yield Finding("note", EXTRA, f"{len(extra)} images without labels, {len(seen)} of them read.")
    yield from findings_of(config.name, add_up(EXTRA, extra, seen, None), seen)
    val = data.get("val")
    same = also_validated(extra.paths, seen, val, validated) if val is not None else []
    if same:
        text = f"{len(same)} validation images are among those of data.extra, first {same[0]}."
        advice = "Take them out: a student that was taught on these very images validates better than it is."
        yield Finding("warning", EXTRA, text, advice, tuple(same))
    if interrupted:
        raise KeyboardInterrupt
