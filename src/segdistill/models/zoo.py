"""Networks by name, and networks composed from a backbone and a head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from segdistill.core.discovery import explain
from segdistill.core.errors import RecipeError, nearest
from segdistill.models.adapters.registry import check_adapted
from segdistill.models.catalog import ZOO
from segdistill.models.spec import NetworkSpec, is_adapted


def resolve_spec(options: dict[str, Any], where: str = "network") -> NetworkSpec:
    """What a network is made of, checked.

    Args:
        options: Fields of `NetworkSpec`, over those of the entry of the zoo that `name` is.
        where: The recipe's key, for errors.

    Returns:
        All fields of the network.

    Raises:
        RecipeError: No network is called so, or a field is unknown, of another type, or has no meaning for it.
    """
    name = options.get("name")
    adapted = is_adapted(name)
    if name is not None and not adapted and name not in ZOO:
        raise RecipeError(f"Key '{where}.name': no network is called '{name}'.{nearest(str(name), ZOO)}")
    try:
        spec = NetworkSpec.model_validate((ZOO[name] if name and not adapted else {}) | options)
    except ValidationError as error:
        raise RecipeError("\n".join(explain(error, NetworkSpec, where))) from error
    if adapted:
        check_adapted(spec, where)
        return spec
    if spec.options:
        raise RecipeError(f"Key '{where}.options' is for networks of other libraries, as in name: smp:unet/resnet18.")
    if not spec.backbone:
        raise RecipeError(f"Key '{where}' needs a name (of the zoo: {', '.join(ZOO)}) or a backbone and a head.")
    return spec


def adapted_spec(name: str | Path, where: str = "network") -> NetworkSpec | None:
    """The checked spec of a network of another library.

    Args:
        name: As "hf:FOLDER"; a path that looks like one and exists is a path.
        where: The recipe's key, for errors.

    Returns:
        The spec; None for all that is a path.

    Raises:
        RecipeError: No adapter is called so.
    """
    if not is_adapted(name) or Path(name).exists():
        return None
    return resolve_spec({"name": str(name)}, where)
