"""Weight files: our own, `<role>.safetensors` beside `<role>.yaml` which says how to build the network, and others'."""

from __future__ import annotations

import zlib
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from segdistill.core.classes import Classes, as_color, unnamed_classes
from segdistill.core.errors import CheckpointError, DataError, listed
from segdistill.core.safe_yaml import read_yaml
from segdistill.core.storage import write_aside, write_yaml
from segdistill.models.adapters.registry import build_adapted, portable_spec
from segdistill.models.build import build
from segdistill.models.checkpoints.published import (
    LAYOUTS,
    Part,
    open_published,
    same_family,
    same_network,
)
from segdistill.models.checkpoints.reading import names_in
from segdistill.models.network import SegmentationNetwork
from segdistill.models.segmenter import Segmenter
from segdistill.models.spec import NetworkSpec, is_adapted
from segdistill.models.unfilled import skip_init
from segdistill.models.zoo import resolve_spec

Role = Literal["student", "teacher"]
_ROLES: tuple[Role, ...] = ("student", "teacher")
_CHECKSUM = "crc32"


@dataclass
class LoadedModel:
    """A network ready to predict, with its classes."""

    network: SegmentationNetwork
    classes: Classes
    path: Path


def save_weights(path: Path, weights: dict[str, Tensor]) -> None:
    """`weights` as a .safetensors file with their checksum in its header, complete or absent."""
    tensors = {key: value.detach().cpu().contiguous() for key, value in weights.items()}
    write_aside(path, lambda aside: save_file(tensors, aside, metadata={_CHECKSUM: _checksum(tensors)}))


def read_weights(path: Path) -> dict[str, Tensor]:
    """What `save_weights` wrote, verified by its checksum; files of before there was one are taken as they are."""
    try:
        with safe_open(path, framework="pt") as file:
            told = (file.metadata() or {}).get(_CHECKSUM)
        found = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"Can't read {path}: {error}. Expected a .safetensors file of this library.") from error
    if told is not None and told != _checksum(found):
        raise CheckpointError(f"Can't read {path}: it is damaged, its checksum is not that of its tensors.")
    return found


def _checksum(tensors: dict[str, Tensor]) -> str:
    """CRC-32 of the tensors' bytes, by name."""
    crc = 0
    for key in sorted(tensors):
        crc = zlib.crc32(tensors[key].reshape(-1).view(torch.uint8).numpy().data, crc)
    return f"{crc:08x}"


def save_model(
    folder: Path, role: Role, network: SegmentationNetwork, spec: NetworkSpec, classes: Classes, trained: Any
) -> None:
    """Write `<role>.safetensors` and `<role>.yaml` into `folder`; `trained` is a record of how it was made."""
    adapted = is_adapted(spec.name)
    spec = portable_spec(spec, network) if adapted else spec
    described = {
        "format": "segdistill 1",
        "network": spec.model_dump(
            mode="json", exclude={"backbone_weights"}, exclude_none=True, exclude_defaults=adapted
        ),
        "classes": [
            {"name": name, "color": list(color)} for name, color in zip(classes.names, classes.colors, strict=True)
        ],
        "trained": trained,
    }
    save_weights(folder / f"{role}.safetensors", network.state_dict())
    write_yaml(folder / f"{role}.yaml", described)


def load_model(path: str | Path, **options: Any) -> SegmentationNetwork:
    """The network of a run folder, of a .safetensors file or of a published file, ready to predict.

    A run folder gives its student, or its teacher if it trained only that. A trained network of another library is
    named as in "hf:FOLDER" (docs/adapters.md); options: fields of `NetworkSpec` for it, as mean. Called on RGB images
    N,3,H,W in [0,1] the network gives a `SegOutput`; it normalises by itself. `classes` has the names and colors of
    its classes.
    """
    if options:
        return open_model(resolve_spec({"name": str(path), **options})).network
    return open_model(path).network


def open_model(path: str | Path | NetworkSpec, *, part: Part = "student") -> LoadedModel:
    """As `load_model`, with the file that the network came from; part: which network of a distillation run's file."""
    if not isinstance(path, NetworkSpec) and is_adapted(path) and not Path(path).exists():
        path = resolve_spec({"name": str(path)})
    if isinstance(path, NetworkSpec):
        return _open_adapted(path)
    if is_published(Path(path)):
        published = open_published(path, part=part)
        network = published.build()
        classes = published.classes or unnamed_classes(published.num_classes)
        network.classes = classes
        return LoadedModel(network, classes, published.path)
    file = _weights_file(Path(path))
    spec, classes = _described(file)
    with nullcontext() if is_adapted(spec.name) else skip_init():
        own = build(spec, len(classes))
    load_checkpoint(own, file)
    own.classes = classes
    return LoadedModel(own.eval(), classes, file)


def read_description(path: Path) -> tuple[Path, NetworkSpec, Classes]:
    """The weight file of a run folder or path of this library, and what the .yaml beside it says."""
    file = _weights_file(path)
    return file, *_described(file)


