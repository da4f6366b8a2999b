"""A better answer than that of one network to one picture: the mean over several networks, or over several views."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segdistill.core.outputs import SegOutput, resize
from segdistill.models.network import Section, SegmentationNetwork
from segdistill.models.teacher import rescale


class Ensemble(SegmentationNetwork):
    """The mean of the probabilities of several networks of the same K classes.

        logits = log( 1/M * sum over m of softmax_K(z_m) ) + 1/M * sum over m of logsumexp_K(z_m)

    with z_m (N,K,h,w) on the finest grid of the M networks.

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

    def section_of(self, parameter: str) -> Section:
        """Which section of its network a parameter belongs to.

        Args:
            parameter: Its name, which begins with "networks." and the network's number.
        """
        _, number, name = parameter.split(".", 2)
        network = self.networks[int(number)]
        assert isinstance(network, SegmentationNetwork)
        return network.section_of(name)

    def forward(self, image: Tensor) -> SegOutput:
        """The mean over the networks.

        Args:
            image: RGB (N,3,H,W) in [0,1].

        Returns:
            Logits (N,K,h,w) in float32, whose softmax is the mean; an empty embedding, and no features.
        """
        scores = [network(image).logits.float() for network in self.networks]
        height, width = (max(each.shape[axis] for each in scores) for axis in (-2, -1))
        return _mean([resize(each, (height, width)) for each in scores])


class Views(SegmentationNetwork):
    """The mean of a network's probabilities over an image at several scales, and over its mirror image.

    As `Ensemble`, on the grid that the network's logits of the image itself have.

    Args:
        network: Is asked once a view.
        scales: Of the image's sides.
        flip: Whether each is also seen mirrored.
    """

    def __init__(self, network: SegmentationNetwork, scales: Sequence[float], *, flip: bool) -> None:
        mean, std = (values.flatten().tolist() for values in (network.mean, network.std))
        super().__init__(num_classes=network.num_classes, mean=mean, std=std)
        self.network, self.scales, self.flip = network, tuple(scales), flip
        self.keeps_tensors = network.keeps_tensors

    def extra_repr(self) -> str:
        return f"scales={self.scales}, flip={self.flip}"

    def forward(self, image: Tensor) -> SegOutput:
        """The mean over the views; each runs through the network by itself.

        Args:
            image: RGB (N,3,H,W) in [0,1].

        Returns:
            Logits (N,K,h,w) in float32, whose softmax is the mean; an empty embedding, and no features.
        """
        scores = []
        for scale in self.scales:
            scaled = rescale(image, scale)
            scores.append(self.network(scaled).logits.float())
            if self.flip:
                scores.append(self.network(scaled.flip(3)).logits.float().flip(3))
        whole = scores[self.scales.index(1.0) * (1 + self.flip)] if 1.0 in self.scales else self.network(image).logits
        return _mean([resize(each, (whole.shape[-2], whole.shape[-1])) for each in scores])


def _mean(scores: Sequence[Tensor]) -> SegOutput:
    """Logits (N,K,h,w) whose softmax is the mean of the probabilities, and nothing else.

    A softmax over classes leaves a pixel's level open, logsumexp_K(z): it is the mean of the networks' levels. Methods
    that compare a class's scores across pixels (cwd), or mask them (bpkd), read it.
    """
    levels = torch.stack([each.logsumexp(1, keepdim=True) for each in scores])
    logits = torch.stack([each.log_softmax(1) for each in scores]).logsumexp(0) - math.log(len(scores)) + levels.mean(0)
    return SegOutput(logits=logits, embedding=logits[:, :0], features=())
