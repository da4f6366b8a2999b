"""Networks by name, and networks composed from a backbone and a head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from segdistill.core.discovery import explain
from segdistill.core.errors import RecipeError, nearest
from segdistill.core.plugins import is_import_path, plugins
from segdistill.models.adapters.registry import check_adapted
from segdistill.models.catalog import ZOO
from segdistill.models.spec import NetworkSpec, is_adapted

_CATALOG = "segdistill.models.catalog"


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
    name = _by_module(options.get("name"))
    options = options if name == options.get("name") else {**options, "name": name}
    adapted = is_adapted(name)
    if name is not None and not adapted and name not in ZOO:
        names = [*ZOO, *plugins(_CATALOG)]
        raise RecipeError(f"Key '{where}.name': no network is called '{name}'.{nearest(str(name), names)}")
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


def _by_module(name: Any) -> Any:
    """A name that an installed package gives, or an import path, as the name of a factory; any other as it is."""
    if name in ZOO or not isinstance(name, str):
        return name
    path = name if is_import_path(name) and "." in name else plugins(_CATALOG).get(name)
    return name if path is None else f"module:{path}"


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
