"""Several networks that are one teacher."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segdistill.core.outputs import SegOutput, resize
from segdistill.models.network import SegmentationNetwork


class Ensemble(SegmentationNetwork):
    """The mean of the probabilities of several networks of the same K classes.

        logits = log( 1/M * sum over m of softmax_K(z_m) ),   z_m (N,K,h,w) on the finest grid of the M networks

    There is nothing else to compare with: the embedding has no channels, and there are no features.

    Args:
        networks: M of them; each sees the image in its own way.
    """

    def __init__(self, networks: Sequence[SegmentationNetwork]) -> None:
        first = networks[0]
        mean, std = (values.flatten().tolist() for values in (first.mean, first.std))
        super().__init__(num_classes=first.num_classes, mean=mean, std=std)
        self.networks = nn.ModuleList(networks)
        self.keeps_tensors = any(network.keeps_tensors for network in networks)

    def forward(self, image: Tensor) -> SegOutput:
        scores = [network(image).logits.float() for network in self.networks]
        height, width = (max(each.shape[axis] for each in scores) for axis in (-2, -1))
        logs = [resize(each, (height, width)).log_softmax(1) for each in scores]
        logits = torch.stack(logs).logsumexp(0) - math.log(len(logs))
        return SegOutput(logits=logits, embedding=logits[:, :0], features=())
