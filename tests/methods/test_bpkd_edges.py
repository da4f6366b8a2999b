"""The soft edge masks of BPKD against a plain computation from their definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from segdistill.methods.bpkd import soft_edges

VOID = 255


def _reference(label: np.ndarray, classes: int, radius: int, grid: tuple[int, int]) -> np.ndarray:
    """(N,K,*grid): one-hot, maximum minus minimum of each clipped window, mean of each adaptive block."""
    onehot = (label[:, None] == np.arange(classes)[:, None, None]).astype(np.int8)
    border = [(0, 0), (0, 0), (radius, radius), (radius, radius)]
    window = (2 * radius + 1, 2 * radius + 1)
    highest = sliding_window_view(np.pad(onehot, border, constant_values=-9), window, (2, 3)).max((-2, -1))
    lowest = sliding_window_view(np.pad(onehot, border, constant_values=9), window, (2, 3)).min((-2, -1))
    edge = highest - lowest
    (height, width), (h, w) = label.shape[1:], grid
    mask = np.zeros((len(label), classes, h, w))
    for i in range(h):
        rows = slice(i * height // h, -(-(i + 1) * height // h))
        for j in range(w):
            columns = slice(j * width // w, -(-(j + 1) * width // w))
            mask[:, :, i, j] = edge[:, :, rows, columns].mean((-2, -1))
    return mask


def _label(random: np.random.Generator, classes: int, size: tuple[int, int], block: int) -> np.ndarray:
    """Blocks of random classes, a pole, single pixels of any class, and void: a rectangle and single pixels."""
    height, width = size
    coarse = random.integers(0, classes, (2, -(-height // block), -(-width // block)))
    label = coarse.repeat(block, 1).repeat(block, 2)[:, :height, :width].astype(np.uint8)
    label[:, :, width // 3] = random.integers(0, classes)
    speckle = random.random(label.shape) < 0.02
    label[speckle] = random.integers(0, classes, speckle.sum())
    label[0, height // 2 :, : width // 4] = VOID
    label[random.random(label.shape) < 0.02] = VOID
    return label


@pytest.mark.parametrize("radius", [1, 2, 3])
@pytest.mark.parametrize("classes", [2, 11, 31, 32, 63, 64, 150])
def test_every_number_of_classes_and_radius_follows_the_definition(classes: int, radius: int) -> None:
    label = _label(np.random.default_rng(classes * 10 + radius), classes, (37, 53), block=7)
    got = soft_edges(torch.from_numpy(label), classes, radius, (5, 7))
    assert got.any()
    np.testing.assert_allclose(got.numpy(), _reference(label, classes, radius, (5, 7)), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("size", "grid"),
    [
        ((65, 97), (9, 13)),
        ((67, 90), (9, 11)),
        ((33, 47), (33, 47)),
        ((5, 7), (9, 13)),
        ((3, 2), (1, 1)),
        ((1, 40), (1, 11)),
        ((64, 48), (16, 12)),
        ((31, 64), (17, 8)),
    ],
)
def test_any_size_is_averaged_adaptively(size: tuple[int, int], grid: tuple[int, int]) -> None:
    label = _label(np.random.default_rng(sum(size)), 6, size, block=5)
    got = soft_edges(torch.from_numpy(label), 6, 3, grid)
    np.testing.assert_allclose(got.numpy(), _reference(label, 6, 3, grid), rtol=0, atol=1e-6)


@pytest.mark.parametrize("classes", [1, 2, 31, 32, 62, 63, 93, 94])
def test_pixels_of_unknown_classes_belong_to_no_class(classes: int) -> None:
    """Ids beyond the classes act as void: their border is an edge of their neighbours, they have none themselves."""
    random = np.random.default_rng(classes)
    label = random.integers(0, 255, (1, 24, 24), dtype=np.uint8)
    got = soft_edges(torch.from_numpy(label), classes, 1, (6, 6))
    np.testing.assert_allclose(got.numpy(), _reference(label, classes, 1, (6, 6)), rtol=0, atol=1e-6)


def test_the_image_border_is_no_edge() -> None:
    label = torch.full((1, 20, 30), 2)
    assert not soft_edges(label, 4, 3, (5, 6)).any()
    assert not soft_edges(torch.full((1, 20, 30), VOID), 4, 3, (5, 6)).any()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_labels_of_any_integer_type_do(dtype: torch.dtype) -> None:
    label = torch.from_numpy(_label(np.random.default_rng(0), 20, (40, 30), block=8))
    assert torch.equal(soft_edges(label.to(dtype), 20, 2, (5, 4)), soft_edges(label.long(), 20, 2, (5, 4)))
