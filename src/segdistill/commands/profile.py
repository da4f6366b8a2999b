"""What `profile` is asked for: settings checked, the network found, its cost measured."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from torch import nn

from segdistill.core.discovery import explain
from segdistill.core.errors import RecipeError, nearest
from segdistill.core.numbers import Count
from segdistill.evaluation.cost.macs import Convention
from segdistill.evaluation.cost.profile import Profile, measure
from segdistill.models.files import create_model, open_model
from segdistill.models.network import SegmentationNetwork
from segdistill.models.spec import NetworkSpec, is_adapted
from segdistill.models.zoo import ZOO
from segdistill.recipe.recipe import load_recipe
from segdistill.runs.folder import RunFolder
from segdistill.runtime.environment import describe_environment

_CLASSES = 19  # Cityscapes
_SIZE = (512, 512)


def _size(value: Any) -> Any:
    """ "512x1024" as (512, 1024)."""
    if isinstance(value, str) and re.fullmatch(r"\d+x\d+", value):
        return tuple(int(side) for side in value.split("x"))
    if isinstance(value, tuple | list):
        return value
    raise ValueError("expected HEIGHTxWIDTH, as 512x1024")


class ProfileSettings(BaseModel):
    """The keyword arguments of `profile`; None means what the network brings or the default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    num_classes: Count | None = None
    size: Annotated[tuple[Count, Count] | None, BeforeValidator(_size)] = None
    convention: Convention = "paper"
    latency: bool = True
    runs: Count = 15
    batch: Count = 1
    device: str | None = None


def check_settings(settings: dict[str, Any], options: dict[str, Any]) -> ProfileSettings:
    """The settings with their types made right; `options` must be those of a network."""
    known = {*ProfileSettings.model_fields, *NetworkSpec.model_fields} - {"name"}
    for key in options:
        if key not in known:
            raise RecipeError(f"Unknown key '{key}'.{nearest(key, known)}")
    try:
        return ProfileSettings(**settings)
    except ValidationError as error:
        raise RecipeError("\n".join(explain(error, ProfileSettings))) from error


def profile_network(
    network: str | Path | SegmentationNetwork, settings: ProfileSettings, options: dict[str, Any]
) -> Profile:
    """Find or build the network and measure it."""
    found, name, own_size = _find(network, settings, options)
    device = _device(settings.device)
    return measure(
        found,
        name,
        num_classes=found.num_classes,
        size=settings.size or own_size,
        convention=settings.convention,
        latency=settings.latency,
        runs=settings.runs,
        batch=settings.batch,
        device=device,
        environment=describe_environment(),
    )


def _find(
    network: str | Path | SegmentationNetwork, settings: ProfileSettings, options: dict[str, Any]
) -> tuple[SegmentationNetwork, str, tuple[int, int]]:
    """The network, its name and the size of its images."""
    if isinstance(network, str) and network in ZOO:
        return create_model(network, settings.num_classes or _CLASSES, **options), network, _SIZE
    if isinstance(network, str) and is_adapted(network) and (settings.num_classes or options):
        return create_model(network, settings.num_classes or _CLASSES, **options), network, _SIZE
    if isinstance(network, SegmentationNetwork):
        found, name, size = network, type(network).__name__, _SIZE
    elif isinstance(network, nn.Module):
        raise RecipeError(
            f"A {type(network).__name__} is not a network of this library yet: wrap it, segdistill.wrap(..)."
        )
    elif is_adapted(str(network)) or Path(network).exists() or Path(network).suffix or len(Path(network).parts) > 1:
        model = open_model(network)
        found, name, size = model.network, str(network), _crop(model.path.parent)
    else:
        raise RecipeError(
            f"No network of the zoo, run folder or weight file is called '{network}'.{nearest(str(network), ZOO)}"
        )
    if options or settings.num_classes not in (None, found.num_classes):
        given = ", ".join([*options, *(["num_classes"] if settings.num_classes else [])])
        raise RecipeError(f"{name} is built already (with {found.num_classes} classes); {given} can't change it.")
    return found, name, size


def _crop(folder: Path) -> tuple[int, int]:
    """The crop that the run in `folder` was trained with; 512x512 if there is no run."""
    recipe = RunFolder(folder).recipe
    return load_recipe(recipe).augment.crop if recipe.is_file() else _SIZE


def _device(name: str | None) -> torch.device:
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise RecipeError(f"Key 'device': '{name}' can't be used here ({str(error).splitlines()[0]}).") from error
    return device


def profile(
    network: str | Path | SegmentationNetwork,
    *,
    num_classes: int | None = None,
    size: tuple[int, int] | str | None = None,
    convention: Convention = "paper",
    latency: bool = True,
    runs: int = 15,
    batch: int = 1,
    device: str | None = None,
    **options: Any,
) -> Profile:
    """Parameters, multiply-adds, activation memory and latency of a network, in all and by stage.

    network: a name of the zoo, a run folder or weight file, or a network itself. num_classes: of a named network,
    default 19. size: of the image, (H,W) or "HxW"; default 512x512, or the crop that a run was trained with.
    convention: what counts as an operation, see `evaluation.macs`. latency: whether to time it, with the median of
    `runs` warm runs on `batch` images. device: as "cpu" or "cuda:1"; default CUDA if there is one. options: of the
    named network, as output_stride.
    """
    settings: dict[str, Any] = {"convention": convention, "latency": latency, "runs": runs, "batch": batch}
    given = {"num_classes": num_classes, "size": size, "device": device}
    settings |= {key: value for key, value in given.items() if value is not None}
    return profile_network(network, check_settings(settings, options), options)
