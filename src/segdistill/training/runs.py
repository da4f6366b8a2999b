"""`train` and `distill`: from a recipe to a finished run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from segdistill.data import Classes, SegmentationDataset, create_dataset
from segdistill.data.augment import Augment
from segdistill.data.loading import Stream, mix
from segdistill.errors import RecipeError
from segdistill.methods import Method, create_method
from segdistill.models.files import LoadedModel, Role, load_model, save_model
from segdistill.models.segmenter import Segmenter
from segdistill.models.zoo import NetworkSpec, build, probe
from segdistill.recipe import Recipe, TrainingConfig
from segdistill.training.checkpoint import Progress, load_state
from segdistill.training.distiller import Distiller
from segdistill.training.folder import RunFolder
from segdistill.training.loop import Fit


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, which role it trained, and how that went."""

    folder: RunFolder
    role: Role
    progress: Progress


def train(recipe: Recipe, *, role: Role = "student", resume: bool = False, quiet: bool = False) -> Run:
    """Train the recipe's student or teacher alone, without distillation, into the folder `recipe.run`.

    resume: continue the run of that folder; without it a folder in use is an error.
    """
    if role == "teacher":
        spec, config = recipe.teacher.network, recipe.teacher_training()
        missing = "teacher.network (a name, or a backbone and a head)"
    else:
        spec, config = recipe.student, recipe.training()
        missing = "student (a name, or a backbone and a head)"
    if spec is None:
        raise RecipeError(f"The recipe has no {missing} to train. Name a pair, such as mobile_pair, or set it.")
    return _fit(recipe, spec, config, role, run_folder(recipe), resume=resume, quiet=quiet, title=f"{role} alone")


def train_with_teacher(recipe: Recipe, teacher: LoadedModel, *, resume: bool = False, quiet: bool = False) -> Run:
    """Train the recipe's student with the task loss and the recipe's methods into the folder `recipe.run`."""
    if recipe.student is None:
        raise RecipeError("The recipe has no student. Name a pair, such as mobile_pair, or set student.")
    if not recipe.method:
        raise RecipeError("The recipe has no method to distil with. Add one, such as kd, cwd or bpkd.")
    title = "+".join(method.name for method in recipe.method)
    return _fit(
        recipe, recipe.student, recipe.training(), "student", run_folder(recipe),
        resume=resume, quiet=quiet, title=title, teacher=teacher,
    )  # fmt: skip


def run_folder(recipe: Recipe) -> RunFolder:
    """The folder of the recipe's run."""
    if recipe.run is None:
        raise RecipeError("The recipe names no run folder. Set run=FOLDER, where the run may write.")
    return RunFolder(recipe.run)


def _fit(
    recipe: Recipe,
    spec: NetworkSpec,
    config: TrainingConfig,
    role: Role,
    folder: RunFolder,
    *,
    resume: bool,
    quiet: bool,
    title: str,
    teacher: LoadedModel | None = None,
) -> Run:
    data, validation = (create_dataset(recipe.data, split) for split in ("train", "val"))
    if teacher is not None:
        _same_classes(teacher, data)
    # The student of a seed starts the same whether a teacher watches or not.
    torch.manual_seed(mix(config.seed))
    network = build(spec, len(data.classes))
    methods = _methods(recipe, network, teacher.network, len(data.classes)) if teacher is not None else []
    folder.open({"role": role, **recipe.model_dump(mode="json")}, resume=resume)
    if folder.finished(role):
        return Run(folder, role, load_state(folder.last)[0])
    distiller = Distiller(network, methods, teacher.network if teacher is not None else None)
    stream = Stream(data, Augment(**recipe.augment.model_dump()), config.seed)
    fit = Fit(
        title=title, folder=folder, distiller=distiller, stream=stream, validation=validation, config=config,
        quiet=quiet,
    )  # fmt: skip
    progress = fit()
    if config.keep == "best":
        network.load_state_dict(load_file(folder.best))
    trained = _record(recipe, config, progress)
    save_model(folder.path, role, network, spec, data.classes, trained)
    return Run(folder, role, progress)


def _methods(recipe: Recipe, student: Segmenter, teacher: Segmenter, num_classes: int) -> list[Method]:
    example = {"student": probe(student), "teacher": probe(teacher)}
    return [
        create_method(method.name, **example, num_classes=num_classes, **method.options) for method in recipe.method
    ]


def _same_classes(teacher: LoadedModel, data: SegmentationDataset) -> None:
    if teacher.classes.names != data.classes.names:
        raise RecipeError(
            f"The teacher {teacher.path} knows other classes ({_some(teacher.classes)}) than the data set "
            f"({_some(data.classes)}). Train the teacher on this data set, or choose another teacher.run."
        )


def _some(classes: Classes) -> str:
    return f"{len(classes)}: {', '.join(classes.names[:4])}{', ...' if len(classes) > 4 else ''}"


def _record(recipe: Recipe, config: TrainingConfig, progress: Progress) -> dict[str, Any]:
    return {
        "data": recipe.data.name,
        "method": [method.name for method in recipe.method],
        "seed": config.seed,
        "steps": progress.step,
        "batch_size": config.batch_size,
        "seconds": round(progress.seconds, 1),
        "keep": config.keep,
    }


def teacher_of(recipe: Recipe, *, resume: bool, quiet: bool) -> LoadedModel:
    """The recipe's teacher: the one of `teacher.run`, else trained into the folder `<run>/teacher`."""
    if recipe.teacher.run is not None:
        return load_model(recipe.teacher.run)
    own = recipe.model_copy(update={"run": Path(run_folder(recipe).path) / "teacher", "method": []})
    return load_model(train(own, role="teacher", resume=resume, quiet=quiet).folder.path)
