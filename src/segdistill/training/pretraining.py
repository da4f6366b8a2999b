"""A backbone learns features from a teacher without classes: a run of its own, with the loop of every other."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from segdistill.core.classes import Classes
from segdistill.core.errors import RecipeError
from segdistill.core.seeds import mix
from segdistill.data import SegmentationDataset, create_dataset, pixels_of
from segdistill.data.stream import Stream
from segdistill.data.unlabeled import Joined, Unlabeled, WithoutMasks
from segdistill.models.backbone_only import BackboneOnly
from segdistill.models.build import build, probe
from segdistill.models.channels import choose_channels, for_images, require_channels
from segdistill.models.checksum import tensors_checksum
from segdistill.models.feature_teacher import feature_teacher
from segdistill.models.files import save_model
from segdistill.models.network import as_input
from segdistill.recipe.keys import changeable_keys
from segdistill.recipe.recipe import Recipe
from segdistill.runs.folder import Resume, RunFolder
from segdistill.runtime.failures import explained
from segdistill.runtime.processes import is_main, wait_for_all
from segdistill.training.distiller import Distiller
from segdistill.training.loop import Trainer
from segdistill.training.patch_features import PatchFeatures
from segdistill.training.same_teacher import require_same_teacher
from segdistill.training.task import run_folder

BACKBONE: Final = "backbone"
"""The name of the files that a run of `pretrain` ends in."""

_ANY = Classes(("background", "object"), ((0, 0, 0), (255, 255, 255)))


class FeatureDistiller(Distiller):
    """A `Distiller` without a task: the loss is that of the features alone, whatever the label holds but padding."""

    def forward(
        self, image: Tensor, label: Tensor, step: int = 0, target: Tensor | None = None, share: Tensor | None = None
    ) -> dict[str, Tensor]:
        pixels = as_input(image)
        output = self._compiled.get("student", self.student)(pixels)
        terms: dict[str, Tensor] = self.methods[0](output, self._teacher_output(pixels), label.long())
        # Parameters that the last map does not depend on get a gradient of 0, as processes that train together expect.
        idle = torch.stack([each.flatten()[:0].sum() for each in self.student.parameters() if each.requires_grad]).sum()
        return {name: value + idle for name, value in terms.items()}


def pretrain_backbone(recipe: Recipe, *, resume: Resume = False, quiet: bool = False) -> RunFolder:
    """Train, or go on training, the backbone of the recipe's student; it ends in backbone.safetensors.

    Args:
        recipe: Its section `pretrain` says from whom, and on which images.
        resume: Continue the run of the recipe's folder; without it a folder in use is an error.
        quiet: Show no progress.

    Raises:
        RecipeError: The recipe names no teacher or student, or they can't be made.
        TrainingError: The folder holds another run, or the run has to stop.
    """
    folder = run_folder(recipe)
    data = pretraining_images(recipe)
    distiller = _distiller(recipe, data)
    with folder.held():
        folder.open(recipe.model_dump(mode="json"), resume=resume, may_change=changeable_keys())
        if folder.finished(BACKBONE):
            return folder
        assert distiller.teacher is not None
        source = recipe.pretrain.teacher_weights or recipe.pretrain.teacher
        require_same_teacher(folder, tensors_checksum(distiller.teacher.state_dict()), source)
        with explained("training"):
            progress = Trainer(
                title="backbone", folder=folder, distiller=distiller, stream=Stream(data, recipe.augment, recipe.seed),
                validation=None, config=recipe.training(), inference=recipe.inference, metrics=recipe.metrics,
                quiet=quiet,
            ).train()  # fmt: skip
        if is_main():
            record = {
                "teacher": recipe.pretrain.teacher, "images": len(data), "seed": recipe.seed, "steps": progress.step,
                "batch_size": recipe.batch_size, "seconds": round(progress.seconds, 1),
            }  # fmt: skip
            assert recipe.student is not None
            spec = for_images(recipe.student, data.pixels)
            save_model(folder.path, BACKBONE, distiller.student, spec, data.classes, record)
        wait_for_all()
    return folder


def pretraining_images(recipe: Recipe) -> SegmentationDataset:
    """The images that a recipe pretrains on, as samples whose labels are all void; no mask is read.

    Raises:
        DataError: A folder is missing, or holds no image.
    """
    if recipe.pretrain.images:
        return Unlabeled(recipe.pretrain.images, _ANY, key="pretrain.images", pixels=pixels_of(recipe.data))
    images: SegmentationDataset = WithoutMasks(create_dataset(recipe.data, "train"))
    extra = recipe.data.extra
    if extra is None or not extra.images:
        return images
    return Joined([images, Unlabeled(extra.images, images.classes, pixels=images.pixels)])


def _distiller(recipe: Recipe, data: SegmentationDataset) -> FeatureDistiller:
    """The student's backbone, the teacher, and the loss between them."""
    keys = recipe.pretrain
    if recipe.student is None:
        raise RecipeError("The recipe has no student. Name a pair, such as mobile_pair, or set student.")
    if keys.teacher is None:
        raise RecipeError(
            "The recipe names no teacher of features. Set pretrain.teacher to a network of timm, as "
            "vit_small_patch14_dinov2, or to hf:FOLDER."
        )
    teacher = feature_teacher(keys.teacher, keys.teacher_weights, keys.teacher_options, input_scale=keys.input_scale)
    if recipe.teacher.channels is not None:
        choose_channels(teacher, recipe.teacher.channels, f"'{keys.teacher}'")
    require_channels(teacher, data.pixels)
    torch.manual_seed(mix(recipe.seed))
    network = build(for_images(recipe.student, data.pixels), len(data.classes))
    network.pixels = data.pixels
    student = BackboneOnly(network)
    loss = PatchFeatures(
        probe(student), probe(teacher), student.num_classes,
        cosine_weight=keys.cosine_weight, smooth_l1_weight=keys.smooth_l1_weight,
    )  # fmt: skip
    return FeatureDistiller(student, [loss], teacher)
