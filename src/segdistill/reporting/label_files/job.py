"""The work of predicting images into mask files; what is done already is seen by the files."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segdistill.core.classes import IGNORE_INDEX
from segdistill.core.colors import overlay
from segdistill.core.errors import DataError
from segdistill.core.pixels import RGB_BYTES
from segdistill.data.colors import note_of, save_mask, save_picture, with_legend
from segdistill.data.reading import read_image
from segdistill.evaluation.inference.inference import Predicted, infer
from segdistill.evaluation.inference.preparing import MANY, prepared
from segdistill.evaluation.settings import InferenceConfig
from segdistill.models.checksum import identity_of
from segdistill.models.loaded import LoadedModel
from segdistill.reporting.label_files.regions import without_small
from segdistill.reporting.label_files.settings import LabelSettings
from segdistill.runtime.allocator import keep_freed_memory
from segdistill.runtime.display import counting
from segdistill.runtime.processes import own_device


@dataclass(frozen=True)
class Item:
    """An image and the files that are made of it.

    Attributes:
        image: Its file.
        mask: The index mask.
        overlay: The overlay, None for none.
    """

    image: Path
    mask: Path
    overlay: Path | None


@dataclass(frozen=True)
class _Left:
    """An image that is not predicted: it is done, or `fault` says why it can't be."""

    item: Item
    fault: str | None


