"""`publish`: a trained network as a folder for the Hugging Face hub, with a card that has its scores."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from segdistill.commands.export import recipe_of
from segdistill.core.classes import unnamed_classes
from segdistill.core.discovery import validated
from segdistill.core.errors import RecipeError, SegdistillError
from segdistill.core.paths import HomePath
from segdistill.core.results import Result
from segdistill.core.safe_yaml import read_yaml
from segdistill.core.storage import write_text, write_yaml
from segdistill.core.typed_settings import TypedSettings
from segdistill.exporting.export import export_model
from segdistill.exporting.folder import assembled
from segdistill.exporting.settings import ExportSettings
from segdistill.models.files import OwnRun, read_description, save_model
from segdistill.models.hub import MANIFEST, published_files, write_manifest
from segdistill.models.identify import identify
from segdistill.models.live import live_spec
from segdistill.models.network import SegmentationNetwork
from segdistill.models.spec import NetworkSpec
from segdistill.recipe.recipe import Recipe
from segdistill.reporting.model_card import Scored, model_card, scored
from segdistill.runs.folder import run_of

_CARD = "README.md"


class PublishSettings(TypedSettings):
    """Of `publish`."""

    license: str | None = None
    """The license of the weights, as apache-2.0 or cc-by-nc-4.0, for the card and the ONNX file."""

    onnx: Literal["auto", True, False] = "auto"
    """Whether an ONNX file is written, too; auto writes it where segdistill[export] is installed."""

    out: HomePath | None = None
    """The folder that is written; without it the folder published of the run."""

    private: bool = False
    """Whether a repository that is made for an upload is private."""


@dataclass(frozen=True, repr=False)
class Published(Result):
    """A network that is ready for the hub.

    Attributes:
        folder: With the card and all files.
        files: Their names.
        url: Of the repository; None if nothing was uploaded.
    """

    folder: Path
    files: tuple[str, ...]
    url: str | None = None


def publish(
    run: str | Path | SegmentationNetwork,
    name: str,
    *,
    upload: bool = False,
    settings: Mapping[str, Any] | None = None,
    quiet: bool = False,
    **keys: Any,
) -> Published:
    """Write a network as a folder for the Hugging Face hub; nothing leaves this machine unless `upload` is true.

    The folder holds the weights, their description, the recipe without the paths of this machine, an ONNX file, and a
    model card: the table of the run's study, its scores as metadata, seeds, data, license. `load_model` takes the
    folder, and "hf-segdistill:user/name" once it is uploaded.

    Args:
        run: A run folder, a weight file of this library, or a network itself.
        name: Of the repository, as "user/name".
        upload: Whether the folder is uploaded, as the user that `hf auth login` knows.
        settings: Fields of `PublishSettings` as a mapping.
        quiet: Show no progress.
        **keys: The same fields: license, onnx, out, private.

    Returns:
        The folder, and where it was uploaded to.

    Raises:
        SegdistillError: The run is not finished, the network can't be exported, or the folder can't be written.
    """
    checked: PublishSettings = validated(PublishSettings, {**(settings or {}), **keys})
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise RecipeError(f"'{name}' is not the name of a repository; expected user/name.")
    source = None if isinstance(run, SegmentationNetwork) else identify(run)
    if source is not None and not isinstance(source, OwnRun):
        raise RecipeError(
            f"'{run}' is not a network in this library's files. Write it as one: segdistill convert {run} FOLDER."
        )
    out = checked.out or (None if source is None else source.path.parent / "published")
    if out is None:
        raise RecipeError("A network that was handed in has no folder to write beside. Choose one: out=FOLDER.")
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise SegdistillError(f"{out} is not empty and holds no published network. Choose another out=FOLDER.")
    earlier = published_files(out) if (out / MANIFEST).is_file() else {}
    with assembled(out) as aside:
        if source is None:
            assert isinstance(run, SegmentationNetwork)
            weights, measured = _write_network(run, aside), None
        else:
            weights, measured = _copy_run(source, aside)
        _add_onnx(weights, aside, checked, None if source is None else recipe_of(source.path, []), quiet)
        names = sorted(each.name for each in aside.iterdir())
        write_manifest(aside, names)
        card = model_card(name, read_description(weights), measured, checked.license, names)
        write_text(aside / _CARD, card)
    for file in {*earlier} - {*names}:  # as an ONNX file of other weights
        (out / file).unlink(missing_ok=True)
    files = tuple(sorted([*names, _CARD, MANIFEST]))
    return Published(out, files, _upload(out, name, files, checked) if upload else None)


def _copy_run(source: OwnRun, aside: Path) -> tuple[Path, Scored | None]:
    """The files of a run as they are, and its scores."""
    source.load()  # refuses damaged files
    weights = aside / source.path.name
    shutil.copyfile(source.path, weights)
    shutil.copyfile(source.path.with_suffix(".yaml"), weights.with_suffix(".yaml"))
    recipe = run_of(source.path).recipe
    if recipe.is_file():
        write_yaml(aside / recipe.name, _without_places({**read_yaml(recipe), "out": None}))
    return weights, scored(source.path, source.description)


def _write_network(network: SegmentationNetwork, aside: Path) -> Path:
    """The files of a network that was handed in."""
    if not isinstance(getattr(network, "spec", None), NetworkSpec):
        raise RecipeError(
            f"{type(network).__name__} is a network of another library, which this one can't build again from a file "
            "alone. Publish the run that it was trained in, or save it with its own library."
        )
    classes = network.classes or unnamed_classes(network.num_classes)
    save_model(aside, "student", network, live_spec(network), classes, None)
    return aside / "student.safetensors"


def _without_places(value: Any) -> Any:
    """A recipe's values, in which of absolute paths only the last name is left."""
    if isinstance(value, dict):
        return {key: _without_places(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_places(each) for each in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def _add_onnx(weights: Path, aside: Path, settings: PublishSettings, recipe: Recipe | None, quiet: bool) -> None:
    if settings.onnx is False or (settings.onnx == "auto" and not all(map(find_spec, ("onnx", "onnxscript")))):
        return
    export = ExportSettings(**({"license": settings.license} if settings.license else {}))
    export_model(OwnRun(weights).load(), export, recipe, aside, quiet=quiet)


def _upload(folder: Path, name: str, files: tuple[str, ...], settings: PublishSettings) -> str:
    from huggingface_hub import HfApi  # takes time to import
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api = HfApi(library_name="segdistill")
        url = api.create_repo(name, private=settings.private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, allow_patterns=[*files], commit_message="Upload a network")
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise SegdistillError(
            f"Can't upload {folder} to {name}: {reason} The folder is whole: log in (hf auth login) and run the same "
            "command again."
        ) from error
    return str(url)
