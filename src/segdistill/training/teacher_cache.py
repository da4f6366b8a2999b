"""The teacher's logits of whole training images, made once and kept on disk: a step then reads instead of asking it.

An approximation, see docs/speed.md: the teacher has seen the image whole, at its own size and in its own colors, and
not the crop that the student sees.
"""

from __future__ import annotations

import hashlib
import math
import shutil
import time
import zlib
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, TypeAdapter
from torch import Tensor, nn

from segdistill.core.errors import DataError, SegdistillError, TrainingError
from segdistill.core.outputs import SegOutput
from segdistill.core.precision import computing_in
from segdistill.core.storage import write_aside, write_json
from segdistill.data.base import Sample, SegmentationDataset
from segdistill.data.views import View
from segdistill.evaluation.scoring import sample_loader
from segdistill.models.channels import image_channels
from segdistill.models.ensemble import Views
from segdistill.models.network import SegmentationNetwork, as_input, device_of
from segdistill.models.probing import evaluating
from segdistill.models.teacher import Teacher
from segdistill.recipe.recipe import Recipe
from segdistill.recipe.training import TrainingConfig
from segdistill.runtime.allocator import keep_freed_memory
from segdistill.runtime.display import console, counting
from segdistill.runtime.failures import explained
from segdistill.runtime.processes import is_main, own_device, wait_for_all
from segdistill.training.bordered import Bordered

_BYTES = 2  # of a score
_LARGEST = torch.finfo(torch.float16).max
_ANEW = "Delete that folder and run the same command with --resume: they are then made again."


class _Entry(BaseModel):
    """What index.json says of an image: (K,h,w) of its logits, and checksums; one that can't be read has no `image`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    shape: tuple[int, int, int]
    image: int | None
    logits: int


_INDEX = TypeAdapter(list[_Entry])


class TeacherLogits:
    """Reads a folder that `cache_logits` wrote: `logits.bin` holds float16 maps (K,h,w) one after the other.

    Args:
        folder: That was written.
        grid: (h,w) of the logits of a crop, one for images of all sizes.
    """

    def __init__(self, folder: Path, grid: tuple[int, int]) -> None:
        self.folder, self._grid = folder, grid
        self._entries = _INDEX.validate_json((folder / "index.json").read_bytes())
        self._starts = [0, *accumulate(math.prod(entry.shape) for entry in self._entries)]
        if (folder / "logits.bin").stat().st_size != _BYTES * self._starts[-1]:
            raise ValueError("logits.bin is not as long as index.json says")

    def __call__(self, index: int, sample: Sample, view: View) -> Tensor:
        """The teacher's logits of a view of the sample, (K,h,w) float16, on the grid it has for a crop."""
        entry = self._entries[index]
        if _checksum(sample.image) != entry.image:
            raise TrainingError(
                f"Image '{sample.name}' has changed since the teacher's logits in {self.folder} were made. {_ANEW}"
            )
        count, start = math.prod(entry.shape), self._starts[index]
        stored = np.fromfile(self.folder / "logits.bin", np.float16, count, offset=_BYTES * start)
        if _checksum_of_logits(stored, entry.shape) != entry.logits:
            raise TrainingError(
                f"The teacher's logits of image '{sample.name}' in {self.folder} are damaged: their checksum is wrong. "
                f"{_ANEW}"
            )
        return view.of(torch.from_numpy(stored).view(entry.shape), self._grid).half()


def cache_logits(
    teacher: SegmentationNetwork,
    data: SegmentationDataset,
    crop: tuple[int, int],
    config: TrainingConfig,
    root: Path,
    *,
    quiet: bool = False,
) -> TeacherLogits:
    """The teacher's logits of whole images, made now unless they are there already.

    There they have a folder of their own, named after the teacher's weights and the images' names. It is whole or is
    made anew; of several processes, which all have to call this, the main one makes it.

    Args:
        teacher: As it teaches, see `cached_view`; it is on the CPU after they were made.
        data: The training images.
        crop: (H,W) of what the student sees of them.
        config: What the teacher computes in, how many workers read, and what an unreadable image means.
        root: The folder of all caches.
        quiet: Show no progress.

    Returns:
        Reads the logits of a view of an image.

    Raises:
        DataError: An image can't be read, and the recipe does not skip such.
        TrainingError: There is no room for them on the disk, or they can't be read back.
    """
    folder, grid = root / _key(teacher, data, config.computes_in), _grid(teacher, crop)
    if is_main():
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{folder.name}.lock"):
            if _opened(folder, grid) is None:
                _make(folder, teacher, data, config, quiet=quiet)
    wait_for_all()
    made = _opened(folder, grid)
    if made is None:
        raise TrainingError(f"The teacher's logits in {folder} can't be read. Delete that folder, and --resume.")
    return made


def cached_view(teacher: SegmentationNetwork, recipe: Recipe) -> SegmentationNetwork:
    """The network whose logits are cached: the teacher, or its mean over the scales and the mirror image of a recipe.

    Args:
        teacher: As it teaches.
        recipe: Its section `teacher` names the views, and `inference.size_divisor` what their sides are multiples of.
    """
    config, divisor = recipe.teacher, recipe.inference.size_divisor
    if divisor > 1:
        teacher = Bordered(teacher, divisor).eval()
    if config.cache_scales == (1.0,) and not config.cache_flip:
        return teacher
    return Views(teacher, config.cache_scales, flip=config.cache_flip).eval()


