"""The network as a file has it: image in, classes or logits out, and no Python in between."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from segdistill.core.errors import SegdistillError
from segdistill.core.outputs import resize
from segdistill.models.channels import image_channels
from segdistill.models.exported.backends import first_line
from segdistill.models.exported.description import Input, Outputs
from segdistill.models.network import SegmentationNetwork
from segdistill.models.probing import fit

ODD = (97, 129)
"""(H,W) that a network for any size is traced at: no stride divides it, so no two maps agree by chance."""

_UNBOUNDED = 1 << 20
"""A side in pixels that no image has."""


class ExportGraph(nn.Module):
    """What is traced: the network between the input and the outputs that were asked for.

    Args:
        network: In evaluation mode, on the processor.
        input: What `forward` takes.
        outputs: What it gives.
        align_corners: Of the bilinear resizing of logits to the image's size.
        size_divisor: What the sides of images are brought to multiples of, see `InferenceConfig`; not for
            outputs=small.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        input: Input,
        outputs: Outputs,
        *,
        align_corners: bool,
        size_divisor: int = 1,
    ) -> None:
        super().__init__()
        self.network = network
        self.input, self.outputs, self.align_corners = input, outputs, align_corners
        self.size_divisor = 1 if outputs == "small" else size_divisor

    def scores(self, image: Tensor) -> Tensor:
        """RGB as `input` says -> logits, (N,K,H,W), or (N,K,h,w) for outputs=small."""
        pixels = image.permute(0, 3, 1, 2).float() / 255 if self.input == "uint8" else image
        height, width = pixels.shape[-2:]
        pixels = fit(pixels, divisor=self.size_divisor)
        logits: Tensor = self.network(pixels).logits.float()
        if self.outputs == "small":
            return logits
        scores = resize(logits, (pixels.shape[-2], pixels.shape[-1]), align_corners=self.align_corners)
        return scores[..., :height, :width] if self.size_divisor > 1 else scores

    def forward(self, image: Tensor) -> Tensor:
        """RGB as `input` says -> what `outputs` says; classes as uint8, or int32 if there are more than 256."""
        scores = self.scores(image)
        if self.outputs != "classes":
            return scores
        return scores.argmax(1).to(torch.uint8 if self.network.num_classes <= 256 else torch.int32)

    def example(self, batch: int, size: tuple[int, int]) -> Tensor:
        """Images without meaning, as `input` says."""
        channels = image_channels(self.network)
        if self.input == "uint8":
            return torch.zeros(batch, *size, channels, dtype=torch.uint8)
        return torch.zeros(batch, channels, *size)


@dataclass(frozen=True)
class Traced:
    """A traced network.

    Attributes:
        least: The smallest height and width that the trace holds for.
        most: The largest ones, which a .pt2 insists on; None if there is no bound.
    """

    program: torch.export.ExportedProgram
    least: int
    most: tuple[int, int] | None = None


def trace(graph: ExportGraph, size: tuple[int, int] | None) -> Traced:
    """Trace the graph, for batches of any number of images.

    Args:
        graph: The network between its input and outputs.
        size: (H,W) of the images, or None for any.

    Raises:
        SegdistillError: The network does something that a file can't express.
    """
    image = graph.example(2, size or ODD)
    sides = (1, 2) if graph.input == "uint8" else (2, 3)
    free = (0,) if size else (0, *sides)
    shapes = dict.fromkeys(free, torch.export.Dim.DYNAMIC)
    try:
        with torch.no_grad():
            program = torch.export.export(graph.eval(), (image,), dynamic_shapes=(shapes,), strict=False)
    except Exception as error:  # torch has an exception for every stage of tracing
        _try(graph, image, size or ODD)
        what = "x".join(map(str, size)) if size else "any size"
        hint = "Only networks that torch.export can trace can be exported" if size else "Give a size, as size=512x1024"
        raise SegdistillError(
            f"The network can't be traced for images of {what}: {first_line(error)}. {hint}."
        ) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine, which go into the file
    if size:
        return Traced(program, 1)
    bounds = [_bounds(program, side) for side in sides]
    most = [high for _, high in bounds]
    return Traced(program, max(low for low, _ in bounds), (most[0], most[1]) if min(most) < _UNBOUNDED else None)


def _try(graph: ExportGraph, image: Tensor, size: tuple[int, int]) -> None:
    """Refuse a size that the network itself can't be run at, whatever the file.

    Raises:
        SegdistillError: It is one.
    """
    try:
        with torch.no_grad():
            graph(image)
    except Exception as error:
        raise SegdistillError(
            f"The network does not take images of {size[0]}x{size[1]} (height x width): {first_line(error)}. Give a "
            "size that it takes, as size=512x1024."
        ) from error


def _bounds(program: torch.export.ExportedProgram, axis: int) -> tuple[int, int]:
    """The smallest and largest value of an axis of the input for which the trace holds."""
    image = [node for node in program.graph.nodes if node.op == "placeholder"][-1].meta["val"]
    side = image.shape[axis]
    bounds = program.range_constraints.get(side.node.expr) if isinstance(side, torch.SymInt) else None
    if bounds is None:
        return 1, _UNBOUNDED
    return int(bounds.lower), int(bounds.upper) if bounds.upper < _UNBOUNDED else _UNBOUNDED
