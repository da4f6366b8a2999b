"""The table of `segdistill evaluate`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from segdistill.evaluation.scoring import Quality
from segdistill.evaluation.settings import MetricsConfig


def score_table(title: str, classes: Sequence[str], quality: Quality, ignored: Sequence[str] = ()) -> Table:
    """The scores of every class.

    Args:
        title: Of the table.
        classes: Their names.
        quality: What `evaluate` measured.
        ignored: Those that are no part of the means.

    Returns:
        A row for each class, in percent.
    """
    scores, boundary = quality.scores, quality.boundary
    columns = {"IoU %": scores.iou, "Acc %": scores.accuracy, "Dice %": scores.dice}
    if boundary is not None:
        columns |= {"boundary IoU %": boundary.boundary_iou, "boundary F1 %": boundary.boundary_f1}
    table = Table(title=title, title_justify="left")
    table.add_column("class")
    for heading in columns:
        table.add_column(heading, justify="right")
    for name, *values in zip(classes, *columns.values(), strict=True):
        mark = " (not in the means)" if name in ignored else ""
        table.add_row(name + mark, *("absent" if value != value else f"{value:.2f}" for value in values))
    return table


def score_lines(quality: Quality, metrics: MetricsConfig) -> Iterator[str]:
    """What holds for all classes together.

    Args:
        quality: What `evaluate` measured.
        metrics: How.

    Yields:
        A line for each topic.
    """
    scores, boundary, agreement = quality.scores, quality.boundary, quality.agreement
    yield f"mIoU {scores.miou:.2f}   mAcc {scores.macc:.2f}   aAcc {scores.aacc:.2f}   mDice {scores.mdice:.2f}"
    if boundary is not None:
        yield (
            f"edge (r = {metrics.edge_radius}) mIoU {boundary.edge_miou:.2f}   body mIoU {boundary.body_miou:.2f}   "
            f"boundary mIoU {boundary.boundary_miou:.2f}   boundary mF1 {boundary.boundary_mf1:.2f}"
        )
        trimaps = (f"r = {radius}: {miou:.2f}" for radius, miou in boundary.trimap_miou.items())
        yield f"trimap mIoU   {'   '.join(trimaps)}"
    if quality.calibration_error is not None:
        yield f"expected calibration error {quality.calibration_error:.2f} ({metrics.bins} bins)"
    if agreement is not None:
        yield f"agreement with the teacher: {agreement.pixels:.2f} % of pixels, mIoU {agreement.miou:.2f} against it"
