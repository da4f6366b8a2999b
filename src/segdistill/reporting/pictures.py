"""Label maps as colors, overlays, and the grid that shows networks side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from segdistill.core.classes import Classes
from segdistill.core.colors import VOID_COLOR, Pixels, as_picture, colorise
from segdistill.core.storage import write_aside
from segdistill.data.base import SegmentationDataset
from segdistill.evaluation.inference.inference import infer
from segdistill.evaluation.settings import InferenceConfig
from segdistill.models.loaded import LoadedModel
from segdistill.models.network import device_of
from segdistill.reporting.choice import positions

_CELL, _LINE, _GAP = 2.6, 0.25, 0.04
"""Inches: the width of a panel, the height of a line of text, what is left free around a panel."""


def save_predictions(
    path: Path, models: Mapping[str, LoadedModel], data: SegmentationDataset, inference: InferenceConfig
) -> None:
    """A picture grid of four images spread evenly over `data`: the image, its label, what each network predicts.

    Args:
        path: The .png file.
        models: Networks by heading; one that knows other classes is shown in its own colors.
        data: The images.
        inference: How they are run through the networks.
    """
    rows = []
    for index in positions((), data):
        sample = data[index]
        row = [as_picture(sample.image), colorise(sample.label, data.classes)]
        for model in models.values():
            image = sample.image[None].to(device_of(model.network))
            predicted = infer(model.network, image, inference).classes[0]
            row.append(colorise(predicted, model.classes))
        rows.append(row)
    save_grid(path, rows, ["image", "label", *models], data.classes)


def save_grid(path: Path, rows: Sequence[Sequence[Pixels]], headings: Sequence[str], classes: Classes) -> None:
    """Save a picture grid, with the classes' colors below.

    Args:
        path: The .png file.
        rows: Pictures (H,W,3), a row an image.
        headings: Of the columns.
        classes: Names and colors.
    """
    titles = [*headings, *[""] * (len(headings) * (len(rows) - 1))]
    panels = zip(titles, (pixels for row in rows for pixels in row), strict=True)
    save_panels(path, list(panels), classes, columns=len(headings))


def save_panels(path: Path, panels: Sequence[tuple[str, Pixels]], classes: Classes | None, *, columns: int) -> None:
    """Save pictures with their titles, row by row.

    Args:
        path: The .png file.
        panels: Titles and pictures (H,W,3).
        classes: Names and colors that are explained below; None if there are none to explain.
        columns: Pictures in a row.
    """
    rows = -(-len(panels) // columns)
    height, width = panels[0][1].shape[:2]
    tall = _CELL * height / width
    titled = [any(title for title, _ in panels[row * columns : (row + 1) * columns]) for row in range(rows)]
    named = [] if classes is None else [*zip(classes.names, classes.colors, strict=True), ("void", VOID_COLOR)]
    size = (_CELL * columns, tall * rows + _LINE * (sum(titled) - (-len(named) // 6)))
    figure = Figure(figsize=size, dpi=150)
    # In inches; axes of its own for each panel would take two and a half times as long.
    axis = figure.add_axes((0, 0, 1, 1), xlim=(0, size[0]), ylim=(size[1], 0))
    axis.set_axis_off()
    for index, (title, pixels) in enumerate(panels):
        row, column = divmod(index, columns)
        x, top = (column + 0.5) * _CELL, row * tall + _LINE * sum(titled[: row + 1])
        y, aspect = top + tall / 2, pixels.shape[0] / pixels.shape[1]
        half = min(_CELL, tall / aspect) / 2 - _GAP
        extent = (x - half, x + half, y + half * aspect, y - half * aspect)
        axis.imshow(pixels, interpolation="nearest", extent=extent, aspect="auto")
        axis.text(x, top - 0.05, title.replace("$", r"\$"), fontsize=9, horizontalalignment="center")
    patches = [
        Patch(
            facecolor=(color[0] / 255, color[1] / 255, color[2] / 255),
            edgecolor="grey",
            linewidth=0.4,
            label=name.replace("$", r"\$"),  # matplotlib takes what stands between two for a formula
        )
        for name, color in named
    ]
    if patches:
        figure.legend(handles=patches, loc="lower center", ncols=6, fontsize=8, frameon=False)
    write_aside(path, lambda aside: figure.savefig(aside, format="png"))
