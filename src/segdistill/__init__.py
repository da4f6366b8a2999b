"""segdistill: distil a big semantic-segmentation network into a small one, and prove what that was worth."""

from segdistill.core.errors import SegdistillError
from segdistill.core.outputs import SegOutput
from segdistill.methods import Method, create_method
from segdistill.models.adapters.module import wrap
from segdistill.models.files import create_model, load_checkpoint, load_model
from segdistill.recipe.recipe import Recipe, load_recipe
from segdistill.reproduction import reproduce
from segdistill.verbs import (
    available,
    compare,
    convert,
    distill,
    doctor,
    evaluate,
    inspect,
    predict,
    prepare,
    profile,
    replay,
    report,
    show,
    submit,
    train,
)

__all__ = [
    "Method",
    "Recipe",
    "SegOutput",
    "SegdistillError",
    "available",
    "compare",
    "convert",
    "create_method",
    "create_model",
    "distill",
    "doctor",
    "evaluate",
    "inspect",
    "load_checkpoint",
    "load_model",
    "load_recipe",
    "predict",
    "prepare",
    "profile",
    "replay",
    "report",
    "reproduce",
    "show",
    "submit",
    "train",
    "wrap",
]
