"""An exported file as a network like all others, so that every verb takes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.core.errors import CheckpointError
from segdistill.core.outputs import SegOutput
from segdistill.models.exported.backends import BACKENDS, Array, Backend, first_line
from segdistill.models.exported.description import ExportDescription
from segdistill.models.exported.intact import require_intact
from segdistill.models.loaded import LoadedModel
from segdistill.models.network import SegmentationNetwork


class ExportedNetwork(SegmentationNetwork):
    """The network of an exported file. It runs on the processor, whatever the device of the images.

    A file of a fixed size sees every image resized to it, as a device would, and its answer is resized back.

    Args:
        backend: The opened file.
    """

    def __init__(self, backend: Backend) -> None:
        description = backend.description
        channels = description.pixels.channels
        super().__init__(num_classes=len(description.classes), mean=(0,) * channels, std=(1,) * channels)
        self.backend = backend
        self.classes, self.pixels = description.classes, description.pixels

    @property
    def description(self) -> ExportDescription:
        """What the file takes and gives."""
        return self.backend.description

    def forward(self, image: Tensor) -> SegOutput:
        """The logits that the file gives; of a file of classes 1 for that class, else 0.

        Args:
            image: RGB (N,3,H,W) in [0,1].

        Returns:
            Logits in float32 on the image's device, (N,K,H,W), or (N,K,h,w) for outputs=small. A file has no embedding
            and no stages: both are empty.

        Raises:
            CheckpointError: The file can't be run on images of this size.
        """
        answer = self._run(image)
        if self.description.outputs == "classes":
            one_hot = F.one_hot(answer.long(), self.num_classes).permute(0, 3, 1, 2)
            answer = F.interpolate(one_hot.float(), image.shape[-2:], mode="nearest-exact")
        return SegOutput(logits=answer.float().to(image.device), embedding=image.new_zeros(len(image), 0), features=())

    def classes_of(self, image: Tensor) -> Tensor:
        """The classes as the file gives them; of a file with outputs=classes.

        Args:
            image: RGB (N,3,H,W), uint8 or in [0,1].

        Returns:
            Class indices (N,H,W), uint8 or int64; those of a file of fixed size by the nearest pixel.

        Raises:
            CheckpointError: The file can't be run on images of this size.
        """
        answer = self._run(image)
        if answer.shape[-2:] != image.shape[-2:]:
            resized = F.interpolate(answer[:, None].float(), image.shape[-2:], mode="nearest-exact")
            answer = resized[:, 0].to(answer.dtype)
        return (answer if answer.dtype == torch.uint8 else answer.long()).to(image.device)

    def _run(self, image: Tensor) -> Tensor:
        """What the file gives for images, uint8 or in [0,1]."""
        batch = as_batch(self.seen(image), self.description)
        try:
            return torch.from_numpy(np.ascontiguousarray(self.backend(batch)))
        except Exception as error:  # each runtime has its own
            size = "x".join(map(str, image.shape[-2:]))
            raise CheckpointError(
                f"{self.backend.path} can't be run on images of {size} (height x width): "
                f"{first_line(error)}. It vouches for {self.description.least} pixels a side "
                "and more."
            ) from error


def as_batch(image: Tensor, description: ExportDescription) -> Array:
    """Images as a file takes them, resized bilinearly if its size is fixed.

    Args:
        image: RGB (N,3,H,W), uint8 or in [0,1], on any device.
        description: What the file takes.

    Returns:
        float32 (N,3,H,W) in [0,1], or uint8 (N,H,W,3).
    """
    pixels = image.cpu()
    if description.size is not None and tuple(pixels.shape[-2:]) != description.size:
        scale = 255 if pixels.dtype == torch.uint8 else 1
        pixels = F.interpolate(pixels.float() / scale, description.size, mode="bilinear", antialias=True)
    if description.input == "float":
        pixels = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float()
        return np.ascontiguousarray(pixels.numpy())
    if pixels.dtype != torch.uint8:
        pixels = (pixels.clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).numpy())


@dataclass(frozen=True)
class Exported:
    """A network in an exported file."""

    path: Path

    def open(self, threads: int | None = None) -> Backend:
        """What runs the file.

        Args:
            threads: How many it may use; None for as many as torch uses.

        Raises:
            RecipeError: The package that runs such files is not installed.
            CheckpointError: The file is not there, is damaged or not from this library.
        """
        if not self.path.is_file():
            raise CheckpointError(f"No file {self.path}.")
        return BACKENDS[self.path.suffix](self.path, threads)

    def load(self) -> LoadedModel:
        """The network, ready to predict.

        Raises:
            CheckpointError: The file is not what `export` wrote, or is not one of its files.
        """
        if self.path.is_file():
            require_intact(self.path)
        network = ExportedNetwork(self.open()).eval()
        return LoadedModel(network, network.description.classes, self.path)


def is_exported(path: Path) -> bool:
    """Whether the name of a file says that it is an exported one.

    Args:
        path: Whose suffix is looked at; the file need not be there.
    """
    return path.suffix in BACKENDS
