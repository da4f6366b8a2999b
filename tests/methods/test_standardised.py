"""The gap between standardised maps has the value and the gradient that autograd finds for its formula."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from segdistill.methods.pkd import standardised_gap

DIMS = [(0, 2, 3), (2, 3)]
every_dims = pytest.mark.parametrize("dims", DIMS)
every_void = pytest.mark.parametrize("void", [False, True])


def _maps(void: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Channel 1 of the student and 2 of the teacher are constant; void: of image 2 a single position is left, of 3
    none."""
    random = torch.Generator().manual_seed(0)
    f_s, f_t = (5 + torch.randn(4, 4, 6, 7, generator=random, dtype=torch.float64) for _ in range(2))
    f_s[:, 1], f_t[:, 2] = 3, 0
    valid = torch.rand(4, 1, 6, 7, generator=random) > 0.3
    valid[2:] = False
    valid[2, 0, 3, 3] = True
    return f_s.requires_grad_(), f_t, valid if void else None


def _plain(f_s: Tensor, f_t: Tensor, valid: Tensor | None, dims: tuple[int, ...], eps: float) -> Tensor:
    """The formula, each channel, or channel of an image, by itself."""
    valid = torch.ones_like(f_s[:, :1], dtype=torch.bool) if valid is None else valid
    total = torch.zeros((), dtype=f_s.dtype)
    for channel in range(f_s.shape[1]):
        for images in [slice(None)] if 0 in dims else [slice(n, n + 1) for n in range(len(f_s))]:
            kept = valid[images, 0]
            if kept.any():
                units = []
                for f in (f_s, f_t):
                    x = f[images, channel][kept]
                    centred = x - x.mean()
                    # Without the square root of 0, whose gradient is infinite.
                    varied = len(x) > 1 and bool((x != x[0]).any())
                    std = (centred.square().sum() / (len(x) - 1)).sqrt() if varied else torch.zeros_like(x[0])
                    units.append(centred / (std + eps))
                total = total + (units[0] - units[1]).square().sum()
    return total / (valid.sum() * f_s.shape[1])


@every_void
@every_dims
def test_value_and_gradient_are_those_of_the_formula(dims: tuple[int, ...], void: bool) -> None:
    f_s, f_t, valid = _maps(void)
    want, got = (gap(f_s, f_t, valid, dims, 1e-3) for gap in (_plain, standardised_gap))
    torch.testing.assert_close(got, want)
    upstream = torch.tensor(3.0, dtype=torch.float64)
    (wanted,), (result,) = (torch.autograd.grad(value, f_s, upstream) for value in (want, got))
    torch.testing.assert_close(result, wanted)


@every_void
@every_dims
def test_gradient_is_that_of_small_changes(dims: tuple[int, ...], void: bool) -> None:
    f_s, f_t, valid = _maps(void)
    if void:  # a place alone has a deviation of 0, where small changes of a constant map are not linear
        valid = None if valid is None else valid | valid.flip(0)
    f_s = f_s[:, [0, 2, 3]].detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: standardised_gap(x, f_t[:, [0, 2, 3]], valid, dims, 1e-3), f_s)


@every_dims
def test_float32_is_near_float64_for_means_far_from_zero(dims: tuple[int, ...]) -> None:
    f_s, f_t, valid = _maps(void=True)
    f_s, f_t = (40 + f[:, [0, 3]].detach() for f in (f_s, f_t))
    results = []
    for dtype in (torch.float64, torch.float32):
        x = f_s.to(dtype).requires_grad_()
        value = standardised_gap(x, f_t.to(dtype), valid, dims, 1e-3)
        results.append((value.double(), torch.autograd.grad(value, x)[0].double()))
    (value, gradient), (rounded, result) = results
    torch.testing.assert_close(rounded, value, rtol=1e-4, atol=0)
    torch.testing.assert_close(result, gradient, rtol=0, atol=1e-3 * gradient.abs().max().item())


def test_no_map_is_changed() -> None:
    f_s, f_t, valid = _maps(void=True)
    before = f_s.detach().clone(), f_t.clone()
    standardised_gap(f_s, f_t, valid, (2, 3), 1e-3).backward()
    assert torch.equal(f_s, before[0])
    assert torch.equal(f_t, before[1])
