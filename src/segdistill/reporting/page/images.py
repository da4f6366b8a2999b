"""The images that tell most, with what every network says about them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from statistics import median

from PIL import Image
from torch import Tensor

from segdistill.core.classes import IGNORE_INDEX
from segdistill.data.base import Sample
from segdistill.evaluation.boundary import edge_region
from segdistill.evaluation.inference.inference import infer
from segdistill.evaluation.metrics import pair_counts, scores_of
from segdistill.reporting.choice import positions
from segdistill.reporting.page.encoding import Map, photo, shrunk
from segdistill.reporting.page.networks import ModelSet
from segdistill.runtime.processes import own_device
from segdistill.studies.result import ALONE

SIDE = 640
"""The longest side of a picture on the page, in pixels."""

_EACH, _ALL, _APART = 3, 8, 24
_UP = {True: "improved most", False: "worsened least"}
_DOWN = {True: "improved least", False: "worsened most"}
_MIDDLE = "near the median"


@dataclass(frozen=True)
class Picture:
    """An image of the page, at most `SIDE` long.

    Attributes:
        name: In the data set.
        why: It is there, in words.
        photo: The image.
        label: Class indices (H,W).
        edges: Its edge region (H,W), as 0 and 1.
        predictions: The classes (H,W) that each network predicts.
        miou: Of each network on this image alone, in percent, over the classes that it or the label holds; NaN without
            labels.
    """

    name: str
    why: str
    photo: Image.Image
    label: Map
    edges: Map
    predictions: dict[str, Map]
    miou: dict[str, float]


@dataclass(frozen=True)
class Choice:
    """Which images the page shows.

    Attributes:
        reasons: Why each is there, by its index in the data set.
        better: How many images gained; None, as the next two, if the gains were not measured.
        worse: How many lost.
        middle: The median gain.
        compared: How many images have both scores.
    """

    reasons: dict[int, str]
    better: int | None = None
    worse: int | None = None
    middle: float | None = None
    compared: int = 0


def choose(models: ModelSet, best: str | None, on_image: Callable[[int], object]) -> Choice:
    """The images that improved most and least (or worsened) by their own mIoU, and usual ones.

    Args:
        models: The networks and the images.
        best: Label of the network that is compared with the student alone.
        on_image: Called with 1 after every image.

    Returns:
        About eight images; spread evenly over the data set if there is nothing to compare.
    """
    pair = [name for name in (ALONE, best) if name in models.networks]
    if len(pair) < 2:
        return Choice(dict.fromkeys(positions((), models.data, default=_ALL), "shown"))
    gains, ignored = {}, _ignored(models)
    for index in range(len(models.data)):
        sample = models.data[index]
        before, after = (image_miou(_predict(models, name, sample), sample.label, ignored) for name in pair)
        if not math.isnan(after - before):
            gains[index] = after - before
        on_image(1)
    better, worse = (sum(sign * gain > 0 for gain in gains.values()) for sign in (1, -1))
    return Choice(_telling(gains), better, worse, median(gains.values()) if gains else None, len(gains))


def _telling(gains: dict[int, float]) -> dict[int, str]:
    """Of each image's gain: three at either end, those nearest to the median, and why each is there.

    Neighbours in the data set are often frames of one scene, which would say the same three times: of a large set no
    two images stand closer than a share of it that still leaves room for all.
    """
    apart = len(gains) // _APART
    order = sorted(gains, key=lambda index: -gains[index])
    middle = median(gains.values()) if gains else 0.0
    usual = sorted(gains, key=lambda index: abs(gains[index] - middle))
    chosen: dict[int, str] = {}
    for many, ranked, why in ((_EACH, order, _UP), (_EACH, order[::-1], _DOWN), (_ALL - 2 * _EACH, usual, None)):
        for index in ranked:
            if many and all(abs(index - other) > apart for other in chosen):
                chosen[index] = _MIDDLE if why is None else why[gains[index] > 0]
                many -= 1
    return chosen


def picture(models: ModelSet, index: int, why: str) -> Picture:
    """Predict an image with all networks.

    Args:
        models: The networks and the images.
        index: Of the image in the data set.
        why: It is shown, in words.

    Returns:
        The image with its label, predictions and scores.
    """
    sample = models.data[index]
    predictions = {name: _predict(models, name, sample) for name in models.networks}
    ignored = _ignored(models)
    return Picture(
        name=sample.name,
        why=why,
        photo=photo(sample.image, SIDE),
        label=shrunk(sample.label, SIDE),
        edges=shrunk(edge_region(sample.label[None], models.recipe.metrics.edge_radius)[0], SIDE),
        predictions={name: shrunk(classes, SIDE) for name, classes in predictions.items()},
        miou={name: image_miou(classes, sample.label, ignored) for name, classes in predictions.items()},
    )


def _ignored(models: ModelSet) -> tuple[int, ...]:
    """The classes that are no part of the study's means."""
    return models.recipe.metrics.ignored(models.data.classes)


def image_miou(predicted: Tensor, label: Tensor, ignored: Collection[int] = ()) -> float:
    """The mIoU of one image, over the classes that its label or the prediction holds.

    Args:
        predicted: Class indices (H,W).
        label: Class indices or void (H,W).
        ignored: Indices of classes that are no part of the mean.

    Returns:
        In percent; NaN if there is no class to take the mean of.
    """
    if not (label != IGNORE_INDEX).any():
        return math.nan
    classes = 1 + max(int(predicted.max()), int(label[label != IGNORE_INDEX].max()))
    return scores_of(pair_counts(label, predicted, classes), ignore=[each for each in ignored if each < classes]).miou


def errors(picture: Picture, name: str) -> Map:
    """Where a network is wrong.

    Args:
        picture: The image with its label and predictions.
        name: Label of the network.

    Returns:
        (h,w), 1 where it is wrong, 0 elsewhere and on void.
    """
    label = picture.label
    wrong: Map = ((picture.predictions[name] != label) & (label != IGNORE_INDEX)).astype(label.dtype)
    return wrong


def present(pictures: Sequence[Picture]) -> list[int]:
    """The classes that labels and predictions hold.

    Args:
        pictures: The images.

    Returns:
        Ascending indices, without void.
    """
    classes: set[int] = set()
    for each in pictures:
        for values in (each.label, *each.predictions.values()):
            classes |= set(values.ravel().tolist())
    return sorted(classes - {IGNORE_INDEX})


def _predict(models: ModelSet, name: str, sample: Sample) -> Tensor:
    image = sample.image[None].to(own_device())
    prediction = infer(
        models.networks[name], image, models.recipe.inference, names=(sample.name,), source=f"The {name}"
    )
    return prediction.classes[0].cpu()
