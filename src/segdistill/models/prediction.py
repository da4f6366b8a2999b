"""What a network says about one image."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from segdistill.core.classes import Classes
from segdistill.core.colors import Pixels, overlay

ImageSource = str | Path | Image.Image | NDArray[np.uint8] | Tensor
"""An image: a file, a PIL image, RGB uint8 (H,W,3) as an array, or (3,H,W) as a tensor."""


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """What a network says about one image. A notebook shows the overlay.

    Attributes:
        mask: Class indices, uint8 (H,W).
        confidence: The probability of that class, float32 (H,W).
        image: RGB uint8 (H,W,3).
        labels: Names and colors of the classes.
    """

    mask: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    image: Pixels
    labels: Classes

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by index."""
        return self.labels.names

    @property
    def shares(self) -> dict[str, float]:
        """The share of the pixels of each class that is there, the largest first."""
        counts = np.bincount(self.mask.ravel(), minlength=len(self.labels))
        order = [int(index) for index in np.argsort(-counts, kind="stable") if counts[index]]
        return {self.classes[index]: float(counts[index]) / self.mask.size for index in order}

    def overlay(self, alpha: float = 0.5) -> Image.Image:
        """The image with the class colors over it.

        Args:
            alpha: From 0, the image only, to 1, the colors only.
        """
        pixels = torch.from_numpy(self.image).permute(2, 0, 1)
        return Image.fromarray(overlay(pixels, torch.from_numpy(self.mask), self.labels, alpha=alpha))

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON: size, shares of classes, mean confidence."""
        height, width = self.mask.shape
        confidence = round(float(self.confidence.mean()), 4)
        return {"height": height, "width": width, "shares": self.shares, "confidence": confidence}

    def __repr__(self) -> str:
        height, width = self.mask.shape
        parts = ", ".join(f"{name} {share:.0%}" for name, share in [*self.shares.items()][:4])
        return f"Prediction({height}x{width}: {parts})"

    def _repr_html_(self) -> str:
        written = io.BytesIO()
        self.overlay().save(written, format="PNG")
        return f'<img alt="{self!r}" src="data:image/png;base64,{base64.b64encode(written.getvalue()).decode()}">'
