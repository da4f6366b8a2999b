"""Predicting with Ray Data: shards of images on the machines of a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segdistill.core.errors import RecipeError
from segdistill.evaluation.settings import InferenceConfig
from segdistill.models.open import open_model
from segdistill.reporting.label_files.job import Item, MaskJob
from segdistill.reporting.label_files.settings import LabelSettings

_SHARD = 64
"""Images that an actor is handed at a time."""


class Actor:
    """What a process of the cluster holds: the network, loaded once.

    Args:
        weights: Path or name of the network.
        inference: How images are run, as plain values.
        settings: What becomes of the predictions, as plain values.
        legend: Whether overlays name the classes.
    """

    def __init__(self, weights: str, inference: dict[str, Any], settings: dict[str, Any], legend: bool) -> None:
        loaded = open_model(weights)
        self._job = MaskJob(loaded, InferenceConfig(**inference), LabelSettings(**settings), legend)

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        """Predict a shard.

        Args:
            rows: The columns image, mask, overlay and number.

        Returns:
            The columns number and fault, "" where there is none.
        """
        columns = zip(rows["image"], rows["mask"], rows["overlay"], strict=True)
        items = [Item(Path(image), Path(mask), Path(drawn) if drawn else None) for image, mask, drawn in columns]
        faults = {item: fault or "" for item, fault in self._job(items)}
        return {"number": rows["number"], "fault": np.array([faults[item] for item in items], dtype=object)}


def predict_on_ray(
    weights: str, items: Sequence[Item], inference: InferenceConfig, settings: LabelSettings, legend: bool
) -> Iterator[tuple[Item, str | None]]:
    """Predict images on the cluster that RAY_ADDRESS names, or on this machine's processors.

    Network, images and results must be at the same paths on all machines. A shard whose machine is lost is done again,
    but for the images whose masks are there.

    Args:
        weights: Path or name of the network.
        items: The images.
        inference: How images are run.
        settings: What becomes of the predictions.
        legend: Whether overlays name the classes.

    Yields:
        Each item, and why it could not be predicted or None.

    Raises:
        RecipeError: Ray is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise RecipeError("executor=ray needs Ray: pip install 'segdistill[ray]'.") from error
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False)
    on_gpus = int(ray.cluster_resources().get("GPU", 0))
    actors = on_gpus or int(ray.cluster_resources().get("CPU", 1))
    rows = [
        {
            "number": number,
            "image": str(item.image.absolute()),
            "mask": str(item.mask.absolute()),
            "overlay": str(item.overlay.absolute()) if item.overlay else "",
        }
        for number, item in enumerate(items)
    ]
    shard = max(1, min(_SHARD, -(-len(rows) // actors)))
    done = ray.data.from_items(rows, override_num_blocks=max(1, -(-len(rows) // shard))).map_batches(
        Actor,
        fn_constructor_args=(
            weights,
            inference.model_dump(mode="json"),
            settings.model_dump(mode="json"),
            legend,
        ),
        batch_size=shard,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=max(1, min(actors, -(-len(rows) // shard)))),
        num_gpus=1 if on_gpus else 0,
        num_cpus=0 if on_gpus else 1,
    )
    for row in done.iter_rows():
        yield items[int(row["number"])], str(row["fault"]) or None
