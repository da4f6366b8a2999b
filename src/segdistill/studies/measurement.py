"""What a finished run of a study reached: all validation images, boundaries and body, once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from segdistill.core.errors import DataError
from segdistill.core.storage import write_json
from segdistill.data.base import SegmentationDataset
from segdistill.evaluation.cost.cost import gflops, milliseconds, parameters
from segdistill.evaluation.scoring import count
from segdistill.models.files import read_description
from segdistill.models.loaded import LoadedModel
from segdistill.models.open import open_model
from segdistill.recipe.recipe import Recipe
from segdistill.runs.folder import RunFolder
from segdistill.runtime.display import counting
from segdistill.runtime.environment import describe_environment
from segdistill.runtime.processes import own_device
from segdistill.studies.result import NetworkCost, Outcome, made_on


def measure(scores: Path, model: LoadedModel, recipe: Recipe, data: SegmentationDataset, *, quiet: bool) -> None:
    """Write the file `scores` unless it is there: the model's scores on `data`."""
    if scores.is_file():
        return
    metrics = recipe.metrics.model_copy(update={"boundary": True, "calibration": False, "agreement": False})
    with counting(f"evaluate {model.path}", len(data), quiet=quiet) as done:
        counts = count(
            model.network.to(own_device()), data, inference=recipe.inference, metrics=metrics,
            workers=recipe.workers, on_images=done, source=str(model.path),
        )  # fmt: skip
    write_json(scores, counts.quality().as_dict())


def scores_file(run: Path) -> Path:
    """Where a run of a study keeps its scores."""
    return run / "scores.json"


def outcome(label: str, run: Path, study: Path) -> Outcome:
    """The finished and measured run of a study."""
    file = RunFolder(run).environment
    try:
        environment = json.loads(file.read_text(encoding="utf-8"))
        made_on(environment)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{file} does not say where the run was made: {error!r}. Delete {run} to make it again."
        ) from error
    trained = read_description(next(run.glob("*.safetensors"))).trained
    return _outcome(label, trained, scores_file(run), environment, run.relative_to(study).as_posix())


def teacher_outcome(model: LoadedModel, scores: Path, study: Path) -> Outcome:
    """The teacher, which may come from anywhere: what is not known of its training is 0."""
    trained = {"seed": 0, "steps": 0, "batch_size": 0, "seconds": 0.0, **model.trained}
    folder = model.path.parent
    inside = folder.relative_to(study).as_posix() if folder.is_relative_to(study) else str(folder)
    return _outcome("teacher", trained, scores, describe_environment(), inside)


def _outcome(label: str, trained: dict[str, Any], scores: Path, environment: dict[str, Any], folder: str) -> Outcome:
    try:
        reached = json.loads(scores.read_text(encoding="utf-8"))
        boundary = reached["boundary"]
        return Outcome(
            label=label,
            seed=trained["seed"],
            folder=folder,
            steps=trained["steps"],
            batch_size=trained["batch_size"],
            seconds=trained["seconds"],
            miou=reached["miou"],
            macc=reached["macc"],
            aacc=reached["aacc"],
            edge_miou=boundary["edge_miou"],
            body_miou=boundary["body_miou"],
            boundary_miou=boundary["boundary_miou"],
            iou=tuple(reached["iou"]),
            **made_on(environment),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{scores} does not hold the scores of a run: {error!r}. Delete it to measure again."
        ) from error


def costs(file: Path, teacher: LoadedModel, run: Path, data: SegmentationDataset) -> list[NetworkCost]:
    """What teacher and the student of `run` cost for a validation image, timed in turns; `file` keeps it."""
    if not file.is_file():
        device = own_device()
        image = data[0].image[None].to(device)
        networks = [model.network.to(device).eval() for model in (teacher, open_model(run))]
        times = milliseconds(networks, image)
        found = [
            {"parameters": parameters(network), "gflops": gflops(network, image), "milliseconds": time}
            for network, time in zip(networks, times, strict=True)
        ]
        write_json(file, found)
    return [NetworkCost(**written) for written in json.loads(file.read_text(encoding="utf-8"))]
