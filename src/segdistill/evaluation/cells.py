"""The class of every pixel from coarse scores, without upsampling the scores of classes that can't win."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from segdistill.outputs import linear_taps

_FEW = (1, 2, 4, 8)  # able classes of a cell; those of about equal number are done together
_WORTH = 0.12  # share of all classes of all cells from which strips of all scores are faster
_CACHED = 1 << 18  # interpolated scores at a time


def largest(logits: Tensor, size: tuple[int, int], *, align_corners: bool = False) -> Tensor | None:
    """The argmax (H,W) of logits (K,h,w) resized to `size` bilinearly; None where that is slow this way.

    A pixel's scores are a mean of the four around it, the corners of its cell. So within a cell no class can win whose
    largest corner is below another class's smallest: c is left out if max_corners(c) < max_a min_corners(a). Where a
    network is sure, one to a few classes are left, and only those are interpolated. The lowest of equal classes wins.
    """
    rows, columns = (_axis(h, H, align_corners) for h, H in zip(logits.shape[1:], size, strict=True))
    floor = _over_corners(logits, torch.minimum).amax(0)
    able = _over_corners(logits, torch.maximum) >= floor
    number = able.sum(0, dtype=torch.int16)
    groups = [((number > fewer) & (number <= most), min(most, len(logits))) for fewer, most in pairwise(_FEW)]
    groups.append(((number > _FEW[-1]) | (number == 0), len(logits)))  # none: scores that are no numbers
    work = torch.stack([cells.float().mean() * most for cells, most in groups]).sum()
    if not work <= _WORTH * max(len(logits), _FEW[-1]):
        return None
    places = torch.arange(len(logits), 0, -1, dtype=torch.int16, device=logits.device)[:, None, None]
    alone = len(logits) - (able * places).amax(0)
    found = alone.to(index_type(len(logits)))[rows.low.to(logits.device)[:, None], columns.low.to(logits.device)]
    for cells, most in groups:
        chosen = cells.flatten().nonzero()[:, 0]
        _contest(found, logits.flatten(1), able.flatten(1), chosen, most, rows, columns)
    return found


def index_type(classes: int) -> torch.dtype:
    """The smallest type that holds class indices and the ignore index."""
    return torch.uint8 if classes < 256 else torch.int64


class _Axis:
    """For each of `target` places its cell `low`; for each cell the places in it, padded, and their weights."""

    def __init__(self, source: int, target: int, align_corners: bool) -> None:
        self.low, _, rest = linear_taps(source, target, align_corners=align_corners)
        count = torch.bincount(self.low, minlength=source)
        first = count.cumsum(0) - count
        places = first[:, None] + torch.arange(int(count.max()))
        self.inside = places < (first + count)[:, None]
        self.places = places.clamp_max(target - 1)
        self.rest = rest[self.places].float()


@lru_cache(maxsize=32)
def _axis(source: int, target: int, align_corners: bool) -> _Axis:
    return _Axis(source, target, align_corners)


def _over_corners(maps: Tensor, of: Callable[..., Tensor]) -> Tensor:
    """`of` the maps (K,h,w) at the four corners of every cell; the last cells have no further corners."""
    rows = maps.clone(memory_format=torch.contiguous_format)
    of(maps[:, :-1], maps[:, 1:], out=rows[:, :-1])
    found = rows.clone()
    of(rows[..., :-1], rows[..., 1:], out=found[..., :-1])
    return found


def _contest(
    found: Tensor, logits: Tensor, able: Tensor, cells: Tensor, most: int, rows: _Axis, columns: _Axis
) -> None:
    """Write the classes of the pixels of `cells` to `found` (H,W): of those that are `able` (K,h*w), at most `most`."""
    tall, wide = rows.places.shape[1], columns.places.shape[1]
    device, width, last = found.device, len(columns.rest), len(able)
    height = len(rows.rest)
    numbers = torch.arange(last, 0, -1, dtype=torch.int32, device=device)
    for some in cells.split(max(1, _CACHED // (tall * wide * most))):
        # The able ones come first, in ascending order: of equal scores the first is the lowest class.
        wins = able[:, some].T
        classes = torch.where(wins, numbers + last, numbers).topk(most)[1]
        y, x = some // width, some % width
        right, lower = (x + 1).clamp_max(width - 1), (y + 1).clamp_max(height - 1)
        corners = [(row * width + column)[:, None] for row in (y, lower) for column in (x, right)]
        lowest = torch.finfo(logits.dtype).min
        scores = [logits[classes, corner].masked_fill_(~wins.gather(1, classes), lowest) for corner in corners]
        y, x = y.cpu(), x.cpu()
        across, down = columns.rest[x].to(device)[:, :, None], rows.rest[y].to(device)[:, :, None, None]
        top, bottom = (torch.lerp(scores[i][:, None], scores[i + 1][:, None], across)[:, None] for i in (0, 2))
        pixels = torch.lerp(top, bottom, down)
        winner = pixels.argmax(3)
        won = classes.gather(1, winner.flatten(1)).view_as(winner).to(found.dtype)
        inside = (rows.inside[y][:, :, None] & columns.inside[x][:, None]).to(device)
        places = rows.places[y][:, :, None] * found.shape[1] + columns.places[x][:, None]
        found.view(-1)[places.to(device)[inside]] = won[inside]
