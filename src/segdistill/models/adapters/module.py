"""Any `nn.Module` that scores classes, as a network of this library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segdistill.core.errors import RecipeError
from segdistill.core.outputs import SegOutput
from segdistill.models.adapters.finding import locate_scores
from segdistill.models.adapters.taps import Tap, arrange, as_map, maps_in, scores_in, submodule
from segdistill.models.channels import image_channels
from segdistill.models.network import Section, SegmentationNetwork
from segdistill.models.preprocessor import IMAGENET_MEAN, IMAGENET_STD
from segdistill.models.probing import cut, evaluating, fit
from segdistill.models.sigmoid import two_classes

_INPUT = ":input"


class ModuleNetwork(SegmentationNetwork):
    """A wrapped module that maps normalized images (N,3,H,W) to class scores, called on RGB in [0,1] of any size.

    The scores may be a tensor (N,K,H,W or N,H,W,K), one of a tuple or list, 'out' or 'logits' of a mapping or its only
    tensor, or an object's .logits. One channel is the score z of a sigmoid: two classes with the logits (0, z).
    The module runs once here, in evaluation mode, to find its classifier: the last convolution or linear layer with K
    outputs that gives the scores, as they are or resized. Its output is the logits and its input the embedding, at
    their stride, whatever the module does to the scores afterwards. Where no single layer gives the scores (a sum of
    two classifiers) the logits are the first map that equals them, or the scores themselves, and the embedding is the
    input of the last such layer. A layer on tokens, (N,L,C) or (N,h,w,C), is read as a map.

    Args:
        module: The module to wrap.
        num_classes: K; None for as many as the module has.
        mean: Of RGB in [0,1], which the module expects to be subtracted.
        std: What it expects to be divided by then.
        bgr: Whether it expects the channels the other way round.
        classifier: Path of the classifier in the module, to name it instead of finding it; "output" takes the scores
            as logits and as embedding.
        features: Paths of modules whose output holds feature maps, or "path:input" for what goes in; default the
            embedding alone.
        auxiliary: Path of a second head whose scores are returned while training, default the module's child called
            aux...
        backbone: Path whose parameters are the backbone's, default all but the classifier.
        divisor: What sides of images must be multiples of (images are padded with their border at the bottom and
            right, and the maps cut back), default found by trying.
        size: H,W of the images that the module takes, if it takes one only; images are resized to it, and the maps
            stay on the grid of that size.

    Raises:
        RecipeError: A path is not there, no layer is clearly the classifier, or there are other than `num_classes`
            scores.
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
        is_named = auxiliary is not None
        auxiliary = auxiliary if auxiliary is not None else _auxiliary_child(module)
        for path in (auxiliary, backbone):
            if path is not None:
                submodule(module, path)
        module.float()  # many are saved in half precision
        location = locate_scores(
            module, num_classes, classifier=classifier, exclude=auxiliary, divisor=divisor, size=size
        )
        super().__init__(num_classes=location.num_classes, mean=mean, std=std, bgr=bgr)
        self.module = module
        self.location = location
        self.sigmoid = location.sigmoid
        self.size = size
        self._auxiliary, self._needs_auxiliary = auxiliary, is_named
        self._backbone = backbone
        self._features = tuple(features)
        paths = {
            path.removesuffix(_INPUT) for path in (location.scores, location.embedding, auxiliary, *features) if path
        }
        self._taps: dict[str, Tap] = {path: Tap(submodule(module, path)) for path in sorted(paths)}

    def forward(self, image: Tensor) -> SegOutput:
        """The module's scores and maps, found where it was probed.

        Args:
            image: RGB (N,3,H,W) in [0,1]; it is padded or resized to what the module takes, and maps are cut back.

        Returns:
            Logits (N,K,h,w) at the classifier's stride, its input as embedding, stages finest first; without any the
            embedding is the only stage. Auxiliary logits while training, if the head gives maps of K channels.
        """
        pixels = fit(self.normalize(image), divisor=self.location.divisor, size=self.size)
        returned = self.module(pixels)
        location = self.location
        if location.scores is None:
            logits = self._cut(arrange(scores_in(returned, self.num_classes), location.layout), image, pixels)
        else:
            scores = self._taps[location.scores].output
            on_tokens = location.channels_last and location.scores == location.embedding
            logits = self._as_map(scores, image, pixels, channels_last=on_tokens or scores.ndim == 3)
        logits = two_classes(logits) if self.sigmoid else logits
        embedding = logits
        if location.embedding is not None:
            value = self._taps[location.embedding].input
            embedding = self._as_map(value, image, pixels, channels_last=location.channels_last)
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

    def section_of(self, parameter: str) -> Section:
        """Which section a parameter belongs to.

        Args:
            parameter: Its name, which begins with "module.".

        Returns:
            "auxiliary" or "backbone" by their paths, else "head". Without a path of the backbone only
            the classifier is the head.
        """
        path = parameter.removeprefix("module.")
        if self._auxiliary is not None and path.startswith(f"{self._auxiliary}."):
            return "auxiliary"
        if self._backbone is not None:
            return "backbone" if path.startswith(f"{self._backbone}.") else "head"
        classifier = self.location.scores or self.location.embedding
        return "head" if classifier is not None and path.startswith(f"{classifier}.") else "backbone"

    def _tapped(self, path: str) -> Any:
        tapped = self._taps[path.removesuffix(_INPUT)]
        return tapped.input if path.endswith(_INPUT) else tapped.output

    def _auxiliary_logits(self, image: Tensor, pixels: Tensor) -> Tensor | None:
        """The auxiliary head's scores; None if it did not run or gives something else."""
        output = self._taps[self._auxiliary].output if self._auxiliary is not None else None
        channels = 1 if self.sigmoid else self.num_classes
        if not isinstance(output, Tensor) or output.ndim != 4 or output.shape[1] != channels:
            if self._needs_auxiliary:
                given = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
                raise RecipeError(f"auxiliary={self._auxiliary} gives {given}; expected scores (N,{channels},h,w).")
            return None
        maps = self._cut(output, image, pixels)
        return two_classes(maps) if self.sigmoid else maps

    def _as_map(self, value: Tensor, image: Tensor, pixels: Tensor, *, channels_last: bool) -> Tensor:
        size = (pixels.shape[-2], pixels.shape[-1])
        return self._cut(as_map(value, size, channels_last=channels_last), image, pixels)

    def _cut(self, maps: Tensor, image: Tensor, pixels: Tensor) -> Tensor:
        return maps if self.size is not None else cut(maps, image, pixels)


