"""Published files as networks: which layout a file is in, which network it holds, and its weights by our names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from torch import Tensor, nn

from segdistill.core.classes import Classes, distinct_colors, unnamed_classes, with_the_rest
from segdistill.core.errors import CheckpointError, listed
from segdistill.core.pixels import RGB
from segdistill.models.build import build, outline
from segdistill.models.checkpoints.cirkd import CIRKD
from segdistill.models.checkpoints.comparison import head_name, name_in_zoo, same_family, same_network, with_choices
from segdistill.models.checkpoints.foreign import is_safetensors, other_tool, reader_of
from segdistill.models.checkpoints.layout import Layout, State, gather, scatter
from segdistill.models.checkpoints.openmmlab import OpenMMLab
from segdistill.models.checkpoints.openmmlab_config import configured
from segdistill.models.checkpoints.reading import RawFile, names_in, read_file
from segdistill.models.checkpoints.segformer import CIRKDSegFormer, HuggingFace, NVlabs
from segdistill.models.checkpoints.wrapping import below, is_average, prefixes_of
from segdistill.models.loaded import LoadedCheckpoint, LoadedModel
from segdistill.models.segmenter import Segmenter
from segdistill.models.skip_init import skip_init
from segdistill.models.spec import NetworkSpec, Role
from segdistill.models.zoo import resolve_spec

LAYOUTS: dict[str, Layout] = {
    "openmmlab": OpenMMLab(), "nvlabs": NVlabs(), "huggingface": HuggingFace(), "cirkd": CIRKD(),
    "cirkd_segformer": CIRKDSegFormer(),
}  # fmt: skip


@dataclass(frozen=True)
class Published:
    """A published file: the layout it is in and the network that its tensors imply.

    Attributes:
        path: The file, or the folder as Hugging Face writes it.
        layout: The key of its layout in `LAYOUTS`.
        spec: What the network is made of; `spec.name` is the entry of the zoo that it is, if it is one.
        num_classes: K.
        classes: Names and colors of the classes, if the file names them.
        state: Its tensors by their published names.
        averages: Keys of the file below which averages of the weights (EMA) are, which are not read.
    """

    path: Path
    layout: str
    spec: NetworkSpec
    num_classes: int
    classes: Classes | None
    state: State
    averages: tuple[str, ...] = ()

    def load(self) -> LoadedModel:
        """The network with the file's weights, in evaluation mode."""
        network = self._network(self.spec)
        network.classes = self.classes or unnamed_classes(self.num_classes)
        return LoadedModel(network, network.classes, self.path)

    def fill(self, model: nn.Module) -> LoadedCheckpoint:
        """Load the weights into `model`, strictly.

        Generations of the same network differ in stem, widths and normalization; the model takes on those of the file,
        and keeps what its user chose otherwise than the zoo has it and no tensor shows.

        Args:
            model: The network to fill. After an error it is as it was.

        Returns:
            The file, its layout and the number of its tensors.

        Raises:
            CheckpointError: The model was not composed by this library, has another number of classes, or is another
                network; the tensors that do not fit are listed.
        """
        if not isinstance(model, Segmenter) or model.spec is None:
            raise CheckpointError(
                f"{self.path} is in the layout of {self.layout}, which only a network composed by this library can "
                f"take. Make one with segdistill.load_model('{self.path}')."
            )
        if self.num_classes != model.num_classes:
            raise CheckpointError(
                f"{self.path} scores {self.num_classes} classes, the network {model.num_classes}. Make it with "
                f"num_classes={self.num_classes}, or map the teacher's classes (teacher.class_map)."
            )
        spec = with_choices(self.spec, model.spec)
        sees_rgb = model.mean.shape[1] == RGB
        adapted = sees_rgb and not same_network(model.spec, spec) and same_family(model.spec, spec)
        if adapted:
            model.become(self._network(spec))
            count = len(model.state_dict())
        else:
            count = self._fill(model)
        return LoadedCheckpoint(self.path, self.layout, count, self.spec.name, adapted)

    def faults(self) -> list[str]:
        """The tensors that are missing, surplus or misshapen for the network that the file seems to hold."""
        network = outline(self.spec, self.num_classes)
        assert isinstance(network, Segmenter)
        return self._gather(network)[1]

    def _network(self, spec: NetworkSpec) -> Segmenter:
        with skip_init():
            network = build(spec, self.num_classes)
        assert isinstance(network, Segmenter)
        self._fill(network)
        return network.eval()

    def _fill(self, network: Segmenter) -> int:
        """Load the weights; the number of tensors."""
        weights, faults = self._gather(network)
        if faults:
            raise CheckpointError(
                f"{self.path} ({LAYOUTS[self.layout].title}) holds another network ({len(faults)} tensors do not fit):"
                f"\n  {listed(faults)}"
            )
        network.load_state_dict(weights)
        return len(weights)

    def _gather(self, network: Segmenter) -> tuple[dict[str, Tensor], list[str]]:
        assert network.spec is not None
        return gather(LAYOUTS[self.layout], self.state, network.state_dict(), _rules(self.layout, network.spec))


