"""`show`: pictures of what a distillation run learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from segdistill.commands.common import student_alone
from segdistill.core.classes import IGNORE_INDEX
from segdistill.core.colors import Pixels, as_picture, colorise
from segdistill.core.errors import DataError, RecipeError, nearest
from segdistill.data import create_dataset
from segdistill.data.base import Sample, SegmentationDataset
from segdistill.evaluation.boundary import edge_region
from segdistill.evaluation.inference.exported import divisor_of
from segdistill.evaluation.inference.inference import infer, predict_scores
from segdistill.evaluation.inference.padding import bordered
from segdistill.evaluation.settings import InferenceConfig
from segdistill.exporting.measuring import whole_images
from segdistill.models.exported.network import is_exported
from segdistill.models.network import SegmentationNetwork
from segdistill.models.open import open_model
from segdistill.recipe.recipe import Recipe, load_recipe
from segdistill.reporting.activations import activation_map
from segdistill.reporting.choice import picture_name, positions
from segdistill.reporting.curves import save_curves
from segdistill.reporting.embeddings import pixels_of, project, save_embeddings
from segdistill.reporting.panels import change_map, disagreement, error_map, heat, region_map
from segdistill.reporting.pictures import save_panels
from segdistill.runs.folder import RunFolder, run_of
from segdistill.runtime.processes import own_device
from segdistill.training.pairing import run_teacher

What = Literal["compare", "activations", "embeddings", "curves"]
_PIXELS = 100  # of a class, in a picture of embeddings


def show(
    run: str | Path,
    *parts: str | Path,
    what: What | Sequence[What] = ("compare", "curves"),
    images: str | int | Sequence[str | int] = (),
    of_class: str | None = None,
    out: str | Path | None = None,
) -> list[Path]:
    """Draw pictures of a run. It shows the networks it has; a teacher that knows other classes is left out.

    Classes are those that `evaluate` scores, by the run's section `inference`. Beside an exported file all networks see
    whole images, as it does.

    Args:
        run: The run folder, or an exported file of it, which is then compared with its networks.
        *parts: Recipe parts over the run's own.
        what: "compare": for each image the label, what teacher, student alone and distilled student predict, edge and
            body, where each is wrong, what distillation changed, and where the student's probabilities differ from the
            teacher's; "activations": the positions that speak for `of_class`, by network; "embeddings": t-SNE of the
            pixels' embeddings, networks side by side; "curves": losses and mIoU over the steps.
        images: Names or numbers of validation images, or a single one; default four spread evenly.
        of_class: Class of the activations; default the largest labelled class of the image.
        out: Folder of the pictures; default `<run>/pictures`.

    Returns:
        The picture files.

    Raises:
        DataError: There is no run in the folder, or no image or class of that name.
        RecipeError: A word of `what` or a part is wrong.
    """
    path = Path(run)
    folder = run_of(path) if is_exported(path) else RunFolder(path)
    if not folder.recipe.is_file():
        raise DataError(f"{run} is not a run folder: there is no {folder.recipe.name} in it.")
    what = [what] if isinstance(what, str) else what
    images = [images] if isinstance(images, str | int) else images
    if not what:
        raise RecipeError(f"Key 'what' names no picture; expected one or more of {', '.join(get_args(What))}.")
    for kind in what:
        if kind not in get_args(What):
            raise RecipeError(f"'{kind}' is not a kind of picture.{nearest(kind, get_args(What))}")
    target = Path(out) if out is not None else folder.path / "pictures"
    written: list[Path] = []
    if "curves" in what:
        save_curves(target / "curves.png", _runs(folder.path))
        written.append(target / "curves.png")
    if set(what) - {"curves"}:
        recipe = load_recipe(folder.recipe, *parts)
        data = create_dataset(recipe.data, "val")
        networks = _networks(recipe, folder.path, data)
        files = {path.name: open_model(path).network} if is_exported(path) else {}
        indices = positions(images, data)
        if "embeddings" in what:
            many = indices if images else list(range(0, len(data), max(1, len(data) // 20)))
            written.append(_embeddings(networks, data, many, target))
        for index in indices:
            picture = target / picture_name(index, data)
            written += _pictures_of(data[index], networks, files, data, recipe, what, of_class, picture)
    return written


def _embeddings(
    networks: Mapping[str, SegmentationNetwork], data: SegmentationDataset, indices: Sequence[int], target: Path
) -> Path:
    """The picture of the networks' embeddings on these images, written into the folder `target`."""
    pixels, labels = pixels_of(networks, data, indices, _PIXELS)
    projected = {name: project(values) for name, values in pixels.items()}
    file = target / "embeddings.png"
    save_embeddings(file, projected, labels, data.classes)
    return file


