"""Weight files of this library: `<role>.safetensors` beside `<role>.yaml`, which says how to build the network."""

from __future__ import annotations

import zlib
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import torch
import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from segdistill.core.classes import Classes, as_color
from segdistill.core.errors import CheckpointError, DataError, RecipeError
from segdistill.core.pixels import RGB_BYTES, PixelFormat, pixel_format
from segdistill.core.safe_yaml import read_yaml
from segdistill.core.storage import write_aside, write_yaml
from segdistill.models.adapters.registry import portable_spec
from segdistill.models.build import build
from segdistill.models.checkpoints.foreign import reader_of
from segdistill.models.checkpoints.reading import names_in
from segdistill.models.filling import fill
from segdistill.models.live import is_live, with_module
from segdistill.models.loaded import LoadedCheckpoint, LoadedModel
from segdistill.models.network import SegmentationNetwork
from segdistill.models.skip_init import skip_init
from segdistill.models.spec import NetworkSpec, Role, is_adapted

_CHECKSUM = "crc32"


def save_weights(path: Path, weights: dict[str, Tensor]) -> None:
    """Write a .safetensors file with a checksum in its header, complete or not at all.

    Args:
        path: Of the file.
        weights: Tensors by name; what several names share is written for each.

    Raises:
        RecipeError: Something is no tensor.
        SegdistillError: The file can't be written.
    """
    tensors: dict[str, Tensor] = {}
    written: set[int] = set()
    for key, value in weights.items():
        if not isinstance(value, Tensor):
            raise RecipeError(f"The network's state holds '{key}', a {type(value).__name__}; expected tensors alone.")
        tensor = value.detach().cpu().contiguous()
        place = tensor.untyped_storage().data_ptr()
        tensors[key] = tensor.clone() if place in written else tensor
        written.add(place)
    write_aside(path, lambda aside: save_file(tensors, aside, metadata={_CHECKSUM: _checksum(tensors)}))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read what `save_weights` wrote.

    Args:
        path: Of the file.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        CheckpointError: It is no whole .safetensors file, or its tensors do not have the checksum in its header. Files
            of before there was a checksum are taken as they are.
    """
    try:
        with safe_open(path, framework="pt") as file:
            checksum = (file.metadata() or {}).get(_CHECKSUM)
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"Can't read {path}: {error}. Expected a .safetensors file of this library.") from error
    if checksum is not None and checksum != _checksum(tensors):
        raise CheckpointError(f"Can't read {path}: it is damaged, its checksum is not that of its tensors.")
    return tensors


def _checksum(tensors: dict[str, Tensor]) -> str:
    """CRC-32 of the tensors' bytes, by name."""
    crc = 0
    for key in sorted(tensors):
        crc = zlib.crc32(tensors[key].reshape(-1).view(torch.uint8).numpy().data, crc)
    return f"{crc:08x}"


def save_model(
    folder: Path,
    role: Role | Literal["backbone"],
    network: SegmentationNetwork,
    spec: NetworkSpec,
    classes: Classes,
    trained: dict[str, Any] | None,
) -> None:
    """Write `<role>.safetensors`, then `<role>.yaml`, into `folder`.

    Args:
        folder: Made if it is not there.
        role: The name of the files.
        network: Whose weights are written.
        spec: What builds the network again.
        classes: Names and colors of its K classes.
        trained: The record of how it was made, plain values for YAML.
    """
    own = getattr(network, "spec", None)  # of one of ours that was handed in as an object, which its spec builds again
    spec = own if is_live(spec) and isinstance(own, NetworkSpec) else spec
    adapted = is_adapted(spec.name)
    spec = portable_spec(spec, network) if adapted else spec
    description = {
        "format": "segdistill 1",
        "network": spec.model_dump(
            mode="json", exclude={"backbone_weights"}, exclude_none=True, exclude_defaults=adapted
        ),
        "classes": [
            {"name": name, "color": list(color)} for name, color in zip(classes.names, classes.colors, strict=True)
        ],
        **({} if network.pixels is None or network.pixels.plain else {"pixels": network.pixels.as_dict()}),
        "trained": trained,
    }
    save_weights(folder / f"{role}.safetensors", network.state_dict())
    write_yaml(folder / f"{role}.yaml", description)


