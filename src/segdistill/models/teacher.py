"""A network as a teacher: it may have other classes than the student, and see another image size."""

from __future__ import annotations

from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.core.outputs import SegOutput
from segdistill.core.precision import DTYPES, Precision, computing_in
from segdistill.models.class_map import ClassMap
from segdistill.models.network import Section, SegmentationNetwork

_MATRICES = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)


class Teacher(SegmentationNetwork):
    """`network`, shown the image at `input_scale` times its size, with its scores mapped to the student's classes.

    RGB in [0,1], N,3,H,W -> the network's `SegOutput` of the image N,3,round(H scale),round(W scale) (bilinear,
    antialiased when shrinking). Every map stays on the network's own grid; methods bring grids together. Logits and
    auxiliary logits go through `class_map` (None: they are the student's classes already). Embedding and features are
    the network's own.

    Args:
        network: The trained network.
        class_map: From its classes to the student's.
        input_scale: Of the image's sides.
        precision: What the network computes in, whatever autocast is on around it. Its matrices and kernels are then
            kept in it, all else (norms, biases of norms, embeddings) in float32; logits are float32, the other maps as
            they come out.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        *,
        class_map: ClassMap | None = None,
        input_scale: float = 1.0,
        precision: Precision | None = None,
    ) -> None:
        mean, std = (values.flatten().tolist() for values in (network.mean, network.std))
        num_classes = network.num_classes if class_map is None else len(class_map.student)
        super().__init__(num_classes=num_classes, mean=mean, std=std, bgr=network.bgr)
        self.network = network
        self.class_map = class_map
        self.input_scale = input_scale
        self.keeps_tensors = network.keeps_tensors
        self.precision = precision
        if precision is not None:
            for module in network.modules():
                if isinstance(module, _MATRICES):
                    module.to(DTYPES[precision])

    def section_of(self, parameter: str) -> Section:
        """The network's own section of a parameter.

        Args:
            parameter: Its name, which begins with "network.".
        """
        return self.network.section_of(parameter.removeprefix("network."))

    def forward(self, image: Tensor) -> SegOutput:
        """The network's output for the image at the teacher's scale, with scores of the student's classes.

        Args:
            image: RGB (N,3,H,W) in [0,1].

        Returns:
            Logits (N,K,h,w) of the student's K classes, on the network's own grid; so auxiliary logits, if it has some.
        """
        output = self._compute(rescale(image, self.input_scale))
        if self.class_map is None:
            return output
        auxiliary = None if output.auxiliary is None else self.class_map(output.auxiliary)
        return replace(output, logits=self.class_map(output.logits), auxiliary=auxiliary)

    def _compute(self, image: Tensor) -> SegOutput:
        if self.precision is None:
            output: SegOutput = self.network(image)
            return output
        with computing_in(self.precision, image.device):
            output = self.network(image)
        auxiliary = None if output.auxiliary is None else output.auxiliary.float()
        return replace(output, logits=output.logits.float(), auxiliary=auxiliary)


def rescale(image: Tensor, scale: float) -> Tensor:
    """Images at another size; bilinear, antialiased when shrinking.

    Args:
        image: (N,3,H,W).
        scale: Of the sides.

    Returns:
        (N,3,round(H scale),round(W scale)), at least one pixel a side; `image` itself if `scale` is 1.
    """
    if scale == 1:
        return image
    height, width = (max(1, round(scale * side)) for side in image.shape[-2:])
    return F.interpolate(image, (height, width), mode="bilinear", align_corners=False, antialias=scale < 1)
