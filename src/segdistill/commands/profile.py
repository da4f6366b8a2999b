"""`profile`: settings are checked, the network is built or loaded, its cost is measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from segdistill.core.discovery import validated
from segdistill.core.errors import RecipeError, nearest
from segdistill.core.numbers import Count, Size
from segdistill.core.typed_settings import TypedSettings
from segdistill.evaluation.cost.macs import Convention
from segdistill.evaluation.cost.profile import Profile, measure
from segdistill.exporting.profile import FileProfile, profile_file
from segdistill.models.catalog import ZOO
from segdistill.models.exported.network import Exported, ExportedNetwork
from segdistill.models.files import OwnRun
from segdistill.models.identify import Source, identify
from segdistill.models.network import SegmentationNetwork
from segdistill.models.open import create_model, described, open_model
from segdistill.models.spec import NetworkSpec, is_adapted
from segdistill.recipe.recipe import load_recipe
from segdistill.runs.folder import run_of
from segdistill.runtime.environment import describe_environment

_CLASSES = 19  # Cityscapes
_SIZE = (512, 512)


class ProfileSettings(TypedSettings):
    """What `profile` measures, and how."""

    num_classes: Count | None = None
    """The number of classes of a network that is built here; null is 19, Cityscapes'."""

    size: Size | None = None
    """The size of the image, (H,W) or "HxW" in pixels; null is 512x512, or the crop that a run was trained with."""

    convention: Convention = "paper"
    """What counts as an operation, see `evaluation/cost/macs.py`."""

    latency: bool = True
    """Whether passes are timed."""

    runs: Count = 15
    """Timed passes after the first ones, of which the median is taken."""

    batch: Count = 1
    """Images of a timed pass."""

    device: str | None = None
    """Where passes are timed, as "cpu" or "cuda:1"; null is CUDA if there is one."""


def check_settings(settings: dict[str, Any], options: dict[str, Any]) -> ProfileSettings:
    """Check and convert what `profile` was called with.

    Args:
        settings: Keys of `ProfileSettings`.
        options: Keys of `NetworkSpec`, for a network that is built here; only their names are checked.

    Returns:
        The settings.

    Raises:
        RecipeError: A key is unknown, or a value is wrong; the message names the key.
    """
    keys = {*ProfileSettings.model_fields, *NetworkSpec.model_fields} - {"name"}
    for key in options:
        if key not in keys:
            raise RecipeError(f"Unknown key '{key}'.{nearest(key, keys)}")
    return validated(ProfileSettings, settings)


def _refuse_for_files(name: str, settings: ProfileSettings) -> None:
    """Refuse what has no meaning for an exported file: one image is timed, by its runtime on the CPU."""
    for key in ("batch", "device", "latency", "convention"):
        value = getattr(settings, key)
        if value != ProfileSettings.model_fields[key].default and (key, value) != ("device", "cpu"):
            raise RecipeError(
                f"{key}={value} has no meaning for {name}, an exported file: one image is timed on the CPU. Leave it "
                "out."
            )


def profile_network(
    network: str | Path | nn.Module, settings: ProfileSettings, options: dict[str, Any]
) -> Profile | FileProfile:
    """Measure the network, which is built or loaded first if it is only named.

    Args:
        network: As for `profile`.
        settings: What and how to measure.
        options: Of a network that is built here; fields of `NetworkSpec`.

    Returns:
        The costs, in all and by stage.

    Raises:
        CheckpointError: A file can't be loaded.
        RecipeError: There is no such network, or settings and options don't go with it.
    """
    module, name, default_size = _resolve(network, settings, options)
    if isinstance(module, ExportedNetwork):
        _refuse_for_files(name, settings)
        return profile_file(module, settings.size or default_size, settings.runs, describe_environment())
    return measure(
        module,
        name,
        num_classes=module.num_classes,
        size=settings.size or default_size,
        convention=settings.convention,
        latency=settings.latency,
        runs=settings.runs,
        batch=settings.batch,
        device=_device(settings.device),
        environment=describe_environment(),
    )


