"""Our own weight files: `<role>.safetensors` beside `<role>.yaml`, which says how to build the network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from segdistill.data.base import Classes, unnamed_classes
from segdistill.errors import CheckpointError
from segdistill.models.adapters import build_adapted, is_adapted, portable_spec
from segdistill.models.segmenter import SegmentationNetwork
from segdistill.models.zoo import NetworkSpec, build, resolve_spec
from segdistill.storage import write_aside, write_yaml

Role = Literal["student", "teacher"]
_ROLES: tuple[Role, ...] = ("student", "teacher")


@dataclass
class LoadedModel:
    """A network ready to predict, with its classes."""

    network: SegmentationNetwork
    classes: Classes
    path: Path


def save_weights(path: Path, weights: dict[str, Tensor]) -> None:
    """`weights` as a .safetensors file, complete or absent."""
    tensors = {key: value.detach().cpu().contiguous() for key, value in weights.items()}
    write_aside(path, lambda aside: save_file(tensors, aside))


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
            {"name": name, "colour": list(colour)} for name, colour in zip(classes.names, classes.colours, strict=True)
        ],
        "trained": trained,
    }
    save_weights(folder / f"{role}.safetensors", network.state_dict())
    write_yaml(folder / f"{role}.yaml", described)


def load_model(path: str | Path, **options: Any) -> SegmentationNetwork:
    """The network of a run folder or of a .safetensors file, ready to predict, with its `classes`.

    A run folder gives its student, or its teacher if it trained only that. A trained network of another library is
    named as in "hf:FOLDER" (docs/adapters.md); options: fields of `NetworkSpec` for it, as mean. Called on RGB images
    N,3,H,W in [0,1] the network gives a `SegOutput`; it normalises by itself.
    """
    if options:
        return open_model(resolve_spec({"name": str(path), **options})).network
    return open_model(path).network


def open_model(path: str | Path | NetworkSpec) -> LoadedModel:
    """As `load_model`, with the file that the network came from."""
    if not isinstance(path, NetworkSpec) and is_adapted(path) and not Path(path).exists():
        path = resolve_spec({"name": str(path)})
    if isinstance(path, NetworkSpec):
        return _open_published(path)
    file = _weights_file(Path(path))
    description = file.with_suffix(".yaml")
    try:
        described = yaml.safe_load(description.read_text(encoding="utf-8"))
        spec = NetworkSpec(**described["network"])
        classes = Classes(
            names=tuple(str(row["name"]) for row in described["classes"]),
            colours=tuple((int(r), int(g), int(b)) for r, g, b in (row["colour"] for row in described["classes"])),
        )
    except OSError as error:
        raise CheckpointError(f"{file} has no {description.name} beside it, which says what network it is.") from error
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{description} does not describe a network of this library: {error}") from error
    network = build(spec, len(classes))
    load_checkpoint(network, file)
    network.classes = classes
    return LoadedModel(network.eval(), classes, file)


def _open_published(spec: NetworkSpec) -> LoadedModel:
    """A trained network of another library as it is, with its own classes."""
    network = build_adapted(spec, None)
    network.classes = network.classes or unnamed_classes(network.num_classes)
    return LoadedModel(network.eval(), network.classes, Path(str(spec.name)))


def trained_record(file: Path) -> dict[str, Any]:
    """How the network in the weight file was trained (seed, steps, seconds, ...), as far as the file beside it says."""
    description = file.with_suffix(".yaml")
    if not description.is_file():  # a published network of another library
        return {}
    described = yaml.safe_load(description.read_text(encoding="utf-8"))
    trained: dict[str, Any] = described.get("trained") or {}
    return trained


def load_checkpoint(model: nn.Module, path: str | Path) -> Path:
    """Fill `model` from a .safetensors file or run folder of this library; strict. Returns the file that was read."""
    file = _weights_file(Path(path))
    try:
        found = load_file(file)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"Can't read {file}: {error}. Expected a .safetensors file of this library.") from error
    wanted = model.state_dict()
    faults = [f"missing {key}" for key in sorted(wanted.keys() - found.keys())]
    faults += [f"surplus {key}" for key in sorted(found.keys() - wanted.keys())]
    faults += [
        f"{key} is {tuple(found[key].shape)}, the network has {tuple(wanted[key].shape)}"
        for key in sorted(wanted.keys() & found.keys())
        if wanted[key].shape != found[key].shape
    ]
    if faults:
        shown = "\n  ".join(faults[:8] + ([f"... and {len(faults) - 8} more"] if len(faults) > 8 else []))
        raise CheckpointError(f"{file} holds another network ({len(faults)} tensors do not fit):\n  {shown}")
    model.load_state_dict(found)
    return file


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
        raise CheckpointError(f"{path} is not a .safetensors file or a run folder of this library.")
    return path
