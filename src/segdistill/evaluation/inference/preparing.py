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
from segdistill.models.folding import folded
from segdistill.models.network import as_input

MANY = 16
"""Images from which on the form pays for its making, which takes a few passes."""

_AGREEMENT = 0.9995
"""The share of pixels whose class bf16 must not change."""


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
            faster, and the classes of `image` agree with those of fp32 on 99.95 % of the pixels; else fp32.
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
    rounded = Rounded(form, "bf16")
    return rounded if _is_as_good(form, rounded, image, config) else form


def _is_as_good(form: nn.Module, rounded: nn.Module, image: Tensor, config: InferenceConfig) -> bool:
    """Whether bf16 is faster and gives the same classes."""
    if not computes_in_bf16(image.device) or getattr(form, "keeps_tensors", False):
        return False
    classes, others = (infer(each, image[:1], config).classes for each in (form, rounded))
    if float((classes == others).float().mean()) < _AGREEMENT:
        return False
    return bf16_gain(form, as_input(image[:1]), trains=False) >= GAIN
