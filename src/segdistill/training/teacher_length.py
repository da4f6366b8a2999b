"""Whether a teacher has been trained for as long as its student will be."""

from __future__ import annotations

import math
from collections.abc import Sequence

from segdistill.recipe.recipe import Recipe
from segdistill.training.pairing import Pairing


def shorter_than_student(recipe: Recipe, given: Pairing | None) -> str:
    """What to tell people about a teacher that sees fewer images while it is trained than its student will.

    Such a student may pass its teacher by itself, and gain nothing (benchmarks/results/unseen_drive.md).

    Args:
        recipe: Of the distillation.
        given: The trained teacher that the recipe names; None trains one by `teacher.train`.

    Returns:
        A line; "" for a teacher of as many images, or of another data set or library, of which nothing is known.
    """
    student = recipe.steps, recipe.batch_size
    if given is None:
        training = recipe.teacher_training()
        lengths = [(training.steps, training.batch_size)]
        remedy = f"teacher.train.steps={math.ceil(_images(student) / training.batch_size)} or more"
    else:
        lengths = _lengths(given.members or (given,), recipe.data.name)
        remedy = "a teacher that was trained for longer"
    longest = max(lengths, key=_images, default=student)
    if _images(longest) >= _images(student):
        return ""
    return (
        f"its training has {_shown(longest)}, its student's {_shown(student)}: alone the student may get as far as its "
        f"teacher, and nothing be left to gain. Consider {remedy}."
    )


def _lengths(teachers: Sequence[Pairing], data: str) -> list[tuple[int, int]]:
    """Steps and batch size of teachers that this library has trained on the data set; [] if one is of elsewhere."""
    records = [teacher.model.trained for teacher in teachers]
    if any(record.get("data") != data or not {"steps", "batch_size"} <= record.keys() for record in records):
        return []
    return [(record["steps"], record["batch_size"]) for record in records]


def _images(length: tuple[int, int]) -> int:
    steps, batch = length
    return steps * batch


def _shown(length: tuple[int, int]) -> str:
    steps, batch = length
    return f"{steps} steps of {batch} images"