class MaskJob:
    """Predicts images with one network and writes their files, each complete or absent.

    A mask bears a checksum of all that it depends on: the network's weights and how it sees images, how images are run
    and masks cleaned, and the image's size and time. One that has it is kept, so that the same call goes on wherever it
    was stopped, in however many processes, and no image is predicted twice.

    Args:
        model: The network and its classes.
        inference: How images are run.
        settings: What becomes of the predictions.
        legend: Whether overlays name the classes.
    """

    def __init__(
        self, model: LoadedModel, inference: InferenceConfig, settings: LabelSettings, legend: bool = False
    ) -> None:
        self._model, self._inference, self._settings, self._legend = model, inference, settings, legend
        self._identity = identity_of(model)
        self._pixels = model.network.pixels or RGB_BYTES
        self._device: torch.device | None = None
        self._form: nn.Module | None = None
        self._is_long = False

    def made_by(self) -> dict[str, Any]:
        """What the masks depend on beside the images, as plain values."""
        settings = self._settings
        drawn = {"alpha": settings.alpha, "legend": self._legend} if settings.format == "masks" else {}
        return {
            "weights": str(self._model.path),
            **self._identity,
            "inference": self._inference.model_dump(mode="json"),
            "min_area": settings.min_area,
            "void_below": settings.void_below,
            **drawn,
        }

    def is_done(self, item: Item) -> bool:
        """Whether the files of an image are there, made by the same network in the same way.

        Args:
            item: The image, whose size and time are looked at, and its files; of the mask only its note is read.
        """
        return note_of(item.mask) == self._note(item) and (item.overlay is None or item.overlay.is_file())

    def __call__(self, items: Iterable[Item]) -> Iterator[tuple[Item, str | None]]:
        """Predict what is not done yet, neighbors of one size together.

        The next images are read, and files of the last ones written, by threads beside the network.

        Args:
            items: The images.

        Yields:
            Each item, and why it could not be predicted or None.

        Raises:
            SegdistillError: A file can't be written.
        """
        self._is_long = isinstance(items, Sized) and len(items) >= MANY
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
            writing: deque[tuple[Item, Future[None]]] = deque()
            for batch in self._batches(items, reader):
                if isinstance(batch, _Left):
                    yield batch.item, batch.fault
                    continue
                try:
                    answer = self._infer(torch.stack([image for _, image in batch]), [item for item, _ in batch])
                except DataError as error:
                    yield from ((item, str(error)) for item, _ in batch)  # of one size, which the network does not take
                    continue
                for number, (item, image) in enumerate(batch):
                    confidence = None if answer.confidence is None else answer.confidence[number].cpu()
                    label = answer.classes[number].cpu()
                    writing.append((item, writer.submit(self._write, item, image, label, confidence)))
                while len(writing) > len(batch):
                    yield _written(*writing.popleft())
            while writing:
                yield _written(*writing.popleft())

    def _batches(
        self, items: Iterable[Item], reader: ThreadPoolExecutor
    ) -> Iterator[list[tuple[Item, Tensor]] | _Left]:
        """Images of one size, and those that are done or can't be read; as many again are read ahead."""
        batch: list[tuple[Item, Tensor]] = []
        for item, reading in self._ahead(items, reader):
            if reading is None:
                yield _Left(item, None)
                continue
            try:
                image = reading.result()
            except DataError as error:
                yield _Left(item, str(error))
                continue
            if batch and image.shape != batch[0][1].shape:
                yield batch
                batch = []
            batch.append((item, image))
            if len(batch) == self._settings.batch_size:
                yield batch
                batch = []
        if batch:
            yield batch

    def _ahead(self, items: Iterable[Item], reader: ThreadPoolExecutor) -> Iterator[tuple[Item, Future[Tensor] | None]]:
        """The items, `batch_size` of them being read while the one before is predicted; None for what is done."""
        waiting: deque[tuple[Item, Future[Tensor] | None]] = deque()
        for item in items:
            read = None if self.is_done(item) else reader.submit(read_image, item.image, pixels=self._pixels)
            waiting.append((item, read))
            if len(waiting) > self._settings.batch_size:
                yield waiting.popleft()
        yield from waiting

    def _infer(self, images: Tensor, items: list[Item]) -> Predicted:
        """Classes of images of one size; an error that names them where they don't fit the network."""
        if self._device is None:
            self._device = own_device()
            keep_freed_memory(self._device)
            self._model.network.to(self._device)
        first, path = items[0].image, self._model.path
        images = images.to(self._device)
        try:
            # Windows, which can take an hour, show how far they are.
            with counting(f"{first.name}, percent", 100, quiet=self._inference.mode == "whole") as done:
                each = 100 / images[:, 0].numel()
                return infer(
                    self._network(images), images, self._inference,
                    confidence=self._settings.void_below is not None, on_pixels=lambda pixels: done(each * pixels),
                    names=[str(item.image) for item in items], source=str(path),
                )  # fmt: skip
        except (ValueError, RuntimeError) as error:
            if "size" not in str(error) or isinstance(error, torch.OutOfMemoryError):
                raise
            raise DataError(
                f"{path} can't be run on {first}, {images.shape[3]}x{images.shape[2]} pixels (width x height): "
                f"{error}. It may be too small: enlarge it, or take inference.scales=[2]."
            ) from error

    def _network(self, images: Tensor) -> nn.Module:
        """The form of the network that the images go through; it must not depend on which of them come first."""
        if self._form is None:
            auto = self._inference.precision == "auto"
            config = self._inference.model_copy(update={"precision": "fp32"}) if auto else self._inference
            self._form = prepared(self._model.network, images, config, folds=self._is_long)
        return self._form

    def _write(self, item: Item, image: Tensor, label: Tensor, confidence: Tensor | None) -> None:
        """The mask last: where it is, all is."""
        if confidence is not None and self._settings.void_below is not None:
            label = label.masked_fill(confidence < self._settings.void_below, IGNORE_INDEX)
        label = torch.from_numpy(without_small(label.numpy().astype(np.uint8), self._settings.min_area))
        classes = self._model.classes
        if item.overlay is not None:
            pixels = overlay(image, label, classes, alpha=self._settings.alpha)
            save_picture(item.overlay, with_legend(pixels, label, classes) if self._legend else pixels)
        save_mask(item.mask, label, classes, note=self._note(item))

    def _note(self, item: Item) -> str:
        """The checksum of all that a mask depends on."""
        stat = item.image.stat()
        facts = [{**self.made_by(), "weights": ""}, stat.st_size, stat.st_mtime_ns]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _written(item: Item, writing: Future[None]) -> tuple[Item, None]:
    """The item once its files are there."""
    writing.result()
    return item, None
