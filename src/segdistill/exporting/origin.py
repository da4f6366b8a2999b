"""Where an exported file comes from, as its metadata says it."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from segdistill.core.storage import sha256
from segdistill.models.loaded import LoadedModel
from segdistill.models.segmenter import Segmenter


def origin_of(model: LoadedModel, license: str) -> dict[str, Any]:
    """Where a file comes from, for people and for the record; no paths of this machine.

    Args:
        model: The network.
        license: Of it, in words.

    Returns:
        Plain values: what it is, its normalization, how it was trained, the SHA-256 of its weights, versions.
    """
    network = model.network
    spec = network.spec if isinstance(network, Segmenter) else None
    record: dict[str, Any] = {
        "network": (spec.name or f"{spec.backbone}, {spec.head}") if spec else type(network).__name__,
        "normalization": {
            "inside": True,
            "mean": network.mean.flatten().tolist(),
            "std": network.std.flatten().tolist(),
            "bgr": network.bgr,
        },
        "license": license,
        "weights_sha256": sha256(model.path) if model.path.is_file() else None,
        "version": version("segdistill"),
        "torch": version("torch"),
    }
    kept = ("data", "method", "steps", "batch_size", "seed")
    if model.trained:
        record["trained"] = {key: model.trained[key] for key in kept if key in model.trained}
    return record
