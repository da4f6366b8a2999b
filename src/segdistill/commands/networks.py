"""Networks from Python: loaded, made or wrapped, each of which can predict images."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from segdistill.evaluation.inference.predicting import ImagePredictor
from segdistill.models import open as opening
from segdistill.models.adapters.module import wrap
from segdistill.models.hub import PREFIX
from segdistill.models.network import SegmentationNetwork
from segdistill.models.open import create_model, load_checkpoint
from segdistill.recipe.recipe import load_inference
from segdistill.runs.folder import run_of

__all__ = ["create_model", "load_checkpoint", "load_model", "wrap"]

SegmentationNetwork.predictor = ImagePredictor()


class _Hub:
    """The hub's methods of networks, by `publish` and `load_model`."""

    def save(self, network: SegmentationNetwork, folder: Path | None, name: str, keys: Mapping[str, Any], /) -> str:
        from segdistill.commands.publish import publish  # imports the exporters, which loading needs not

        keys = {"onnx": False, **keys}
        if folder is not None:
            return str(publish(network, name, out=folder, quiet=True, **keys).folder)
        with tempfile.TemporaryDirectory() as aside:
            return str(publish(network, name, out=Path(aside), quiet=True, **keys, upload=True).url)

    def load(self, name: str | Path, /) -> SegmentationNetwork:
        is_repository = str(name).count("/") == 1 and ":" not in str(name) and not Path(name).exists()
        return load_model(f"{PREFIX}{name}" if is_repository else name)


SegmentationNetwork.hub = _Hub()


def load_model(path: str | Path, *, module: nn.Module | None = None, **options: Any) -> SegmentationNetwork:
    """The network of a run folder, of a .safetensors file or of a published file, ready to predict.

    Args:
        path: A run folder gives its student, or its teacher if it trained only that; an exported file runs where it is
            (docs/export.md), and a published network comes from the hub, as "hf-segdistill:user/name". A trained
            network of another library is named as in "hf:FOLDER" (docs/adapters.md).
        module: Of a run whose student was handed in as a module: such a module again, whose weights do not matter.
        **options: Fields of `NetworkSpec` for a network of another library, as mean.

    Returns:
        The network. Called on RGB images (N,3,H,W) in [0,1] it gives a `SegOutput`; it normalizes by itself. Its
        `predict` takes image files, PIL images and arrays, and runs them as the run's recipe says. `classes` has the
        names and colors of its classes.

    Raises:
        CheckpointError: There is no such file, or it is not one of a network.
    """
    network = opening.load_model(path, module=module, **options)
    if network.file is not None and (recipe := run_of(network.file).recipe).is_file():
        network.predictor = ImagePredictor(load_inference(recipe))
    return network
