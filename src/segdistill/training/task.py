"""One network to train, with all that its run needs: made and checked before the run's folder is touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from segdistill.core.errors import RecipeError
from segdistill.core.outputs import SegOutput
from segdistill.core.seeds import mix
from segdistill.data import SegmentationDataset, create_dataset, labeled_part, training_images, with_unlabeled
from segdistill.data.labelled import has_labels
from segdistill.methods import Method, create_method
from segdistill.models.build import build, probe
from segdistill.models.channels import for_images, require_channels
from segdistill.models.network import SegmentationNetwork
from segdistill.models.probing import norm_of_one_value
from segdistill.models.spec import NetworkSpec, Role
from segdistill.recipe.recipe import Recipe
from segdistill.recipe.training import TrainingConfig
from segdistill.runs.folder import RunFolder
from segdistill.training.distiller import Distiller
from segdistill.training.gradient_shares import GradientShares
from segdistill.training.logits_only import require_logits_only
from segdistill.training.pairing import require_readable
from segdistill.training.shares import own_batches

_SIDE = 128


@dataclass(frozen=True)
class Splits:
    """The images that a recipe trains with and those that it validates with."""

    train: SegmentationDataset
    val: SegmentationDataset


def open_splits(recipe: Recipe) -> Splits:
    """The recipe's training and validation images.

    Args:
        recipe: Whose section `data` says where they are.

    Returns:
        Both; their images are not read yet.

    Raises:
        DataError: If files are missing.
        RecipeError: If the data set's options make no sense.
    """
    return Splits(training_images(recipe.data), create_dataset(recipe.data, "val"))


@dataclass(frozen=True)
class TeacherOutline:
    """What methods are made from before the teacher is trained.

    Attributes:
        output: The teacher's output for an image; only its shapes count.
        incompatibility: Why methods can't read its logits, or nothing.
    """

    output: SegOutput
    incompatibility: str = ""


@dataclass(frozen=True)
class Task:
    """One network to train. recipe: of its run, whose folder is `recipe.out`. config: how this role is trained."""

    recipe: Recipe
    role: Role
    spec: NetworkSpec
    config: TrainingConfig
    data: SegmentationDataset
    validation: SegmentationDataset
    distiller: Distiller

    @property
    def network(self) -> SegmentationNetwork:
        """The network that is trained."""
        return self.distiller.student

    @property
    def teacher_config(self) -> TrainingConfig:
        """As `config`, in the precision that the teacher computes in."""
        precision = self.distiller.teacher_precision or self.config.computes_in
        return self.config.model_copy(update={"precision": precision})

    @property
    def title(self) -> str:
        """What its progress is headed with: its methods, or its role alone."""
        methods = "+".join(method.name for method in self.recipe.method)
        return methods if len(self.distiller.methods) else f"{self.role} alone"


def make_task(
    recipe: Recipe, role: Role, *, splits: Splits | None = None, teacher: TeacherOutline | None = None
) -> Task:
    """The run of the recipe's `role`; nothing is trained or written yet.

    Args:
        recipe: Of the run.
        role: Which of its networks is trained.
        splits: The recipe's data, if it is open already.
        teacher: With it the recipe's methods distil the network; the teacher itself is set before the first step (see
            `Distiller.set_teacher`). Without it the network is trained alone.

    Raises:
        RecipeError: If the recipe has no such network, its methods can't distil the pair, or no weights can be chosen.
    """
    spec = recipe.student if role == "student" else recipe.teacher.network
    config = recipe.training() if role == "student" else recipe.teacher_training()
    if spec is None:
        key = "student" if role == "student" else "teacher.network"
        raise RecipeError(f"The recipe has no {role}. Name a pair, such as mobile_pair, or set {key}.")
    splits = splits or open_splits(recipe)
    spec = for_images(spec, splits.train.pixels, recipe.teacher.channels if role == "teacher" else None)
    # A run that has begun ends with its last weights, see `fit`: its recipe can't be changed any more.
    if recipe.out is None or not RunFolder(recipe.out).states():
        require_choosable(config, splits.val)
    recipe.metrics.ignored(splits.val.classes)
    num_classes = len(splits.train.classes)
    # A student of a seed starts the same with and without methods: they draw their numbers after it.
    torch.manual_seed(mix(config.seed))
    network = build(spec, num_classes)
    network.pixels = splits.train.pixels
    require_channels(network, network.pixels)
    require_enough_values(network, config, spec, recipe.augment.crop)
    methods = [] if teacher is None else _methods(recipe, network, teacher, num_classes)
    factors = [partial(method.schedule.factor, steps=config.steps) for method in recipe.method] if methods else []
    measured = min(50, max(1, config.steps // 50))
    shares = _shares(recipe, methods, splits.train, measured)
    distiller = Distiller(
        network, methods, factors=factors, shares=GradientShares(shares, measured), task=config.task_loss,
        same_classes=teacher is None or not teacher.incompatibility,
    )  # fmt: skip
    # A teacher speaks of unlabelled images, too; a network that is trained alone can learn nothing from them.
    data = labeled_part(splits.train) if teacher is None else with_unlabeled(splits.train, recipe.data)
    return Task(recipe, role, spec, config, data, splits.val, distiller)


def _shares(recipe: Recipe, methods: Sequence[Method], data: SegmentationDataset, measured: int) -> list[float | None]:
    """Of each method; None for all where no image has a label, so that there is no task loss to be compared with.

    Raises:
        RecipeError: A schedule ends before a method is measured.
    """
    shares = [spec.share_of(method) for spec, method in zip(recipe.method, methods, strict=bool(methods))]
    if not any(map(data.is_labeled, range(len(data)))):
        return [None for _ in shares]
    for spec, share in zip(recipe.method, shares, strict=bool(shares)):
        start, stop = spec.schedule.start, spec.schedule.stop
        if share is not None and stop is not None and stop - start <= measured:
            raise RecipeError(
                f"method.{spec.name}.schedule: it counts in {stop - start} steps, and in the first {measured} it does "
                f"not train: its share is measured. Set a later stop, or method.{spec.name}.share=null for its weights."
            )
    return shares


def require_choosable(config: TrainingConfig, validation: SegmentationDataset) -> None:
    """Refuse keep=best where no validation pixel has a label: every mIoU would be NaN, and none the best.

    Args:
        config: Of the training; with keep=last nothing is read.
        validation: Is read up to the first image that has a label.

    Raises:
        RecipeError: If it is so.
    """
    if config.keep == "best" and not has_labels(validation):
        raise RecipeError(
            f"keep=best chooses the weights by their mIoU on validation, but none of the {len(validation)} validation "
            "images has a labelled pixel (there are no masks, or all they hold is void). Set keep=last, or give "
            "validation images with labels."
        )


def require_enough_values(
    network: SegmentationNetwork, config: TrainingConfig, spec: NetworkSpec, crop: tuple[int, int]
) -> None:
    """Refuse a network whose batch norm can't be trained with micro-batches of one image.

    Args:
        network: Is run on one image, unless micro-batches or synchronised norms see more.
        config: Of the training.
        spec: What the network is called in the message.
        crop: (H,W) of the images that it is trained on, in pixels.

    Raises:
        RecipeError: If it is so.
    """
    share = own_batches(config)
    if share.micro > 1 or (share.world > 1 and config.sync_bn is not False):
        return
    # Larger crops pool to 1x1 as this one does.
    norm = norm_of_one_value(network, (min(crop[0], _SIDE), min(crop[1], _SIDE)))
    if norm is not None:
        batch, parts = config.batch_size, config.grad_accumulation
        fewer = next((count for count in range(batch // 2, 0, -1) if batch % count == 0), None)
        what, remedy = ("batch_size=1", "batch_size=2") if fewer is None else (
            f"batch_size={batch} in {share.world * parts} parts", f"grad_accumulation={fewer}"
        )  # fmt: skip
        raise RecipeError(
            f"Network '{spec.name or spec.backbone}' can't be trained on one image at a time: its batch norm {norm}, "
            f"would see one value a channel, which has no variance. {what} is one image a micro-batch; set {remedy}, "
            "for two or more, or choose another network."
        )


def run_folder(recipe: Recipe) -> RunFolder:
    """The folder of the recipe's run.

    Args:
        recipe: Whose key `out` names it.

    Returns:
        The folder, whether or not it exists.

    Raises:
        RecipeError: If the recipe names none.
    """
    if recipe.out is None:
        raise RecipeError("The recipe names no run folder. Set out=FOLDER, where the run may write.")
    return RunFolder(recipe.out)


def _methods(recipe: Recipe, student: SegmentationNetwork, teacher: TeacherOutline, num_classes: int) -> list[Method]:
    """The recipe's methods for the pair; refused if they read logits that are not compatible."""
    output = teacher.output
    if teacher.incompatibility:  # what a method reads is known once it is made, so it is made for logits that would do
        logits = output.logits
        output = replace(output, logits=logits.new_zeros(len(logits), num_classes, *logits.shape[2:]))
    student_output, only_logits = probe(student), not output.embedding.shape[1]
    if only_logits:  # likewise
        output = replace(output, embedding=student_output.embedding, features=student_output.features)
    example = {"student": student_output, "teacher": output, "num_classes": num_classes}
    methods = [create_method(method.name, **example, **method.options) for method in recipe.method]
    names = [method.name for method in recipe.method]
    require_readable(methods, names, teacher.incompatibility)
    if recipe.teacher.cache != "off":
        require_logits_only(methods, names, "'teacher.cache': only the teacher's logits are cached")
    if only_logits:
        why = "of several teachers only the logits have a mean, and an exported file gives nothing else"
        require_logits_only(methods, names, f"'teacher.weights': {why}")
    return methods
