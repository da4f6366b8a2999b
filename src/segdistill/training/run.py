"""`train` and `distill`: from a recipe to a finished run folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from segdistill.core.classes import Classes
from segdistill.core.errors import CheckpointError, RecipeError
from segdistill.data import SegmentationDataset, create_dataset
from segdistill.data.balance import class_weights
from segdistill.data.loading import Stream, Targets
from segdistill.evaluation.teacher_check import require_better_than_chance
from segdistill.models.files import read_weights, save_model
from segdistill.models.loaded import LoadedModel
from segdistill.models.network import SegmentationNetwork
from segdistill.models.open import open_model
from segdistill.models.spec import NetworkSpec, Role
from segdistill.models.teacher import Teacher
from segdistill.recipe.recipe import Recipe
from segdistill.recipe.teacher import TeacherConfig
from segdistill.runs.checkpoint import Progress
from segdistill.runs.folder import RunFolder
from segdistill.runtime.display import console
from segdistill.runtime.failures import OutOfMemoryError, explained
from segdistill.runtime.processes import is_main, own_device, wait_for_all
from segdistill.training.loop import Fit
from segdistill.training.out_of_memory import advice
from segdistill.training.pairing import Pairing, pair, recorded, require_same_classes
from segdistill.training.sharding import require_several, shard
from segdistill.training.shares import require_possible
from segdistill.training.task import Task, prepare_task
from segdistill.training.teacher_cache import cache_logits


@dataclass(frozen=True)
class Run:
    """A finished run: its folder and which role it trained."""

    folder: RunFolder
    role: Role


@dataclass(frozen=True)
class Distillation:
    """A finished distillation: the run of the student, its teacher, and the student alone if there is one.

    The teacher is as it taught: with its class map and input scale. Its classes are its own if they were not mapped.
    """

    student: Run
    teacher: Pairing
    alone: LoadedModel | None


def train(recipe: Recipe, *, resume: bool = False, quiet: bool = False) -> Run:
    """Train the recipe's student or teacher (its `role`) alone, without distillation, into the folder `recipe.out`.

    resume: continue the run of that folder; without it a folder in use is an error.
    """
    folder = run_folder(recipe)
    require_possible(recipe)
    task = prepare_task(recipe, recipe.role, teacher=None)
    with folder.held():
        folder.open(recipe.model_dump(mode="json"), resume=resume)
        return _fit(recipe, task, folder, title=f"{recipe.role} alone", quiet=quiet)


def distill(recipe: Recipe, *, resume: bool = False, quiet: bool = False) -> Distillation:
    """Distil the recipe's student into `recipe.out`, after its teacher and the student alone where they are missing.

    A recipe without a method is distilled with the default one. Everything that can be refused is refused before
    anything is trained.
    """
    folder = run_folder(recipe)
    require_possible(recipe)
    if recipe.teacher.shard:
        require_several()
    if not recipe.method:
        recipe = recipe.with_method()
        if not quiet and is_main():
            name = recipe.method[0].name
            console.print(
                f"method: {name}, the default, as the recipe names none; to choose, add one such as kd, cwd or bpkd",
                soft_wrap=True,
                markup=False,
            )
    classes = create_dataset(recipe.data, "train").classes
    teacher = _opened(recipe.teacher.weights, recipe, classes) if recipe.teacher.weights is not None else None
    alone = open_model(recipe.baseline) if recipe.baseline not in ("train", "none") else None
    if alone is not None:
        require_same_classes(alone, classes)
        alone = replace(alone, classes=classes)
    # Networks and methods are made once before anything is trained, so that a pair that can't work is refused now.
    if teacher is None:
        own = prepare_task(recipe, "teacher", teacher=None).network
        prepare_task(recipe, "student", teacher=Teacher(own, input_scale=recipe.teacher.input_scale))
    else:
        task = prepare_task(recipe, "student", teacher=teacher.model.network, obstacle=teacher.obstacle)
        if not folder.states() and not folder.finished("student"):
            check_teacher(recipe, teacher, task.validation)
    with folder.held():
        folder.open(recorded(recipe, teacher).model_dump(mode="json"), resume=resume)
        return _in_turn(recipe, folder, teacher, alone, resume=resume, quiet=quiet)


def check_teacher(recipe: Recipe, teacher: Pairing, validation: SegmentationDataset) -> None:
    """Refuse a given teacher that does no better than guessing, unless the recipe says not to."""
    network = teacher.model.network
    if recipe.teacher.check and not teacher.obstacle and isinstance(network, Teacher):
        require_better_than_chance(str(teacher.model.path), network.to(own_device()), validation)


def _in_turn(
    recipe: Recipe,
    folder: RunFolder,
    teacher: Pairing | None,
    alone: LoadedModel | None,
    *,
    resume: bool,
    quiet: bool,
) -> Distillation:
    """The teacher, if there is none yet; the student alone, if it is asked for; the student that is taught."""

    def part(name: str, **changes: object) -> LoadedModel:
        own = {"out": folder.path / name, "method": [], "baseline": "none", **changes}
        run = train(recipe.model_copy(update=own), resume=resume, quiet=quiet)
        return open_model(run.folder.path)

    if teacher is None:
        classes = create_dataset(recipe.data, "train").classes
        teacher = _opened(part("teacher", role="teacher").path, recipe, classes)
    if teacher.note and not quiet and is_main():
        console.print(f"teacher: {teacher.note}", soft_wrap=True, markup=False)
    if recipe.baseline == "train":
        alone = part("alone", role="student", teacher=TeacherConfig())
    # Made again: the methods must meet the trained teacher, and the student must start from its seed.
    task = prepare_task(recipe, "student", teacher=teacher.model.network, obstacle=teacher.obstacle)
    student = _fit(recipe, task, folder, title="+".join(method.name for method in recipe.method), quiet=quiet)
    if recipe.teacher.shard:  # from here on each process uses it by itself
        source = teacher.model.path if recipe.teacher.weights is None else recipe.teacher.weights
        teacher = pair(open_model(source), recipe.teacher, create_dataset(recipe.data, "train").classes)
    return Distillation(student, teacher, alone)


def _opened(source: str | Path | NetworkSpec, recipe: Recipe, classes: Classes) -> Pairing:
    """The trained teacher, with a part of it on every process if the recipe asks for that."""
    pairing = pair(open_model(source), recipe.teacher, classes)
    if recipe.teacher.shard:
        shard(pairing.model.network)
    return pairing


def run_folder(recipe: Recipe) -> RunFolder:
    """The folder of the recipe's run."""
    if recipe.out is None:
        raise RecipeError("The recipe names no run folder. Set out=FOLDER, where the run may write.")
    return RunFolder(recipe.out)


