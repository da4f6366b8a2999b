"""Auxiliary heads: outputs that only training reads, and what their labels are."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.core.classes import IGNORE_INDEX
from segdistill.models.heads import Head
from segdistill.models.spec import Predicts


class LabelEdges(nn.Module):
    """Labels (N,H,W) -> where they change: (N,H,W), 1 within `width` pixels of a change, 0 elsewhere.

    A change is between a pixel and its right or lower neighbor; void changes nothing.

    Source: Xu et al., "PIDNet", arXiv 2206.02066, whose published code finds the changes by Canny's filter.

    Args:
        width: Side of the square that every change is widened to.
    """

    outputs = 1

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.width = width

    def forward(self, label: Tensor) -> Tensor:
        """Where the labels change.

        Args:
            label: Integers (N,H,W), 255 is void.

        Returns:
            float32 (N,H,W), 0 or 1.
        """
        valid = label != IGNORE_INDEX
        edges = torch.zeros(label.shape, device=label.device)
        edges[:, :-1] = (valid[:, :-1] & valid[:, 1:] & (label[:, :-1] != label[:, 1:])).float()
        right = valid[..., :-1] & valid[..., 1:] & (label[..., :-1] != label[..., 1:])
        edges[..., :-1] = torch.maximum(edges[..., :-1], right.float())
        before = self.width // 2
        padded = F.pad(edges, (before, self.width - 1 - before, before, self.width - 1 - before))
        return F.max_pool2d(padded, self.width, 1)


class LabelDetails(nn.Module):
    """Labels (N,H,W) -> (N,H,W), 1 where a Laplacian of the labels answers at strides 1, 2 or 4, weighted; 0 elsewhere.

    Void counts as the class it has the number of, as published: it is left out of the loss, not of the filter.

    Source: Fan et al., arXiv 2104.13188. Kernels and threshold are kept with the weights, as in published files.

    Args:
        threshold: Answers above it count.
    """

    outputs = 2
    laplacian_kernel: Tensor
    fusion_kernel: nn.Parameter

    def __init__(self, threshold: float = 0.1) -> None:
        super().__init__()
        self.threshold = threshold
        self.register_buffer("laplacian_kernel", torch.tensor([[[[-1.0, -1, -1], [-1, 8, -1], [-1, -1, -1]]]]))
        # A parameter that nothing trains, as published.
        self.fusion_kernel = nn.Parameter(torch.tensor([0.6, 0.3, 0.1]).view(1, 3, 1, 1), requires_grad=False)

    @torch.no_grad()
    def forward(self, label: Tensor) -> Tensor:
        """Where the labels have details.

        Args:
            label: Integers (N,H,W), 255 is void.

        Returns:
            (N,H,W) in the kernel's type, 0 or 1, without a gradient.
        """
        values = label[:, None].to(self.laplacian_kernel.dtype)
        maps = []
        for stride in (1, 2, 4):
            answers = F.conv2d(values, self.laplacian_kernel, stride=stride, padding=1)
            maps.append(F.interpolate((answers > self.threshold).to(values.dtype), label.shape[-2:], mode="nearest"))
        fused = F.conv2d(torch.cat(maps, dim=1), self.fusion_kernel)
        return (fused > self.threshold).to(values.dtype)[:, 0]


TARGETS: dict[Predicts, type[LabelEdges] | type[LabelDetails] | None] = {
    "classes": None,
    "edges": LabelEdges,
    "details": LabelDetails,
}
"""What an auxiliary head predicts -> what makes its target of the labels; None for the labels themselves."""


class AuxiliaryHead(nn.Module):
    """A head with its own classifier: the backbone's features -> logits (N,K or 1 or 2,h,w).

    Args:
        head: Makes the embedding.
        num_classes: K.
        predicts: What the logits are of, see `AuxiliarySpec`.
    """

    def __init__(self, head: Head, num_classes: int, predicts: Predicts = "classes") -> None:
        super().__init__()
        make = TARGETS[predicts]
        self.predicts = predicts
        self.head = head
        self.target = make() if make is not None else None
        self.classifier = nn.Conv2d(head.channels, make.outputs if make is not None else num_classes, 1)

    def forward(self, features: tuple[Tensor, ...], dropout: nn.Module) -> Tensor:
        """The logits of what the head predicts.

        Args:
            features: The backbone's stages (N,C_i,h_i,w_i), finest first.
            dropout: The network's own, before the classifier.

        Returns:
            (N,K,h,w) of classes, (N,1,h,w) of edges or (N,2,h,w) of details, at the head's stride.
        """
        logits: Tensor = self.classifier(dropout(self.head(features)))
        return logits
