"""A folder of images with four channels of 16 bits, in which the fourth one shows the class best."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

RANGE = "data.range=[0, 4000]"


def four_channels(seed: int, size: tuple[int, int] = (32, 48)) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """An image (H,W,4), uint16, and its label (H,W)."""
    rng = np.random.default_rng(seed)
    label = np.zeros(size, np.uint8)
    label[:, seed * 3 % 20 : seed * 3 % 20 + 20] = 1
    pixels = rng.integers(0, 2000, (*size, 4)).astype(np.uint16)
    pixels[..., 3] = 400 + 3000 * label.astype(np.uint16) + pixels[..., 3] // 8
    return pixels, label


def write_folder(root: Path, count: int = 10) -> Path:
    """images/*.tif (interleaved and planar) and one .npy, masks/*.png, classes.txt."""
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number in range(count):
        pixels, label = four_channels(number)
        if number == 1:
            np.save(root / "images" / "1.npy", pixels)
        elif number % 2:
            planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
            tifffile.imwrite(
                root / "images" / f"{number}.tif", planes, photometric="minisblack", planarconfig="separate"
            )
        else:
            tifffile.imwrite(root / "images" / f"{number}.tif", pixels, photometric="minisblack", planarconfig="contig")
        Image.fromarray(label).save(root / "masks" / f"{number}.png")
    (root / "classes.txt").write_text("ground\nplant\n")
    return root
