"""The divergence that methods share has the gradient that autograd finds, for both sides."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from segdistill.methods.base import divergence


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("dim", [1, 2])
def test_value_and_gradients_are_those_of_the_formula(dim: int, temperature: float, masked: bool) -> None:
    random = torch.Generator().manual_seed(0)
    t, s = (torch.randn(2, 5, 7, generator=random, dtype=torch.float64).requires_grad_() for _ in range(2))
    keep = torch.rand(2, 5, 7, generator=random) > 0.3 if masked else None
    if keep is not None:
        keep[:, 0], keep[:, :, 0] = True, True

    def plain(x: torch.Tensor) -> torch.Tensor:
        return F.log_softmax(x / temperature if keep is None else (x / temperature).masked_fill(~keep, -1e9), dim)

    want = (plain(t).exp() * (plain(t) - plain(s))).sum(dim)
    got = divergence(t, s, dim, temperature=temperature, keep=keep)
    upstream = torch.randn(want.shape, generator=random, dtype=torch.float64)
    torch.testing.assert_close(got, want)
    for a, b in zip(
        torch.autograd.grad(got, [t, s], upstream), torch.autograd.grad(want, [t, s], upstream), strict=True
    ):
        torch.testing.assert_close(a, b)