def _resolve(
    network: str | Path | nn.Module, settings: ProfileSettings, options: dict[str, Any]
) -> tuple[SegmentationNetwork, str, tuple[int, int]]:
    """The network, its name, and the size of its images unless one is asked for."""
    if isinstance(network, nn.Module):
        module, name, size = _checked(network), type(network).__name__, _SIZE
    elif _is_new(str(network), settings, options):
        return create_model(str(network), settings.num_classes or _CLASSES, **options), str(network), _SIZE
    else:
        source = identify(network)
        module, name, size = source.load().network, str(network), _crop(source)
    if options or settings.num_classes not in (None, module.num_classes):
        changes = ", ".join([*options, *(["num_classes"] if settings.num_classes else [])])
        raise RecipeError(f"{name} is built already (with {module.num_classes} classes); {changes} can't change it.")
    return module, name, size


def _checked(module: nn.Module) -> SegmentationNetwork:
    if not isinstance(module, SegmentationNetwork):
        raise RecipeError(
            f"A {type(module).__name__} is not a network of this library yet: wrap it, segdistill.wrap(..)."
        )
    return module


def _is_new(network: str, settings: ProfileSettings, options: dict[str, Any]) -> bool:
    """Whether `network` names one to build, not a trained one to load; a name that is neither is refused."""
    path = Path(network)
    if network in ZOO:
        return True
    if is_adapted(network) and not path.exists():
        return bool(settings.num_classes or options)
    if not path.exists() and not path.suffix and len(path.parts) == 1:
        raise RecipeError(
            f"No network of the zoo, run folder or weight file is called '{network}'.{nearest(network, ZOO)}"
        )
    return False


def _crop(source: Source) -> tuple[int, int]:
    """The crop that a run of this library was trained with; 512x512 for all else."""
    recipe = run_of(source.path).recipe if isinstance(source, OwnRun | Exported) else None
    return load_recipe(recipe).augment.crop if recipe is not None and recipe.is_file() else _SIZE


def _device(name: str | None) -> torch.device:
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise RecipeError(f"Key 'device': '{name}' can't be used here ({str(error).splitlines()[0]}).") from error
    return device


def profile(
    source: str | Path | nn.Module,
    /,
    *,
    num_classes: int | None = None,
    size: tuple[int, int] | str | None = None,
    convention: Convention = "paper",
    latency: bool = True,
    runs: int = 15,
    batch: int = 1,
    device: str | None = None,
    network: Mapping[str, Any] | None = None,
    **options: Any,
) -> Profile | FileProfile:
    """Parameters, multiply-adds, activation memory and latency of a network, in all and by stage.

    Of an exported file, in which there are no stages, the size on disk and the latency.

    Args:
        source: A name of the zoo, a run folder, weight file or exported file, or a network itself.
        num_classes: Of a named network, default 19.
        size: Of the image, (H,W) or "HxW"; default 512x512, or the crop that a run was trained with.
        convention: What counts as an operation, see `evaluation.cost.macs`.
        latency: Whether to time it.
        runs: Warm runs, of which the median is taken.
        batch: Images in each of them.
        device: As "cpu" or "cuda:1"; default CUDA if there is one.
        network: Of a trained one of another library: mean, std, bgr, and the adapter's options, as classifier.
        **options: Of the named network that is built here, as output_stride.

    Returns:
        The costs, in all and by stage.

    Raises:
        RecipeError: There is no such network, or an argument does not go with it.
    """
    settings: dict[str, Any] = {"convention": convention, "latency": latency, "runs": runs, "batch": batch}
    optional = {"num_classes": num_classes, "size": size, "device": device}
    settings |= {key: value for key, value in optional.items() if value is not None}
    if network or (isinstance(source, nn.Module) and not isinstance(source, SegmentationNetwork)):
        source = open_model(described(source, network)).network
    return profile_network(source, check_settings(settings, options), options)
