"""What a distillation was worth: measures teacher, student alone and distilled student, and pictures them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segdistill.core.storage import write_json, write_text
from segdistill.data.base import SegmentationDataset
from segdistill.data.colors import Pixels, colorise
from segdistill.evaluation.cost.cost import gflops, milliseconds, parameters
from segdistill.evaluation.inference.inference import infer
from segdistill.evaluation.scoring import count
from segdistill.evaluation.settings import InferenceConfig, MetricsConfig
from segdistill.models.class_map import same_names
from segdistill.models.loaded import LoadedModel
from segdistill.reporting.pictures import save_grid
from segdistill.reporting.table import Proof, Row
from segdistill.runtime.environment import describe_environment
from segdistill.runtime.processes import own_device

_PICTURES = 4


@dataclass(frozen=True)
class Contender:
    """A network that the table compares. note: what a reader of its row should know, or nothing."""

    name: str
    model: LoadedModel
    note: str = ""


def prove(
    contenders: Sequence[Contender],
    validation: SegmentationDataset,
    data: str,
    inference: InferenceConfig,
    metrics: MetricsConfig,
) -> Proof:
    """Score and time the contenders on the validation images; one that knows other classes is only timed."""
    device = own_device()
    networks = [contender.model.network.to(device) for contender in contenders]
    image = validation[0].image[None].to(device)
    times = milliseconds(networks, image)
    rows = []
    for contender, network, time in zip(contenders, networks, times, strict=True):
        trained = contender.model.trained
        scores, boundary = None, None
        if same_names(contender.model.classes.names, validation.classes.names):
            own = metrics.model_copy(update={"calibration": False, "agreement": False})
            source = f"{contender.name} ({contender.model.path})"
            quality = count(network, validation, inference=inference, metrics=own, source=source).quality()
            scores, boundary = quality.scores, quality.boundary
        rows.append(
            Row(
                name=contender.name,
                scores=scores,
                boundary=boundary,
                parameters=parameters(network),
                gflops=gflops(network, image),
                milliseconds=time,
                seed=trained.get("seed"),
                steps=trained.get("steps"),
                seconds=trained.get("seconds"),
            )
        )
    size = (image.shape[-2], image.shape[-1])
    notes = tuple(f"{contender.name}: {contender.note}." for contender in contenders if contender.note)
    return Proof(tuple(rows), data, len(validation), size, describe_environment(), notes)


def save_proof(
    folder: Path,
    proof: Proof,
    contenders: Sequence[Contender],
    validation: SegmentationDataset,
    inference: InferenceConfig,
) -> None:
    """Write result.json, table.md and grid.png."""
    write_json(folder / "result.json", proof.as_dict())
    write_text(folder / "table.md", proof.markdown())
    save_grid(
        folder / "grid.png",
        _pictures(contenders, validation, inference),
        ["image", "label", *(contender.name for contender in contenders)],
        validation.classes,
    )


def _pictures(
    contenders: Sequence[Contender], validation: SegmentationDataset, inference: InferenceConfig
) -> list[list[Pixels]]:
    """For images spread evenly over the split: image, label, each contender's prediction."""
    classes = validation.classes
    rows = []
    chosen = min(_PICTURES, len(validation))
    for index in range(chosen):
        sample = validation[(2 * index + 1) * len(validation) // (2 * chosen)]
        row = [sample.image.permute(1, 2, 0).numpy(), colorise(sample.label, classes)]
        for contender in contenders:
            network = contender.model.network
            device = next(network.parameters()).device
            predicted = infer(network, sample.image[None].to(device), inference).classes[0]
            row.append(colorise(predicted, contender.model.classes))
        rows.append(row)
    return rows
