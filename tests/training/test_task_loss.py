"""The task loss in strips equals the direct form: value and gradient, to rounding."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.training import task_loss as module
from segdistill.training.task_loss import task_loss

LOSSES = Path(__file__).parents[1] / "fixtures" / "losses"
VOID = 255
SIZES = [
    ((4, 6), (16, 24)),
    ((9, 13), (65, 97)),
    ((9, 11), (67, 90)),
    ((5, 7), (5, 7)),
    ((5, 7), (5, 28)),
    ((5, 7), (20, 7)),
    ((16, 12), (5, 4)),
    ((1, 1), (8, 9)),
    ((7, 5), (1, 1)),
]


def direct(logits: Tensor, label: Tensor, weights: Tensor | None = None, align_corners: bool = False) -> Tensor:
    scores = F.interpolate(logits, label.shape[-2:], mode="bilinear", align_corners=align_corners)
    total = F.cross_entropy(scores, label.long(), weights, ignore_index=VOID, reduction="sum")
    return total / (label != VOID).sum().clamp_min(1)


def scene(n: int, classes: int, size: tuple[int, int], label_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(classes)
    logits = 4 * torch.randn(n, classes, *size, generator=random, dtype=torch.float64)
    label = torch.randint(0, classes, (n, *label_size), generator=random)
    label[torch.rand(label.shape, generator=random) < 0.2] = VOID
    return logits, label


@pytest.fixture(params=[1, 300, 1 << 18], ids=lambda count: f"strips of {count}")
def _strips(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module._SCORES, "cpu", request.param)


@pytest.mark.usefixtures("_strips")
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("size", "label_size"), SIZES)
@pytest.mark.parametrize(
    ("n", "classes", "weighted", "dtype"),
    [
        (2, 5, True, torch.float64), (2, 5, False, torch.float32),
        (1, 2, False, torch.float64), (1, 150, True, torch.float32),
    ],
    ids=str,
)  # fmt: skip
def test_value_and_gradient_are_those_of_the_direct_form(
    n: int,
    classes: int,
    size: tuple[int, int],
    label_size: tuple[int, int],
    align_corners: bool,
    weighted: bool,
    dtype: torch.dtype,
) -> None:
    logits, label = scene(n, classes, size, label_size)
    weights = torch.linspace(0.2, 3, classes, dtype=torch.float64) if weighted else None
    exact = logits.clone().requires_grad_()
    want = direct(exact, label, weights, align_corners)
    want.backward()
    mine = logits.to(dtype).requires_grad_()
    got = task_loss(mine, label.to(torch.uint8), weights, align_corners=align_corners)
    got.backward()
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    assert got.dtype == dtype
    torch.testing.assert_close(got.double(), want, rtol=tolerance, atol=tolerance)
    assert mine.grad is not None
    assert exact.grad is not None
    assert (mine.grad - exact.grad).abs().max() <= tolerance * max(exact.grad.abs().max().item(), 1e-3)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("size", "label_size"), SIZES)
def test_wide_scores_give_what_narrow_ones_give(
    size: tuple[int, int], label_size: tuple[int, int], align_corners: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits, label = scene(2, 5, size, label_size)
    results = []
    for narrow in (1000, 0):
        monkeypatch.setattr(module, "_NARROW", narrow)
        z = logits.clone().requires_grad_()
        value = task_loss(z, label, align_corners=align_corners)
        results.append((value, *torch.autograd.grad(value, z)))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-14)


def _cases() -> list[dict[str, str]]:
    with np.load(LOSSES / "task.npz") as file:
        cases: list[dict[str, str]] = json.loads(str(file["meta"]))["cases"]
    return cases


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("case", [case["id"] for case in _cases()])
def test_equals_the_published_code(case: str, dtype: torch.dtype) -> None:
    with np.load(LOSSES / "task.npz") as file:
        logits = torch.from_numpy(file[f"{case}/in/logits_s"]).to(dtype).requires_grad_()
        label = torch.from_numpy(file[f"{case}/in/labels"])
        value, gradient = float(file[f"{case}/val/ce"]), torch.from_numpy(file[f"{case}/grad/ce/logits_s"])
    loss = task_loss(logits, label, align_corners=True)
    loss.backward()
    if np.isnan(value):  # all void: the published mean over nothing
        value = 0.0
    assert loss.item() == pytest.approx(value, rel=2e-5 if dtype == torch.float32 else 1e-9)
    assert logits.grad is not None
    relative = 1e-4 if dtype == torch.float32 else 1e-6  # some stored gradients are rounded to float32
    assert (logits.grad - gradient).abs().max() <= relative * gradient.abs().max()


def test_void_pixels_may_count_in_the_divisor_as_in_openmmlab() -> None:
    logits, label = scene(2, 5, (4, 6), (16, 24))
    share = (label != VOID).double().mean().item()
    assert 0 < share < 1
    got = task_loss(logits, label, divisor="all")
    assert got.item() == pytest.approx(share * task_loss(logits, label).item(), rel=1e-6)
    assert task_loss(logits, torch.full_like(label, VOID), divisor="all") == 0


def test_autocast_and_half_precision_change_nothing() -> None:
    logits, label = scene(2, 5, (4, 6), (16, 24))
    half = logits.bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        got = task_loss(half, label)
    got.backward()
    full = half.detach().float().requires_grad_()
    want = task_loss(full, label)
    want.backward()
    assert got.dtype == torch.float32
    assert got == want
    assert half.grad is not None
    assert full.grad is not None
    assert half.grad.dtype == torch.bfloat16
    assert torch.equal(half.grad, full.grad.bfloat16())


def test_an_image_all_void_has_no_part_and_a_batch_all_void_gives_0() -> None:
    logits, label = scene(2, 5, (4, 6), (16, 24))
    logits.requires_grad_()
    label[1] = VOID
    task_loss(logits, label).backward()
    assert logits.grad is not None
    assert logits.grad[0].any()
    assert not logits.grad[1].any()
    logits.grad = None
    loss = task_loss(logits, torch.full_like(label, VOID))
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()


def test_scores_of_2000_are_exact() -> None:
    logits, label = scene(2, 5, (4, 6), (16, 24))
    logits = (500 * logits).float().requires_grad_()
    task_loss(logits, label).backward()
    got, logits.grad = logits.grad, None
    direct(logits, label).backward()
    assert got is not None
    torch.testing.assert_close(got, logits.grad, rtol=1e-4, atol=1e-6)


def test_gradients_scale_add_up_and_are_left_out_where_nobody_asks() -> None:
    logits, label = scene(1, 5, (4, 6), (16, 24))
    logits.requires_grad_()
    loss = task_loss(logits, label)
    (once,) = torch.autograd.grad(loss, logits, retain_graph=True)
    (thrice,) = torch.autograd.grad(3 * loss, logits)
    torch.testing.assert_close(thrice, 3 * once)
    with torch.no_grad():
        assert task_loss(logits, label) == loss
    assert not task_loss(logits.detach(), label).requires_grad


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_layout_of_the_logits_does_not_matter(layout: torch.memory_format) -> None:
    logits, label = scene(2, 5, (4, 6), (16, 24))
    torch.testing.assert_close(task_loss(logits.contiguous(memory_format=layout), label), direct(logits, label))


def test_a_label_beyond_the_classes_is_an_error() -> None:
    logits, label = scene(1, 5, (4, 6), (16, 24))
    label[0, 3, 3] = 7
    with pytest.raises(RuntimeError, match="out of bounds"):
        task_loss(logits, label)
