"""`predict`: masks, overlays and labels for image files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image

from segdistill.core.classes import require_countable
from segdistill.core.errors import DataError, RecipeError, listed
from segdistill.core.output_names import output_names, refuse_overwriting
from segdistill.core.paths import expanded
from segdistill.core.pixels import RGB_BYTES
from segdistill.core.results import Result
from segdistill.core.storage import write_json
from segdistill.data.annotations.source import MANIFEST
from segdistill.data.colors import note_of
from segdistill.data.formats import IMAGE_SUFFIXES, image_suffixes, is_of
from segdistill.data.own_folder.templates import files_below
from segdistill.evaluation.settings import InferenceConfig
from segdistill.models.loaded import LoadedModel
from segdistill.reporting.label_files.base import Labelled
from segdistill.reporting.label_files.job import Item, MaskJob
from segdistill.reporting.label_files.on_ray import predict_on_ray
from segdistill.reporting.label_files.settings import LabelSettings
from segdistill.reporting.label_files.writers import refuse_equal_names, write_labels
from segdistill.runtime.processes import all_messages, is_alone, is_main, own_share, wait_for_all

_DEFAULT = LabelSettings()
_MASK, _OVERLAY, _MASKS = "_mask.png", "_overlay.png", "masks"


@dataclass(frozen=True, repr=False)
class PredictedFiles(Result):
    """The files of one image.

    Attributes:
        image: The image file.
        mask: The written class mask.
        overlay: The written overlay; None where labels are written for a labelling tool.
    """

    image: Path
    mask: Path
    overlay: Path | None


def predict_files(
    model: LoadedModel,
    inputs: Iterable[Path],
    out: Path,
    *,
    inference: InferenceConfig,
    settings: LabelSettings = _DEFAULT,
    legend: bool = False,
    weights: str | None = None,
) -> Iterator[PredictedFiles]:
    """Predict image files and the images of folders and of those below them, one by one as the result is read.

    Results lie below `out` as the images lie below their folder. Those that the same call has made before are kept. A
    file that can't be read does not end the others; it is an error once they are done. Of several processes each
    predicts its share, and yields it first. At the end stand the labels in the format of `settings`, and manifest.json.

    Args:
        model: The network and its classes.
        inputs: Files and folders.
        out: The folder that masks, overlays and labels are written into.
        inference: How images are run through the network.
        settings: What becomes of the predictions.
        legend: Whether overlays name the classes.
        weights: Path or name of the network, by which other machines open it; None if it was handed in.

    Yields:
        The files written for each image.

    Raises:
        DataError: Images can't be read, or are too small for the network; a result would be written over an image, or
            there are more classes than a mask can hold.
        RecipeError: Other machines can't open the network.
    """
    require_countable(model.classes)
    below = _inputs(inputs, out, image_suffixes(model.network.pixels or RGB_BYTES))
    refuse_equal_names(settings.format, below.values())
    results = {file: _results(file, name, out, settings) for file, name in output_names(below).items()}
    refuse_overwriting([path for each in results.values() for path in (each.mask, each.overlay) if path], [*below])
    job = MaskJob(model, inference, settings, legend)
    items = [Item(each.image, each.mask, each.overlay) for each in results.values()]
    faults: list[str] = []
    for item, fault in _work(job, items, inference, settings, legend, weights):
        if fault is None:
            yield results[item.image]
        else:
            faults.append(fault)
    faults = all_messages(faults)
    written = [item for item in items if item.mask.is_file() and job.is_done(item)]
    if is_main():
        _clear_aside(items)
        names = output_names(below)
        predicted = [Labelled(item.image, below[item.image], names[item.image], item.mask) for item in written]
        write_labels(settings.format, predicted, model.classes, out)
        _write_manifest(out, job, settings, predicted)
    wait_for_all()
    if not is_alone():
        mine = {items[index].image for index in own_share(len(items))}
        yield from (results[item.image] for item in written if item.image not in mine)
    if faults:
        others = f"{len(faults)} of {len(results)} images could not be predicted, the others are done:\n  "
        raise DataError(f"{others if len(results) > 1 else ''}{listed(faults)}")


def _results(file: Path, name: PurePosixPath, out: Path, settings: LabelSettings) -> PredictedFiles:
    """Where the files of an image go."""
    if settings.format == "masks":
        return PredictedFiles(file, out / f"{name}{_MASK}", out / f"{name}{_OVERLAY}")
    return PredictedFiles(file, out / _MASKS / f"{name}.png", None)


def _work(
    job: MaskJob,
    items: Sequence[Item],
    inference: InferenceConfig,
    settings: LabelSettings,
    legend: bool,
    weights: str | None,
) -> Iterator[tuple[Item, str | None]]:
    """The items, as they are done here or on Ray's machines, with what is wrong with them."""
    if settings.executor == "local":
        yield from job(items[index] for index in own_share(len(items)))
        return
    if weights is None:
        raise RecipeError("executor=ray needs a network that other machines can open: a run folder, a file or a name.")
    pending = [item for item in items if not job.is_done(item)]
    left_out = {*items} - {*pending}
    yield from ((item, None) for item in items if item in left_out)
    yield from predict_on_ray(weights, pending, inference, settings, legend)


