"""Predictions of images that are at hand: files, PIL images, arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from segdistill.core.classes import unnamed_classes
from segdistill.core.colors import as_picture
from segdistill.core.paths import expanded
from segdistill.core.pixels import RGB_BYTES
from segdistill.data.live import as_pixels
from segdistill.data.reading import read_image
from segdistill.evaluation.inference.exported import gives_classes
from segdistill.evaluation.inference.inference import infer
from segdistill.evaluation.settings import InferenceConfig
from segdistill.models.network import SegmentationNetwork, device_of
from segdistill.models.prediction import ImageSource, Prediction


@dataclass(frozen=True)
class ImagePredictor:
    """Runs images through a network as a recipe's section `inference` says.

    Attributes:
        inference: How; the default runs them whole.
    """

    inference: InferenceConfig = field(default_factory=InferenceConfig)

    def __call__(self, network: SegmentationNetwork, images: Sequence[ImageSource], /) -> list[Prediction]:
        device = device_of(network)
        training = network.training
        try:
            return [self._predict(network, image, device, index) for index, image in enumerate(images)]
        finally:
            network.train(training)

    def _predict(
        self, network: SegmentationNetwork, image: ImageSource, device: torch.device, index: int
    ) -> Prediction:
        named = isinstance(image, str | Path)
        form = network.pixels or RGB_BYTES
        if named:
            pixels = read_image(expanded(Path(image)), pixels=form)  # type: ignore[arg-type]
        else:
            pixels = as_pixels(image, f"image {index}", form)
        name = str(image) if named else f"number {index}"
        scored = not gives_classes(network)
        preds = infer(network, pixels[None].to(device), self.inference, confidence=scored, names=(name,))
        classes = preds.classes[0].cpu().numpy().astype(np.uint8)
        shape = classes.shape
        confidence = np.ones(shape, np.float32) if preds.confidence is None else preds.confidence[0].cpu().numpy()
        shown = as_picture(pixels)
        labels = network.classes or unnamed_classes(network.num_classes)
        return Prediction(classes, confidence.astype(np.float32), shown, labels)
