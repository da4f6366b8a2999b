"""Batch norm over the joint batch of all processes."""

from __future__ import annotations

import torch
from timm.layers import BatchNormAct2d, convert_sync_batchnorm
from torch import nn

from segdistill.models.layers import BatchNorm

_USUAL = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, BatchNormAct2d, BatchNorm)
"""Exactly these: a method's norm that leaves void out sums over the processes by itself."""


def synchronize_norms(model: nn.Module, enabled: bool | None, device: torch.device, processes: int) -> None:
    """Let batch norms take mean and variance over all processes' batches.

    They keep their names, weights and statistics, so what is saved is an ordinary network. One process has the joint
    batch already. Torch knows no such norm for processors.

    Args:
        model: Whose norms are replaced, in place.
        enabled: Whether to; None: on CUDA.
        device: That the model is trained on.
        processes: How many train together.
    """
    if enabled is None:
        enabled = device.type == "cuda"
    if not enabled or processes == 1:
        return
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) in _USUAL:
                setattr(parent, name, convert_sync_batchnorm(child))
