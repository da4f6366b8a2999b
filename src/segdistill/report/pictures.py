"""Label maps as colours, overlays, and the grid that shows networks side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from segdistill.data.base import IGNORE_INDEX, Classes
from segdistill.storage import write_aside

_VOID_COLOUR = (255, 255, 255)

Pixels = NDArray[np.uint8]


def colourise(label: Tensor, classes: Classes) -> Pixels:
    """Class indices (H,W) as RGB uint8 (H,W,3); void is white."""
    return _palette(classes)[label.cpu().numpy().astype(np.uint8)]


def overlay(image: Tensor, label: Tensor, classes: Classes, *, alpha: float = 0.5) -> Pixels:
    """uint8 (3,H,W) with the class colours over it, `alpha` from 0 (image only) to 1 (colours only)."""
    picture = image.permute(1, 2, 0).cpu().numpy().astype(np.float32)
    return (picture * (1 - alpha) + colourise(label, classes).astype(np.float32) * alpha).round().astype(np.uint8)


def save_mask(path: Path, label: Tensor, classes: Classes) -> None:
    """Class indices (H,W) as a PNG whose palette shows the class colours; readers get the indices."""
    mask = Image.fromarray(label.cpu().numpy().astype(np.uint8), mode="P")
    mask.putpalette(_palette(classes).tobytes())
    write_aside(path, lambda aside: mask.save(aside, format="PNG"))


def save_picture(path: Path, pixels: Pixels) -> None:
    """RGB uint8 (H,W,3) as PNG."""
    write_aside(path, lambda aside: Image.fromarray(pixels).save(aside, format="PNG"))


def save_grid(path: Path, rows: Sequence[Sequence[Pixels]], headings: Sequence[str], classes: Classes) -> None:
    """A picture grid, one row an image and one column a heading, with the classes' colours below."""
    height, width = rows[0][0].shape[:2]
    cell = 2.6
    legend_lines = -(-(len(classes) + 1) // 6)
    size = (cell * len(headings), cell * height / width * len(rows) + 0.3 + 0.25 * legend_lines)
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    axes = figure.subplots(len(rows), len(headings), squeeze=False)
    for row, pictures in enumerate(rows):
        for column, pixels in enumerate(pictures):
            axis = axes[row, column]
            axis.imshow(pixels, interpolation="nearest")
            axis.set_axis_off()
            if row == 0:
                axis.set_title(headings[column], fontsize=9)
    named = [*zip(classes.names, classes.colours, strict=True), ("void", _VOID_COLOUR)]
    patches = [
        Patch(
            facecolor=(colour[0] / 255, colour[1] / 255, colour[2] / 255), edgecolor="grey", linewidth=0.4, label=name
        )
        for name, colour in named
    ]
    figure.legend(handles=patches, loc="outside lower center", ncols=6, fontsize=8, frameon=False)
    write_aside(path, lambda aside: figure.savefig(aside, format="png"))


def _palette(classes: Classes) -> Pixels:
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(classes)] = classes.colours
    palette[IGNORE_INDEX] = _VOID_COLOUR
    return palette
