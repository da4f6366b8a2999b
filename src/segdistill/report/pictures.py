"""Label maps as colours, overlays, and the grid that shows networks side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from segdistill.core.classes import IGNORE_INDEX, Classes
from segdistill.core.storage import write_aside

_VOID_COLOUR = (255, 255, 255)
_CELL, _LINE, _GAP = 2.6, 0.25, 0.04
"""Inches: the width of a panel, the height of a line of text, what is left free around a panel."""

Pixels = NDArray[np.uint8]


def colourise(label: Tensor, classes: Classes) -> Pixels:
    """Class indices (H,W) as RGB uint8 (H,W,3); void is white."""
    return palette(classes)[label.cpu().numpy().astype(np.uint8)]


def overlay(image: Tensor, label: Tensor, classes: Classes, *, alpha: float = 0.5) -> Pixels:
    """uint8 (3,H,W) with the class colours over it, `alpha` from 0 (image only) to 1 (colours only)."""
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())
    return np.asarray(cv2.addWeighted(pixels, 1 - alpha, colourise(label, classes), alpha, 0), np.uint8)


def save_mask(path: Path, label: Tensor, classes: Classes) -> None:
    """Class indices (H,W) as a PNG whose palette shows the class colours; readers get the indices."""
    mask = Image.fromarray(label.cpu().numpy().astype(np.uint8), mode="P")
    mask.putpalette(palette(classes).tobytes())
    write_aside(path, lambda aside: mask.save(aside, format="PNG"))


def save_picture(path: Path, pixels: Pixels) -> None:
    """RGB uint8 (H,W,3) as PNG."""
    write_aside(path, lambda aside: Image.fromarray(pixels).save(aside, format="PNG"))


def with_legend(pixels: Pixels, label: Tensor, classes: Classes) -> Pixels:
    """The picture with names and colours of the classes that `label` holds in a strip below."""
    present = [index for index in label.unique().tolist() if index < len(classes)]
    size = max(10, pixels.shape[0] // 40)
    font = ImageFont.load_default(size)
    line = round(size * 1.6)
    widths = [round(font.getlength(classes.names[index])) + 2 * line for index in present]
    columns = max(1, pixels.shape[1] // max(widths, default=1))
    canvas = Image.new("RGB", (pixels.shape[1], pixels.shape[0] + -(-len(present) // columns) * line), "white")
    canvas.paste(Image.fromarray(pixels))
    draw = ImageDraw.Draw(canvas)
    for place, index in enumerate(present):
        x = place % columns * (pixels.shape[1] // columns) + line // 4
        y = pixels.shape[0] + place // columns * line + line // 5
        draw.rectangle((x, y, x + line // 2, y + line // 2), fill=classes.colours[index], outline="grey")
        draw.text((x + line, y + line // 4), classes.names[index], fill="black", font=font, anchor="lm")
    return np.asarray(canvas)


def save_grid(path: Path, rows: Sequence[Sequence[Pixels]], headings: Sequence[str], classes: Classes) -> None:
    """A picture grid, one row an image and one column a heading, with the classes' colours below."""
    titles = [*headings, *[""] * (len(headings) * (len(rows) - 1))]
    panels = zip(titles, (pixels for row in rows for pixels in row), strict=True)
    save_panels(path, list(panels), classes, columns=len(headings))


def save_panels(path: Path, panels: Sequence[tuple[str, Pixels]], classes: Classes | None, *, columns: int) -> None:
    """Pictures with their titles, row by row, with the classes' colours below, if there are any to explain."""
    rows = -(-len(panels) // columns)
    height, width = panels[0][1].shape[:2]
    tall = _CELL * height / width
    titled = [any(title for title, _ in panels[row * columns : (row + 1) * columns]) for row in range(rows)]
    named = [] if classes is None else [*zip(classes.names, classes.colours, strict=True), ("void", _VOID_COLOUR)]
    size = (_CELL * columns, tall * rows + _LINE * (sum(titled) - (-len(named) // 6)))
    figure = Figure(figsize=size, dpi=150)
    # In inches; axes of its own for each panel would take two and a half times as long.
    axis = figure.add_axes((0, 0, 1, 1), xlim=(0, size[0]), ylim=(size[1], 0))
    axis.set_axis_off()
    for place, (title, pixels) in enumerate(panels):
        row, column = divmod(place, columns)
        x, top = (column + 0.5) * _CELL, row * tall + _LINE * sum(titled[: row + 1])
        y, own = top + tall / 2, pixels.shape[0] / pixels.shape[1]
        half = min(_CELL, tall / own) / 2 - _GAP
        extent = (x - half, x + half, y + half * own, y - half * own)
        axis.imshow(pixels, interpolation="nearest", extent=extent, aspect="auto")
        axis.text(x, top - 0.05, title, fontsize=9, horizontalalignment="center")
    patches = [
        Patch(
            facecolor=(colour[0] / 255, colour[1] / 255, colour[2] / 255), edgecolor="grey", linewidth=0.4, label=name
        )
        for name, colour in named
    ]
    if patches:
        figure.legend(handles=patches, loc="lower center", ncols=6, fontsize=8, frameon=False)
    write_aside(path, lambda aside: figure.savefig(aside, format="png"))


def palette(classes: Classes) -> Pixels:
    """(256,3): the class colours by index, void white."""
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(classes)] = classes.colours
    colours[IGNORE_INDEX] = _VOID_COLOUR
    return colours
