"""Networks by path or name: trained ones loaded, new ones made, and any filled with weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from segdistill.core.discovery import check_options
from segdistill.core.errors import CheckpointError, RecipeError
from segdistill.models.adapters.module import ModuleNetwork
from segdistill.models.adapters.registry import Adapted
from segdistill.models.build import build
from segdistill.models.exported.network import Exported
from segdistill.models.files import OwnRun
from segdistill.models.identify import identify
from segdistill.models.live import live_spec
from segdistill.models.loaded import LoadedCheckpoint, LoadedModel
from segdistill.models.network import SegmentationNetwork
from segdistill.models.spec import NetworkSpec, Role, is_adapted
from segdistill.models.zoo import resolve_spec

NetworkSource = str | Path | NetworkSpec | nn.Module
"""What stands for a trained network: a path or name, a spec, or the network itself."""


def load_model(path: str | Path, *, module: nn.Module | None = None, **options: Any) -> SegmentationNetwork:
    """The network of a run folder or file; see `segdistill.load_model`, which also sees to how it predicts.

    Args:
        path: A run folder, a file or a name.
        module: What was handed in as an object when it was trained.
        **options: Fields of `NetworkSpec` for a network of another library.

    Returns:
        The network, in evaluation mode.

    Raises:
        CheckpointError: There is no such file, or it is not one of a network.
    """
    if module is not None:
        source = identify(path)
        if not isinstance(source, OwnRun):
            raise CheckpointError(f"module= is for a run of this library whose network was a module; {path} is none.")
        loaded = source.load(module)
    else:
        loaded = open_model(resolve_spec({"name": str(path), **options}) if options else path)
    loaded.network.file = loaded.path if loaded.path.exists() else None
    return loaded.network


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
        file = source.file if isinstance(source, SegmentationNetwork) else None
        return replace(loaded, path=file or Path(type(source).__name__))
    return identify(source).load()


_TOP = ("mean", "std", "bgr")
"""Network options that are fields of a `NetworkSpec`; the others are options of its adapter."""


def described(source: NetworkSource, options: Mapping[str, Any] | None) -> NetworkSource:
    """A network of another library with what is to be known of it.

    Args:
        source: The name of such a network, or any module.
        options: mean, std, bgr, and the adapter's, as classifier, features, size (docs/adapters.md); None for none.

    Returns:
        What `open_model` takes.

    Raises:
        RecipeError: An option is unknown or wrong, or the network has none.
    """
    if not options:
        return source
    if isinstance(source, nn.Module) and not isinstance(source, SegmentationNetwork):
        checked = check_options(ModuleNetwork, dict(options), "network")
        return ModuleNetwork(source, **checked)
    if not isinstance(source, str | Path) or not is_adapted(source):
        name = type(source).__name__ if isinstance(source, nn.Module) else source
        raise RecipeError(
            f"'network' describes a network of another library, as module:package.module:factory; {name} knows itself."
        )
    fields = {key: value for key, value in options.items() if key in _TOP}
    rest = {key: value for key, value in options.items() if key not in _TOP}
    return resolve_spec({"name": str(source), **fields, "options": rest})


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
