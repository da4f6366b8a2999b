"""What a finished run of a study reached and costs: all validation images, boundaries and body, once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segdistill.core.errors import DataError
from segdistill.core.storage import sha256, write_json
from segdistill.data.base import SegmentationDataset
from segdistill.evaluation.scoring import count
from segdistill.evaluation.settings import MetricsConfig
from segdistill.models.checksum import identity_of
from segdistill.models.files import read_description
from segdistill.models.loaded import LoadedModel
from segdistill.models.open import open_model
from segdistill.recipe.recipe import Recipe
from segdistill.runs.folder import RunFolder
from segdistill.runtime.display import console, counting
from segdistill.runtime.environment import describe_environment
from segdistill.runtime.processes import is_main, own_device
from segdistill.studies.result import TEACHER, Outcome, made_on


def score(
    model: LoadedModel, recipe: Recipe, data: SegmentationDataset, metrics: MetricsConfig, *, quiet: bool
) -> dict[str, Any]:
    """Score a network on all images of `data`, in this process alone.

    Args:
        model: The network; it is left on this process's device.
        recipe: Says how images are run through it.
        data: The validation images.
        metrics: What is measured; calibration and agreement are left out.
        quiet: Show no progress.

    Returns:
        The scores as plain values, in the form of `Quality.as_dict`.
    """
    metrics = metrics.model_copy(update={"calibration": False, "agreement": False})
    with counting(f"evaluate {model.path}", len(data), quiet=quiet or not is_main()) as done:
        counts = count(
            model.network.to(own_device()), data, inference=recipe.inference, metrics=metrics,
            workers=recipe.workers, on_images=done, source=str(model.path),
        )  # fmt: skip
    return counts.quality().as_dict()


def measure(
    scores: Path, network: LoadedModel | Path, recipe: Recipe, data: SegmentationDataset, images: str, *, quiet: bool
) -> None:
    """Score a network once, boundaries among it; anew if its weights or the validation files are others than then.

    Args:
        scores: The file that the scores are written into, with what they are of.
        network: The network, or its run folder, which is opened if there is something to measure.
        recipe: Says how images are run through it.
        data: The validation images.
        images: Their `fingerprint`.
        quiet: Show no progress.
    """
    weights = _checksum(network)
    of = {"network": weights, "images": images}
    before = _measured_of(scores)
    if before == of:
        return
    if before and not quiet:
        what = "the network" if before["network"] != weights else "validation files"
        console.print(f"{scores}: {what} changed since; measured anew", soft_wrap=True, markup=False)
    model = open_model(network) if isinstance(network, Path) else network
    metrics = recipe.metrics.model_copy(update={"boundary": True})
    write_json(scores, {**score(model, recipe, data, metrics, quiet=quiet), "of": of})


def _checksum(network: LoadedModel | Path) -> str:
    return str(identity_of(network)["checksum"]) if isinstance(network, LoadedModel) else sha256(weights_of(network))


def _measured_of(scores: Path) -> dict[str, str]:
    """What the scores of a file are of; empty if there are none, or they are of before that was kept."""
    try:
        of = json.loads(scores.read_text(encoding="utf-8"))["of"]
        return {key: str(of[key]) for key in ("network", "images")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def weights_of(run: Path) -> Path:
    """The weight file of a finished run.

    Args:
        run: Its folder.
    """
    return next(run.glob("*.safetensors"))


def scores_file(run: Path) -> Path:
    """Where a run of a study keeps its scores.

    Args:
        run: Its folder.

    Returns:
        The path of its scores.json.
    """
    return run / "scores.json"


def read_scores(file: Path) -> dict[str, Any]:
    """The scores that `measure` wrote.

    Args:
        file: Where they are.

    Returns:
        Plain values, in the form of `Quality.as_dict`.

    Raises:
        DataError: They are missing or can't be read.
    """
    try:
        scores: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return {**scores}
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{file} does not hold the scores of a run: {error!r}. Delete it to measure again.") from error


def outcome(label: str, run: Path, study: Path) -> Outcome:
    """The finished and measured run of a study.

    Args:
        label: Of the run.
        run: Its folder.
        study: The folder of the study that it is in.

    Returns:
        What the run's files say.

    Raises:
        DataError: Its scores or its environment.json can't be read.
    """
    file = RunFolder(run).environment
    try:
        environment = json.loads(file.read_text(encoding="utf-8"))
        made_on(environment)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{file} does not say where the run was made: {error!r}. Delete {run} to make it again."
        ) from error
    trained = read_description(weights_of(run)).trained
    scores = scores_file(run)
    return outcome_of(label, trained, read_scores(scores), environment, run.relative_to(study).as_posix(), scores)


def teacher_outcome(model: LoadedModel, scores: Path, study: Path) -> Outcome:
    """The teacher of a study, which may come from anywhere.

    Args:
        model: The teacher.
        scores: The file that `measure` wrote.
        study: The study's folder.

    Returns:
        Its outcome; what is not known of its training is 0.

    Raises:
        DataError: The scores can't be read.
    """
    folder = place_of(model, study)
    return outcome_of(TEACHER, training_of(model), read_scores(scores), describe_environment(), folder, scores)


def training_of(model: LoadedModel, seed: int = 0) -> dict[str, Any]:
    """What is known of a network's training.

    Args:
        model: The network.
        seed: What stands for its seed where that is not known.

    Returns:
        seed, steps, batch_size and seconds, 0 where they are not known, and what else its file says.
    """
    return {"seed": seed, "steps": 0, "batch_size": 0, "seconds": 0.0, **model.trained}


def place_of(model: LoadedModel, study: Path) -> str:
    """Where a network is, for `Outcome.folder`.

    Args:
        model: The network.
        study: The study's folder.

    Returns:
        Its run folder, or its file if it is not in one, relative to the study's folder if that holds it; of a network
        that is no file its name.
    """
    path = model.path
    if not path.exists():  # a name, such as hf:FOLDER
        return str(path)
    if path.with_suffix(".yaml").is_file():
        path = path.parent
    return path.relative_to(study).as_posix() if path.is_relative_to(study) else str(path.absolute())


def outcome_of(
    label: str,
    trained: Mapping[str, Any],
    scores: Mapping[str, Any],
    environment: dict[str, Any],
    folder: str,
    file: Path,
) -> Outcome:
    """An outcome from what is known of a network.

    Args:
        label: Of the outcome.
        trained: Its seed, steps, batch_size and seconds.
        scores: Those that `score` gives.
        environment: That of its run.
        folder: Where it is.
        file: Where the scores are kept, for errors.

    Returns:
        The outcome.

    Raises:
        DataError: A score is missing, or no validation image has a label to score by.
    """
    if scores.get("miou", 0.0) is None:
        raise DataError(
            f"{file}: no validation image has a labelled pixel, so '{label}' has no mIoU to compare. Check the masks "
            f"with segdistill doctor, or validate on labelled images; then delete {file} to measure again."
        )
    boundary = scores.get("boundary") or {}  # there is none with metrics.boundary=false
    try:
        return Outcome(
            label=label,
            seed=trained["seed"],
            folder=folder,
            steps=trained["steps"],
            batch_size=trained["batch_size"],
            seconds=trained["seconds"],
            miou=scores["miou"],
            macc=scores["macc"],
            aacc=scores["aacc"],
            edge_miou=boundary.get("edge_miou"),
            body_miou=boundary.get("body_miou"),
            boundary_miou=boundary.get("boundary_miou"),
            iou=tuple(scores["iou"]),
            **made_on(environment),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file} does not hold the scores of a run: {error!r}. Delete it to measure again.") from error