def _described(file: Path) -> tuple[NetworkSpec, Classes]:
    """What the .yaml beside a weight file of this library says."""
    description = file.with_suffix(".yaml")
    try:
        described = read_yaml(description)
        spec = NetworkSpec(**described["network"])
        classes = Classes(
            names=tuple(str(row["name"]) for row in described["classes"]),
            colors=tuple(
                as_color(row.get("color", row.get("colour")), f"the color of '{row['name']}'")
                for row in described["classes"]
            ),
        )
    except OSError as error:
        raise CheckpointError(f"{file} has no {description.name} beside it, which says what network it is.") from error
    except (yaml.YAMLError, DataError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{description} does not describe a network of this library: {error}") from error
    return spec, classes


def _open_adapted(spec: NetworkSpec) -> LoadedModel:
    """A trained network of another library as it is, with its own classes."""
    network = build_adapted(spec, None)
    network.classes = network.classes or unnamed_classes(network.num_classes)
    return LoadedModel(network.eval(), network.classes, Path(str(spec.name)))


def trained_record(file: Path) -> dict[str, Any]:
    """How the network in the weight file was trained (seed, steps, seconds, ...), as far as the file beside it says."""
    description = file.with_suffix(".yaml")
    if not description.is_file():  # a published network of another library
        return {}
    described = read_yaml(description)
    trained: dict[str, Any] = described.get("trained") or {}
    return trained


@dataclass(frozen=True)
class LoadedCheckpoint:
    """What `load_checkpoint` read: the file, its layout ("segdistill" or one of LAYOUTS), the number of tensors.

    network: the zoo's name of the network in a published file, if it has one. adapted: whether the model took on the
    stem, widths or normalisation of the file.
    """

    path: Path
    layout: str
    tensors: int
    network: str | None = None
    adapted: bool = False


def load_checkpoint(model: nn.Module, path: str | Path, *, part: Part = "student") -> LoadedCheckpoint:
    """Fill `model` from a file or run folder of this library, or from a published file; strict.

    Published files (OpenMMLab, BPKD, CIRKD, NVlabs and Hugging Face SegFormer) are told by their tensors. Generations
    of the same network differ in stem, widths and normalisation; a model made by this library takes those of the file,
    so make its optimiser afterwards. part: which network of a distillation run's file. A missing, surplus or misshapen
    tensor, and another number of classes, is a `CheckpointError` that lists them; the model is then as it was.
    """
    if is_published(Path(path)):
        return _load_published(model, path, part)
    file = _weights_file(Path(path))
    found = read_weights(file)
    wanted = model.state_dict()
    faults = [f"missing {key}" for key in sorted(wanted.keys() - found.keys())]
    faults += [f"surplus {key}" for key in sorted(found.keys() - wanted.keys())]
    faults += [
        f"{key} is {tuple(found[key].shape)}, the network has {tuple(wanted[key].shape)}"
        for key in sorted(wanted.keys() & found.keys())
        if wanted[key].shape != found[key].shape
    ]
    if faults:
        raise CheckpointError(
            f"{file} holds another network ({len(faults)} tensors do not fit):\n  {listed(faults, 8)}"
        )
    model.load_state_dict(found)
    return LoadedCheckpoint(file, "segdistill", len(found))


def _load_published(model: nn.Module, path: str | Path, part: Part) -> LoadedCheckpoint:
    published = open_published(path, part=part)
    if not isinstance(model, Segmenter) or model.spec is None:
        raise CheckpointError(
            f"{published.path} is in the layout of {published.layout}, which only a network composed by this library "
            f"can take. Make one with segdistill.load_model('{path}')."
        )
    if published.num_classes != model.num_classes:
        raise CheckpointError(
            f"{published.path} scores {published.num_classes} classes, the network {model.num_classes}. Make it with "
            f"num_classes={published.num_classes}, or map the teacher's classes (teacher.class_map)."
        )
    adapted = not same_network(model.spec, published.spec) and same_family(model.spec, published.spec)
    if adapted:
        other = published.build()
        model.become(other)
        return LoadedCheckpoint(published.path, published.layout, len(other.state_dict()), published.zoo_name, True)
    return LoadedCheckpoint(published.path, published.layout, published.fill(model), published.zoo_name)


def is_published(path: Path) -> bool:
    """Whether `path` is not a file or folder of this library: it has no description of ours beside or in it."""
    if path.is_dir():
        return (path / "config.json").is_file() and not any((path / f"{r}.safetensors").is_file() for r in _ROLES)
    if path.suffix in (".pth", ".pt", ".bin", ".ckpt"):
        return True
    described = path.with_suffix(".yaml").is_file()
    return (
        path.suffix == ".safetensors"
        and path.is_file()
        and not described
        and any(layout.matches(names_in(path)) for layout in LAYOUTS.values())
    )


def _weights_file(path: Path) -> Path:
    if path.is_dir():
        for role in _ROLES:
            if (path / f"{role}.safetensors").is_file():
                return path / f"{role}.safetensors"
        raise CheckpointError(
            f"{path} holds no student.safetensors or teacher.safetensors. Is it a finished run? "
            "A stopped one is continued with --resume."
        )
    if not path.is_file():
        raise CheckpointError(f"No weight file or run folder {path}.")
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path} is not a .safetensors file, a run folder of this library or a published .pth.")
    return path


def create_model(
    name: str, num_classes: int, *, weights: str | Path | None = None, **options: Any
) -> SegmentationNetwork:
    """The network `name` for `num_classes` classes; called on N,3,H,W in [0,1] it gives a `SegOutput`.

    name: of the zoo, or of another library, such as "hf:FOLDER", "smp:unet/resnet18", "torchvision:fcn_resnet50".
    weights: a file or run folder written by this library, or None. options: fields of `NetworkSpec`.
    """
    model = build(resolve_spec({"name": name, **options}), num_classes)
    if weights is not None:
        from segdistill.models.files import load_checkpoint

        load_checkpoint(model, weights)
    return model
