"""From an image to class indices; the one path of validation, evaluation and prediction."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segdistill.outputs import SegOutput, resize


def as_input(image: Tensor) -> Tensor:
    """uint8 (N,3,H,W) -> float32 in [0,1], in the memory layout that convolutions like best."""
    return (image.float() / 255).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def predict_scores(network: nn.Module, image: Tensor) -> Tensor:
    """Class scores (N,K,H,W) at the size of `image` (uint8 N,3,H,W), whole image at once; sets evaluation mode."""
    network.eval()
    output: SegOutput = network(as_input(image))
    return resize(output.logits.float(), (image.shape[-2], image.shape[-1]))


def predict_classes(network: nn.Module, image: Tensor) -> Tensor:
    """Class indices (N,H,W), int64, of `image` (uint8 N,3,H,W)."""
    return predict_scores(network, image).argmax(1)
