"""The same batch in another form says the same: channels last, a compiled method, maps of a network under autocast."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from batches import (
    METHODS,
    Options,
    blocks,
    call,
    changed,
    double,
    every_variant,
    gradients_of,
    loss_and_gradients,
    make,
    pair,
)
from quick import cases
from torch import Tensor

from segdistill.core.outputs import SegOutput


@every_variant
def test_channels_last_changes_nothing(name: str, options: Options) -> None:
    def channels_last(maps: SegOutput) -> SegOutput:
        return changed(maps, lambda x: x.to(memory_format=torch.channels_last))

    student, teacher = (double(maps) for maps in pair())
    terms, gradients = loss_and_gradients(name, options, student, teacher, blocks())
    result = loss_and_gradients(name, options, channels_last(student), channels_last(teacher), blocks())
    for term, value in terms.items():
        torch.testing.assert_close(result[0][term], value, rtol=1e-9, atol=0)
    for a, b in zip(result[1], gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9 * b.abs().max().item())


SLOW_TO_COMPILE = {"adversary", "afdcd", "attnfd", "cirkd", "cirkdv2"}  # together longer than all others


@pytest.mark.parametrize("name", cases(["kd", "canonical"], sorted({*METHODS} - {"kd", "canonical", *SLOW_TO_COMPILE})))
def test_compiled_methods_say_the_same(name: str) -> None:
    torch._dynamo.reset()
    results = []
    for compiled in (False, True):
        student, teacher = pair()
        student = changed(student, lambda maps: maps.requires_grad_())
        method = make(name, student, teacher)
        if compiled:
            method.compile(backend="aot_eager")
        terms = call(method, student, teacher, blocks())
        results.append((terms, gradients_of(terms, student)))
    (terms, gradients), result = results
    for term, value in terms.items():
        torch.testing.assert_close(result[0][term], value, rtol=1e-5, atol=0)
    for a, b in zip(result[1], gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5 * b.abs().max().item())


@every_variant
def test_a_network_under_autocast_teaches_the_same_to_its_accuracy(name: str, options: Options) -> None:
    def layer(maps: Tensor) -> Tensor:
        weight = torch.randn(maps.shape[1], maps.shape[1], 1, 1, generator=torch.Generator().manual_seed(4))
        return F.conv2d(maps, weight / maps.shape[1] ** 0.5)

    results = []
    for enabled in (False, True):
        student, teacher = pair()
        student = changed(student, lambda maps: maps.requires_grad_())
        method = make(name, student, teacher, **options)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            outputs = changed(student, layer), changed(teacher, layer)
            terms = call(method, *outputs, blocks())
        assert outputs[0].logits.dtype == (torch.bfloat16 if enabled else torch.float32)
        results.append((terms, gradients_of(terms, student)))
    (terms, gradients), (rounded, result) = results
    for term, value in terms.items():
        assert rounded[term].item() == pytest.approx(value.item(), rel=0.02)
    for a, b in zip(result, gradients, strict=True):
        assert (a - b).norm() <= 0.2 * b.norm()  # signs and maxima may fall otherwise
