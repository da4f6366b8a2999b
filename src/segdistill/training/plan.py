"""A recipe becomes a plan: teacher, student alone and student, each made and checked once. Then the plan runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from segdistill.core.classes import Classes
from segdistill.models.build import probe
from segdistill.models.loaded import LoadedModel
from segdistill.models.network import SegmentationNetwork
from segdistill.models.open import open_model
from segdistill.models.spec import NetworkSpec
from segdistill.models.teacher import Teacher
from segdistill.recipe.recipe import Recipe
from segdistill.recipe.teacher import TeacherConfig
from segdistill.runtime.display import console
from segdistill.runtime.processes import is_main
from segdistill.training.fit import Run, fit, train_alone
from segdistill.training.pairing import Pairing, check_teacher, pair, recorded, require_same_classes
from segdistill.training.sharding import require_several, shard
from segdistill.training.shares import require_possible
from segdistill.training.task import Splits, Task, TeacherOutline, make_task, open_splits, run_folder


@dataclass(frozen=True)
class Distillation:
    """A finished distillation: the run of the student, its teacher, and the student alone if there is one.

    The teacher is as the methods saw it: with its class map and input scale. Its classes are its own if they were not
    mapped.
    """

    student: Run
    teacher: Pairing
    alone: LoadedModel | None


@dataclass
class Plan:
    """A distillation, ready to run. It runs once: each network is let go of as soon as it is trained and saved.

    Attributes:
        recipe: What is distilled, and how.
        splits: Its data.
        student: The student that is distilled; its teacher is set when that is trained.
        teacher: The teacher that is trained first, or the trained one that the recipe names.
        alone: The student alone that is trained for comparison, a trained one that the recipe names, or None.
    """

    recipe: Recipe
    splits: Splits
    student: Task
    teacher: Task | Pairing
    alone: Task | LoadedModel | None

    def run(self, *, resume: bool = False, quiet: bool = False) -> Distillation:
        """Train what is missing: the teacher, the student alone, then the student.

        Args:
            resume: Continue the run of the recipe's folder; without it a folder in use is an error.
            quiet: Show no progress.

        Raises:
            TrainingError: If a teacher that the recipe names does no better than guessing, the folder holds another
                run, or a run has to stop.
        """
        folder = run_folder(self.recipe)
        given = self.teacher if isinstance(self.teacher, Pairing) else None
        if given is not None and not folder.states() and not folder.finished("student"):
            check_teacher(self.recipe, given, self.splits.val)
        with folder.held():
            folder.open(recorded(self.recipe, given).model_dump(mode="json"), resume=resume)
            if isinstance(self.teacher, Task):
                path = train_alone(self.teacher, resume=resume, quiet=quiet).folder.path
                self.teacher = open_teacher(path, self.recipe, self.splits.train.classes)
            if self.teacher.note and not quiet and is_main():
                console.print(f"teacher: {self.teacher.note}", soft_wrap=True, markup=False)
            if isinstance(self.alone, Task):
                self.alone = open_model(train_alone(self.alone, resume=resume, quiet=quiet).folder.path)
            self.student.distiller.set_teacher(self.teacher.model.network)
            run = fit(self.student, folder, quiet=quiet)
        if self.recipe.teacher.shard:  # from here on each process uses it by itself
            source = self.teacher.model.path if given is None else self.recipe.teacher.weights
            assert source is not None
            self.teacher = pair(open_model(source), self.recipe.teacher, self.splits.train.classes)
        return Distillation(run, self.teacher, self.alone)


def resolve(recipe: Recipe) -> Plan:
    """The plan of a distillation: everything that can be refused is refused here; nothing is trained or written.

    A recipe without a method is distilled with the default one.

    Args:
        recipe: What is distilled, and how; its `run` is the folder of the student, with folders for the others inside.

    Raises:
        RecipeError: If the recipe can't be distilled.
        DataError: If files of the data set are missing.
        CheckpointError: If a network that the recipe names can't be opened.
    """
    folder = run_folder(recipe).path
    require_possible(recipe)
    if recipe.teacher.shard:
        require_several()
    recipe = recipe.with_method()
    splits = open_splits(recipe)
    classes = splits.train.classes
    teacher: Task | Pairing
    if recipe.teacher.weights is not None:
        teacher = open_teacher(recipe.teacher.weights, recipe, classes)
    else:
        teacher = make_task(recipe_of_teacher(recipe, folder / "teacher"), "teacher", splits=splits)
    alone: Task | LoadedModel | None = None
    if recipe.baseline == "train":
        alone = make_task(recipe_of_alone(recipe, folder / "alone"), "student", splits=splits)
    elif recipe.baseline != "none":
        alone = open_model(recipe.baseline)
        require_same_classes(alone, classes)
        alone = replace(alone, classes=classes)
    return Plan(recipe, splits, make_distilled(recipe, teacher, splits), teacher, alone)


def make_distilled(recipe: Recipe, teacher: Task | Pairing, splits: Splits) -> Task:
    """The student with the recipe's methods, for a teacher that is trained or will be; which is not set yet.

    Raises:
        RecipeError: If the methods can't distil the pair.
    """
    incompatibility = teacher.incompatibility if isinstance(teacher, Pairing) else ""
    outline = TeacherOutline(probe(teacher_network(teacher)), incompatibility)
    return make_task(recipe, "student", splits=splits, teacher=outline)


def teacher_network(teacher: Task | Pairing) -> SegmentationNetwork:
    """The network of a teacher as methods see it, trained or not."""
    if isinstance(teacher, Pairing):
        return teacher.model.network
    return Teacher(teacher.network, input_scale=teacher.recipe.teacher.input_scale)


def open_teacher(source: str | Path | NetworkSpec, recipe: Recipe, classes: Classes) -> Pairing:
    """The trained teacher; where the recipe shards it, every process keeps a part of it.

    Raises:
        CheckpointError: If it can't be opened.
    """
    pairing = pair(open_model(source), recipe.teacher, classes)
    if recipe.teacher.shard:
        shard(pairing.model.network)
    return pairing


def recipe_of_teacher(recipe: Recipe, folder: Path | None) -> Recipe:
    """The recipe of the run that trains the teacher, in `folder`."""
    return recipe.model_copy(update={"out": folder, "method": [], "baseline": "none", "role": "teacher"})


def recipe_of_alone(recipe: Recipe, folder: Path | None) -> Recipe:
    """The recipe of the run that trains the student alone, in `folder`."""
    changes: dict[str, object] = {"out": folder, "method": [], "baseline": "none", "role": "student"}
    return recipe.model_copy(update={**changes, "teacher": TeacherConfig()})
