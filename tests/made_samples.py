"""Samples that tests make up: given labels, or noise."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from segdistill.data.base import Sample

HEIGHT, WIDTH = 40, 60
ROWS, COLUMNS = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")


def seeded(seed: int) -> Generator:
    """A generator of random numbers."""
    return torch.Generator().manual_seed(seed)


def sample_of(label: Tensor, image: Tensor | None = None) -> Sample:
    """A sample of a label (H,W) and its image, by default black."""
    label = label.to(torch.uint8)
    return Sample(torch.zeros(3, *label.shape, dtype=torch.uint8) if image is None else image, label, "x")


def noise(height: int, width: int, values: tuple[int, ...] = (0, 1, 2)) -> Sample:
    """A sample of random pixels and labels."""
    image = torch.randint(256, (3, height, width), dtype=torch.uint8, generator=seeded(1))
    choice = torch.randint(len(values), (height, width), generator=seeded(2))
    return sample_of(torch.tensor(values)[choice], image)
