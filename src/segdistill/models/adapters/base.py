"""What an adapter is: how the networks of another library become networks of this one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from segdistill.models.network import SegmentationNetwork


class Adapter(ABC):
    """One outside network, named `<prefix>:<source>` in a recipe; its keyword-only arguments are its options.

    Making an adapter reads no file, so that names and options are checked before anything is loaded.

    Args:
        source: What follows the prefix.
    """

    prefix: ClassVar[str]

    def __init__(self, source: str) -> None:
        self.source = source

    @property
    def name(self) -> str:
        """What a recipe calls it."""
        return f"{self.prefix}:{self.source}"

    @abstractmethod
    def build(self, num_classes: int | None, weights: str | None = None) -> SegmentationNetwork:
        """The network.

        Args:
            num_classes: K; None for the network as it was published, trained and with its K.
            weights: "pretrained" or None, as `backbone_weights` of a recipe.

        Returns:
            The network, on the CPU; `classes` is set where its files name them for K classes.

        Raises:
            RecipeError: A name is not there.
            CheckpointError: A file is not there or does not fit.
        """

    def portable(self, network: SegmentationNetwork) -> dict[str, Any]:
        """Options with which the name builds the empty network again, without the files it was loaded from.

        Args:
            network: What `build` made.

        Returns:
            Plain values, for the YAML beside a weight file.
        """
        return {}
