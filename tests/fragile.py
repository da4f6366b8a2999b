"""A network with a usual defect: it divides by the spread of its features, which an image of one color has not."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Spread(nn.Module):
    """(x - least) / (sqrt(most - least) + epsilon) of each image; of one color: 0 / epsilon, and no gradient."""

    def __init__(self, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        least, most = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        return (x - least) / ((most - least).sqrt() + self.epsilon)


class Large(nn.Sequential):
    """Its features reach a million, which fp16 does not hold."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 4, stride=4)
        self.norm = nn.BatchNorm2d(6)
        self.classifier = nn.Conv2d(6, num_classes, 1)
        with torch.no_grad():
            self.stem.weight.mul_(1e6)


class Fragile(nn.Module):
    """epsilon 0: scores of an image of one color are not finite; 1e-5: only their gradients are not."""

    def __init__(self, num_classes: int, epsilon: float = 0.0) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 4, stride=4, bias=False)
        self.spread = Spread(epsilon)
        self.norm = nn.BatchNorm2d(6)
        self.classifier = nn.Conv2d(6, num_classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        scores: Tensor = self.classifier(torch.relu(self.norm(self.spread(self.stem(image)))))
        return scores
