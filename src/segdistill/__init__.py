"""segdistill: distil a big semantic-segmentation network into a small one, and prove what that was worth.

The public names are imported when they are first used, so that `import segdistill` itself costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segdistill.commands.benchmark import benchmark
    from segdistill.commands.compare import compare
    from segdistill.commands.convert import Converted, Inspected, convert, inspect
    from segdistill.commands.distill import Distilled, distill
    from segdistill.commands.doctor import doctor
    from segdistill.commands.evaluate import Evaluated, evaluate
    from segdistill.commands.explain import Explanation, explain
    from segdistill.commands.export import export
    from segdistill.commands.listing import available
    from segdistill.commands.networks import create_model, load_checkpoint, load_model, wrap
    from segdistill.commands.predict import predict
    from segdistill.commands.prepare import Prepared, prepare
    from segdistill.commands.pretrain import Pretrained, pretrain
    from segdistill.commands.profile import profile
    from segdistill.commands.profile_step import profile_step
    from segdistill.commands.publish import Published, publish
    from segdistill.commands.replay import replay
    from segdistill.commands.report import Report, report
    from segdistill.commands.reproduce import Reproduction, reproduce
    from segdistill.commands.schema import schema
    from segdistill.commands.show import show
    from segdistill.commands.submit import Submitted, submit
    from segdistill.commands.train import Trained, train
    from segdistill.core.errors import SegdistillError
    from segdistill.core.outputs import SegOutput
    from segdistill.data.base import SegmentationDataset
    from segdistill.diagnosis.diagnose import Diagnosis
    from segdistill.evaluation.cost.profile import Profile
    from segdistill.exporting.benchmark_result import Benchmark
    from segdistill.exporting.profile import FileProfile
    from segdistill.exporting.result import Export
    from segdistill.methods.base import Method, create_method
    from segdistill.models.network import SegmentationNetwork
    from segdistill.models.prediction import Prediction
    from segdistill.recipe.recipe import MethodSpec, Recipe, load_recipe
    from segdistill.recipe.shorthand import Folder
    from segdistill.reporting.prediction import PredictedFiles
    from segdistill.studies.result import Study
    from segdistill.training.faults.replay_result import Replay
    from segdistill.training.step_profile import StepProfile

__all__ = [
    "Benchmark",
    "Converted",
    "Diagnosis",
    "Distilled",
    "Evaluated",
    "Explanation",
    "Export",
    "FileProfile",
    "Folder",
    "Inspected",
    "Method",
    "MethodSpec",
    "PredictedFiles",
    "Prediction",
    "Prepared",
    "Pretrained",
    "Profile",
    "Published",
    "Recipe",
    "Replay",
    "Report",
    "Reproduction",
    "SegOutput",
    "SegdistillError",
    "SegmentationDataset",
    "SegmentationNetwork",
    "StepProfile",
    "Study",
    "Submitted",
    "Trained",
    "available",
    "benchmark",
    "compare",
    "convert",
    "create_method",
    "create_model",
    "distill",
    "doctor",
    "evaluate",
    "explain",
    "export",
    "inspect",
    "load_checkpoint",
    "load_model",
    "load_recipe",
    "predict",
    "prepare",
    "pretrain",
    "profile",
    "profile_step",
    "publish",
    "replay",
    "report",
    "reproduce",
    "schema",
    "show",
    "submit",
    "train",
    "wrap",
]

_ELSEWHERE = {
    "Benchmark": "exporting.benchmark_result",
    "Converted": "commands.convert",
    "Diagnosis": "diagnosis.diagnose",
    "Distilled": "commands.distill",
    "Evaluated": "commands.evaluate",
    "Explanation": "commands.explain",
    "Export": "exporting.result",
    "FileProfile": "exporting.profile",
    "Folder": "recipe.shorthand",
    "Inspected": "commands.convert",
    "Method": "methods.base",
    "MethodSpec": "recipe.recipe",
    "PredictedFiles": "reporting.prediction",
    "Prediction": "models.prediction",
    "Prepared": "commands.prepare",
    "Pretrained": "commands.pretrain",
    "Profile": "evaluation.cost.profile",
    "Published": "commands.publish",
    "Recipe": "recipe.recipe",
    "Replay": "training.faults.replay_result",
    "Report": "commands.report",
    "Reproduction": "commands.reproduce",
    "SegOutput": "core.outputs",
    "SegdistillError": "core.errors",
    "SegmentationDataset": "data.base",
    "SegmentationNetwork": "commands.networks",
    "StepProfile": "training.step_profile",
    "Study": "studies.result",
    "Submitted": "commands.submit",
    "Trained": "commands.train",
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
    if name not in _ELSEWHERE or name == "inspect":  # a verb: it leaves random numbers, warnings and logging alone
        value = import_module("segdistill.runtime.untouched").leaving_untouched(value)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
