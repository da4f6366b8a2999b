"""Each trick of the losses gives the numbers of its plain twin, in the method that it serves."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
import torch
from batches import all_maps, blocks, call, changed, double, make, pair
from plain_twins import TWINS, Twin
from torch import Tensor

from segdistill.training import task_loss

SMALL: dict[str, dict[str, Any]] = {
    "adversary": {"width": 8},
    "cirkd": {"pixel_queue": 100, "region_queue": 10, "pixel_keys": 40, "region_keys": 20},
}


def _terms_and_gradients(twin: Twin) -> tuple[dict[str, Tensor], list[Tensor | None]]:
    student, teacher = (double(maps) for maps in pair())
    student = changed(student, lambda maps: maps.detach().requires_grad_())
    parameters: list[Tensor] = []
    if twin.method == "task":
        terms = {"task": task_loss.task_loss(student.logits, blocks())}
    else:
        method = make(twin.method, student, teacher, **SMALL.get(twin.method, {}), **twin.options)
        parameters = list(method.parameters())
        torch.manual_seed(1)
        terms = call(method, student, teacher, blocks())
    total = torch.stack(list(terms.values())).sum()
    gradients = torch.autograd.grad(total, [*all_maps(student), *parameters], allow_unused=True)
    return {name: value.detach() for name, value in terms.items()}, list(gradients)


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: f"{twin}-{'-'.join(twin.options)}")
def test_a_trick_gives_what_its_plain_twin_gives(twin: Twin) -> None:
    terms, gradients = _terms_and_gradients(twin)
    plain = mock.Mock(side_effect=getattr(twin.plain, "apply", twin.plain))
    used = type("Used", (), {"apply": staticmethod(plain)}) if hasattr(twin.plain, "apply") else plain
    if isinstance(twin.owner, type):  # a method, which takes the module first
        used = lambda *inputs: plain(*inputs)  # noqa: E731
    with mock.patch.object(twin.owner, twin.attribute, used):
        wanted_terms, wanted = _terms_and_gradients(twin)
    assert plain.called
    torch.testing.assert_close(terms, wanted_terms)
    for gradient, plainly in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(gradient, plainly, rtol=1e-7, atol=1e-9)