@dataclass(frozen=True)
class Description:
    """What the .yaml beside a weight file of this library says.

    Attributes:
        spec: What the network is made of.
        classes: Names and colors of its K classes.
        trained: The record of its training: seed, steps, seconds, ...
        pixels: What the images are that it was trained on.
    """

    spec: NetworkSpec
    classes: Classes
    trained: dict[str, Any]
    pixels: PixelFormat = RGB_BYTES


def read_description(file: Path) -> Description:
    """Read the .yaml beside a weight file.

    Args:
        file: The weight file.

    Returns:
        What it says.

    Raises:
        CheckpointError: It is not there, or does not describe a network of this library.
    """
    path = file.with_suffix(".yaml")
    try:
        content = read_yaml(path)
        spec = NetworkSpec(**content["network"])
        classes = Classes(
            names=tuple(str(row["name"]) for row in content["classes"]),
            colors=tuple(
                as_color(row.get("color", row.get("colour")), f"the color of '{row['name']}'")
                for row in content["classes"]
            ),
        )
        return Description(spec, classes, dict(content.get("trained") or {}), pixel_format(content.get("pixels")))
    except OSError as error:
        raise CheckpointError(
            f"{file} has no {path.name} beside it, which says what network it is. {_reader(file)}"
        ) from error
    except (yaml.YAMLError, DataError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} does not describe a network of this library: {error}") from error


@dataclass(frozen=True)
class OwnRun:
    """A network in a weight file of this library. Its description is read when it is first asked for.

    Attributes:
        path: The weight file.
    """

    path: Path
    layout: ClassVar[str] = "segdistill"

    @cached_property
    def description(self) -> Description:
        """What the .yaml beside the file says."""
        return read_description(self.path)

    @property
    def spec(self) -> NetworkSpec:
        """What the network is made of."""
        return self.description.spec

    @property
    def classes(self) -> Classes:
        """Names and colors of its classes."""
        return self.description.classes

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.classes)

    def faults(self) -> list[str]:
        """The tensors that do not fit the description: none, as both are written together."""
        return []

    def load(self, module: nn.Module | None = None) -> LoadedModel:
        """The network with its weights, in evaluation mode.

        Args:
            module: What was handed in as an object when it was trained, handed in again.

        Raises:
            CheckpointError: It is another module.
        """
        spec = self.spec if module is None else with_module(self.spec, module)
        # Networks of other libraries may compute buffers from random numbers, so only ours skip them.
        with nullcontext() if is_adapted(spec.name) else skip_init():
            network = build(spec, self.num_classes)
        self.fill(network)
        network.classes, network.pixels = self.classes, self.description.pixels
        return LoadedModel(network.eval(), self.classes, self.path, self.description.trained)

    def fill(self, model: nn.Module) -> LoadedCheckpoint:
        """Load the weights into a network, strictly; needs no description.

        Args:
            model: The network to fill. After an error it is as it was.

        Returns:
            The file and the number of its tensors.

        Raises:
            CheckpointError: The file is damaged, or tensors do not fit, which it lists.
        """
        weights = read_weights(self.path)
        fill(model, weights, str(self.path))
        return LoadedCheckpoint(self.path, self.layout, len(weights))


def weight_file(path: Path) -> Path:
    """The weight file of a path.

    Args:
        path: The file, or a run folder, which stands for its student, or else its teacher.

    Returns:
        The file.

    Raises:
        CheckpointError: There is no such file or folder, it holds no network, or it is of another kind.
    """
    if path.is_dir():
        for role in get_args(Role):
            if (path / f"{role}.safetensors").is_file():
                return path / f"{role}.safetensors"
        raise CheckpointError(
            f"{path} holds no student.safetensors or teacher.safetensors. Is it a finished run? "
            "A stopped one is continued with --resume."
        )
    if not path.is_file():
        raise CheckpointError(f"No weight file or run folder {path}.")
    return path


def _reader(file: Path) -> str:
    """Who reads a weight file without a description, by the names of its tensors."""
    with suppress(CheckpointError):
        return reader_of(file, names_in(file))
    return ""
