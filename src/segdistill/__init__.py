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
    from segdistill.commands.networks import create_model, load_checkpoint, load_model, wrap
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
    from segdistill.models.prediction import Prediction
    from segdistill.recipe.recipe import MethodSpec, Recipe, load_recipe
    from segdistill.recipe.shorthand import Folder

__all__ = [
    "Folder",
    "Method",
    "MethodSpec",
    "Prediction",
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
    "Prediction": "models.prediction",
    "SegOutput": "core.outputs",
    "SegdistillError": "core.errors",
    "SegmentationDataset": "data.base",
    "available": "commands.listing",
    "create_method": "methods.base",
    "create_model": "commands.networks",
    "inspect": "commands.convert",
    "load_checkpoint": "commands.networks",
    "load_model": "commands.networks",
    "load_recipe": "recipe.recipe",
    "wrap": "commands.networks",
}
"""Public names that are not a verb in the file of its own name in `commands`."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, and keep it."""
    if name not in __all__:
        raise AttributeError(f"module 'segdistill' has no attribute '{name}'")
    module = import_module(f"segdistill.{_ELSEWHERE.get(name, f'commands.{name}')}")
    value = getattr(module, name)
    if name not in _ELSEWHERE:  # a verb, which leaves the caller's random numbers, warnings and logging alone
        value = import_module("segdistill.runtime.untouched").leaving_untouched(value)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
