"""What the paper of BPKD leaves open or ablates, each against a plain computation from the definition."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from segdistill.core.outputs import SegOutput
from segdistill.methods import create_method
from segdistill.methods.bpkd import soft_edges
from segdistill.methods.cwd import spatial_divergence

VOID, K, GRID = 255, 5, (6, 8)


@pytest.fixture
def scene() -> tuple[Tensor, Tensor, Tensor]:
    """Logits (3,5,6,8) of a student and a teacher in float64 and labels (3,24,32); class 4 is in image 0 only."""
    random = torch.Generator().manual_seed(5)
    z_s, z_t = (3 * torch.randn(3, K, *GRID, generator=random, dtype=torch.float64) for _ in range(2))
    label = torch.randint(0, 4, (3, 6, 8), generator=random)
    label[0, 2:4, 2:6] = 4
    label[1, :2, 3:] = VOID
    return z_s, z_t, label.repeat_interleave(4, 1).repeat_interleave(4, 2)


def _terms(scene: tuple[Tensor, Tensor, Tensor], **options: Any) -> dict[str, Tensor]:
    z_s, z_t, label = scene
    student, teacher = (SegOutput(logits=z, embedding=z, features=()) for z in (z_s, z_t))
    options = {"body_weight": 1, "edge_weight": 1, "edge_radius": 1, **options}
    method = create_method("bpkd", student=student, teacher=teacher, num_classes=K, **options)
    return method(student, teacher, label)


def _edge(
    scene: tuple[Tensor, Tensor, Tensor],
    *,
    count: bool = False,
    batch: bool = False,
    mean: bool = False,
    pre: bool = True,
    post: bool = True,
    temperature: float = 1.0,
) -> float:
    z_s, z_t, label = scene
    keep = label[:, ::4, ::4] != VOID
    mask = soft_edges(label, K, 1, GRID).double()
    filtered = (mask if post else torch.ones_like(mask)) * keep[:, None]
    total = 0.0
    for n in range(3):
        m = mask[n] if pre else torch.ones_like(mask[n])
        p, q = (m * z_t[n] / temperature).softmax(0), (m * z_s[n] / temperature).softmax(0)
        pixels = (p * (p / q).log()).sum(0)
        present = sum(bool(filtered[n, c].any()) for c in range(K))
        for c in range(K):
            counts = [float((one[c] > 0).sum() if count else one[c].sum()) for one in filtered]
            size = sum(counts) / 3 if batch else counts[n]
            total += float((filtered[n, c] * pixels).sum()) / max(1.0, size) / (present if mean else 1)
    return 2 * total / 3


@pytest.mark.parametrize("norm", ["sum", "count"])
@pytest.mark.parametrize("over", ["image", "batch"])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_every_reading_of_the_edge_norm(
    scene: tuple[Tensor, Tensor, Tensor], norm: str, over: str, reduction: str
) -> None:
    got = _terms(scene, edge_norm=norm, norm_over=over, class_reduction=reduction)["bpkd/edge"]
    want = _edge(scene, count=norm == "count", batch=over == "batch", mean=reduction == "mean")
    assert got.item() == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("norm", ["sum", "count"])
@pytest.mark.parametrize("pre", [False, True])
@pytest.mark.parametrize("post", [False, True])
def test_masks_before_and_after_the_softmax_can_be_switched_off(
    scene: tuple[Tensor, Tensor, Tensor], norm: str, pre: bool, post: bool
) -> None:
    got = _terms(scene, pre_mask=pre, post_mask=post, edge_norm=norm)["bpkd/edge"]
    assert got.item() == pytest.approx(_edge(scene, pre=pre, post=post, count=norm == "count"), rel=1e-6)


def test_edge_and_body_may_have_temperatures_of_their_own(scene: tuple[Tensor, Tensor, Tensor]) -> None:
    both, apart, one = (
        _terms(scene, **options)
        for options in ({"temperature": 4}, {"temperature": 4, "edge_temperature": 2}, {"temperature": 2})
    )
    assert apart["bpkd/body"] == both["bpkd/body"] != one["bpkd/body"]
    assert apart["bpkd/edge"] == one["bpkd/edge"] != both["bpkd/edge"]
    assert apart["bpkd/edge"].item() == pytest.approx(_edge(scene, temperature=2), rel=1e-6)


def test_a_body_without_mask_is_cwd(scene: tuple[Tensor, Tensor, Tensor]) -> None:
    z_s, z_t, label = scene
    valid = (label[:, ::4, ::4] != VOID)[:, None]
    want = 16 * spatial_divergence(z_t, z_s, valid, 4).mean()
    torch.testing.assert_close(_terms(scene, body_mask=False, temperature=4)["bpkd/body"], want)


def test_a_border_of_void_need_not_be_an_edge() -> None:
    label = torch.zeros(1, 8, 12, dtype=torch.uint8)
    label[:, :, 4:6] = VOID
    assert soft_edges(label, 2, 1, (8, 12)).any()
    assert not soft_edges(label, 2, 1, (8, 12), void_edges=False).any()
    label[:, :, 6:] = 1  # two classes with void between: only a window that reaches both sees an edge
    narrow, wide = (soft_edges(label, 2, radius, (8, 12), void_edges=False) for radius in (1, 2))
    assert not narrow.any()
    assert wide[0, 0, 0].nonzero().flatten().tolist() == wide[0, 1, 0].nonzero().flatten().tolist() == [4, 5]


@pytest.mark.parametrize(("size", "grid"), [((48, 48), (3, 3)), ((300, 260), (1, 1)), ((65, 50), (4, 3))])
def test_large_blocks_do_not_overflow_a_counter(size: tuple[int, int], grid: tuple[int, int]) -> None:
    label = torch.zeros(1, *size, dtype=torch.uint8)
    label[:, ::2] = 30  # every window holds both classes: each mask is 1 everywhere
    got = soft_edges(label, 31, 1, grid)
    assert torch.equal(got[:, [0, 30]], torch.ones(1, 2, *grid))
    assert got.sum() == 2 * math.prod(grid)


@pytest.mark.parametrize(
    "options",
    [{"norm_over": "batch"}, {"class_reduction": "mean"}, {"post_mask": False}, {"pre_mask": False}],
    ids=str,
)
def test_a_batch_all_void_teaches_nothing_under_every_option(
    scene: tuple[Tensor, Tensor, Tensor], options: dict[str, Any]
) -> None:
    z_s, z_t, label = scene
    z_s.requires_grad_()
    terms = _terms((z_s, z_t, torch.full_like(label, VOID)), **options)
    torch.stack(list(terms.values())).sum().backward()
    assert all(value == 0 for value in terms.values())
    assert z_s.grad is not None
    assert not z_s.grad.any()
