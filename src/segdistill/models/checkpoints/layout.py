"""What a layout of a published weight file is: its names for our tensors, and the network it implies."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from segdistill.core.errors import CheckpointError

State = Mapping[str, Tensor]
Rule = tuple[str, str | Callable[[re.Match[str]], str]]
"""A pattern of our names and the published name. In the published name `@` stands before an index of our
convolution-norm pair (0 conv, 1 bn), `a|b` means our rows are those of a, then of b, and `a#1-3/3` the rows from one
third to the end of a."""


@dataclass(frozen=True)
class Slice:
    """Rows `start`/`of` to `stop`/`of` of a published tensor.

    Attributes:
        key: The tensor's name.
        start: The first part.
        stop: The part behind the last.
        of: How many parts the rows have.
    """

    key: str
    start: int = 0
    stop: int = 1
    of: int = 1


class Layout(ABC):
    """The names of one family of files."""

    title: str
    """Whose files these are, for people."""
    matrices: re.Pattern[str] = re.compile(r"$^")
    """Published names whose 1x1 convolution is stored as a matrix."""
    convolutions: re.Pattern[str] = re.compile(r"$^")
    """Published names whose linear map is stored as a 1x1 convolution."""
    spare: re.Pattern[str] = re.compile(r"num_batches_tracked$")
    """Published tensors that a file may have or lack without meaning."""

    @abstractmethod
    def matches(self, names: Collection[str]) -> bool:
        """Whether a file is in this layout.

        Args:
            names: Of its tensors.
        """

    @abstractmethod
    def network(self, state: State) -> dict[str, Any]:
        """The network that a file holds.

        Args:
            state: The tensors of the file.

        Returns:
            The fields of its `NetworkSpec`.

        Raises:
            CheckpointError: It is none of this library.
        """

    @abstractmethod
    def num_classes(self, state: State) -> int:
        """How many classes the network of a file has.

        Args:
            state: The tensors of the file.

        Returns:
            K.
        """

    @abstractmethod
    def rules(self, backbone: str, head: str) -> Sequence[Rule]:
        """From our names to those of this layout.

        Args:
            backbone: Name of the backbone.
            head: Name of the head.

        Returns:
            Rules, of which the first that matches counts.

        Raises:
            CheckpointError: The layout has no names for such a network.
        """

    def slices(self, key: str, rules: Sequence[Rule]) -> list[Slice]:
        """Where the rows of a tensor of ours are in a file.

        Args:
            key: Our name of the tensor.
            rules: Of `rules`; a name that none matches is the file's as well.

        Returns:
            One slice, or several whose rows follow each other in ours.
        """
        for pattern, replacement in rules:
            name, matches = re.subn(f"^{pattern}", replacement, key)
            if matches:
                name = name.replace("@.0.", ".conv.").replace("@.1.", ".bn.")
                return [_slice(text) for text in name.split("|")]
        return [Slice(key)]


def _slice(text: str) -> Slice:
    key, _, rows = text.partition("#")
    if not rows:
        return Slice(key)
    # "#1-3/3" was written before the last component, which the rule left in place: attn.in_proj_#1-3/3.weight
    match = re.fullmatch(r"(\d+)-(\d+)/(\d+)(.*)", rows)
    assert match is not None
    return Slice(key + match[4], int(match[1]), int(match[2]), int(match[3]))


def shape(state: State, key: str) -> tuple[int, ...]:
    """The shape of a tensor that the network is recognized by.

    Args:
        state: The tensors of the file.
        key: Its name there.

    Raises:
        CheckpointError: The file has no such tensor.
    """
    if key not in state:
        raise CheckpointError(f"The file has no tensor '{key}', by which the network is recognized.")
    return tuple(state[key].shape)


def count(state: State, prefix: str) -> int:
    """How many consecutive integers 0, 1, ... follow a prefix in the names of tensors.

    Args:
        state: The tensors of the file.
        prefix: As "backbone.layer1.".

    Returns:
        Their number.
    """
    numbers = {int(m[1]) for key in state if (m := re.match(rf"{re.escape(prefix)}(\d+)\.", key))}
    return next(n for n in range(len(numbers) + 1) if n not in numbers)


def pick_by_shape(candidates: Mapping[str, Any], shape: Any, what: str) -> str:
    """What has a given shape.

    Args:
        candidates: Name -> shape.
        shape: The shape that was read off a file.
        what: They are, for the message.

    Returns:
        The first name whose value equals `shape`.

    Raises:
        CheckpointError: There is none.
    """
    for name, value in candidates.items():
        if value == shape:
            return name
    raise CheckpointError(f"No {what} of this library has {shape}; it has {dict(candidates)}.")


def gather(layout: Layout, state: State, expected: State, rules: Sequence[Rule]) -> tuple[dict[str, Tensor], list[str]]:
    """Our tensors from a published file.

    Args:
        layout: The layout of the file.
        state: The tensors of the file by their published names.
        expected: The state dict of our network: names and shapes.
        rules: What our names are in that layout.

    Returns:
        Tensors by our names, of the shapes and number types of `expected`, and the faults: tensors that are missing,
        surplus or misshapen.
    """
    ours: dict[str, Tensor] = {}
    faults: list[str] = []
    used: set[str] = set()
    for key, like in expected.items():
        slices = layout.slices(key, rules)
        used.update(piece.key for piece in slices)
        absent = sorted({piece.key for piece in slices if piece.key not in state})
        if absent and layout.spare.search(key):
            ours[key] = torch.zeros_like(like)
        elif absent:
            faults += [f"missing {name}" for name in absent]
        else:
            tensor = (
                torch.cat([_rows(state[piece.key], piece) for piece in slices])
                if _cut(slices)
                else state[slices[0].key]
            )
            if _plain(tensor.shape) != _plain(like.shape):
                sizes = f"{tuple(tensor.shape)}, the network has {tuple(like.shape)}"
                faults.append(f"{' + '.join(piece.key for piece in slices)} is {sizes}")
            else:
                ours[key] = tensor.reshape(like.shape).to(like.dtype)
    faults += [f"surplus {key}" for key in sorted(set(state) - used) if not layout.spare.search(key)]
    return ours, sorted(set(faults))


def scatter(layout: Layout, ours: State, rules: Sequence[Rule]) -> dict[str, Tensor]:
    """The inverse of `gather`: a state dict in the published layout.

    Args:
        layout: The layout.
        ours: Tensors by our names.
        rules: What our names are in that layout.

    Returns:
        Tensors by the published names, of the published shapes.
    """
    pieces: dict[str, list[tuple[int, Tensor]]] = {}
    for key, tensor in ours.items():
        slices = layout.slices(key, rules)
        if not _cut(slices):
            pieces[slices[0].key] = [(0, tensor)]
            continue
        spans = [piece.stop - piece.start for piece in slices]
        rows = tensor.shape[0] // sum(spans)
        for piece, block in zip(slices, tensor.split([rows * span for span in spans]), strict=True):
            pieces.setdefault(piece.key, []).append((piece.start, block))
    return {
        key: _stored(layout, key, torch.cat([block for _, block in sorted(blocks, key=lambda x: x[0])]))
        if len(blocks) > 1
        else _stored(layout, key, blocks[0][1])
        for key, blocks in pieces.items()
    }


def _cut(slices: list[Slice]) -> bool:
    return len(slices) > 1 or slices[0].of > 1


def _rows(tensor: Tensor, piece: Slice) -> Tensor:
    step = tensor.shape[0] // piece.of
    return tensor[piece.start * step : piece.stop * step]


def _plain(size: torch.Size) -> tuple[int, ...]:
    """A 1x1 convolution and a linear map of the same sizes are the same thing."""
    return tuple(size[:2]) if len(size) == 4 and size[2:] == (1, 1) else tuple(size)


def _stored(layout: Layout, key: str, tensor: Tensor) -> Tensor:
    if tensor.ndim == 4 and layout.matrices.search(key):
        return tensor.flatten(1)
    if tensor.ndim == 2 and layout.convolutions.search(key):
        return tensor[..., None, None]
    return tensor
