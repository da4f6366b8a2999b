"""`inspect` and `convert`: what a weight file holds, and the same network in another layout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from segdistill.core.classes import Classes
from segdistill.core.errors import CheckpointError, RecipeError, nearest
from segdistill.core.storage import write_aside
from segdistill.models.build import outline
from segdistill.models.checkpoints.published import LAYOUTS, Part, as_layout, open_published, same_network
from segdistill.models.class_map import unnamed
from segdistill.models.files import Role, is_published, open_model, read_description, save_model, save_weights
from segdistill.models.segmenter import Segmenter
from segdistill.models.spec import NetworkSpec
from segdistill.models.zoo import resolve_spec

OWN = "segdistill"


@dataclass(frozen=True)
class Inspected:
    """What a weight file holds.

    layout: whose names its tensors have. network: the zoo's entry that it is, None if it is none of them. made_of: the
    network in the words of a recipe. parameters: with the auxiliary head. faults: tensors that do not fit that network.
    """

    path: Path
    layout: str
    network: str | None
    made_of: dict[str, Any]
    num_classes: int
    classes: tuple[str, ...] | None
    parameters: int
    faults: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "path": str(self.path)}


@dataclass(frozen=True)
class Converted:
    """A network written in another layout: the file, the layout it had and the one it has."""

    path: Path
    source: str
    target: str
    network: str | None
    num_classes: int


def inspect(path: str | Path, *, part: Part = "student") -> Inspected:
    """Say what a weight file is without loading it into anything: layout, network, classes, parameters.

    path: a published file, a Hugging Face SegFormer folder, or a run folder or file of this library. part: which
    network of a distillation run's file.
    """
    if is_published(Path(path)):
        found = open_published(path, part=part)
        names = found.classes.names if found.classes else None
        return _inspected(found.path, found.layout, found.spec, found.num_classes, names, tuple(found.faults()))
    file, spec, classes = read_description(Path(path))
    return _inspected(file, OWN, spec, len(classes), classes.names, ())


def convert(
    path: str | Path, out: str | Path, *, layout: str = OWN, part: Part = "student", role: Role = "teacher"
) -> Converted:
    """Write the network of `path` in another layout.

    layout: "segdistill" writes `<role>.safetensors` and `<role>.yaml` into the folder `out`, which every verb takes as
    a run; a published one ("openmmlab", "cirkd", "nvlabs", ..) writes the file `out`, for the tools that read it. A
    network that the layout can't express is refused.
    """
    if layout not in (OWN, *LAYOUTS):
        raise RecipeError(f"No layout is called '{layout}'.{nearest(layout, [OWN, *LAYOUTS])}")
    model = open_model(path, part=part)
    network = model.network
    if not isinstance(network, Segmenter) or network.spec is None:
        raise CheckpointError(f"{path} holds a network that was not composed by this library; it has one layout.")
    source = open_published(path, part=part).layout if is_published(Path(path)) else OWN
    target = Path(out)
    if layout == OWN:
        if any(target.glob("*.safetensors")):
            raise CheckpointError(f"{target} already holds a network. Choose another folder.")
        trained = {"converted_from": str(path), "layout": source}
        save_model(target, role, network, network.spec, model.classes, trained)
        target = target / f"{role}.safetensors"
    else:
        _write_published(network, layout, target, model.classes)
    return Converted(target, source, layout, network.spec.name, network.num_classes)


def _inspected(
    path: Path,
    layout: str,
    spec: NetworkSpec,
    num_classes: int,
    classes: tuple[str, ...] | None,
    faults: tuple[str, ...],
) -> Inspected:
    parameters = sum(p.numel() for p in outline(spec, num_classes).parameters())
    made_of = spec.model_dump(mode="json", exclude={"name", "backbone_weights"}, exclude_defaults=True)
    return Inspected(path, layout, spec.name, made_of, num_classes, classes, parameters, faults)


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
        named = {"CLASSES": list(classes.names), "PALETTE": [list(c) for c in classes.colors]}
        meta = {} if unnamed(classes.names) else named
        content = {"meta": meta, "state_dict": state}
    write_aside(out, lambda aside: torch.save(content, aside))
