"""Any `nn.Module` that scores classes, as a network of this library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.core.outputs import SegOutput
from segdistill.models.adapters.finding import evaluating, find
from segdistill.models.adapters.taps import Tap, as_map, maps_in, scores_in, submodule, tap
from segdistill.models.network import Part, SegmentationNetwork

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_INPUT = ":input"


class ModuleNetwork(SegmentationNetwork):
    """A wrapped module that maps normalised images N,3,H,W to class scores.

    The scores may be a tensor, the first of a tuple or list, 'out' or 'logits' of a mapping, or an object's .logits.
    The module runs once here, in evaluation mode, to find its classifier: the last convolution or linear layer with K
    outputs that gives the scores, as they are or resized. Its output is the logits and its input the embedding, at
    their own stride, whatever the module does to the scores afterwards. Where no single layer gives the scores (a sum
    of two classifiers) the logits are the first map that equals them, or the scores themselves, and the embedding is
    the input of the last such layer. A layer on tokens, (N,L,C) or (N,h,w,C), is read as a map.

    classifier: path of the classifier in the module, to name it instead; "output" takes the scores as logits and as
    embedding. features: paths of modules whose output holds feature maps, or "path:input" for what goes in; default
    the embedding alone. auxiliary: path of a second head whose scores are returned while training, default the
    module's child called aux...; backbone: path whose parameters are the backbone's, default all but the classifier.
    divisor: what sides of images must be multiples of (images are padded with their border at the bottom and right,
    and the maps cut back), default found by trying. size: H,W of the images that the module takes, if it takes one
    only; images are resized to it, and the maps stay on the grid of that size.
    Errors: `RecipeError` for a path that is not there, a classifier that can't be told, other than `num_classes`
    scores. num_classes: None for as many as the module has.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        num_classes: int | None = None,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        bgr: bool = False,
        classifier: str | None = None,
        features: Sequence[str] = (),
        auxiliary: str | None = None,
        backbone: str | None = None,
        divisor: int | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        auxiliary = auxiliary if auxiliary is not None else _auxiliary_child(module)
        for path in (auxiliary, backbone):
            if path is not None:
                submodule(module, path)
        found = find(module, num_classes, classifier=classifier, exclude=auxiliary, divisor=divisor, size=size)
        super().__init__(num_classes=found.num_classes, mean=mean, std=std, bgr=bgr)
        self.module = module
        self.found = found
        self.size = size
        self._auxiliary = auxiliary
        self._backbone = backbone
        self._features = tuple(features)
        paths = {path.removesuffix(_INPUT) for path in (found.scores, found.embedding, auxiliary, *features) if path}
        self._taps: dict[str, Tap] = {path: tap(module, path) for path in sorted(paths)}

    def forward(self, image: Tensor) -> SegOutput:
        pixels = fit(self.normalise(image), divisor=self.found.divisor, size=self.size)
        returned = self.module(pixels)
        found = self.found
        scores = scores_in(returned) if found.scores is None else self._taps[found.scores].output
        on_tokens = found.channels_last and found.scores == found.embedding
        logits = self._as_map(scores, image, pixels, channels_last=on_tokens or scores.ndim == 3)
        embedding = logits
        if found.embedding is not None:
            value = self._taps[found.embedding].input
            embedding = self._as_map(value, image, pixels, channels_last=found.channels_last)
        maps = [
            self._cut(feature, image, pixels)
            for path in self._features
            for feature in maps_in(self._tapped(path))
            if feature is not pixels  # smp's encoders return the image too
        ]
        auxiliary = self._auxiliary_logits(image, pixels) if self.training else None
        for each in self._taps.values():
            each.clear()
        features = tuple(sorted(maps, key=lambda feature: -feature.shape[-2])) or (embedding,)
        return SegOutput(logits=logits, embedding=embedding, features=features, auxiliary=auxiliary)

    def part_of(self, parameter: str) -> Part:
        path = parameter.removeprefix("module.")
        if self._auxiliary is not None and path.startswith(f"{self._auxiliary}."):
            return "auxiliary"
        if self._backbone is not None:
            return "backbone" if path.startswith(f"{self._backbone}.") else "head"
        classifier = self.found.scores or self.found.embedding
        return "head" if classifier is not None and path.startswith(f"{classifier}.") else "backbone"

    def _tapped(self, path: str) -> Any:
        tapped = self._taps[path.removesuffix(_INPUT)]
        return tapped.input if path.endswith(_INPUT) else tapped.output

    def _auxiliary_logits(self, image: Tensor, pixels: Tensor) -> Tensor | None:
        """The auxiliary head's scores; None if it did not run or gives something else."""
        output = self._taps[self._auxiliary].output if self._auxiliary is not None else None
        if not isinstance(output, Tensor) or output.ndim != 4 or output.shape[1] != self.num_classes:
            return None
        return self._cut(output, image, pixels)

    def _as_map(self, value: Tensor, image: Tensor, pixels: Tensor, *, channels_last: bool) -> Tensor:
        size = (pixels.shape[-2], pixels.shape[-1])
        return self._cut(as_map(value, size, channels_last=channels_last), image, pixels)

    def _cut(self, maps: Tensor, image: Tensor, pixels: Tensor) -> Tensor:
        return maps if self.size is not None else cut(maps, image, pixels)


