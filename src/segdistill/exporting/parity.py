"""Whether a file gives what the network gives, at five sizes, odd ones among them, and for several images at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.core.errors import DataError, SegdistillError
from segdistill.core.pixels import RGB
from segdistill.data import create_dataset
from segdistill.exporting.graph import ExportGraph
from segdistill.models.exported.backends import Array, Backend, OnnxBackend, onnx_runtime, require_package
from segdistill.models.exported.description import ExportDescription, Precision
from segdistill.models.exported.network import as_batch
from segdistill.recipe.recipe import Recipe

SHAPES = ((1, 128, 192), (2, 97, 129), (1, 161, 96), (2, 65, 97), (1, 289, 545))
"""Images, height and width of the checks of a file for any size; the last is far larger than the traced one."""


@dataclass(frozen=True)
class Tolerance:
    """scores: largest difference of logits, as a share of the largest of them. pixels: share that may differ."""

    scores: float
    pixels: float


TOLERANCE: dict[Precision, Tolerance] = {
    "float32": Tolerance(1e-3, 1e-3), "float16": Tolerance(5e-2, 2e-2), "int8": Tolerance(5e-1, 1e-1),
}  # fmt: skip
"""Of int8, between the file and the network that was trained with its rounding: a sum may fall on either side of .5."""


@dataclass(frozen=True)
class ParityCheck:
    """One batch.

    Attributes:
        images: How many.
        height, width: Their size.
        difference: The largest difference of two logits; None if the file does not show its logits.
        scale: The largest absolute logit of the network.
        pixels: The share of pixels whose classes differ.
    """

    images: int
    height: int
    width: int
    difference: float | None
    scale: float
    pixels: float


@dataclass(frozen=True)
class Parity:
    """How a file compares with the network.

    Attributes:
        checks: Batch by batch.
        images: What they were made of: "validation images" or "generated images".
        tolerance: What was allowed.
    """

    checks: tuple[ParityCheck, ...]
    images: str
    tolerance: Tolerance

    @property
    def difference(self) -> float | None:
        """The largest of all differences of logits, if they are known."""
        differences = [check.difference for check in self.checks if check.difference is not None]
        return max(differences, default=None)

    @property
    def pixels(self) -> float:
        """The largest share of differing pixels."""
        return max(check.pixels for check in self.checks)

    def faults(self) -> list[str]:
        """The batches beyond the tolerance, in words."""
        return [
            f"{check.images} of {check.height}x{check.width}: "
            + ("" if check.difference is None else f"logits differ by {check.difference:.3g} of {check.scale:.3g}, ")
            + f"{100 * check.pixels:.3g} % of pixels differ"
            for check in self.checks
            if not _within(check, self.tolerance)
        ]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "difference": self.difference, "pixels": self.pixels}


def _within(check: ParityCheck, tolerance: Tolerance) -> bool:
    scores = check.difference is None or check.difference <= tolerance.scores * max(check.scale, 1e-6)
    return scores and check.pixels <= tolerance.pixels


def check_parity(graph: ExportGraph, backend: Backend, recipe: Recipe | None) -> Parity:
    """Compare an opened file with the network it was made from.

    Args:
        graph: The network, traced or not.
        backend: The file.
        recipe: Of the run, whose validation images are taken if they are there.

    Raises:
        SegdistillError: They differ by more than the tolerance, or the file can't be run at a size.
    """
    description = backend.description
    source, draw = images_of(recipe, description.pixels.channels)
    scores_of = _file_scores(backend)
    checks = tuple(_compare(graph, backend, scores_of, draw(*shape)) for shape in _shapes(description))
    parity = Parity(checks, source, TOLERANCE[description.precision])
    if parity.faults():
        hint = "" if description.size else " Export it for one size: size=512x1024."
        raise SegdistillError(
            f"The exported {backend.path.name} does not give what the network gives (allowed: logits within "
            f"{100 * parity.tolerance.scores:g} % of their scale, {100 * parity.tolerance.pixels:g} % of pixels):\n  "
            + "\n  ".join(parity.faults())
            + f"\nNothing was written.{hint}"
        )
    return parity


def _shapes(description: ExportDescription) -> tuple[tuple[int, int, int], ...]:
    """Images, height and width of each check."""
    if description.size is not None:
        return tuple((images, *description.size) for images in (1, 2, 3, 1))
    least = description.least
    return tuple((images, max(height, least), max(width, least)) for images, height, width in SHAPES)


def _compare(
    graph: ExportGraph, backend: Backend, scores_of: Callable[[Array], Array] | None, image: Tensor
) -> ParityCheck:
    """One batch of images (N,C,H,W)."""
    batch = as_batch(image, backend.description)
    with torch.no_grad():
        expected = graph.scores(torch.from_numpy(batch))
    try:
        answer = torch.from_numpy(np.ascontiguousarray(backend(batch)))
        scores = None if scores_of is None else torch.from_numpy(scores_of(batch))
    except Exception as error:  # each runtime has its own
        size = "x".join(map(str, image.shape[-2:]))
        raise SegdistillError(
            f"The exported {backend.path.name} can't be run on images of {size}: {error}. Nothing was written. "
            "Export it for one size, as size=512x1024."
        ) from error
    classes = answer if graph.outputs == "classes" else answer.argmax(1)
    scores = scores if graph.outputs == "classes" else answer
    return ParityCheck(
        images=len(image),
        height=image.shape[-2],
        width=image.shape[-1],
        difference=None if scores is None else float((scores - expected).abs().max()),
        scale=float(expected.abs().max()),
        pixels=float((classes.long() != expected.argmax(1)).float().mean()),
    )


def _file_scores(backend: Backend) -> Callable[[Array], Array] | None:
    """What gives the logits that a file of classes keeps inside, for ONNX: the file with them as a second output."""
    if backend.description.outputs != "classes" or not isinstance(backend, OnnxBackend):
        return None
    onnx, runtime = require_package("onnx", "reads .onnx files"), onnx_runtime()
    model = onnx.load(backend.path)
    argmax = [node for node in model.graph.node if node.op_type == "ArgMax"][-1]  # the network may have some inside
    model.graph.output.add().name = argmax.input[0]
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kept = argmax.input[0]

    def scores_of(batch: Array) -> Array:
        scores: Array = session.run([kept], {"image": batch})[0]
        return scores.astype(np.float32)

    return scores_of


def images_of(recipe: Recipe | None, channels: int = RGB) -> tuple[str, Callable[[int, int, int], Tensor]]:
    """Where images come from, and what draws (N,C,H,W) of them: validation images, or generated ones."""
    try:
        data = create_dataset(recipe.data, "val") if recipe is not None else None
    except (DataError, SegdistillError):
        data = None
    if data is None or not len(data):
        return "generated images", partial(_generated, channels=channels)

    def drawn(images: int, height: int, width: int) -> Tensor:
        picked = [data[(number * len(data)) // images].image for number in range(images)]
        return torch.stack([_cut(image, height, width) for image in picked])

    return "validation images", drawn


def _cut(image: Tensor, height: int, width: int) -> Tensor:
    """The middle of an image (C,H,W), enlarged if it is smaller than that."""
    factor = max(height / image.shape[1], width / image.shape[2], 1.0)
    if factor > 1:
        size = [max(side, round(old * factor)) for side, old in zip((height, width), image.shape[1:], strict=True)]
        larger = F.interpolate(image[None].float(), size, mode="bilinear")[0]
        image = larger if image.is_floating_point() else larger.round().to(torch.uint8)
    top, left = (image.shape[1] - height) // 2, (image.shape[2] - width) // 2
    return image[:, top : top + height, left : left + width]


def _generated(images: int, height: int, width: int, channels: int = RGB) -> Tensor:
    """Soft patches of color with noise: enough to give different classes in different places."""
    generator = torch.Generator().manual_seed(images * height + width)
    soft = F.interpolate(torch.rand(images, channels, 6, 8, generator=generator), (height, width), mode="bicubic")
    noise = torch.rand(images, channels, height, width, generator=generator)
    return ((0.9 * soft + 0.1 * noise).clamp(0, 1) * 255).to(torch.uint8)
