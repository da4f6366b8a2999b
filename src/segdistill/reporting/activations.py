"""Class-activation maps: which places of an image speak for a class."""

from __future__ import annotations

import torch
from torch import Tensor

from segdistill.core.errors import RecipeError
from segdistill.core.outputs import SegOutput, resize
from segdistill.evaluation.finite import require_finite_scores
from segdistill.models.network import SegmentationNetwork, as_input, device_of


def activation_map(
    network: SegmentationNetwork, image: Tensor, class_index: int, *, name: str = "given", source: str = "The network"
) -> Tensor:
    """How each place of the embedding raises the scores of a class where the network predicts it.

    With the embedding f (D,h,w), the logits z (K,h,w) and P the pixels whose largest score is class c's:
      a_d = mean over positions of d( sum over P of z_c ) / d f_d;   map = relu( sum over d of a_d f_d ) / its maximum
    Source: Vinogradova et al., "Towards interpretable semantic segmentation via gradient-weighted class activation
    mapping", arXiv 2002.11434.

    Args:
        network: Put into evaluation mode.
        image: uint8 (3,H,W), RGB.
        class_index: c.
        name: Of the image, for errors.
        source: Of the network, for errors.

    Returns:
        (H,W) in [0,1], on the CPU; 0 for a class that is predicted nowhere.

    Raises:
        NonFiniteScoresError: A score is not finite.
        RecipeError: The network gives no gradient at its embedding.
    """
    network.eval()
    with torch.enable_grad():
        pixels = as_input(image[None].to(device_of(network)))
        output: SegOutput = network(pixels)
        require_finite_scores(network, output.logits, pixels, (name,), source)
        if not output.embedding.requires_grad:
            raise RecipeError("The network gives no gradient at its embedding, so it has no activation map.")
        where = output.logits.argmax(1) == class_index
        total = (output.logits[:, class_index] * where).sum()
        (gradient,) = torch.autograd.grad(total, output.embedding)
    weight = gradient.mean((2, 3), keepdim=True)
    raised = (weight * output.embedding.detach()).sum(1, keepdim=True).relu()
    scaled = raised / raised.amax().clamp_min(1e-12)
    return resize(scaled, (image.shape[1], image.shape[2]))[0, 0].detach().cpu()
