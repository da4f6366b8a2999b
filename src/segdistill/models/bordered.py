"""Images of any size through a network whose stride may not divide it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.core.outputs import SegOutput
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
            shares = [side / whole for side, whole in zip(image.shape[-2:], wide.shape[-2:], strict=True)]
            logits = _beginning(logits, shares[0], shares[1])
        return SegOutput(logits=logits, embedding=logits[:, :0], features=())


def _beginning(maps: Tensor, high: float, broad: float) -> Tensor:
    """The upper share `high` and the left share `broad` of maps (N,C,h,w), on a grid of their own."""
    rows, columns = (max(1, round(n * share)) for n, share in zip(maps.shape[-2:], (high, broad), strict=True))
    y, x = (
        2 * share * (torch.arange(n, device=maps.device) + 0.5) / n - 1 for n, share in ((rows, high), (columns, broad))
    )
    grid = torch.stack([x.expand(rows, -1), y[:, None].expand(-1, columns)], -1)
    grid = grid.expand(len(maps), -1, -1, -1)
    return F.grid_sample(maps.float(), grid, padding_mode="border", align_corners=False)
