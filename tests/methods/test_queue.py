"""The queues: what is filed, that a resumed run goes on with them, and that ranks agree without sending them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from processes import in_two
from torch import Tensor

from segdistill.core.outputs import SegOutput
from segdistill.methods import Method, create_method
from segdistill.methods.parts.queue import Queue, by_group, chosen, published, sums

NAMES = ("cirkd", "cirkdv2")
VOID = 255
SMALL = {"pixel_queue": 30, "region_queue": 6, "pixel_keys": 20, "region_keys": 8, "pixels_per_image": 4}


def _batch(seed: int, n: int = 4) -> tuple[SegOutput, SegOutput, Tensor]:
    random = torch.Generator().manual_seed(seed)
    student, teacher = (torch.randn(n, c, 6, 8, generator=random) for c in (5, 7))
    label = torch.randint(0, 3, (n, 6, 8), generator=random)
    label[0, :3] = VOID
    logits = torch.zeros(n, 3, 6, 8)
    return SegOutput(logits, student, ()), SegOutput(logits, teacher, ()), label


def _method(name: str) -> Method:
    torch.manual_seed(0)
    student, teacher, _ = _batch(0)
    return create_method(name, student=student, teacher=teacher, num_classes=3, **SMALL)


def test_a_queue_goes_on_at_the_front_and_takes_only_what_counts() -> None:
    queue = Queue(2, 5, 1)
    queue.rows.zero_()
    for value, count in ((1.0, [2, 0]), (2.0, [2, 1]), (3.0, [2, 0]), (4.0, [1, 3])):
        queue.push(torch.full((2, 3, 1), value), torch.tensor(count))
    assert queue.rows[..., 0].tolist() == [[4, 1, 2, 3, 3], [2, 4, 4, 4, 0]]
    assert queue.pointer.tolist() == [1, 4]


def test_a_class_is_given_its_own_pixels() -> None:
    group = torch.tensor([0, 0, 1, 2, 1, 1, 0, 2, 4, 3, 4, 3])  # two images of two classes; 2 and 5 are void
    priority = torch.tensor([0.9, 0.1, 0.5, 0.0, 0.2, 0.3, 0.4, 0.0, 0.6, 0.5, 0.4, 0.3])
    order, begins = by_group(group, priority, 6)
    start = begins.view(2, 3)
    pixel = chosen(order, start, 2)
    assert pixel.tolist() == [[[1, 6], [4, 5]], [[11, 9], [10, 8]]]
    assert start.tolist() == [[0, 3, 6], [8, 10, 12]]
    in_image = published(group, start, pixel)
    assert in_image.tolist() == [[[1, 2], [1, 2]], [[1, 0], [1, 0]]]  # counted from the image's first pixel


def test_the_sums_of_classes_leave_void_out() -> None:
    group = torch.tensor([0, 2, 2, 1, 0, 5, 4, 4, 5, 4])  # of two classes; 2 and 5 are void; 3 is not there
    rows = torch.arange(20.0).view(10, 2)
    order, start = by_group(group, torch.rand(10), 6)
    want = torch.stack([rows[group == g].sum(0) for g in (0, 1, 3, 4)]).view(2, 2, 2)
    assert sums(rows, order, start.view(2, 3)).equal(want)


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_draws_and_files_as_an_uninterrupted_one(name: str) -> None:
    method = _method(name)
    method(*_batch(1))
    saved = copy.deepcopy(method.state_dict())
    want = method(*_batch(2))
    torch.manual_seed(123)
    student, teacher, _ = _batch(0)
    resumed = create_method(name, student=student, teacher=teacher, num_classes=3, **SMALL)
    resumed.load_state_dict(saved)
    torch.manual_seed(456)
    assert resumed(*_batch(2)) == want


def _halves(rank: int) -> dict[str, Any]:
    """What a rank, which has half of each batch, says: terms, gradients and states by method."""
    return {name: _half(rank, name) for name in NAMES}


def _half(rank: int, name: str) -> Any:
    method = _method(name)
    for seed in (1, 2):
        student, teacher, label = _batch(seed)
        part = slice(2 * rank, 2 * rank + 2)
        f_s = student.embedding[part].clone().requires_grad_()
        method.zero_grad()
        terms = method(
            SegOutput(student.logits[part], f_s, ()),
            SegOutput(teacher.logits[part], teacher.embedding[part], ()),
            label[part],
        )
        torch.stack(list(terms.values())).sum().backward()
    grads = {n: p.grad for n, p in method.named_parameters()}
    return {key: value.detach() for key, value in terms.items()}, f_s.grad, grads, method.state_dict()


@pytest.fixture(scope="module")
def halves() -> list[dict[str, Any]]:
    return in_two(_halves)


@pytest.mark.parametrize("name", NAMES)
def test_two_ranks_equal_one_with_the_joint_batch(name: str, halves: list[dict[str, Any]]) -> None:
    (a, a_s, a_p, a_state), (b, b_s, b_p, b_state) = (each[name] for each in halves)
    method = _method(name)
    for seed in (1, 2):
        student, teacher, label = _batch(seed)
        f_s = student.embedding.clone().requires_grad_()
        method.zero_grad()
        terms = method(SegOutput(student.logits, f_s, ()), teacher, label)
        torch.stack(list(terms.values())).sum().backward()
    close = {"rtol": 1e-4, "atol": 1e-5}
    for key, value in terms.items():
        torch.testing.assert_close((a[key] + b[key]) / 2, value.detach(), **close)
    # DistributedDataParallel averages the gradients of the ranks.
    torch.testing.assert_close(torch.cat([a_s, b_s]) / 2, f_s.grad, **close)
    for n, parameter in method.named_parameters():
        torch.testing.assert_close((a_p[n] + b_p[n]) / 2, parameter.grad, **close)
    for key, value in method.state_dict().items():
        if isinstance(value, Tensor):
            torch.testing.assert_close(a_state[key], b_state[key], rtol=0, atol=0)
            torch.testing.assert_close(a_state[key], value, **close)
        else:
            assert a_state[key] == b_state[key] == value
