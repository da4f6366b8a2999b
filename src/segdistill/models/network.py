"""What every network is to the rest of the library."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, overload

import torch
from torch import Tensor, nn

from segdistill.core.classes import Classes
from segdistill.core.errors import RecipeError
from segdistill.core.outputs import SegOutput
from segdistill.core.pixels import PixelFormat, normalization_fault
from segdistill.models.prediction import ImageSource, Prediction

Section = Literal["backbone", "head", "auxiliary"]
"""What a parameter of a network belongs to."""


class Predictor(Protocol):
    """Runs images through a network."""

    def __call__(self, network: SegmentationNetwork, images: Sequence[ImageSource], /) -> list[Prediction]: ...


class Hub(Protocol):
    """Writes networks for the Hugging Face hub, and takes them from there."""

    def save(self, network: SegmentationNetwork, folder: Path | None, name: str, keys: Mapping[str, Any], /) -> str:
        """Write a network's folder, or upload it.

        Args:
            network: With its classes.
            folder: That is written; None: it is uploaded.
            name: Of the repository, as "user/name".
            keys: Of `segdistill.publish`.

        Returns:
            Where it is: the folder, or the address of the repository.
        """

    def load(self, name: str | Path, /) -> SegmentationNetwork:
        """The network of a folder or repository.

        Args:
            name: Of a repository, as "user/name", or the folder.
        """


class SegmentationNetwork(nn.Module, ABC):
    """What every network is to the rest of the library: images (N,C,H,W) in [0,1] of any size -> `SegOutput`.

    The normalization is part of the network, so a teacher and a student with different ones see the same batch. Images
    are RGB, C = 3, unless the network was made for other channels.

    Args:
        num_classes: K.
        mean: Of each channel in [0,1], which the network's weights expect to be subtracted.
        std: What they expect to be divided by then.
        bgr: Whether they expect the channels the other way round.
    """

    mean: Tensor
    std: Tensor
    classes: Classes | None = None
    """Names and colors of the classes, once the network has been trained on some."""
    pixels: PixelFormat | None = None
    """What the images are that it was trained on, if that is known."""
    input_channels: tuple[int, ...] | None = None
    """Which channels of the images it sees, in this order; None for all of them."""
    sigmoid: bool = False
    """Whether its two classes are one sigmoid score z, as logits (0, z): the second class against the rest."""
    auxiliary_weight: float = 0.4
    """Of the auxiliary heads' losses beside the head's, as it was published with."""
    file: Path | None = None
    """The file that it was loaded from, if it was."""
    predictor: Predictor | None = None
    """What `predict` runs images with, which `segdistill.load_model`, `create_model` and `wrap` see to."""
    hub: Hub | None = None
    """What the hub's methods call, which `segdistill.load_model`, `create_model` and `wrap` see to."""
    keeps_tensors: bool = False
    """Whether a forward pass leaves tensors behind for later ones, as cached position embeddings."""

    def __init__(self, *, num_classes: int, mean: Sequence[float], std: Sequence[float], bgr: bool = False) -> None:
        super().__init__()
        fault = normalization_fault(mean, std)
        if fault:
            raise RecipeError(f"{fault}.")
        self.num_classes = num_classes
        self.bgr = bgr
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def normalize(self, image: Tensor) -> Tensor:
        """What the backbone expects: (image - mean) / std of the channels that it sees, as BGR if `bgr`.

        Args:
            image: RGB (N,3,H,W) in [0,1], or (N,C,H,W).

        Returns:
            (N,3,H,W), or as many channels as it sees.

        Raises:
            RecipeError: The images have other channels.
        """
        pixels = (self.seen(image) - self.mean) / self.std
        return pixels.flip(1) if self.bgr else pixels

    def seen(self, image: Tensor) -> Tensor:
        """The channels of images that it sees.

        Args:
            image: (N,C,H,W).

        Returns:
            As many channels as the network's input has.

        Raises:
            RecipeError: The images have other channels.
        """
        given, expected = image.shape[1], self.mean.shape[1]
        chosen = self.input_channels
        if chosen is None and given == expected:
            return image
        if chosen is None or given <= max(chosen):
            which = f"{expected} channel(s)" if chosen is None else f"the channels {list(chosen)}, counted from 0"
            raise RecipeError(
                f"The network sees {which} of an image, and the images have {given}. data.channels says how many are "
                "read; teacher.channels, student.input_channels or network.input_channels, as [0,1,2], which of them "
                "a network sees."
            )
        return image if chosen == tuple(range(given)) else image[:, list(chosen)]

    @overload
    def predict(self, images: ImageSource) -> Prediction: ...  # type: ignore[overload-overlap]

    @overload
    def predict(self, images: Sequence[ImageSource]) -> list[Prediction]: ...

    def predict(self, images: ImageSource | Sequence[ImageSource]) -> Prediction | list[Prediction]:
        """What it says about images; nothing is written. It runs where it is, as its run says how.

        Args:
            images: An image file, a PIL image, RGB uint8 (H,W,3) as an array or (3,H,W) as a tensor; or a list of them.
                They have as many channels as those that it was trained on.

        Returns:
            Classes and confidence of each pixel; a list for a list.

        Raises:
            DataError: An image can't be read, or is not of these.
        """
        if self.predictor is None:
            raise RuntimeError("Take the network from segdistill.load_model, create_model or wrap to predict with it.")
        several = isinstance(images, list | tuple)
        preds = self.predictor(self, list(images) if several else [images])  # type: ignore[arg-type, list-item]
        return preds if several else preds[0]

    def save_pretrained(self, folder: str | Path, **keys: Any) -> None:
        """Write weights, description and model card into a folder, as `segdistill.publish` does.

        Args:
            folder: That is written.
            **keys: Of `segdistill.publish`, as license or onnx.
        """
        self._hub().save(self, Path(folder), f"user/{Path(folder).absolute().name}", keys)

    def push_to_hub(self, name: str, **keys: Any) -> str:
        """Upload the network to the Hugging Face hub.

        Args:
            name: Of the repository, as "user/name".
            **keys: Of `segdistill.publish`, as license or private.

        Returns:
            The address of the repository.
        """
        return self._hub().save(self, None, name, keys)

    @classmethod
    def from_pretrained(cls, name: str | Path) -> SegmentationNetwork:
        """A network that was published, in evaluation mode.

        Args:
            name: Of a repository of the hub, as "user/name", or its folder.
        """
        return cls._hub().load(name)

    @classmethod
    def _hub(cls) -> Hub:
        if cls.hub is None:
            raise RuntimeError("Take the network from segdistill.load_model, create_model or wrap to publish it.")
        return cls.hub

    def boundary_target(self, label: Tensor) -> Tensor:
        """What the boundary head should say of each pixel.

        Args:
            label: Integers (N,H,W), 255 is void.

        Returns:
            (N,H,W), 0 or 1.

        Raises:
            NotImplementedError: The network has no boundary head.
        """
        raise NotImplementedError(f"{type(self).__name__} has no boundary head.")

    def section_of(self, parameter: str) -> Section:
        """Which section a parameter belongs to.

        The optimizer trains the backbone at another rate, and the auxiliary head costs nothing at inference.

        Args:
            parameter: Its name, as in `named_parameters`.

        Returns:
            The section; "head" for all that is in no other.
        """
        first = parameter.partition(".")[0].partition("_")[0]
        return next((section for section in get_args(Section) if section == first), "head")

    @abstractmethod
    def forward(self, image: Tensor) -> SegOutput:
        """The scores of images, and the maps they are made of.

        Args:
            image: RGB (N,3,H,W) in [0,1].

        Returns:
            Logits, embedding and features, each (N,C,h,w) at its own stride.
        """


def as_input(image: Tensor) -> Tensor:
    """Images as a network takes them, in the memory layout that convolutions are fastest in.

    Args:
        image: (N,C,H,W), uint8, or float32 in [0,1].

    Returns:
        float32 (N,C,H,W) in [0,1].
    """
    values = image if image.is_floating_point() else image.float() / 255
    return values.contiguous(memory_format=torch.channels_last)


def device_of(network: nn.Module) -> torch.device:
    """Where a network is.

    Args:
        network: Any; an exported file has no parameter, and some modules have no buffer either.

    Returns:
        The device of its first parameter or buffer; the processor for one of neither.
    """
    return next((each.device for each in chain(network.parameters(), network.buffers())), torch.device("cpu"))
