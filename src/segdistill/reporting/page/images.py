"""The images that tell most, with what every network says about them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
from segdistill.reporting.page.networks import Cast
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
    """An image with its label, its edge region and the classes that each network predicts, at most `SIDE` long.

    why: it is there, in words. miou: of each network on this image alone, in percent, over the classes that it or the
    label holds; NaN without labels.
    """

    name: str
    why: str
    photo: Image.Image
    label: Map
    edges: Map
    said: dict[str, Map]
    miou: dict[str, float]


@dataclass(frozen=True)
class Choice:
    """Which images, by why. better, worse, middle: how many images gained and lost, and the median gain; None if the
    gains were not measured."""

    places: dict[int, str]
    better: int | None = None
    worse: int | None = None
    middle: float | None = None


def choose(cast: Cast, best: str | None, on_image: Callable[[int], object]) -> Choice:
    """The images that improved most and least (or worsened) by their own mIoU, `best` over the student alone, and usual
    ones.

    on_image is called after every image.
    """
    pair = [name for name in (ALONE, best) if name in cast.networks]
    if len(pair) < 2:
        return Choice(dict.fromkeys(positions((), cast.data, default=_ALL), "shown"))
    gains = {}
    for place in range(len(cast.data)):
        sample = cast.data[place]
        then, now = (image_miou(_say(cast, name, sample), sample.label) for name in pair)
        if not math.isnan(now - then):
            gains[place] = now - then
        on_image(1)
    better, worse = (sum(sign * gain > 0 for gain in gains.values()) for sign in (1, -1))
    return Choice(_telling(gains), better, worse, median(gains.values()) if gains else None)


def _telling(gains: dict[int, float]) -> dict[int, str]:
    """Of each image's gain: three at either end, those nearest to the median, and why each is there.

    Neighbours in the data set are often frames of one scene, which would say the same three times: of a large set no
    two images stand closer than a share of it that still leaves room for all.
    """
    apart = len(gains) // _APART
    order = sorted(gains, key=lambda place: -gains[place])
    middle = median(gains.values()) if gains else 0.0
    usual = sorted(gains, key=lambda place: abs(gains[place] - middle))
    chosen: dict[int, str] = {}
    for many, ranked, why in ((_EACH, order, _UP), (_EACH, order[::-1], _DOWN), (_ALL - 2 * _EACH, usual, None)):
        for place in ranked:
            if many and all(abs(place - other) > apart for other in chosen):
                chosen[place] = _MIDDLE if why is None else why[gains[place] > 0]
                many -= 1
    return chosen


def picture(cast: Cast, place: int, why: str) -> Picture:
    """The image at `place`, with the predictions of all networks."""
    sample = cast.data[place]
    said = {name: _say(cast, name, sample) for name in cast.networks}
    return Picture(
        name=sample.name,
        why=why,
        photo=photo(sample.image, SIDE),
        label=shrunk(sample.label, SIDE),
        edges=shrunk(edge_region(sample.label[None], cast.recipe.metrics.edge_radius)[0], SIDE),
        said={name: shrunk(classes, SIDE) for name, classes in said.items()},
        miou={name: image_miou(classes, sample.label) for name, classes in said.items()},
    )


def image_miou(predicted: Tensor, label: Tensor) -> float:
    """mIoU in percent of one image, over the classes that it or the prediction holds; NaN if all labels are void."""
    if not (label != IGNORE_INDEX).any():
        return math.nan
    classes = 1 + max(int(predicted.max()), int(label[label != IGNORE_INDEX].max()))
    return scores_of(pair_counts(label, predicted, classes)).miou


def errors(picture: Picture, name: str) -> Map:
    """Where the network is wrong: 1, elsewhere and on void 0."""
    wrong: Map = ((picture.said[name] != picture.label) & (picture.label != IGNORE_INDEX)).astype(picture.label.dtype)
    return wrong


def present(pictures: Sequence[Picture]) -> list[int]:
    """The classes that labels and predictions of the pictures hold."""
    found: set[int] = set()
    for each in pictures:
        for values in (each.label, *each.said.values()):
            found |= set(values.ravel().tolist())
    return sorted(found - {IGNORE_INDEX})


def _say(cast: Cast, name: str, sample: Sample) -> Tensor:
    image = sample.image[None].to(own_device())
    source = f"The {name}"
    return (
        infer(cast.networks[name], image, cast.recipe.inference, names=(sample.name,), source=source).classes[0].cpu()
    )
