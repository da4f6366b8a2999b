"""Class colors over images, and grids of pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from segdistill.core.classes import Classes
from segdistill.core.colors import colorise, overlay
from segdistill.data.datasets.streets import Streets
from segdistill.reporting.curves import journal, save_curves
from segdistill.reporting.pictures import save_grid, save_panels


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_an_overlay_mixes_the_image_with_its_class_colors(alpha: float, layout: torch.memory_format) -> None:
    data = Streets(split="val", size=(45, 61))
    scene = data[0]
    image: Tensor = scene.image[None].contiguous(memory_format=layout)[0]
    mixed = overlay(image, scene.label, data.classes, alpha=alpha)
    plain = (1 - alpha) * image.permute(1, 2, 0).numpy() + alpha * colorise(scene.label, data.classes)
    assert mixed.dtype == np.uint8
    assert np.abs(mixed - plain).max() <= 0.5 + 1e-3


def test_pictures_of_a_grid_keep_their_shapes(tmp_path: Path) -> None:
    """A wide image, a tall and a square one, in one grid."""
    sizes = {(255, 0, 0): (60, 90), (0, 255, 0): (90, 60), (0, 0, 255): (70, 70)}
    rows = [[np.full((*size, 3), color, np.uint8)] for color, size in sizes.items()]
    save_grid(tmp_path / "grid.png", rows, ["image"], Streets.classes)
    grid = np.asarray(Image.open(tmp_path / "grid.png").convert("RGB"))
    for color, (height, width) in sizes.items():
        ys, xs = np.nonzero((grid == color).all(-1))
        shown = np.ptp(ys) + 1, np.ptp(xs) + 1
        assert len(ys) > 0.98 * shown[0] * shown[1]
        assert shown[0] / shown[1] == pytest.approx(height / width, rel=0.03)


def test_names_are_no_formulas(tmp_path: Path) -> None:
    name = r"$\foo$ and $"
    classes = Classes((name, "b"), ((1, 2, 3), (4, 5, 6)))
    save_panels(tmp_path / "x.png", [(name, np.zeros((8, 8, 3), np.uint8))], classes, columns=1)
    assert (tmp_path / "x.png").is_file()


def test_validations_without_a_label_are_left_out_of_curves(tmp_path: Path) -> None:
    lines = [{"kind": "validation", "step": step, "miou": miou} for step, miou in ((1, None), (2, 3.0))]
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert [each["miou"] for each in journal(tmp_path)] == [None, 3.0]
    save_curves(tmp_path / "curves.png", {"run": tmp_path})
    assert (tmp_path / "curves.png").is_file()
