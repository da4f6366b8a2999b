"""Features first: a backbone learns from one that knows no classes, on images without labels."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

from segdistill.commands.common import with_folder, with_warning
from segdistill.core.results import Result
from segdistill.models.files import read_description
from segdistill.recipe.keywords import RecipeKeys, Word, takes_recipe_keys
from segdistill.recipe.recipe import load_recipe
from segdistill.runs.folder import Resume
from segdistill.training.pretraining import BACKBONE, pretrain_backbone


@dataclass(frozen=True, repr=False)
class Pretrained(Result):
    """A finished `pretrain`.

    Attributes:
        folder: Of the run, which `student.backbone_weights` takes.
        weights: The file of the backbone.
        images: That it has learned on.
        seconds: Of training.
    """

    folder: Path
    weights: Path
    images: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "folder": str(self.folder), "weights": str(self.weights)}

    def __repr__(self) -> str:
        return f"Pretrained({self.weights}, {self.images} images)"


@takes_recipe_keys
def pretrain(*words: Word, resume: Resume = False, quiet: bool = False, **keys: Unpack[RecipeKeys]) -> Pretrained:
    """Let the student's backbone imitate the features of a backbone without classes, on images without labels.

    Args:
        *words: Words of a recipe, as for `load_recipe`, or a whole one; its section `pretrain` names the teacher.
        resume: Go on with the run that the folder holds; "auto" goes on if it holds this very recipe, and begins if it
            is empty.
        quiet: Show no progress.
        **keys: Recipe keys over the words.

    Returns:
        The run, whose folder starts a student: `train(.., student={.., "backbone_weights": folder})`.

    Raises:
        RecipeError: The recipe names no teacher or student, or they can't be made.
        TrainingError: The folder holds another run, or the run has to stop.
    """
    recipe = with_folder(with_warning(load_recipe(*words, **keys), quiet), "backbone")
    folder = pretrain_backbone(recipe, resume=resume, quiet=quiet).path
    weights = folder / f"{BACKBONE}.safetensors"
    trained = read_description(weights).trained
    return Pretrained(folder, weights, trained["images"], trained["seconds"])
