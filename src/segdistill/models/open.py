"""Networks by path or name: trained ones loaded, new ones made, and any filled with weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from segdistill.core.errors import CheckpointError
from segdistill.models.adapters.registry import Adapted
from segdistill.models.build import build
from segdistill.models.exported.network import Exported
from segdistill.models.files import OwnRun
from segdistill.models.identify import identify
from segdistill.models.live import live_spec
from segdistill.models.loaded import LoadedCheckpoint, LoadedModel
from segdistill.models.network import SegmentationNetwork
from segdistill.models.spec import NetworkSpec, Role
from segdistill.models.zoo import resolve_spec

NetworkSource = str | Path | NetworkSpec | nn.Module
"""What stands for a trained network: a path or name, a spec, or the network itself."""


def load_model(path: str | Path, *, module: nn.Module | None = None, **options: Any) -> SegmentationNetwork:
    """The network of a run folder, of a .safetensors file or of a published file, ready to predict.

    Args:
        path: A run folder gives its student, or its teacher if it trained only that; an exported file runs where it is
            (docs/export.md). A trained network of another library is named as in "hf:FOLDER" (docs/adapters.md).
        module: Of a run whose student was handed in as a module: such a module again, whose weights do not matter.
        **options: Fields of `NetworkSpec` for a network of another library, as mean.

    Returns:
        The network. Called on RGB images (N,3,H,W) in [0,1] it gives a `SegOutput`; it normalizes by itself. `classes`
        has the names and colors of its classes.

    Raises:
        CheckpointError: There is no such file, or it is not one of a network.
    """
    if module is not None:
        source = identify(path)
        if not isinstance(source, OwnRun):
            raise CheckpointError(f"module= is for a run of this library whose network was a module; {path} is none.")
        return source.load(module).network
    return open_model(resolve_spec({"name": str(path), **options}) if options else path).network


def open_model(source: NetworkSource) -> LoadedModel:
    """As `load_model`, with the classes, the file and the record of training.

    Args:
        source: A path, name or spec, as for `identify`; or a network itself, of which a copy is taken.

    Returns:
        The network with all that is known of it.

    Raises:
        CheckpointError: There is no such file, or it holds no network that this library knows.
        RecipeError: No adapter is called so, or a spec names a network of ours, which has no weights of its own.
    """
    if isinstance(source, nn.Module):
        loaded = Adapted(live_spec(source)).load()
        return replace(loaded, path=Path(type(source).__name__))
    return identify(source).load()


def load_checkpoint(model: nn.Module, path: str | Path, *, part: Role = "student") -> LoadedCheckpoint:
    """Fill `model` from a file or run folder of this library, or from a published file; strict.

    Published files (OpenMMLab, BPKD, CIRKD, NVlabs and Hugging Face SegFormer) are recognized by their tensors.
    Generations of the same network differ in stem, widths and normalization; a model made by this library takes those
    of the file, so make its optimizer afterwards.

    Args:
        model: The network to fill. After an error it is as it was.
        path: The file or folder.
        part: Which network of a distillation run's file.

    Returns:
        The file, its layout and the number of its tensors.

    Raises:
        CheckpointError: Tensors are missing, surplus or misshapen, which it lists, or the number of classes differs.
    """
    source = identify(path, role=part)
    if isinstance(source, Adapted | Exported):
        kind = "an exported file" if isinstance(source, Exported) else "a network of another library"
        raise CheckpointError(
            f"'{path}' is {kind}, not a file to fill one from. Load it whole with segdistill.load_model('{path}')."
        )
    return source.fill(model)


def create_model(
    name: str, num_classes: int, *, weights: str | Path | None = None, **options: Any
) -> SegmentationNetwork:
    """A new network.

    Args:
        name: Of the zoo, or of another library, such as "hf:FOLDER", "smp:unet/resnet18", "torchvision:fcn_resnet50".
        num_classes: K.
        weights: What to fill it from, see `load_checkpoint`; None for random weights.
        **options: Fields of `NetworkSpec`.

    Returns:
        The network, in training mode; called on RGB (N,3,H,W) in [0,1] it gives a `SegOutput`.

    Raises:
        RecipeError: There is no such network, or an option has no meaning for it.
        CheckpointError: Weights are missing or do not fit.
    """
    model = build(resolve_spec({"name": name, **options}), num_classes)
    if weights is not None:
        load_checkpoint(model, weights)
    return model
