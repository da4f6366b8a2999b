"""The squared distance of maps has the value and the gradient of its formula, for a mask or without."""

from __future__ import annotations

import pytest
import torch

from segdistill.methods.parts.squared import squared_distance


@pytest.mark.parametrize("void", ["none", "some", "all"])
def test_value_and_gradient_are_those_of_the_formula(void: str) -> None:
    random = torch.Generator().manual_seed(0)
    f_s, f_t = (torch.randn(3, 4, 5, 6, generator=random, dtype=torch.float64) for _ in range(2))
    f_s.requires_grad_()
    valid = {"none": None, "some": torch.rand(3, 1, 5, 6, generator=random) > 0.5, "all": torch.zeros(3, 1, 5, 6) > 0}
    keep = valid[void]
    want = ((f_s - f_t) ** 2 * (1 if keep is None else keep)).sum()
    got = squared_distance(f_s, f_t, keep)
    torch.testing.assert_close(got, want)
    upstream = torch.tensor(0.7, dtype=torch.float64)
    (wanted,), (found,) = (torch.autograd.grad(value, f_s, upstream) for value in (want, got))
    torch.testing.assert_close(found, wanted)
    assert torch.autograd.gradcheck(lambda x: squared_distance(x, f_t, keep), f_s)
