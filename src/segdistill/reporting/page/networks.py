"""The networks whose predictions the page shows, and the images they are shown on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segdistill.core.errors import DataError, RecipeError, SegdistillError
from segdistill.data import SegmentationDataset, create_dataset
from segdistill.models.network import SegmentationNetwork
from segdistill.models.open import open_model
from segdistill.recipe.recipe import Recipe, load_recipe
from segdistill.reporting.page.subject import Subject
from segdistill.runtime.processes import own_device
from segdistill.studies.result import ALONE, TEACHER, Study, Summary
from segdistill.training.pairing import run_teacher

_METHODS = 8  # the best ones; more would make the page heavy


@dataclass(frozen=True)
class ModelSet:
    """The networks of a study, ready to predict.

    Attributes:
        recipe: Of the best method's run.
        data: The validation images.
        seed: Of the networks, as far as there are runs of it.
        networks: By label.
        warnings: What is left out, and why.
    """

    recipe: Recipe
    data: SegmentationDataset
    seed: int
    networks: dict[str, SegmentationNetwork]
    warnings: tuple[str, ...]


class NoPictures(Exception):
    """There is nothing to predict, or nothing to predict with; its text says why."""


def open_models(subject: Subject, parts: Sequence[str | Path]) -> ModelSet:
    """Open the validation images, the student alone, the best methods and the teacher.

    Args:
        subject: The study and its folder.
        parts: Recipe parts over the run's own.

    Returns:
        Them, on this process's device.

    Raises:
        NoPictures: The page has to do without.
        RecipeError: A part is wrong.
    """
    best = subject.best or subject.alone
    if best is None:
        unfinished = subject.study.pending or subject.study.failures
        raise NoPictures("No run is finished yet." if unfinished else "No run was scored: no image has a label.")
    seed = _common_seed(best, subject.alone)
    recipe, data = _images(subject, _folder(subject, best.label, seed), parts)
    shown = [label for label in subject.labels() if label == ALONE]
    shown += [row.label for row in subject.study.methods()[:_METHODS]]
    warnings, networks = [], {}
    for label in shown:
        try:
            networks[label] = open_model(_folder(subject, label, seed)).network
        except SegdistillError as error:
            warnings.append(f"{label} is not in the pictures: {error}")
            continue
        if seed not in (seeds := [row.seed for row in subject.study.outcomes if row.label == label]):
            warnings.append(f"{label} has no run of seed {seed}: the pictures show its seed {min(seeds)}.")
    if not networks:
        raise NoPictures(" ".join(warnings))
    more = len(subject.study.methods()) - _METHODS
    if more > 0:
        warnings.append(f"The pictures show the best {_METHODS} methods; {more} more are in the tables.")
    teacher, why = _teacher(subject, recipe, data)
    if teacher is not None:
        networks[TEACHER] = teacher
    warnings += [why] if why else []
    device = own_device()
    return ModelSet(recipe, data, seed, {name: each.to(device) for name, each in networks.items()}, tuple(warnings))


def _images(subject: Subject, run: Path, parts: Sequence[str | Path]) -> tuple[Recipe, SegmentationDataset]:
    study: Study = subject.study
    try:
        recipe = load_recipe(run / "recipe.yaml", *parts)
        data = create_dataset(recipe.data, "val")
        if data.classes.names != study.classes:
            raise DataError(f"{len(data.classes)} classes, and the study knows {len(study.classes)} others.")
        data[0]  # lists may be there and images not
    except (DataError, OSError) as error:
        raise NoPictures(
            f"The validation images of {study.data} can't be read any more: {error} Say where they are, "
            f"and write the page again: segdistill report {subject.folder} data.root=FOLDER"
        ) from error
    except RecipeError as error:
        if parts:
            raise
        raise NoPictures(f"{run / 'recipe.yaml'} can't be read: {error}") from error
    return recipe, data


def _common_seed(best: Summary, alone: Summary | None) -> int:
    """The first seed that both have."""
    common = [seed for seed in best.seeds if alone is None or seed in alone.seeds]
    return (common or list(best.seeds))[0]


def _folder(subject: Subject, label: str, seed: int) -> Path:
    """Of the label's run of that seed, or of its first."""
    rows = sorted(
        (row for row in subject.study.outcomes if row.label == label), key=lambda row: (row.seed != seed, row.seed)
    )
    return subject.run(rows[0]).path


def _teacher(subject: Subject, recipe: Recipe, data: SegmentationDataset) -> tuple[SegmentationNetwork | None, str]:
    """The teacher if it speaks of the data set's classes, else why it is left out."""
    named, study_teacher = recipe.teacher.weights, subject.folder / TEACHER
    if (
        isinstance(named, str) and not Path(named).exists() and study_teacher.is_dir()
    ):  # the study has moved, with its teacher
        recipe = recipe.model_copy(
            update={"teacher": recipe.teacher.model_copy(update={"weights": str(study_teacher)})}
        )
    try:
        pairing = run_teacher(recipe, subject.folder, data.classes)
    except (SegdistillError, OSError) as error:
        return None, f"The teacher is not in the pictures: {error}"
    if pairing is None:
        return None, "The teacher is not in the pictures: the recipe names none, and none was trained beside the runs."
    if pairing.incompatibility:
        return None, f"The teacher is not in the pictures: {pairing.incompatibility}."
    return pairing.model.network, ""
