"""Class colours over images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from segdistill.data.streets import Streets
from segdistill.report.pictures import colourise, overlay


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_an_overlay_mixes_the_image_with_its_class_colours(alpha: float, layout: torch.memory_format) -> None:
    data = Streets(split="val", size=(45, 61))
    scene = data[0]
    image: Tensor = scene.image[None].contiguous(memory_format=layout)[0]
    mixed = overlay(image, scene.label, data.classes, alpha=alpha)
    plain = (1 - alpha) * image.permute(1, 2, 0).numpy() + alpha * colourise(scene.label, data.classes)
    assert mixed.dtype == np.uint8
    assert np.abs(mixed - plain).max() <= 0.5 + 1e-3
