"""Batches of outputs and labels, and every method in its variants: what the tests of all methods share."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
from torch import Tensor

from segdistill.core.discovery import options_of
from segdistill.core.outputs import SegOutput
from segdistill.methods import Method, create_method, method_names

VOID = 255
Options = dict[str, Any]
METHODS = method_names()

_QUEUES = {"pixel_queue": 200, "region_queue": 20, "pixel_keys": 100, "region_keys": 30}
SMALL: dict[str, Options] = {
    "adversary": {"width": 8},
    "cirkd": _QUEUES,
    "cirkdv2": {**_QUEUES, "channel_queue": 100},
}
"""Sizes of the parts of methods that take ten times as long as all others at their usual sizes."""


def variants(*, switches: bool = False, without: Container[str] = ()) -> list[Any]:
    """Each method with its defaults, then with each other choice of each option that is a `Literal`.

    switches: and with each option that is true or false the other way round; without: names of methods to leave out.
    """
    params: list[Any] = []
    for name, cls in METHODS.items():
        if name in without:
            continue
        params.append(pytest.param(name, {}, id=name))
        for option, field in options_of(cls).model_fields.items():
            choices: tuple[Any, ...] = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
            if switches and field.annotation is bool:
                choices = (True, False)
            for choice in choices:
                if choice != field.default:
                    params.append(pytest.param(name, {option: choice}, id=f"{name}-{option}-{choice}"))
    return params


every_variant = pytest.mark.parametrize(("name", "options"), variants())
every_setting = pytest.mark.parametrize(("name", "options"), variants(switches=True))


def draw_maps(
    seed: int, *, n: int = 2, classes: int = 5, size: tuple[int, int] = (12, 16), width: int = 6
) -> SegOutput:
    """An output with logits and embedding on `size`, features on twice, once and half of it."""
    random = torch.Generator().manual_seed(seed)
    h, w = size

    def draw(channels: int, height: int, width: int) -> Tensor:
        return 3 * torch.randn(n, channels, height, width, generator=random)

    return SegOutput(
        logits=draw(classes, h, w),
        embedding=draw(2 * width, h, w),
        features=(draw(width, 2 * h, 2 * w), draw(2 * width, h, w), draw(3 * width, h // 2, w // 2)),
    )


def pair(**shape: Any) -> tuple[SegOutput, SegOutput]:
    return draw_maps(1, **shape, width=4), draw_maps(2, **shape, width=6)


def blocks(n: int = 2, classes: int = 5, size: tuple[int, int] = (48, 64)) -> Tensor:
    """Blocks of 8x8 pixels of random classes and a void rectangle."""
    random = torch.Generator().manual_seed(9)
    label = torch.randint(0, classes, (n, size[0] // 8, size[1] // 8), generator=random)
    label = label.repeat_interleave(8, 1).repeat_interleave(8, 2)
    label[:, :16, 16:48] = VOID
    return label


def void_of(maps: Tensor) -> tuple[slice, slice]:
    """Rows and columns of the void rectangle of `blocks`; it is aligned with the grid of each map of `draw_maps`."""
    stride = 64 // maps.shape[-1]
    return slice(0, 16 // stride), slice(16 // stride, 48 // stride)


def changed(output: SegOutput, change: Any) -> SegOutput:
    return replace(
        output,
        logits=change(output.logits),
        embedding=change(output.embedding),
        features=tuple(change(feature) for feature in output.features),
    )


def double(output: SegOutput) -> SegOutput:
    return changed(output, Tensor.double)


def all_maps(output: SegOutput) -> list[Tensor]:
    return [output.logits, output.embedding, *output.features]


def make(name: str, student: SegOutput, teacher: SegOutput, **options: Any) -> Method:
    """A method, small, whose parameters are the same at every call; in float64 where the maps are."""
    torch.manual_seed(0)
    options = {**SMALL.get(name, {}), **options}
    method = create_method(name, student=student, teacher=teacher, num_classes=student.logits.shape[1], **options)
    return method.double() if student.logits.dtype == torch.float64 else method


def call(method: Method, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return method(student, teacher, label)


def gradients_of(terms: dict[str, Tensor], student: SegOutput) -> list[Tensor]:
    """The gradient of the sum of the terms at each map of the student, zero where there is none."""
    total = torch.stack(list(terms.values())).sum()
    if not total.requires_grad:
        return [torch.zeros_like(maps) for maps in all_maps(student)]
    gradients = torch.autograd.grad(total, all_maps(student), allow_unused=True)
    return [
        torch.zeros_like(maps) if gradient is None else gradient
        for maps, gradient in zip(all_maps(student), gradients, strict=True)
    ]


def loss_and_gradients(
    name: str, options: Options, student: SegOutput, teacher: SegOutput, label: Tensor | None
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """What a fresh method says; everything has to be finite, and terms scalars that bear the method's name."""
    student = changed(student, lambda maps: maps.detach().requires_grad_())
    terms = call(make(name, student, teacher, **options), student, teacher, label)
    gradients = gradients_of(terms, student)
    assert terms
    for key, value in terms.items():
        assert key.split("/")[0] == name
        assert value.shape == ()
        assert value.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients)
    return terms, gradients
