"""`demo`: a page on this machine that shows a run's networks on images that are dropped there."""

from __future__ import annotations

from pathlib import Path

from segdistill.commands.benchmark import other_models
from segdistill.commands.export import recipe_of
from segdistill.core.errors import CheckpointError, RecipeError
from segdistill.evaluation.settings import InferenceConfig
from segdistill.exporting.measuring import whole_images
from segdistill.exporting.settings import check_settings
from segdistill.models.channels import pixels_of
from segdistill.models.files import OwnRun
from segdistill.models.identify import identify
from segdistill.models.loaded import LoadedModel
from segdistill.models.network import SegmentationNetwork
from segdistill.models.open import open_model
from segdistill.recipe.recipe import load_recipe
from segdistill.runs.folder import RunFolder
from segdistill.serving.page import DemoPage
from segdistill.serving.settings import DemoSettings

_EXPORTED = (".int8.onnx", ".onnx", ".xml")


def demo_page(run: str | Path, *parts: str | Path) -> tuple[DemoPage, DemoSettings]:
    """The page of a run, with all of its networks (see `demo_networks`).

    Args:
        run: A run folder, a weight file, an exported file, or the name of a trained network.
        *parts: port=, and recipe parts over the run's own.

    Raises:
        RecipeError: A setting is wrong, or Gradio is not installed.
        CheckpointError: The run is not finished, or is not one.
    """
    settings, words = check_settings(DemoSettings, parts, {})
    model, networks = demo_networks(run, words)
    if not pixels_of(model.network).plain:
        raise RecipeError(
            f"The page of demo takes photos in RGB, and {run} takes {pixels_of(model.network)}. Run it with predict."
        )
    title = f"segdistill: {model.path.parent.name or run}"
    return DemoPage(networks, model.classes, title, _inference(model, words)), settings


def _inference(model: LoadedModel, words: list[str]) -> InferenceConfig:
    """How the page runs images: whole, as exported files do, bordered and resized as the run's recipe says."""
    recipe = recipe_of(model.path, words)
    return InferenceConfig() if recipe is None else whole_images(recipe).inference


def demo_networks(run: str | Path, words: list[str]) -> tuple[LoadedModel, dict[str, SegmentationNetwork]]:
    """The network of a run, and what its page shows: exported files, float first, the network, teacher, student alone.

    Args:
        run: A run folder, a weight file, an exported file, or the name of a trained network.
        words: Recipe parts over the run's own.

    Returns:
        The network, and by name all that have its classes.

    Raises:
        RecipeError: There are words, and no run that they could be about.
        CheckpointError: The run is not finished, or is not one.
    """
    source = identify(run)
    model = source.load()
    networks = _exported(model)
    networks.setdefault(model.path.stem, model.network)
    if isinstance(source, OwnRun):
        folder = RunFolder(model.path.parent)
        if folder.recipe.is_file():
            others = other_models(load_recipe(folder.recipe, *words), folder.path, model)
            networks |= {name: each.network for name, each in others.items() if each.classes == model.classes}
    elif words:
        raise RecipeError(f"Unknown words: {', '.join(words)}. Only a run folder has a recipe.")
    return model, networks


def _exported(model: LoadedModel) -> dict[str, SegmentationNetwork]:
    """The files of a run that were exported from these classes, float first; a damaged or foreign one is left out."""
    files: dict[str, SegmentationNetwork] = {}
    folder = model.path.parent / "export"
    for path in sorted(folder.glob("*"), key=lambda path: (".int8" in path.name, path.suffix)):
        if not path.name.endswith(_EXPORTED):
            continue
        try:
            opened = open_model(path)
        except (CheckpointError, RecipeError):
            continue
        if opened.classes == model.classes:
            files[path.name] = opened.network
    return files