def _pictures_of(
    sample: Sample,
    networks: Mapping[str, SegmentationNetwork],
    exported: Mapping[str, SegmentationNetwork],
    data: SegmentationDataset,
    recipe: Recipe,
    what: Sequence[What],
    of_class: str | None,
    picture: Path,
) -> list[Path]:
    """Those of one image, written as `picture` with a suffix. Exported files have classes, and no activations."""
    files = []
    if "compare" in what:
        panels = _comparison(sample, {**networks, **exported}, data, whole_images(recipe) if exported else recipe)
        files.append(picture.with_name(f"{picture.name}.png"))
        save_panels(files[-1], panels, data.classes, columns=min(len(panels), 6))
    if "activations" in what:
        index = _class_index(of_class, sample, data)
        panels = _activations(sample, networks, index, data.classes.names[index])
        files.append(picture.with_name(f"{picture.name}_activations.png"))
        save_panels(files[-1], panels, None, columns=len(panels))
    return files


def _comparison(
    sample: Sample, networks: Mapping[str, SegmentationNetwork], data: SegmentationDataset, recipe: Recipe
) -> list[tuple[str, Pixels]]:
    inference, radius = recipe.inference, recipe.metrics.edge_radius
    preds = {name: _predict(name, network, sample, inference) for name, network in networks.items()}
    panels = [("image", as_picture(sample.image)), ("label", colorise(sample.label, data.classes))]
    panels += [(name, colorise(each, data.classes)) for name, each in preds.items()]
    panels.append(("edge (orange) and body", region_map(sample.label, edge_region(sample.label[None], radius)[0])))
    panels += [(f"{name}: wrong", error_map(sample.label, each)) for name, each in preds.items()]
    if {"student alone", "distilled"} <= preds.keys():
        changed = change_map(sample.label, preds["student alone"], preds["distilled"])
        panels.append(("distilled: gained (green), lost (red)", changed))
    if {"teacher", "distilled"} <= preds.keys():
        scores = [_scores(name, networks[name], sample, inference) for name in ("teacher", "distilled")]
        panels.append(("distilled: unlike the teacher", heat(disagreement(*scores))))
    return panels


def _activations(
    sample: Sample, networks: Mapping[str, SegmentationNetwork], index: int, name: str
) -> list[tuple[str, Pixels]]:
    panels = [("image", as_picture(sample.image))]
    for whose, network in networks.items():
        activation = activation_map(network, sample.image, index, name=sample.name, source=f"The {whose}")
        panels.append((f"{whose}: {name}", heat(activation, sample.image)))
    return panels


def _predict(name: str, network: SegmentationNetwork, sample: Sample, inference: InferenceConfig) -> Tensor:
    """The classes of an image (H,W), as `evaluate` scores them."""
    image = sample.image[None].to(own_device())
    return infer(network, image, inference, names=(sample.name,), source=f"The {name}").classes[0].cpu()


def _scores(name: str, network: SegmentationNetwork, sample: Sample, inference: InferenceConfig) -> Tensor:
    """Scores (K,H,W) of an image that goes through the network whole, with the border that `infer` gives it."""
    height, width = sample.label.shape
    image = sample.image[None].to(own_device())
    wide = bordered(image, divisor_of(network, inference))
    return predict_scores(network, wide, (sample.name,), f"The {name}")[0, :, :height, :width].cpu()


def _runs(run: Path) -> dict[str, Path]:
    """The runs of a distillation by network; or the run itself."""
    parts = {"teacher": run / "teacher", "student alone": run / "alone"}
    trained = {name: path for name, path in parts.items() if RunFolder(path).metrics.is_file()}
    return {**trained, "distilled" if trained else run.name: run}


def _networks(recipe: Recipe, run: Path, data: SegmentationDataset) -> dict[str, SegmentationNetwork]:
    """The networks of a run by name; a teacher that knows other classes is left out."""
    networks: dict[str, SegmentationNetwork] = {}
    if not recipe.method:
        return {recipe.role: open_model(run).network.to(own_device())}
    teacher = run_teacher(recipe, run, data.classes)
    if teacher is not None and not teacher.incompatibility:
        networks["teacher"] = teacher.model.network
    alone = student_alone(recipe, run)
    if alone is not None:
        networks["student alone"] = alone.network
    networks["distilled"] = open_model(run).network
    return {name: network.to(own_device()) for name, network in networks.items()}


def _class_index(name: str | None, sample: Sample, data: SegmentationDataset) -> int:
    if name is None:
        counts = torch.bincount(sample.label[sample.label != IGNORE_INDEX].long(), minlength=1)
        return int(counts.argmax())
    if name not in data.classes.names:
        raise DataError(f"No class '{name}'.{nearest(name, data.classes.names)}")
    return data.classes.names.index(name)
