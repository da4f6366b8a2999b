"""From a task to a finished run folder: all steps that are not made yet, then the trained network."""

from __future__ import annotations

import functools
from dataclasses import asdict

from segdistill.core.errors import CheckpointError, DataError
from segdistill.data import labeled_part
from segdistill.data.balance import class_weights, is_all_void
from segdistill.data.stream import Stream, Targets
from segdistill.models.files import read_description, read_weights, save_model, weight_file
from segdistill.models.network import SegmentationNetwork
from segdistill.runs.checkpoint import Progress
from segdistill.runs.folder import RunFolder
from segdistill.runtime.display import console
from segdistill.runtime.failures import OutOfMemoryError, explained
from segdistill.runtime.processes import is_main, wait_for_all
from segdistill.training.forecast import Pace
from segdistill.training.loop import Trainer
from segdistill.training.out_of_memory import advice
from segdistill.training.precision_trial import settle_precision
from segdistill.training.refit.refit import refit
from segdistill.training.task import Task
from segdistill.training.teacher_cache import cache_logits, cached_view


def fit(task: Task, folder: RunFolder, *, quiet: bool = False, pace: Pace | None = None) -> None:
    """Train, or go on training, in a folder that is claimed, and write the finished network.

    Args:
        task: What is trained.
        folder: That the run writes to.
        quiet: Show no progress.
        pace: Times the first steps.

    Raises:
        TrainingError: If the run has to stop.
        CheckpointError: If the weights of the best validation are gone.
    """
    if folder.finished(task.role):
        _say_what_comes_too_late(task, folder, quiet)
        return
    if is_all_void(labeled_part(task.data)):
        _refuse_to_learn_nothing(task, quiet)
    task = settle_precision(task, folder, _silent if quiet or not is_main() else _print_once)
    task.distiller.class_weights = class_weights(labeled_part(task.data), task.config.class_balance)
    progress = _train(task, folder, quiet=quiet, pace=pace)
    if task.config.keep == "best" and not progress.best_step:
        _say_that_the_last_are_kept(task, quiet)
    elif task.config.keep == "best":
        try:
            task.network.load_state_dict(read_weights(folder.best))
        except CheckpointError as error:
            raise CheckpointError(
                f"{error} These are the weights of the best validation. The run is done but for them: "
                "put the file back, or delete the run folder to start again."
            ) from error
    if is_main():
        record = _record(task, progress)
        if task.config.refit_images:
            record["refit"] = _refitted(task, quiet)
        save_model(folder.path, task.role, task.network, task.spec, task.data.classes, record)
    wait_for_all()


def _say_what_comes_too_late(task: Task, folder: RunFolder, quiet: bool) -> None:
    if quiet or not is_main() or not task.config.refit_images:
        return
    if "refit" not in read_description(weight_file(folder.path)).trained:
        _print_once(f"{task.title}: it is finished, and refit_images is not applied to it any more.")


def _refuse_to_learn_nothing(task: Task, quiet: bool) -> None:
    """Refuse a run whose masks are all void. Where a teacher has more to speak of, as unlabelled images, say so."""
    text = (
        f"{task.title}: no training mask that was looked at holds a pixel of a class, all are void, so nothing can be "
        "learned from labels. Are they the masks of these images, and data.values and data.void right? segdistill "
        "doctor lists their values."
    )
    unlabelled = not all(map(task.data.is_labeled, range(len(task.data))))
    if not any(unlabelled or method.as_published for method in task.distiller.methods):  # others pass void over
        raise DataError(text)
    if not quiet and is_main():
        _print_once(text)


def _say_that_the_last_are_kept(task: Task, quiet: bool) -> None:
    if not quiet and is_main():
        console.print(
            f"{task.title}: keep=best could choose no weights, as no validation gave an mIoU; the last ones are kept.",
            soft_wrap=True,
            markup=False,
        )


def _refitted(task: Task, quiet: bool) -> dict[str, object] | None:
    """Fit the finished network to how it is tested, and say what that was worth; for its description."""
    with explained("fitting batch norm and class scores"):
        try:
            fitted = refit(
                task.network, labeled_part(task.data), task.config.refit_images, task.recipe.inference,
                ignored=task.recipe.metrics.ignored(task.data.classes),
                skip_unreadable=task.config.on_unreadable == "skip", quiet=quiet,
            )  # fmt: skip
        except DataError as error:
            raise DataError(
                f"{error} All steps are made; refit_images reads it once more. Mend the file and run the same command "
                "with --resume; or with on_unreadable=skip, or refit_images=0."
            ) from error
    if not quiet:
        summary = fitted.summary() if fitted else "refit_images was left out: no image has a label"
        _print_once(f"{task.title}: {summary}")
    return None if fitted is None else asdict(fitted)


def _record(task: Task, progress: Progress) -> dict[str, object]:
    """How the network was trained, for the description beside its weights."""
    return {
        "data": task.recipe.data.name,
        "method": [method.name for method in task.recipe.method],
        "seed": task.config.seed,
        "steps": progress.step,
        "batch_size": task.config.batch_size,
        "seconds": round(progress.seconds, 1),
        "keep": task.config.keep if progress.best_step else "last",
        "best_miou": round(progress.best_miou, 4) if progress.best_step else None,
        "best_step": progress.best_step,
        **({"best_images": progress.best_of} if 0 < progress.best_of < len(task.validation) else {}),
        **({"skipped": progress.skipped} if progress.skipped else {}),
        **({"unreadable": len(progress.unreadable)} if progress.unreadable else {}),
    }


def _train(task: Task, folder: RunFolder, *, quiet: bool, pace: Pace | None) -> Progress:
    """All steps that are not made yet. Where there is too little memory for them, what would do is found out."""
    recipe = task.recipe
    if not quiet and is_main():
        for note in dict.fromkeys([*task.data.notes, *task.validation.notes]):
            _print_once(f"data: {note}")
    targets = _targets(task, folder, quiet=quiet)
    try:
        with explained("training"):
            return Trainer(
                title=task.title,
                folder=folder,
                distiller=task.distiller,
                stream=Stream(task.data, recipe.augment, task.config.seed, targets),
                validation=task.validation,
                config=task.config,
                inference=recipe.inference,
                metrics=recipe.metrics,
                quiet=quiet,
                pace=pace,
            ).train()
    except OutOfMemoryError as error:
        message, what = str(error), error.what  # and no more of it: its traceback holds what fills the memory
    if what == "validating":
        raise OutOfMemoryError(
            f"{message} Validation images are not cropped. Free some memory and run the same command with --resume; or "
            "choose another out=FOLDER with a lower inference.max_elements or windows (inference.mode=slide).",
            what,
        )
    raise OutOfMemoryError(f"{message} {advice(task, recipe.augment)}", what)


def _silent(text: str) -> None:
    """Print nothing."""


@functools.cache
def _print_once(text: str) -> None:
    """Print a line; not again for the other runs of a distillation or comparison in this process."""
    console.print(text, soft_wrap=True, markup=False)


def _targets(task: Task, folder: RunFolder, *, quiet: bool) -> Targets | None:
    """The teacher's logits of the training images, if the recipe has them cached and the task has a teacher."""
    config, teacher = task.recipe.teacher, task.distiller.teacher
    if config.cache == "off" or not isinstance(teacher, SegmentationNetwork):
        return None
    teacher, root = cached_view(teacher, task.recipe), config.cache_folder or folder.teacher_logits
    return cache_logits(teacher, task.data, task.recipe.augment.crop, task.teacher_config, root, quiet=quiet)
