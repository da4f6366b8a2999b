"""A recipe becomes a plan: the network to train, its teacher and the student alone, each made and checked once."""

from __future__ import annotations

from dataclasses import dataclass, replace

from segdistill.core.classes import Classes
from segdistill.models.build import probe
from segdistill.models.channels import require_channels
from segdistill.models.checksum import identity_of
from segdistill.models.loaded import LoadedModel
from segdistill.models.network import SegmentationNetwork
from segdistill.models.open import open_model
from segdistill.models.spec import Role
from segdistill.models.teacher import Teacher
from segdistill.recipe.keys import changeable_keys
from segdistill.recipe.recipe import Recipe
from segdistill.recipe.teacher import TeacherConfig
from segdistill.runs.folder import Resume, RunFolder
from segdistill.runtime.display import console
from segdistill.runtime.processes import is_main
from segdistill.training.fit import fit
from segdistill.training.forecast import Forecast, RunAhead
from segdistill.training.handed_in import begin
from segdistill.training.pairing import (
    Pairing,
    TeacherSource,
    check_teacher,
    open_pairing,
    recorded,
    require_same_classes,
)
from segdistill.training.same_teacher import require_same_teacher
from segdistill.training.sharding import require_several, shard
from segdistill.training.shares import require_possible
from segdistill.training.task import Splits, Task, TeacherOutline, make_task, open_splits, run_folder
from segdistill.training.teacher_length import shorter_than_student


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: What it has written.
        teacher: Of a distillation, the teacher as the methods saw it: with its class map and input scale. Its classes
            are its own if they were not mapped.
        alone: The student alone, if the distillation has one beside it.
    """

    folder: RunFolder
    teacher: Pairing | None = None
    alone: LoadedModel | None = None


@dataclass
class Plan:
    """A network to train, ready to run. It runs once: each network is let go of as soon as it is trained and saved.

    Attributes:
        task: What the recipe's folder is for: the student with its methods, whose teacher is set when that is trained,
            or a network that is trained alone.
        teacher: Of a distillation, the plan of the teacher, or the trained one that the recipe names.
        alone: The plan of the student alone, a trained one that the recipe names, or None.
    """

    task: Task
    teacher: Plan | Pairing | None = None
    alone: Plan | LoadedModel | None = None

    def run(self, *, resume: Resume = False, quiet: bool = False, forecast: Forecast | None = None) -> Run:
        """Train what is missing: the teacher, the student alone, then the network itself.

        Args:
            resume: Continue the run of the recipe's folder; without it a folder in use is an error. "auto" begins where
                there is none.
            quiet: Show no progress.
            forecast: Says how long a distillation takes that this run is a part of.

        Raises:
            TrainingError: If a teacher that the recipe names does no better than guessing, the folder holds another
                run, or a run has to stop.
        """
        task, recipe = self.task, self.task.recipe
        folder = run_folder(recipe)
        given = self.teacher if isinstance(self.teacher, Pairing) else None
        begun = bool(folder.states()) or folder.finished(task.role)
        if given is not None and not begun:
            check_teacher(recipe, given, task.validation)
        if self.teacher is not None and not begun and resume is not True and not quiet and is_main():
            forecast = self._forecast()
            _say_of_teacher(shorter_than_student(recipe, given))
        with folder.held():
            folder.open(recorded(recipe, given).model_dump(mode="json"), resume=resume, may_change=changeable_keys())
            begin(task, folder)
            if given is not None:
                require_same_teacher(folder, identity_of(given.model)["checksum"], given.model.path)
            if isinstance(self.teacher, Plan):
                path = self.teacher.run(resume=resume, quiet=quiet, forecast=forecast).folder.path
                self.teacher = open_teacher(path, recipe, task.data.classes)
            if self.teacher is not None:
                task.distiller.set_teacher(self.teacher.model.network)
                if not quiet and is_main():
                    _say_of_teacher(self.teacher.note)
            if isinstance(self.alone, Plan):
                self.alone = open_model(self.alone.run(resume=resume, quiet=quiet, forecast=forecast).folder.path)
            fit(task, folder, quiet=quiet, pace=None if forecast is None else forecast.pace_of(task))
        if self.teacher is not None and recipe.teacher.shard:  # from here on each process uses it by itself
            source = self.teacher.model.path if given is None else recipe.teacher.weights
            assert source is not None
            self.teacher = open_pairing(source, recipe.teacher, task.data.classes)
        return Run(folder, self.teacher, self.alone)

    def _forecast(self) -> Forecast:
        """What says how long the runs of this distillation take, none of which has begun."""
        assert self.teacher is not None
        asked = _network_of(self.teacher) if self.task.recipe.teacher.cache == "off" else None
        alone = [RunAhead(plan.task) for plan in (self.teacher, self.alone) if isinstance(plan, Plan)]
        return Forecast(
            [*alone, RunAhead(self.task, asked)], lambda text: console.print(text, soft_wrap=True, markup=False)
        )

    def task_with_teacher(self) -> Task:
        """The task with its teacher set, be that trained or not: for steps that are thrown away."""
        if self.teacher is not None:
            self.task.distiller.set_teacher(_network_of(self.teacher))
        return self.task


def _say_of_teacher(text: str) -> None:
    if text:
        console.print(f"teacher: {text}", soft_wrap=True, markup=False)


def resolve(recipe: Recipe, *, distills: bool = True) -> Plan:
    """The plan of a recipe: everything that can be refused is refused here; nothing is trained or written.

    Args:
        recipe: What is trained, and how; its `out` is the folder of the run, with folders for the others inside. One
            without a method is distilled with the default one.
        distills: Whether its student is distilled; else the network of its `role` is trained alone.

    Raises:
        RecipeError: If the recipe can't be trained so.
        DataError: If files of the data set are missing.
        CheckpointError: If a network that the recipe names can't be opened.
    """
    run_folder(recipe)
    require_possible(recipe)
    if not distills:
        return Plan(make_task(recipe, recipe.role))
    if recipe.teacher.shard:
        require_several()
    splits = open_splits(recipe)
    classes = splits.train.classes
    teacher: Plan | Pairing
    if recipe.teacher.weights is not None:
        teacher = open_teacher(recipe.teacher.weights, recipe, classes)
        require_channels(teacher.model.network, splits.train.pixels)
    else:
        teacher = plan_alone(recipe, splits, "teacher")
    alone: Plan | LoadedModel | None = None
    if recipe.baseline == "train":
        alone = plan_alone(recipe, splits, "student")
    elif recipe.baseline != "none":
        alone = open_model(recipe.baseline)
        require_same_classes(alone, classes)
        alone = replace(alone, classes=classes)
    return replace(plan_student(recipe, splits, teacher), alone=alone)


def plan_alone(recipe: Recipe, splits: Splits, role: Role) -> Plan:
    """The plan that trains the teacher or the student of a distillation alone, in a folder inside the recipe's own.

    Args:
        recipe: Of the distillation; without `out` the plan has none either.
        splits: Shared with the other plans.
        role: Which of the two; the student's plan does not depend on the teacher.

    Returns:
        The plan, without methods.

    Raises:
        RecipeError: If the recipe has no such network, or it can't be made.
    """
    changes: dict[str, object] = {"method": [], "baseline": "none", "role": role}
    if recipe.out is not None:
        changes["out"] = recipe.out / ("teacher" if role == "teacher" else "alone")
    if role == "student":  # whatever the teacher is, this run is the same
        changes["teacher"] = TeacherConfig()
    return Plan(make_task(recipe.model_copy(update=changes), role, splits=splits))


def plan_student(recipe: Recipe, splits: Splits, teacher: Plan | Pairing) -> Plan:
    """The plan that distils the recipe's student from a teacher that is trained or will be.

    Args:
        recipe: Of the distillation.
        splits: Shared with the other plans.
        teacher: Its plan, or the trained one; methods are made from the shapes of its output.

    Returns:
        The plan, without one of the student alone.

    Raises:
        RecipeError: If the recipe has no student, or the methods can't distil the pair.
    """
    incompatibility = teacher.incompatibility if isinstance(teacher, Pairing) else ""
    outline = TeacherOutline(probe(_network_of(teacher)), incompatibility)
    return Plan(make_task(recipe.with_method(), "student", splits=splits, teacher=outline), teacher)


def open_teacher(source: TeacherSource, recipe: Recipe, classes: Classes) -> Pairing:
    """The trained teacher; where the recipe shards it, every process keeps a part of it.

    Args:
        source: Where it is, or where several are.
        recipe: Whose section `teacher` says how it is used.
        classes: That the student learns.

    Returns:
        The teacher, mapped to these classes where that is possible.

    Raises:
        CheckpointError: If it can't be opened.
        RecipeError: If a class map does not fit.
    """
    pairing = open_pairing(source, recipe.teacher, classes)
    if recipe.teacher.shard:
        shard(pairing.model.network)
    return pairing


def _network_of(teacher: Plan | Pairing) -> SegmentationNetwork:
    """The network of a teacher as methods see it, trained or not."""
    if isinstance(teacher, Pairing):
        return teacher.model.network
    return Teacher(teacher.task.network, input_scale=teacher.task.recipe.teacher.input_scale)
