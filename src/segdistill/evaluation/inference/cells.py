"""The class of every pixel from coarse scores, without upsampling the scores of classes that can't win."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from segdistill.core.outputs import linear_taps

_FEW = (1, 2, 4, 8, 32)  # able classes of a cell; those of about equal number are done together
_SEVERAL = 8  # with so few classes in all, all of them are
_WORTH = 0.12  # share of all classes of all cells from which strips of all scores are faster
_CACHED = 1 << 20  # interpolated scores at a time


def largest(logits: Tensor, size: tuple[int, int], *, align_corners: bool = False) -> Tensor | None:
    """The argmax (H,W) of logits (K,h,w) resized to `size` bilinearly; None where that is slow this way.

    A pixel's scores are a mean of the four around it, the corners of its cell. So within a cell no class can win whose
    largest corner is below another class's smallest: c is left out if max_corners(c) < max_a min_corners(a). Where a
    network is confident, one to a few classes are left, and only those are interpolated. The lowest of equal classes
    wins. Its plain twin: `resize(logits[None], size)[0].argmax(0)`.

    Args:
        logits: (K,h,w), finite.
        size: (H,W) of the image.
        align_corners: of the bilinear resizing.

    Returns:
        Class indices (H,W) of `index_type`, or None.
    """
    # One cell, three classes:     corners of a     of b      of c     smallest  largest
    #                                  9  8         0  1      7  2      a 6, b 0, c 1   a 9, b 1, c 7
    #                                  7  6         1  0      1  1
    # The floor is 6, a's smallest: b reaches 1 at most and can't win anywhere in the cell; a and c are interpolated.
    rows, columns = (_Axis(h, H, align_corners) for h, H in zip(logits.shape[1:], size, strict=True))
    floor = _over_corners(logits, torch.minimum).amax(0)
    able = _over_corners(logits, torch.maximum) >= floor
    held = (rows.held[:, None] & columns.held).to(logits.device)
    number = able.sum(0, dtype=torch.int16)
    groups = [((number > fewer) & (number <= most) & held, min(most, len(logits))) for fewer, most in pairwise(_FEW)]
    groups.append(((number > _FEW[-1]) & held, len(logits)))
    work = torch.stack([cells.float().mean() * most for cells, most in groups]).sum()
    if not work <= _WORTH * max(len(logits), _SEVERAL):
        return None
    # Every pixel first gets the lowest able class of its cell, by numbers that fall with the class: right where it is
    # the only one. Of classes 0 1 2 with 1 and 2 able the numbers are 0 2 1, and the class is 3 - 2 = 1.
    numbers = torch.arange(len(logits), 0, -1, dtype=torch.int16, device=logits.device)[:, None, None]
    lowest = len(logits) - (able * numbers).amax(0)
    across = lowest.to(index_type(len(logits))).index_select(1, columns.low.to(logits.device))
    winners = across.index_select(0, rows.low.to(logits.device))  # whole rows are copied
    for cells, most in groups:
        chosen = cells.flatten().nonzero()[:, 0]
        _contest(winners, logits.flatten(1), able.flatten(1), chosen, most, rows, columns)
    return winners


def index_type(classes: int) -> torch.dtype:
    """The smallest type that holds class indices and the ignore index.

    Args:
        classes: their number K.

    Returns:
        uint8, or int64 from 256 classes on.
    """
    return torch.uint8 if classes < 256 else torch.int64


class _Axis:
    """For each of `target` positions its cell `low` (target,); for each cell the positions in it and their weights.

    positions, rest: (source,P) for the P positions of the largest cell; smaller ones repeat their first. held:
    (source,), which cells have any.
    """

    # 2 positions are resized to 4, which lie in the cells low = 0 0 0 1:
    #     positions = 0 1 2    rest = 0   .25 .75    cell 1 has position 3 alone and repeats it: it is written three
    #                 3 3 3           .25 .25 .25    times, each time with the same class

    def __init__(self, source: int, target: int, align_corners: bool) -> None:
        self.low, _, rest = linear_taps(source, target, align_corners=align_corners)
        count = torch.bincount(self.low, minlength=source)
        first = count.cumsum(0) - count
        offset = torch.arange(int(count.max()))
        self.held = count > 0
        self.positions = (first[:, None] + offset * (offset < count[:, None])).clamp_max(target - 1)
        self.rest = rest[self.positions].float()


def _over_corners(maps: Tensor, of: Callable[..., Tensor]) -> Tensor:
    """`of` the maps (K,h,w) at the four corners of every cell; the last cells have no further corners."""
    rows = maps.clone(memory_format=torch.contiguous_format)
    of(maps[:, :-1], maps[:, 1:], out=rows[:, :-1])
    both = rows.clone()
    of(rows[..., :-1], rows[..., 1:], out=both[..., :-1])
    return both


def _contest(
    winners: Tensor, logits: Tensor, able: Tensor, cells: Tensor, most: int, rows: _Axis, columns: _Axis
) -> None:
    """Write the classes of the pixels of `cells` to `winners` (H,W): of those `able` (K,h*w), at most `most`."""
    tall, wide = rows.positions.shape[1], columns.positions.shape[1]
    device, width, last = winners.device, len(columns.rest), len(able)
    height = len(rows.rest)
    numbers = torch.arange(last, 0, -1, dtype=torch.int32, device=device)
    # Of K classes `most` are gathered a cell: of K = 4 with classes 1 and 3 able and most = 2, a cell's corners become
    # scores (2, 4), interpolated to (2, tall, wide); a class that only fills up gets the lowest score there is.
    for chunk in cells.split(max(1, _CACHED // (tall * wide * most))):
        # The able ones come first, in ascending order: of equal scores the first is the lowest class.
        wins = able[:, chunk].T
        classes = torch.where(wins, numbers + last, numbers).topk(most)[1]
        y, x = chunk // width, chunk % width
        right, lower = (x + 1).clamp_max(width - 1), (y + 1).clamp_max(height - 1)
        corners = [(row * width + column)[:, None] for row in (y, lower) for column in (x, right)]
        lowest = torch.finfo(logits.dtype).min
        scores = [
            logits[classes, corner].masked_fill_(~wins.gather(1, classes), lowest).T[..., None] for corner in corners
        ]
        y, x = y.cpu(), x.cpu()
        across, down = columns.rest[x].to(device), rows.rest[y].to(device)[:, :, None]
        top, bottom = (torch.lerp(scores[i], scores[i + 1], across)[:, :, None] for i in (0, 2))
        winner = _first_largest(torch.lerp(top, bottom, down))
        won = classes.gather(1, winner.flatten(1)).view_as(winner).to(winners.dtype)
        pixels = rows.positions[y][:, :, None] * winners.shape[1] + columns.positions[x][:, None]
        winners.put_(pixels.to(device), won)


def _first_largest(scores: Tensor) -> Tensor:
    """argmax(0), its plain twin, which of a few maps is slower: torch's search along a strided axis is not vectorized.

    Map by map: scores 3 5 4 keep (best, winner) = (3, 0), then (5, 1), then (5, 1): a later map must be larger to win.
    """
    if len(scores) > _FEW[-1]:
        return scores.argmax(0)
    best, winner = scores[0], torch.zeros_like(scores[0], dtype=torch.int64)
    for number, one in enumerate(scores[1:], start=1):
        winner.masked_fill_(one > best, number)
        best = torch.maximum(best, one)
    return winner


def first_zeros(below: Tensor) -> Tensor:
    """The first k at which each row is zero. `below` is overwritten.

    As integers the bits of a negative float are negative and those of zero are zero, so OR-ing numbers in leaves the
    maximum to them: several times as fast as a search for the largest score, which keeps processors from their vectors.
    Its plain twin: `below.argmax(1)`.

    Args:
        below: float32 (R,K,W): scores less the largest of their K, so zero there, and finite and negative elsewhere.

    Returns:
        Indices from 0 to K - 1, int32 (R,W).
    """
    # Scores 2 7 7 of three classes are `below` -5 0 0, and the numbers are 2 1 0. OR-ed, as integers: -5.0's bits stay
    # negative, 0 | 1 = 1, 0 | 0 = 0. The maximum 1 is the first class at the top, 2 - 1 = 1.
    last = below.shape[1] - 1
    numbers = torch.arange(last, -1, -1, dtype=torch.int32, device=below.device)[:, None]
    return (last - below.view(torch.int32).bitwise_or_(numbers).amax(1)).clamp_(0, last)
