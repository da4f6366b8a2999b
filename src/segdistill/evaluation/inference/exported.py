"""Images through an exported file that gives classes, and no scores."""

from __future__ import annotations

from typing import TypeGuard

from torch import Tensor, nn

from segdistill.core.errors import RecipeError
from segdistill.evaluation.settings import InferenceConfig
from segdistill.models.exported.network import ExportedNetwork


def gives_classes(network: nn.Module) -> TypeGuard[ExportedNetwork]:
    """Whether a network is an exported file that gives classes, and no scores.

    Args:
        network: Of any kind.
    """
    return isinstance(network, ExportedNetwork) and network.description.outputs == "classes"


def divisor_of(network: nn.Module, config: InferenceConfig) -> int:
    """What the sides of a network's images are brought to multiples of before it sees them.

    Args:
        network: Of any kind.
        config: How images are run.

    Returns:
        `inference.size_divisor`; of an exported file its own: 1 if it has that inside, or takes images of one size.
    """
    return network.description.size_divisor if isinstance(network, ExportedNetwork) else config.size_divisor


def classes_of_file(network: ExportedNetwork, image: Tensor, config: InferenceConfig, confidence: bool) -> Tensor:
    """The classes that a file gives for whole images.

    Args:
        network: The opened file.
        image: uint8 (N,3,H,W).
        config: How images are run.
        confidence: Whether probabilities are asked for, too.

    Returns:
        Class indices (N,H,W).

    Raises:
        RecipeError: Scores are asked for: probabilities, or what is averaged over windows or views.
    """
    plain = config.mode == "whole" and config.scales == (1.0,) and not config.flip and config.fit is None
    if confidence or not plain:
        raise RecipeError(
            f"{network.backend.path} gives classes, not scores: it can be run on whole images at their own size only, "
            "without windows, scales, flip, fit and calibration. Export it with outputs=logits for these."
        )
    return network.classes_of(image)
