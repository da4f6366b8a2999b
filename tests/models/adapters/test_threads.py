"""One network that several threads ask at once, as a web service does."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import segdistill


class Slow(nn.Module):
    """Scores brightness, and takes its time between the classifier and the end of a pass."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Conv2d(3, 2, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        scores = self.classifier(pixels)
        time.sleep(0.05)
        return F.interpolate(scores, scale_factor=2.0)[..., ::2, ::2]


def test_threads_that_share_a_wrapped_network_get_the_answers_to_their_images() -> None:
    network = segdistill.wrap(Slow(), 2).eval()
    images = [torch.full((3, 8, 8), value, dtype=torch.uint8) for value in (0, 80, 160, 240)]
    alone = [network.predict(image).confidence for image in images]
    assert len({float(each[0, 0]) for each in alone}) == 4
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(network.predict, images))
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.confidence, other)