def cached_logits(
    teacher: SegmentationNetwork,
    data: SegmentationDataset,
    crop: tuple[int, int],
    config: TrainingConfig,
    root: Path,
) -> TeacherLogits | None:
    """What `cache_logits` made, if it is still there; nothing is made.

    Args:
        teacher: As of `cache_logits`, as for the following.
        data: The training images.
        crop: (H,W) of what the student sees of them.
        config: Of which `computes_in` counts.
        root: The folder of all caches.

    Returns:
        Reads the logits; None if they are not there, or not whole.
    """
    return _opened(root / _key(teacher, data, config.computes_in), _grid(teacher, crop))


@torch.no_grad()
def _grid(teacher: SegmentationNetwork, crop: tuple[int, int]) -> tuple[int, int]:
    """(h,w) of the teacher's logits of a crop, as it would have without a cache."""
    with evaluating(teacher):
        output: SegOutput = teacher(torch.zeros(1, image_channels(teacher), *crop, device=device_of(teacher)))
    return output.logits.shape[-2], output.logits.shape[-1]


def _opened(folder: Path, grid: tuple[int, int]) -> TeacherLogits | None:
    try:
        return TeacherLogits(folder, grid)
    except (OSError, ValueError):  # none, or not whole
        return None


def _key(teacher: SegmentationNetwork, data: SegmentationDataset, precision: str) -> str:
    """What the logits depend on, but for the images' contents, which have a checksum each."""
    digest: Any = hashlib.sha256(f"2 {precision} {teacher}".encode())
    normalisers = (module for module in teacher.modules() if isinstance(module, SegmentationNetwork))
    digest.update(repr([(module.mean.tolist(), module.std.tolist(), module.bgr) for module in normalisers]).encode())
    chosen = [module.input_channels for module in teacher.modules() if isinstance(module, SegmentationNetwork)]
    if any(chosen):
        digest.update(repr(chosen).encode())
    keys = "input_scale", "class_map", "precision"
    settings = [getattr(module, key) for module in teacher.modules() for key in keys if isinstance(module, Teacher)]
    digest.update(repr(settings).encode())
    for name, value in teacher.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    digest.update("\n".join(data.name(index) for index in range(len(data))).encode())
    return str(digest.hexdigest()[:16])


def _make(
    folder: Path, teacher: SegmentationNetwork, data: SegmentationDataset, config: TrainingConfig, *, quiet: bool
) -> None:
    """`logits.bin`, then `index.json`, without which the folder counts as empty."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.iterdir():  # by a process that was killed
        left.unlink()
    entries: list[_Entry] = []
    began = time.perf_counter()
    device = own_device()
    keep_freed_memory(device)
    teacher.to(device).eval()

    def write(aside: Path) -> None:
        with (
            aside.open("wb") as file,
            explained("asking the teacher"),
            counting("teacher", len(data), quiet=quiet) as done,
        ):
            for value in sample_loader(data, workers=config.workers):
                if isinstance(value, DataError) and config.on_unreadable == "skip":
                    entries.append(_Entry(shape=(0, 0, 0), image=None, logits=0))
                elif isinstance(value, SegdistillError):
                    raise value
                else:
                    entries.append(_write_one(file, teacher, value.image, device, config))
                if len(entries) == 1:
                    _require_space(folder, math.prod(entries[0].shape) * _BYTES, len(data))
                done(1)

    write_aside(folder / "logits.bin", write)
    write_json(folder / "index.json", _INDEX.dump_python(entries, mode="json"))
    teacher.to("cpu")
    if not quiet:
        size = (folder / "logits.bin").stat().st_size / 1e6
        console.print(
            f"teacher: its logits of {len(data)} images are in {folder}, {size:.0f} MB, made in "
            f"{time.perf_counter() - began:.0f} s",
            soft_wrap=True,
            markup=False,
        )


@torch.no_grad()
def _write_one(
    file: BinaryIO, teacher: nn.Module, image: Tensor, device: torch.device, config: TrainingConfig
) -> _Entry:
    """Append the logits of one image."""
    with computing_in(config.computes_in, device):
        output: SegOutput = teacher(as_input(image[None].to(device)))
    maps = output.logits[0].float().clamp(-_LARGEST, _LARGEST).half().cpu()
    stored = maps.contiguous().numpy()
    file.write(stored.data)
    classes, height, width = stored.shape
    shape = (classes, height, width)
    return _Entry(shape=shape, image=_checksum(image), logits=_checksum_of_logits(stored, shape))


def _require_space(folder: Path, one: int, images: int) -> None:
    free = shutil.disk_usage(folder).free
    if one * images > free:
        raise TrainingError(
            f"The teacher's logits of {images} images would take about {one * images / 1e9:.1f} GB in {folder}, where "
            f"{free / 1e9:.1f} GB are free. Make room, choose another teacher.cache_folder, or leave teacher.cache out."
        )


def _checksum(image: Tensor) -> int:
    return zlib.crc32(image.contiguous().numpy().data)


def _checksum_of_logits(stored: NDArray[np.float16], shape: tuple[int, int, int]) -> int:
    """Of the numbers and of the shape that they are given."""
    return zlib.crc32(stored.data, zlib.crc32(repr(shape).encode()))
