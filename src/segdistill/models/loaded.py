"""What loading gives: a network with its classes, or the account of a network that was filled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segdistill.core.classes import Classes
from segdistill.models.network import SegmentationNetwork


@dataclass
class LoadedModel:
    """A trained network, ready to predict.

    Attributes:
        network: In evaluation mode.
        classes: Names and colors of its K classes.
        path: The file it came from, or the name of a network of another library.
        trained: The record of its training (seed, steps, seconds, ...) if this library trained it, else empty.
    """

    network: SegmentationNetwork
    classes: Classes
    path: Path
    trained: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LoadedCheckpoint:
    """What `load_checkpoint` read.

    Attributes:
        path: The file.
        layout: Whose names its tensors have: "segdistill", or one of the published layouts.
        tensors: How many were loaded.
        network: The zoo's name of the network in a published file, if it has one.
        adapted: Whether the model took on the stem, widths or normalization of the file.
    """

    path: Path
    layout: str
    tensors: int
    network: str | None = None
    adapted: bool = False
