"""`export`: a trained network as a file that runs without this library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segdistill.core.errors import RecipeError
from segdistill.exporting.export import export_model
from segdistill.exporting.result import Export
from segdistill.exporting.settings import ExportSettings, check_settings
from segdistill.models.exported.network import Exported, ExportedNetwork
from segdistill.models.identify import identify
from segdistill.models.open import NetworkSource, open_model
from segdistill.recipe.recipe import Recipe, load_recipe
from segdistill.runs.folder import run_of


def export(run: NetworkSource, *parts: str | Path, quiet: bool = False, **settings: Any) -> Export:
    """Write the network of a run as a file that runs without this library, and check it against the network.

    Args:
        run: A run folder, a weight file, the name of a trained network of another library, or a network itself.
        *parts: Settings as "key=value", and recipe parts over the run's own, as "data.root=...".
        quiet: Show no progress.
        **settings: Fields of `ExportSettings`: format, ort, size, outputs, input, fp16, int8, per_channel, images,
            seed, calibration, steps, lr, max_drop, license, out.

    Returns:
        The files, how they compare with the network, and what INT8 costs.

    Raises:
        RecipeError: A setting is wrong, or a package is not installed.
        CheckpointError: The run is not finished, or is not one.
        SegdistillError: The network can't be exported, a file differs from it, or the folder can't be written to.
    """
    checked, words = check_settings(ExportSettings, parts, settings)
    if isinstance(run, ExportedNetwork) or (isinstance(run, str | Path) and isinstance(identify(run), Exported)):
        raise RecipeError(f"{run} is an exported file already. Name the run, as runs/mine.")
    model = open_model(run)
    if not model.path.exists() and checked.out is None:
        raise RecipeError(f"'{model.path}' is not a folder to write beside. Choose one: out=FOLDER.")
    recipe = recipe_of(model.path, words)
    out = checked.out or model.path.parent / ("web" if checked.format == "web" else "export")
    return export_model(model, checked, recipe, out, quiet=quiet)


def recipe_of(file: Path, words: list[str]) -> Recipe | None:
    """The recipe of the run that a weight file belongs to, with words over it.

    Args:
        file: Whose folder, or the one above, may be the run's.
        words: Recipe parts; without a run they are the whole recipe.

    Returns:
        The recipe; None if there is no run and no word.

    Raises:
        RecipeError: A word is wrong, or there are too few for a recipe.
    """
    saved = run_of(file).recipe
    if not saved.is_file() and not words:
        return None
    return load_recipe(*([saved] if saved.is_file() else []), *words)
