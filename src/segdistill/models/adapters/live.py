"""`live:module.Class`: a network that was handed in from Python as an object."""

from __future__ import annotations

from typing import Any, ClassVar

from segdistill.core.errors import RecipeError
from segdistill.models.adapters.base import Adapter
from segdistill.models.network import SegmentationNetwork


class Live(Adapter):
    """A network that was handed in as an object: what is written of it says what it was, and does not bring it back.

    Args:
        source: Its class.
        structure: Checksum of its structure.
        weights: Checksum of its weights, of a trained one.
    """

    prefix: ClassVar[str] = "live"

    def __init__(self, source: str, *, structure: str = "", weights: str | None = None) -> None:
        super().__init__(source)
        self.structure, self.weights = structure, weights

    def build(self, num_classes: int | None, weights: str | None = None) -> SegmentationNetwork:
        """Refused: a name does not bring the object back.

        Args:
            num_classes: Not asked.
            weights: Not asked.

        Raises:
            RecipeError: Always.
        """
        raise RecipeError(f"'{self.name}' was handed in from Python as an object; its name can't make it.")

    def portable(self, network: SegmentationNetwork) -> dict[str, Any]:
        """The checksum of the structure, by which the same network is known again.

        Args:
            network: Not asked.
        """
        return {"structure": self.structure}
