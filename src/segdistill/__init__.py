"""segdistill: distil a big semantic-segmentation network into a small one, and prove what that was worth.

The public names are imported when they are first used, so that `import segdistill` itself costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segdistill.commands.benchmark import benchmark
    from segdistill.commands.compare import compare
    from segdistill.commands.convert import convert, inspect
    from segdistill.commands.distill import distill
    from segdistill.commands.doctor import doctor
    from segdistill.commands.evaluate import evaluate
    from segdistill.commands.export import export
    from segdistill.commands.listing import available
    from segdistill.commands.predict import predict
    from segdistill.commands.prepare import prepare
    from segdistill.commands.profile import profile
    from segdistill.commands.replay import replay
    from segdistill.commands.report import report
    from segdistill.commands.reproduce import reproduce
    from segdistill.commands.show import show
    from segdistill.commands.submit import submit
    from segdistill.commands.train import train
    from segdistill.core.errors import SegdistillError
    from segdistill.core.outputs import SegOutput
    from segdistill.data.base import SegmentationDataset
    from segdistill.methods.base import Method, create_method
    from segdistill.models.adapters.module import wrap
    from segdistill.models.open import create_model, load_checkpoint, load_model
    from segdistill.recipe.recipe import MethodSpec, Recipe, load_recipe
    from segdistill.recipe.shorthand import Folder

__all__ = [
    "Folder",
    "Method",
    "MethodSpec",
    "Recipe",
    "SegOutput",
    "SegdistillError",
    "SegmentationDataset",
    "available",
    "benchmark",
    "compare",
    "convert",
    "create_method",
    "create_model",
    "distill",
    "doctor",
    "evaluate",
    "export",
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

_ELSEWHERE = {
    "Folder": "recipe.shorthand",
    "Method": "methods.base",
    "MethodSpec": "recipe.recipe",
    "Recipe": "recipe.recipe",
    "SegOutput": "core.outputs",
    "SegdistillError": "core.errors",
    "SegmentationDataset": "data.base",
    "available": "commands.listing",
    "create_method": "methods.base",
    "create_model": "models.open",
    "inspect": "commands.convert",
    "load_checkpoint": "models.open",
    "load_model": "models.open",
    "load_recipe": "recipe.recipe",
    "wrap": "models.adapters.module",
}
"""Public names that are not a verb in the file of its own name in `commands`."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, and keep it."""
    if name not in __all__:
        raise AttributeError(f"module 'segdistill' has no attribute '{name}'")
    module = import_module(f"segdistill.{_ELSEWHERE.get(name, f'commands.{name}')}")
    globals()[name] = getattr(module, name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted(__all__)