def is_published(path: Path) -> bool:
    """Whether a path looks like a published file or folder: it has no description of this library beside or in it.

    Args:
        path: Of a file or folder.

    Returns:
        Whether it does; of a .safetensors file, whether a layout has its tensors' names.

    Raises:
        CheckpointError: A .safetensors file can't be read.
    """
    if path.is_dir():
        trained_here = any((path / f"{role}.safetensors").is_file() for role in get_args(Role))
        return (path / "config.json").is_file() and not trained_here
    if path.suffix != ".safetensors":
        return path.is_file() or path.suffix in (".pth", ".pt", ".bin", ".ckpt")
    if not path.is_file() or path.with_suffix(".yaml").is_file():
        return False
    # What is no .safetensors file in spite of its name is explained by who reads it.
    return not is_safetensors(path) or other_tool(path) is not None or _layout_of(names_in(path), "student") is not None


def read_published(path: Path, *, role: Role = "student") -> Published:
    """Read a published file, or a folder as Hugging Face writes it, and say which network it holds.

    Args:
        path: Of the file.
        role: Which network of a distillation run's file, which may hold two.

    Returns:
        The file with its network.

    Raises:
        CheckpointError: The file can't be read, or is in no layout or of no network that this library knows.
    """
    raw = read_file(path, role=role)
    layout, state = _recognize(raw, role)
    num_classes = LAYOUTS[layout].num_classes(state)
    sigmoid = {"sigmoid": True} if num_classes == 1 else {}  # out_channels=1 and num_labels=1: one and the rest
    num_classes = max(2, num_classes)
    try:
        network = LAYOUTS[layout].network(state)
        configuration = configured(raw.meta, network) if layout == "openmmlab" else raw.fields
        spec = name_in_zoo(resolve_spec({**network, **configuration, **sigmoid}))
    except CheckpointError as error:
        raise CheckpointError(f"{raw.path}: {error}") from error
    return Published(raw.path, layout, spec, num_classes, _classes(raw.meta, num_classes), state, raw.averages)


def as_layout(network: Segmenter, layout: str) -> dict[str, Any]:
    """The weights of a network by the names of a published layout.

    Args:
        network: One composed by this library.
        layout: A key of `LAYOUTS`.

    Returns:
        A state dict.

    Raises:
        CheckpointError: The layout has no names for such a network.
    """
    if network.spec is None:
        raise CheckpointError("Only networks composed by this library can be written in a published layout.")
    return scatter(LAYOUTS[layout], network.state_dict(), _rules(layout, network.spec))


def _rules(layout: str, spec: NetworkSpec) -> Sequence[Any]:
    return LAYOUTS[layout].rules(spec.backbone, head_name(spec))


def _recognize(raw: RawFile, role: Role) -> tuple[str, State]:
    location = _layout_of(raw.state, role)
    if location is not None:
        return location[0], below(raw.state, location[1])
    raise CheckpointError(
        f"{raw.path} is in none of the layouts this library reads by itself. {reader_of(raw.path, raw.state)} Its "
        f"{len(raw.state)} tensors begin with {', '.join(list(raw.state)[:4])}; the layouts are "
        f"{', '.join(layout.title for layout in LAYOUTS.values())}."
    )


def _layout_of(names: Iterable[str], role: Role) -> tuple[str, str] | None:
    """The layout that tensors of these names are in, and the prefix they have there; None if it is none."""
    names = list(names)
    fitting: list[tuple[str, str]] = []
    for prefix in prefixes_of(names, role):
        if fitting and (is_average(prefix) or prefix.startswith(fitting[0][1])):
            continue
        inside = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
        fitting += [(layout, prefix) for layout in LAYOUTS if LAYOUTS[layout].matches(inside)][:1]
    if len(fitting) > 1:
        below_each = " and ".join(prefix or "''" for _, prefix in fitting)
        raise CheckpointError(
            f"The file holds {len(fitting)} networks, below {below_each}, and nothing says which is meant. Save the "
            "weights of one alone."
        )
    return fitting[0] if fitting else None


def _classes(meta: dict[str, Any], num_classes: int) -> Classes | None:
    """Names and colors, if the file has them for its K classes."""
    described = meta.get("dataset_meta") if isinstance(meta.get("dataset_meta"), dict) else {}
    names = meta.get("CLASSES") or (described or {}).get("classes")
    palette = meta.get("PALETTE") or (described or {}).get("palette")
    if isinstance(names, list | tuple) and len(names) == 1 and num_classes == 2:
        names, palette = with_the_rest(tuple(map(str, names))), None
    if not isinstance(names, list | tuple) or len(names) != num_classes:
        return None
    if not isinstance(palette, list | tuple) or len(palette) != num_classes:
        palette = distinct_colors(num_classes)
    try:
        colors = tuple((int(r), int(g), int(b)) for r, g, b in palette)
    except (TypeError, ValueError):  # of another form than rows of RGB
        colors = tuple(distinct_colors(num_classes))
    return Classes(names=tuple(str(name).strip() for name in names), colors=colors)
