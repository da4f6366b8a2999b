"""A network's backbone alone, for training that knows no classes."""

from __future__ import annotations

from torch import Tensor

from segdistill.core.errors import RecipeError
from segdistill.core.outputs import SegOutput
from segdistill.models.network import SegmentationNetwork
from segdistill.models.segmenter import Segmenter


class BackboneOnly(SegmentationNetwork):
    """RGB in [0,1], N,3,H,W -> a `SegOutput` of the backbone's stages; its logits are empty.

    Its tensors are called as in the whole network: backbone.*

    Args:
        network: Whose backbone and normalization it shares.

    Raises:
        RecipeError: The network is of another library, whose backbone can't be started from a file.
    """

    def __init__(self, network: SegmentationNetwork) -> None:
        if not isinstance(network, Segmenter):
            raise RecipeError(
                "pretrain trains the backbone of a network that is made of a backbone and a head. Name the student so, "
                "as student={backbone: mobilenetv2_100, head: fcn}, or by a name of `segdistill list networks`."
            )
        mean, std = (values.flatten().tolist() for values in (network.mean, network.std))
        super().__init__(num_classes=network.num_classes, mean=mean, std=std, bgr=network.bgr)
        self.backbone, self.stage_fit = network.backbone, network.stage_fit
        self.input_channels, self.pixels = network.input_channels, network.pixels

    def forward(self, image: Tensor) -> SegOutput:
        features = self.stage_fit(self.backbone, self.normalize(image))
        return SegOutput(features[-1].new_zeros(len(image), self.num_classes, 1, 1), features[-1], features)
