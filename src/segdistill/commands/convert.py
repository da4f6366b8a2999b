"""`inspect` and `convert`: what a weight file holds, and the same network in another layout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from segdistill.core.classes import Classes
from segdistill.core.errors import CheckpointError, RecipeError, nearest
from segdistill.core.results import Result
from segdistill.core.storage import write_aside
from segdistill.models.adapters.registry import Adapted
from segdistill.models.build import outline
from segdistill.models.checkpoints.comparison import same_network
from segdistill.models.checkpoints.published import LAYOUTS, Published, as_layout
from segdistill.models.class_names import unnamed
from segdistill.models.exported.network import Exported
from segdistill.models.files import OwnRun, save_model, save_weights
from segdistill.models.identify import identify
from segdistill.models.segmenter import Segmenter
from segdistill.models.spec import Role
from segdistill.models.zoo import resolve_spec

OWN = OwnRun.layout


@dataclass(frozen=True, repr=False)
class Inspected(Result):
    """What a weight file holds.

    Attributes:
        path: The file.
        layout: Whose names its tensors have: "segdistill", or one of the published layouts.
        network: The zoo's entry that it is, None if it is none of them.
        made_of: The network in the words of a recipe.
        num_classes: K.
        classes: Their names, None if the file has none.
        parameters: How many, with the auxiliary head.
        faults: The tensors that do not fit that network.
        averages: Keys of the file below which averages of the weights (EMA) are, which are not read.
    """

    path: Path
    layout: str
    network: str | None
    made_of: dict[str, Any]
    num_classes: int
    classes: tuple[str, ...] | None
    parameters: int
    faults: tuple[str, ...]
    averages: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values for JSON."""
        return {**vars(self), "path": str(self.path)}


@dataclass(frozen=True, repr=False)
class Converted(Result):
    """A network written in another layout.

    Attributes:
        path: The file that was written.
        source: The layout it had.
        target: The layout it has.
        network: The zoo's entry that it is, None if it is none of them.
        num_classes: K.
    """

    path: Path
    source: str
    target: str
    network: str | None
    num_classes: int


def inspect(path: str | Path, *, part: Role = "student") -> Inspected:
    """Say what a weight file is without loading it into anything: layout, network, classes, parameters.

    Args:
        path: A published file, a Hugging Face SegFormer folder, or a run folder or file of this library.
        part: Which network of a distillation run's file.

    Returns:
        What it is.

    Raises:
        CheckpointError: There is no such file, or it is in no layout that this library knows.
    """
    source = _identify_file(path, part)
    parameters = sum(p.numel() for p in outline(source.spec, source.num_classes).parameters())
    return Inspected(
        path=source.path,
        layout=source.layout,
        network=source.spec.name,
        made_of=source.spec.model_dump(mode="json", exclude={"name", "backbone_weights"}, exclude_defaults=True),
        num_classes=source.num_classes,
        classes=source.classes.names if source.classes else None,
        parameters=parameters,
        faults=tuple(source.faults()),
        averages=source.averages if isinstance(source, Published) else (),
    )


def convert(
    path: str | Path, out: str | Path, *, layout: str = OWN, part: Role = "student", role: Role = "teacher"
) -> Converted:
    """Write the network of `path` in another layout.

    Args:
        path: As for `inspect`.
        out: The folder to write, or for a published layout the file. Nothing is overwritten.
        layout: "segdistill" writes `<role>.safetensors` and `<role>.yaml` into `out`, which every verb takes as a run;
            a published one ("openmmlab", "cirkd", "nvlabs", ..) writes a file for the tools that read it.
        part: Which network of a distillation run's file is read.
        role: What the network is called in the folder that is written.

    Returns:
        What was written.

    Raises:
        CheckpointError: The network can't be read, the layout can't express it, or `out` is there already.
        RecipeError: No layout is called so.
    """
    if layout not in (OWN, *LAYOUTS):
        raise RecipeError(f"No layout is called '{layout}'.{nearest(layout, [OWN, *LAYOUTS])}")
    source = _identify_file(path, part)
    model = source.load()
    network = model.network
    if not isinstance(network, Segmenter) or network.spec is None:
        raise _one_layout(path)
    target = Path(out)
    if layout == OWN:
        if any(target.glob("*.safetensors")):
            raise CheckpointError(f"{target} already holds a network. Choose another folder.")
        if (target / f"{role}.yaml").exists():
            raise CheckpointError(f"{target / f'{role}.yaml'} exists. Choose another folder, or another role=.")
        trained = {"converted_from": str(path), "layout": source.layout}
        save_model(target, role, network, network.spec, model.classes, trained)
        target = target / f"{role}.safetensors"
    else:
        _write_published(network, layout, target, model.classes)
    return Converted(target, source.layout, layout, network.spec.name, network.num_classes)


def _identify_file(path: str | Path, part: Role) -> OwnRun | Published:
    """What file `path` is; a network of another library is refused, as it has no layout to read or write."""
    source = identify(path, role=part)
    if isinstance(source, Adapted | Exported):
        raise _one_layout(path)
    return source


def _one_layout(path: str | Path) -> CheckpointError:
    return CheckpointError(f"{path} holds a network that was not composed by this library; it has one layout.")


def _write_published(network: Segmenter, layout: str, out: Path, classes: Classes) -> None:
    assert network.spec is not None
    if out.exists():
        raise CheckpointError(f"{out} exists. Choose another file.")
    if out.suffix not in (".pth", ".pt", ".safetensors"):
        raise CheckpointError(f"{out}: a published file ends in .pth, .pt or .safetensors.")
    state = {key: value.detach().cpu().contiguous() for key, value in as_layout(network, layout).items()}
    implied = resolve_spec(LAYOUTS[layout].network(state)) if LAYOUTS[layout].matches(state) else None
    if implied is None or not same_network(implied, network.spec):
        raise CheckpointError(
            f"{LAYOUTS[layout].title} has no network like this one ({network.spec.name or network.spec.backbone}): the "
            "file would be read as another network. Keep it in this library's layout, or export it."
        )
    if out.suffix == ".safetensors":
        save_weights(out, state)
        return
    content: dict[str, Any] = state
    if layout == "openmmlab":
        meta: dict[str, Any] = {}
        if not unnamed(classes.names):
            meta = {"CLASSES": list(classes.names), "PALETTE": [list(color) for color in classes.colors]}
        content = {"meta": meta, "state_dict": state}
    write_aside(out, lambda aside: torch.save(content, aside))