def _clear_aside(items: Sequence[Item]) -> None:
    """Remove what killed calls were writing."""
    masks = {item.mask.name for item in items} | {item.overlay.name for item in items if item.overlay}
    for folder in {item.mask.parent for item in items}:
        for left in folder.glob(".*.part"):
            if left.name[1:].rsplit(".", 2)[0] in masks:
                left.unlink(missing_ok=True)


def _write_manifest(out: Path, job: MaskJob, settings: LabelSettings, predicted: Sequence[Labelled]) -> None:
    """manifest.json: what made the files of this call, and which image each is of."""
    images = []
    for each in predicted:
        with Image.open(each.file) as picture:
            size = [picture.height, picture.width]
        images.append({"image": str(each.image), "size": size, "mask": each.file.relative_to(out).as_posix()})
    write_json(out / MANIFEST, {"format": settings.format, **job.made_by(), "images": images})


def image_files(inputs: Iterable[Path]) -> Iterable[Path]:
    """Image files as they are named, and those in named folders and the folders below; not the hidden ones.

    Args:
        inputs: Files and folders.

    Yields:
        The files, those of a folder by name.

    Raises:
        DataError: A file or folder is missing, or a folder holds no image.
    """
    yield from _inputs(inputs, None, IMAGE_SUFFIXES)


def _inputs(inputs: Iterable[Path], out: Path | None, suffixes: frozenset[str]) -> dict[Path, PurePosixPath]:
    """Image file -> its path below the folder that was named; not what lies in `out` or earlier calls have made."""
    below: dict[Path, PurePosixPath] = {}
    for path in map(expanded, inputs):
        if path.is_dir():
            inside = [file for file in files_below(path) if is_of(file, suffixes)]
            if out is not None and not path.resolve().is_relative_to(out.resolve()):
                inside = [file for file in inside if not file.resolve().is_relative_to(out.resolve())]
            inside = [file for file in inside if not _is_result(file)]
            if not inside:
                raise DataError(f"Folder {path} holds no image ({', '.join(sorted(suffixes))}).")
            below.update(
                {file: PurePosixPath(file.relative_to(path).as_posix()) for file in inside if file not in below}
            )
        elif path.is_file():
            below.setdefault(path, PurePosixPath(path.name))
        else:
            raise DataError(f"No image file or folder {path}.")
    return below


def _is_result(file: Path) -> bool:
    """Whether an earlier call wrote a file: masks carry a note of it, and overlays lie beside theirs."""
    if not file.name.endswith((_MASK, _OVERLAY)) and _MASKS not in file.parts:
        return False
    is_overlay = file.name.endswith(_OVERLAY)
    mask = file.with_name(file.name.removesuffix(_OVERLAY) + _MASK) if is_overlay else file
    return note_of(mask) is not None