def freeze_unused(network: SegmentationNetwork) -> None:
    """Freeze parameters that no output depends on, such as a last norm that nobody reads.

    Distributed training waits for the gradient of every parameter that trains. The auxiliary head is left alone: it
    speaks while training only.
    """
    parameter = next(network.parameters(), torch.zeros(()))
    with evaluating(network), torch.enable_grad():
        output = network(torch.zeros(1, 3, 64, 96, device=parameter.device))
        total = torch.stack([part.float().sum() for part in (output.logits, output.embedding, *output.features)]).sum()
    named = [entry for entry in network.named_parameters() if entry[1].requires_grad]
    trained = [each for name, each in named if network.part_of(name) != "auxiliary"]
    if not trained:
        return
    for each, gradient in zip(trained, torch.autograd.grad(total, trained, allow_unused=True), strict=True):
        each.requires_grad_(gradient is not None)


def fit(pixels: Tensor, *, divisor: int = 1, size: tuple[int, int] | None = None) -> Tensor:
    """Images (N,3,H,W) resized to `size`, or padded with their border to multiples of `divisor`."""
    height, width = pixels.shape[-2:]
    if size is not None:
        if (height, width) == tuple(size):
            return pixels
        return F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True)
    bottom, right = -height % divisor, -width % divisor
    return F.pad(pixels, (0, right, 0, bottom), mode="replicate") if bottom or right else pixels


def cut(maps: Tensor, image: Tensor, padded: Tensor) -> Tensor:
    """The part of maps (N,C,h,w) of the `padded` image that covers `image`; a cell that covers any of it stays."""
    if image.shape[-2:] == padded.shape[-2:]:
        return maps
    height = -(-maps.shape[-2] * image.shape[-2] // padded.shape[-2])
    width = -(-maps.shape[-1] * image.shape[-1] // padded.shape[-1])
    return maps[..., :height, :width]


def wrap(
    module: nn.Module,
    num_classes: int,
    *,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    bgr: bool = False,
    classifier: str | None = None,
    features: Sequence[str] = (),
    auxiliary: str | None = None,
    backbone: str | None = None,
    divisor: int | None = None,
    size: tuple[int, int] | None = None,
) -> ModuleNetwork:
    """`module`, which maps normalised images N,3,H,W to scores of K = `num_classes` classes, as a network.

    mean, std, bgr: the normalisation of RGB in [0,1] that the module expects. The others are those of
    `ModuleNetwork`, which says how the classifier is found.
    """
    return ModuleNetwork(
        module,
        num_classes=num_classes,
        mean=mean,
        std=std,
        bgr=bgr,
        classifier=classifier,
        features=features,
        auxiliary=auxiliary,
        backbone=backbone,
        divisor=divisor,
        size=size,
    )


def _auxiliary_child(module: nn.Module) -> str | None:
    return next((name for name, child in module.named_children() if name.startswith("aux") and child is not None), None)
