"""Images of any size through a teacher whose stride may not divide it."""

from __future__ import annotations

import torch
from torch import Tensor

from segdistill.core.outputs import SegOutput
from segdistill.data.views import View
from segdistill.models.network import SegmentationNetwork
from segdistill.models.probing import fit


class Bordered(SegmentationNetwork):
    """A network that sees images with sides that are multiples of a divisor, and of which the logits cover the image.

    The border is repeated at the bottom and on the right, and what the logits say there is cut off. Without that, 23
    rows of stride 16 cover 368 pixels, and count as an image of 360.

    Args:
        network: Gives logits that cover what it sees.
        divisor: A multiple of its stride.
    """

    def __init__(self, network: SegmentationNetwork, divisor: int) -> None:
        mean, std = (values.flatten().tolist() for values in (network.mean, network.std))
        super().__init__(num_classes=network.num_classes, mean=mean, std=std)
        self.network, self.divisor = network, divisor
        self.keeps_tensors = network.keeps_tensors

    def extra_repr(self) -> str:
        return f"divisor={self.divisor}"

    def forward(self, image: Tensor) -> SegOutput:
        """The network's logits.

        Args:
            image: RGB (N,3,H,W) in [0,1].

        Returns:
            Logits (N,K,h,w) on a grid of about the network's stride, bilinearly where its cells do not end where the
            image does; an empty embedding, and no features.
        """
        wide = fit(image, divisor=self.divisor)
        logits: Tensor = self.network(wide).logits
        if wide.shape != image.shape:
            (height, width), (high, broad) = image.shape[-2:], wide.shape[-2:]
            view = View((high, broad), (0, 0), (height, width), (height, width), flipped=False)
            cells = round(logits.shape[-2] * height / high), round(logits.shape[-1] * width / broad)
            logits = torch.stack([view.of(each, (max(1, cells[0]), max(1, cells[1]))) for each in logits])
        return SegOutput(logits=logits, embedding=logits[:, :0], features=())
