"""The form of a network that many images go through: folded, and in bf16 where the recipe or an image says so."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from segdistill.core.outputs import SegOutput
from segdistill.core.precision import Precision, computes_in_bf16, computing_in
from segdistill.evaluation.cost.bf16_gain import GAIN, bf16_gain
from segdistill.evaluation.inference.exported import gives_classes
from segdistill.evaluation.inference.inference import infer
from segdistill.evaluation.settings import InferenceConfig
from segdistill.models.exact_ends import exact_ends
from segdistill.models.folding import folded
from segdistill.models.network import as_input

MANY = 16
"""Images from which on the form pays for its making, which takes a few passes."""

_AGREEMENT = 0.9995
"""The share of pixels whose class bf16 must not change."""

_TRIED = 2
"""Images on which classes are compared."""

_EXACT = (0.0, 0.25, 0.5)
"""Shares of a network's layers that are tried in float32, from the first one on, beside the last layer."""


class Rounded(nn.Module):
    """A network that computes in a precision of its own; its logits are float32.

    Args:
        network: Returns `SegOutput`.
        precision: What it computes in.
    """

    def __init__(self, network: nn.Module, precision: Precision) -> None:
        super().__init__()
        self.network, self.precision = network, precision

    def forward(self, image: Tensor) -> SegOutput:
        """The network's output.

        Args:
            image: RGB (N,3,H,W) in [0,1].

        Returns:
            Logits in float32; the other maps as they come out.
        """
        with computing_in(self.precision, image.device):
            output: SegOutput = self.network(image)
        return replace(output, logits=output.logits.float())


def prepared(network: nn.Module, image: Tensor, config: InferenceConfig, *, folds: bool = True) -> nn.Module:
    """The form in which a network sees many images; sets evaluation mode.

    Args:
        network: Returns `SegOutput`; its weights stay as they are.
        image: The first of them, uint8 (N,3,H,W), on the network's device.
        config: Its `precision` is what the network computes in. "auto" is bf16 where the hardware computes in it, it is
            faster, and the classes of the first two images agree with those of fp32 on 99.95 % of the pixels: with the
            last layer in fp32 and, if need be, the first quarter or half of them; else fp32.
        folds: Whether batch norms are folded.

    Returns:
        The network in another form, or itself.
    """
    if gives_classes(network):
        return network
    network.eval()
    form = (folded(network, as_input(image)) if folds else None) or network
    if config.precision != "auto":
        return form if config.precision == "fp32" else Rounded(form, config.precision)
    return _rounded(form, image, config) or form


def _rounded(form: nn.Module, image: Tensor, config: InferenceConfig) -> nn.Module | None:
    """The form with as few layers in float32 as its classes need, if that is faster than float32."""
    if not computes_in_bf16(image.device) or getattr(form, "keeps_tensors", False):
        return None
    pixels = as_input(image[:1])
    if bf16_gain(form, pixels, trains=False) < GAIN:
        return None
    tried = image[:_TRIED]
    classes = infer(form, tried, config).classes
    for share in _EXACT:
        partly = exact_ends(form, pixels, share)
        if partly is None:
            return None
        rounded = Rounded(partly, "bf16")
        if float((classes == infer(rounded, tried, config).classes).float().mean()) >= _AGREEMENT:
            return rounded if bf16_gain(partly, pixels, trains=False) >= GAIN else None
    return None
