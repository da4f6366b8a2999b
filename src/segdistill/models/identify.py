"""What a path or name stands for: asked here once, and answered with an object that can load it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from segdistill.core.errors import RecipeError
from segdistill.core.paths import expanded
from segdistill.models.adapters.registry import Adapted
from segdistill.models.checkpoints.published import Published, is_published, read_published
from segdistill.models.exported.network import Exported, is_exported
from segdistill.models.files import OwnRun, weight_file
from segdistill.models.hub import published_folder
from segdistill.models.spec import NetworkSpec, Role, is_adapted
from segdistill.models.zoo import adapted_spec

Source = OwnRun | Published | Adapted | Exported
"""Where a trained network comes from. Each has `load()`; the first two have `fill(model)`, `layout` and `spec`, too."""


def included(name: str) -> Path | None:
    """The weight file of a trained network that comes with the library, as streets_teacher; None for any other name.

    A file or folder of that name in the working folder goes first.

    Args:
        name: What a user wrote.
    """
    with resources.as_file(resources.files("segdistill.models") / "trained" / f"{name}.safetensors") as file:
        return file if Path(name).name == name and file.is_file() and not Path(name).exists() else None


def identify(source: str | Path | NetworkSpec, *, role: Role = "student") -> Source:
    """What a path, name or spec of a network stands for.

    Args:
        source: A run folder or weight file of this library, an exported file (.onnx, .xml, .pt2), a published file, the
            name of a network that comes with the library or was published on the hub, or the name or spec of a trained
            network of another one. A run folder gives its student, or its teacher if it holds no student.
        role: Which network of a published distillation run's file, which may hold two.

    Returns:
        What can load it; of our own runs nothing is read yet.

    Raises:
        CheckpointError: There is no such file, or it holds no network that this library knows.
        RecipeError: No adapter is called so, or a spec names a network of ours, which has no weights of its own.
    """
    published = None if isinstance(source, NetworkSpec) else published_folder(source)
    if published is not None:
        return OwnRun(weight_file(published))
    spec = source if isinstance(source, NetworkSpec) else adapted_spec(source)
    if spec is not None and not is_adapted(spec.name):
        raise RecipeError(
            f"'{spec.name or spec.backbone}' is a network without weights. Expected a run folder, a weight file, or "
            "the name of a trained network of another library, such as hf:FOLDER."
        )
    if spec is not None:
        return Adapted(spec)
    path = included(str(source)) or expanded(Path(source))  # type: ignore[arg-type]
    if is_exported(path):
        return Exported(path)
    return read_published(path, role=role) if is_published(path) else OwnRun(weight_file(path))