def freeze_unused(network: SegmentationNetwork) -> None:
    """Freeze parameters that no output depends on, such as a last norm that nothing reads.

    Distributed training waits for the gradient of every parameter that trains. The auxiliary head is left alone: its
    output is there while training only.

    Args:
        network: It runs once, on an empty image.
    """
    parameter = next(network.parameters(), torch.zeros(()))
    with evaluating(network), torch.enable_grad():
        output = network(torch.zeros(1, image_channels(network), 128, 192, device=parameter.device))
        total = torch.stack([each.float().sum() for each in (output.logits, output.embedding, *output.features)]).sum()
    named = [entry for entry in network.named_parameters() if entry[1].requires_grad]
    trained = [each for name, each in named if network.section_of(name) != "auxiliary"]
    if not trained:
        return
    for each, gradient in zip(trained, torch.autograd.grad(total, trained, allow_unused=True), strict=True):
        each.requires_grad_(gradient is not None)


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
    """`module`, which maps normalized images (N,3,H,W) to scores of K = `num_classes` classes, as a network.

    Args:
        module: Any module that scores classes.
        num_classes: K.
        mean: Of RGB in [0,1], which the module expects to be subtracted.
        std: What it expects to be divided by then.
        bgr: Whether it expects the channels the other way round.
        classifier: This and all others as for `ModuleNetwork`, which says how the classifier is found.
        features: See `ModuleNetwork`.
        auxiliary: See `ModuleNetwork`.
        backbone: See `ModuleNetwork`.
        divisor: See `ModuleNetwork`.
        size: See `ModuleNetwork`.

    Returns:
        The network: (N,3,H,W) RGB in [0,1] -> `SegOutput`.

    Raises:
        RecipeError: The module's scores are not found, or there are other than K.
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
