"""What a validation image costs the networks of a study."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from segdistill.core.errors import DataError
from segdistill.core.storage import write_json
from segdistill.data.base import SegmentationDataset
from segdistill.evaluation.cost.cost import gflops, milliseconds, parameters
from segdistill.models.loaded import LoadedModel
from segdistill.models.open import open_model
from segdistill.runtime.processes import own_device
from segdistill.studies.result import NetworkCost


def image_size(data: SegmentationDataset) -> tuple[int, int]:
    """The size of the first image, on which networks are timed.

    Args:
        data: One image at least.

    Returns:
        (H,W), in pixels.
    """
    image = data[0].image
    return image.shape[-2], image.shape[-1]


def costs_of(models: Sequence[LoadedModel], data: SegmentationDataset) -> list[NetworkCost]:
    """What a validation image costs each network. They are timed in turns, so a busy machine hits all alike.

    Args:
        models: The networks; they are left on this process's device.
        data: Whose first image is taken.

    Returns:
        The costs of each.
    """
    device = own_device()
    image = data[0].image[None].to(device)
    networks = [model.network.to(device).eval() for model in models]
    times = milliseconds(networks, image)
    return [
        NetworkCost(parameters(network), gflops(network, image), time)
        for network, time in zip(networks, times, strict=True)
    ]


def costs(file: Path, teacher: LoadedModel, run: Path, data: SegmentationDataset) -> list[NetworkCost]:
    """What a validation image costs teacher and student, measured once.

    Args:
        file: Keeps it.
        teacher: The teacher.
        run: A run folder of the student.
        data: The validation images.

    Returns:
        The costs of teacher and student.

    Raises:
        DataError: The file is damaged.
    """
    if not file.is_file():
        write_json(file, [asdict(cost) for cost in costs_of([teacher, open_model(run)], data)])
    try:
        return [NetworkCost(**written) for written in json.loads(file.read_text(encoding="utf-8"))]
    except (ValueError, TypeError) as error:
        raise DataError(f"{file} does not hold what networks cost: {error!r}. Delete it to measure again.") from error
