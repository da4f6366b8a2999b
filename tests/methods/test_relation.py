"""The divergence of similarities, worked off in parts, has the value and the gradients of its formula."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from segdistill.methods.parts import relation
from segdistill.methods.parts.relation import relation_divergence

TAU = 0.3


def _plain(rows: list[Tensor], keys: list[Tensor], row_weight: Tensor, group_weight: Tensor, valid: Tensor) -> Tensor:
    """The formula for student and teacher; groups without a valid key are left out."""
    total = torch.zeros((), dtype=torch.float64)
    for group, kept in enumerate(valid):
        if kept.any():
            s, t = ((a @ b[group, kept].T / TAU).log_softmax(1) for a, b in zip(rows, keys, strict=True))
            total = total + group_weight[group] * ((t.exp() * (t - s)).sum(1) * row_weight).sum()
    return total


@pytest.mark.parametrize("entries", [1, 20, 1 << 20])
@pytest.mark.parametrize("masked", [False, True])
def test_value_and_gradients_are_those_of_the_formula(
    masked: bool, entries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relation, "_ENTRIES", entries)
    random = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    rows, keys = [draw(7, 4), draw(7, 6)], [draw(3, 5, 4), draw(3, 5, 6)]
    row_weight, group_weight = draw(7).abs(), draw(3).abs()
    valid = torch.ones(3, 5, dtype=torch.bool)
    if masked:
        row_weight[2] = group_weight[1] = 0
        valid[0, :2] = valid[1] = valid[2, 3] = False
        for each in keys:
            each[0, 0] *= 1e4  # whose exponential, were it looked at, would leave nothing of the others'
    rows[0].requires_grad_()
    keys[0].requires_grad_()
    got = relation_divergence(
        rows[0],
        keys[0],
        rows[1],
        keys[1],
        tau=TAU,
        row_weight=row_weight,
        group_weight=group_weight,
        valid=valid if masked else None,
    )
    want = _plain(rows, keys, row_weight, group_weight, valid)
    torch.testing.assert_close(got, want)
    for gradient, wanted in zip(
        torch.autograd.grad(2 * got, [rows[0], keys[0]]),
        torch.autograd.grad(2 * want, [rows[0], keys[0]]),
        strict=True,
    ):
        torch.testing.assert_close(gradient, wanted)