def _fit(recipe: Recipe, task: Task, folder: RunFolder, *, title: str, quiet: bool) -> Run:
    """Train, or go on training, and write the finished network."""
    if folder.finished(task.role):
        return Run(folder, task.role)
    task.distiller.class_weights = class_weights(task.data, task.config.class_balance)
    progress = _steps(recipe, task, folder, title=title, quiet=quiet)
    if task.config.keep == "best":
        try:
            task.network.load_state_dict(read_weights(folder.best))
        except CheckpointError as error:
            raise CheckpointError(
                f"{error} These are the weights of the best validation. The run is done but for them: "
                "put the file back, or delete the run folder to start again."
            ) from error
    trained = {
        "data": recipe.data.name,
        "method": [method.name for method in recipe.method],
        "seed": task.config.seed,
        "steps": progress.step,
        "batch_size": task.config.batch_size,
        "seconds": round(progress.seconds, 1),
        "keep": task.config.keep,
        "best_miou": round(progress.best_miou, 4),
        "best_step": progress.best_step,
        **({"skipped": progress.skipped} if progress.skipped else {}),
        **({"unreadable": len(progress.unreadable)} if progress.unreadable else {}),
    }
    if is_main():
        save_model(folder.path, task.role, task.network, task.spec, task.data.classes, trained)
    wait_for_all()
    return Run(folder, task.role)


def _steps(recipe: Recipe, task: Task, folder: RunFolder, *, title: str, quiet: bool) -> Progress:
    """All steps that are not made yet. Where there is too little memory for them, what would do is found out."""
    fit = partial(
        Fit,
        title=title,
        folder=folder,
        distiller=task.distiller,
        stream=Stream(task.data, recipe.augment, task.config.seed, _targets(recipe, task, folder, quiet=quiet)),
        validation=task.validation,
        config=task.config,
        inference=recipe.inference,
        metrics=recipe.metrics,
        quiet=quiet,
    )
    try:
        with explained("training"):
            return fit()()
    except OutOfMemoryError as error:
        told, what = str(error), error.what  # and no more of it: its traceback holds what fills the memory
    if what == "validating":
        raise OutOfMemoryError(
            f"{told} Validation images are not cropped. Free some memory and run the same command with --resume; or "
            "choose another out=FOLDER with a lower inference.max_elements or windows (inference.mode=slide).",
            what,
        )
    raise OutOfMemoryError(f"{told} {advice(task, recipe.augment)}", what)


def _targets(recipe: Recipe, task: Task, folder: RunFolder, *, quiet: bool) -> Targets | None:
    """What the teacher says about the training images, if the recipe has it cached and the task has one."""
    for teacher in task.distiller.teacher:
        if recipe.teacher.cache != "off" and isinstance(teacher, SegmentationNetwork):
            place = recipe.teacher.cache_folder or folder.teacher_logits
            return cache_logits(teacher, task.data, task.config, place, quiet=quiet)
    return None
