"""Runs of objects that were handed in: what their folder says of them, and how their networks begin."""

from __future__ import annotations

from segdistill.core.storage import write_yaml
from segdistill.data import LIVE
from segdistill.models.files import read_weights, save_weights
from segdistill.models.live import is_live
from segdistill.recipe.recipe import Recipe
from segdistill.runs.folder import RunFolder
from segdistill.runtime.processes import is_main, wait_for_all
from segdistill.training.task import Task

FILE = "handed_in.yaml"
_WHY = (
    "These were handed in from Python as objects, and can't be read back from this folder. To go on, or to load the "
    "student, hand them in again: the command line's --resume can't."
)


def handed_in(recipe: Recipe) -> dict[str, str]:
    """The keys of a recipe that hold objects, and what these are.

    Args:
        recipe: Of a run.

    Returns:
        Dotted key -> class; nothing for a recipe that can be read back whole.
    """
    weights = recipe.teacher.weights
    specs = {"student": recipe.student, "teacher.network": recipe.teacher.network, "teacher.weights": weights}
    if isinstance(weights, tuple):
        specs = {**specs, **{f"teacher.weights.{index}": each.weights for index, each in enumerate(weights)}}
    held = {key: str(spec.name) for key, spec in specs.items() if is_live(spec)}  # type: ignore[union-attr]
    if recipe.data.name == LIVE:
        held["data"] = str((recipe.data.model_extra or {}).get("train"))
    return {**held, **{f"method.{method.name}": method.name for method in recipe.method if method.code is not None}}


def begin(task: Task, folder: RunFolder) -> None:
    """Write into a claimed folder what can't be read back from it, and let a network that was handed in begin alike.

    Its first weights are kept in the folder, so that a run that goes on with another object of its class has the same.

    Args:
        task: Whose network is about to be trained.
        folder: Of its run.
    """
    held = handed_in(task.recipe)
    if held and is_main():
        write_yaml(folder.path / FILE, {"why": _WHY, "objects": held})
    if is_live(task.spec):
        first = folder.path / "first_weights.safetensors"
        if not first.is_file() and is_main():
            save_weights(first, task.network.state_dict())
        wait_for_all()
        task.network.load_state_dict(read_weights(first))
