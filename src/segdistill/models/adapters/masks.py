"""Mask classifiers (MaskFormer, Mask2Former, OneFormer, EoMT) as networks that score classes pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segdistill.core.outputs import SegOutput
from segdistill.models.adapters.taps import Tap, maps_in, submodule
from segdistill.models.network import Section, SegmentationNetwork
from segdistill.models.probing import fit

_LEAST = 1e-8


class MaskNetwork(SegmentationNetwork):
    """A Hugging Face mask classifier with Q queries, each a class and a mask.

    Class scores of a pixel, as the published evaluation makes them:
        s_k = sum over q of softmax(class logits of q)_k * sigmoid(mask logit of q),    k < K ("no object" left out)
    logits = log s, clamped, in float32, so that their softmax is s, normalized. embedding: the pixel decoder's map,
    of which the masks are made. features: the backbone's stages, or the embedding for a network that has none.

    Args:
        module: The mask classifier of transformers.
        num_classes: K.
        mean: Of RGB in [0,1], which the module expects to be subtracted.
        std: What it expects to be divided by then.
        bgr: Whether it expects the channels the other way round.
        decoder: Path of the module that gives the embedding.
        backbone: Path of the backbone, None if it has none.
        task: Token ids of OneFormer's task, "the task is semantic".
        size: H,W that images are resized to, for networks of one size.
    """

    task: Tensor | None
    """Token ids of OneFormer's task (1,L)."""
    keeps_tensors = True  # transformers caches position embeddings

    def __init__(
        self,
        module: nn.Module,
        *,
        num_classes: int,
        mean: Sequence[float],
        std: Sequence[float],
        bgr: bool = False,
        decoder: str,
        backbone: str | None,
        task: Sequence[int] | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, mean=mean, std=std, bgr=bgr)
        self.module = module
        self.size = size
        self._backbone = backbone
        self._decoder_tap = Tap(submodule(module, decoder))
        self._backbone_tap = Tap(submodule(module, backbone)) if backbone is not None else None
        tokens = torch.tensor([task], dtype=torch.long) if task is not None else None
        self.register_buffer("task", tokens, persistent=False)

    def forward(self, image: Tensor) -> SegOutput:
        """The scores of all pixels, from those of the queries.

        Args:
            image: RGB (N,3,H,W) in [0,1]; it is resized if the module takes one size only.

        Returns:
            Logits (N,K,h,w) in float32 on the masks' grid, embedding and features; no auxiliary logits.
        """
        pixels = fit(self.normalize(image), size=self.size)
        task = {} if self.task is None else {"task_inputs": self.task.expand(len(image), -1)}
        output = self.module(pixel_values=pixels, **task)
        logits = per_pixel(output.class_queries_logits, output.masks_queries_logits)
        decoded = self._decoder_tap.output
        embedding = decoded if isinstance(decoded, Tensor) else _mask_features(decoded)
        stages = tuple(maps_in(self._backbone_tap.output)) if self._backbone_tap is not None else (embedding,)
        for each in (self._decoder_tap, self._backbone_tap):
            if each is not None:
                each.clear()
        return SegOutput(logits=logits, embedding=embedding, features=stages)

    def section_of(self, parameter: str) -> Section:
        """Which section a parameter belongs to.

        Args:
            parameter: Its name, which begins with "module.".

        Returns:
            "backbone", or "head" for all else.
        """
        inside = self._backbone is not None and parameter.startswith(f"module.{self._backbone}.")
        return "backbone" if inside else "head"


def per_pixel(classes: Tensor, masks: Tensor) -> Tensor:
    """Scores of classes pixel by pixel: log of sum_q softmax(classes)_qk sigmoid(masks)_q.

    Args:
        classes: Class logits (N,Q,K+1) of Q queries, the last "no object".
        masks: Mask logits (N,Q,h,w).

    Returns:
        Log scores (N,K,h,w), float32, finite.
    """
    with torch.autocast(classes.device.type, enabled=False):
        probability = classes.float().softmax(-1)[..., :-1]
        scores = torch.einsum("nqk,nqhw->nkhw", probability, masks.float().sigmoid())
        return scores.clamp_min(_LEAST).log()


def _mask_features(decoded: object) -> Tensor:
    """The map that the masks are made of: MaskFormer calls it last_hidden_state, the later ones mask_features."""
    features = getattr(decoded, "mask_features", None)
    return features if isinstance(features, Tensor) else decoded.last_hidden_state  # type: ignore[attr-defined]
