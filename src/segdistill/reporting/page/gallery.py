"""The image comparison: the pictures encoded within a budget, and the numbers beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdistill.core.errors import DataError
from segdistill.data import Classes
from segdistill.reporting.choice import positions
from segdistill.reporting.numbers import plural, points, signed
from segdistill.reporting.page.encoding import classes_uri, mask_uri, photo_uri, resized
from segdistill.reporting.page.images import SIDE, Choice, Picture, choose, errors, picture, present
from segdistill.reporting.page.networks import ModelSet, NoPictures, open_models
from segdistill.reporting.page.subject import Subject
from segdistill.runtime.display import counting
from segdistill.studies.result import ALONE, TEACHER

BUDGET = 6_000_000  # characters of all pictures; the page promises 8 MB
_SIDES = (SIDE, 480, 360, 240, 160)
_WRONG, _EDGE = (214, 20, 60), (255, 140, 0)


@dataclass(frozen=True)
class Thumbnail:
    """An image to choose.

    Attributes:
        name: In the data set.
        why: It is there, in words.
        photo: As a data URI.
        width: Of the photo, in pixels.
        height: Of the photo, in pixels.
        gain: Of the best method, as text.
        numbers: mIoU of each network, as text.
    """

    name: str
    why: str
    photo: str
    width: int
    height: int
    gain: str
    numbers: tuple[str, ...]


@dataclass(frozen=True)
class Gallery:
    """The images of the page.

    Attributes:
        thumbnails: The images to choose from.
        networks: Labels, in the order of the thumbnails' numbers.
        left: The label that is shown first, left of the divider.
        right: And right of it.
        teacher: Its label, if it is among the networks.
        seed: Of the networks.
        sentence: How the gain is spread over the images.
        warnings: What is left out, and why.
        data: What the page's script reads.
    """

    thumbnails: tuple[Thumbnail, ...]
    networks: tuple[str, ...]
    left: str
    right: str
    teacher: str | None
    seed: int | None
    sentence: str
    warnings: tuple[str, ...]
    data: dict[str, Any]


def gallery(subject: Subject, parts: Sequence[str | Path], images: Sequence[str | int], *, quiet: bool) -> Gallery:
    """Predict, choose and encode.

    Args:
        subject: The study and its folder.
        parts: Recipe parts over the runs' own.
        images: Names or numbers of images; by default the most telling ones are chosen.
        quiet: Show no progress.

    Returns:
        The images; without the data or a network it is empty and says why.

    Raises:
        DataError: No image is called so, or they are too many for a page.
        RecipeError: A part is wrong.
    """
    best = subject.best.label if subject.best is not None else None
    try:
        models = open_models(subject, parts)
    except NoPictures as error:
        return Gallery((), (), "", "", None, None, "", (str(error),), {})
    named = dict.fromkeys(positions(images, models.data), "shown") if images else None
    with counting("choosing images", len(models.data), quiet=quiet or named is not None) as done:
        choice = Choice(named) if named is not None else choose(models, best, done)
    with counting("predicting them", len(choice.reasons), quiet=quiet) as done:
        pictures = []
        for index, why in choice.reasons.items():
            pictures.append(picture(models, index, why))
            done(1)
    names = tuple(models.networks)
    students = [name for name in names if name != TEACHER]
    right = best if best in names else students[-1]
    left = students[0] if students[0] != right else next((name for name in names if name != right), right)
    data = encoded(pictures, names, models.data.classes)
    thumbnails = [_thumbnail(each, shown, names, best) for each, shown in zip(pictures, data["images"], strict=True)]
    return Gallery(
        thumbnails=tuple(thumbnails),
        networks=names,
        left=left,
        right=right,
        teacher=TEACHER if TEACHER in names else None,
        seed=models.seed,
        sentence=_sentence(choice, models, best),
        warnings=models.warnings,
        data=data,
    )


def _sentence(choice: Choice, models: ModelSet, best: str | None) -> str:
    if choice.better is None or choice.worse is None or choice.middle is None:
        return ""
    return (
        f"On {choice.better} of {plural(choice.compared, 'image')} {best} has a higher mIoU than the student alone, "
        f"on {choice.worse} a lower one; the median gain is {signed(choice.middle)} points (seed {models.seed})."
    )


def _thumbnail(shown: Picture, data: dict[str, Any], names: Sequence[str], best: str | None) -> Thumbnail:
    gain = shown.miou.get(best or "", math.nan) - shown.miou.get(ALONE, math.nan)
    return Thumbnail(
        name=shown.name,
        why=shown.why,
        photo=data.pop("photo"),
        width=data["width"],
        height=data["height"],
        gain=signed(None if math.isnan(gain) else gain),
        numbers=tuple(points(None if math.isnan(shown.miou[name]) else shown.miou[name]) for name in names),
    )


def encoded(pictures: Sequence[Picture], names: Sequence[str], classes: Classes) -> dict[str, Any]:
    """All pictures as data URIs, as large as `BUDGET` allows.

    Args:
        pictures: The images.
        names: Labels of the networks.
        classes: Of the data set.

    Returns:
        What the page's script reads.

    Raises:
        DataError: They are too many even when small.
    """
    written: list[dict[str, Any]] = []
    for side in _SIDES:
        written = [_one(each, names, classes, side) for each in pictures]
        if sum(_length(each) for each in written) <= BUDGET:
            break
    else:
        raise DataError(
            f"{plural(len(pictures), 'image')} of {len(names)} networks are too many for a page of less than 8 MB. "
            "Name fewer images."
        )
    shown = present(pictures)
    return {
        "classes": [
            {"index": index, "name": classes.names[index], "color": "rgb({} {} {})".format(*classes.colors[index])}
            for index in shown
        ],
        "images": written,
    }


def _one(shown: Picture, names: Sequence[str], classes: Classes, side: int) -> dict[str, Any]:
    at = {name: resized(values, side) for name, values in shown.predictions.items()}
    photograph = shown.photo.copy()
    photograph.thumbnail((side, side))
    return {
        "name": shown.name,
        "width": photograph.width,
        "height": photograph.height,
        "photo": photo_uri(photograph),
        "label": classes_uri(resized(shown.label, side), classes),
        "edges": mask_uri(resized(shown.edges, side), _EDGE),
        "classes": present([shown]),
        "networks": [
            {
                "name": name,
                "miou": points(None if math.isnan(shown.miou[name]) else shown.miou[name]),
                "classes": classes_uri(at[name], classes),
                "errors": mask_uri(resized(errors(shown, name), side), _WRONG),
            }
            for name in names
        ],
    }


def _length(value: Any) -> int:
    """Characters of all texts in it."""
    if isinstance(value, dict):
        return sum(_length(each) for each in value.values())
    if isinstance(value, list):
        return sum(_length(each) for each in value)
    return len(value) if isinstance(value, str) else 0
