"""Labels as files of pictures: palette masks, overlays with names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from segdistill.core.classes import Classes
from segdistill.core.colors import Pixels, palette
from segdistill.core.storage import write_aside

_NOTE = "segdistill"
"""The keyword of the text in a PNG."""


def save_mask(path: Path, label: Tensor, classes: Classes, *, note: str = "") -> None:
    """Write class indices as a PNG whose palette shows the class colors; readers get the indices.

    Args:
        path: of the PNG.
        label: class indices or void (H,W).
        classes: whose colors are taken.
        note: a text in the PNG, which `note_of` gives back.

    Raises:
        SegdistillError: the file can't be written.
    """
    mask = Image.fromarray(label.cpu().numpy().astype(np.uint8), mode="P")
    mask.putpalette(palette(classes).tobytes())
    texts = PngInfo()
    if note:
        texts.add_text(_NOTE, note)
    write_aside(path, lambda aside: mask.save(aside, format="PNG", pnginfo=texts))


def note_of(path: Path) -> str | None:
    """The text in a mask that `save_mask` wrote; None if there is no such file, or it has none.

    Args:
        path: of the PNG.
    """
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            return picture.info.get(_NOTE)
    except (OSError, SyntaxError, ValueError):
        return None


def save_picture(path: Path, pixels: Pixels) -> None:
    """Write a picture as PNG.

    Args:
        path: of the PNG.
        pixels: RGB uint8 (H,W,3).

    Raises:
        SegdistillError: the file can't be written.
    """
    write_aside(path, lambda aside: Image.fromarray(pixels).save(aside, format="PNG"))


def with_legend(pixels: Pixels, label: Tensor, classes: Classes) -> Pixels:
    """A picture with names and colors of the classes that it shows in a strip below.

    Args:
        pixels: RGB uint8 (H,W,3).
        label: class indices or void (H,W), whose classes are named.
        classes: their names and colors.

    Returns:
        RGB uint8 (H + strip,W,3).
    """
    present = [index for index in label.unique().tolist() if index < len(classes)]
    size = max(10, pixels.shape[0] // 40)
    font = ImageFont.load_default(size)
    line = round(size * 1.6)
    widths = [round(font.getlength(classes.names[index])) + 2 * line for index in present]
    columns = max(1, pixels.shape[1] // max(widths, default=1))
    canvas = Image.new("RGB", (pixels.shape[1], pixels.shape[0] + -(-len(present) // columns) * line), "white")
    canvas.paste(Image.fromarray(pixels))
    draw = ImageDraw.Draw(canvas)
    for row, index in enumerate(present):
        x = row % columns * (pixels.shape[1] // columns) + line // 4
        y = pixels.shape[0] + row // columns * line + line // 5
        draw.rectangle((x, y, x + line // 2, y + line // 2), fill=classes.colors[index], outline="grey")
        draw.text((x + line, y + line // 4), classes.names[index], fill="black", font=font, anchor="lm")
    return np.asarray(canvas)
