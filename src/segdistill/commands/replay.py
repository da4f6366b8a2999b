"""`replay`: a step that was not finite, made again."""

from __future__ import annotations

from pathlib import Path

from segdistill.recipe.recipe import load_recipe
from segdistill.runs.folder import RunFolder
from segdistill.training.faults.replay import replay_step
from segdistill.training.faults.replay_result import Replay
from segdistill.training.faults.saved_step import find_saved_step


def replay(run: str | Path, *parts: str | Path, step: int | None = None) -> Replay:
    """Run a step again that a run saved because its loss or gradient was not finite.

    Tried: the step as it was; in fp32, if it was not; and with a quarter of the learning rate since the last checkpoint
    before it, if there is one within 200 steps. Nothing of the run is changed.

    Args:
        run: The run's folder.
        *parts: Recipe parts over the run's own, as "data.root=..." or "precision=fp32".
        step: Counted from 1; default the first saved.

    Returns:
        What the trials showed, and where the number that is not finite first arises.

    Raises:
        RecipeError: The run holds no such step.
        CheckpointError: The saved step can't be read.
    """
    file = find_saved_step(Path(run), step)
    folder = RunFolder(file.parents[1])
    return replay_step(load_recipe(folder.recipe, *parts), folder, file)
