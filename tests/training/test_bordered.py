"""What a coarse map says of an image stays where it is in the image."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.core.outputs import SegOutput
from segdistill.models.network import SegmentationNetwork
from segdistill.training.bordered import Bordered


class Means(SegmentationNetwork):
    """The mean of each square of 16 pixels; one that is cut off counts whole, as with padded convolutions."""

    def __init__(self) -> None:
        super().__init__(num_classes=3, mean=(0, 0, 0), std=(1, 1, 1))

    def forward(self, image: Tensor) -> SegOutput:
        height, width = image.shape[-2:]
        logits = F.avg_pool2d(F.pad(image, (0, -width % 16, 0, -height % 16), mode="replicate"), 16)
        return SegOutput(logits, logits, ())


@pytest.mark.parametrize("size", [(360, 480), (96, 72), (100, 90)])
def test_a_ramp_keeps_its_place(size: tuple[int, int]) -> None:
    height, width = size
    rows = torch.arange(height).float()[:, None].expand(size)
    columns = torch.arange(width).float().expand(size)
    image = torch.stack([rows, columns, rows])[None]
    plain, cut = (
        F.interpolate(network(image).logits, size, mode="bilinear")[..., 16:-24, 16:-24]
        for network in (Means(), Bordered(Means(), 16))
    )
    expected = image[..., 16:-24, 16:-24]
    assert (cut - expected).abs().max() < 0.25  # of a pixel, in the cells beside the border
    if height % 16:
        assert (plain - expected).abs().max() > 2


def test_where_nothing_is_missing_it_is_the_network() -> None:
    image = torch.rand(2, 3, 32, 48)
    assert torch.equal(Bordered(Means(), 16)(image).logits, Means()(image).logits)
