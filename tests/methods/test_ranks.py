"""Two processes give what one with the joint batch gives: terms, and the gradients of maps and of parameters.

DistributedDataParallel averages the gradients of the processes, so their mean has to be the joint batch's; also where
one has more void than the other, or nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import torch
from batches import VOID, Options, all_maps, blocks, call, changed, double, make, pair, variants
from processes import in_two
from torch import Tensor, nn

from segdistill.core.outputs import SegOutput
from segdistill.training.task_loss import task_loss

SETTINGS: list[tuple[str, Options]] = [
    ("task", {}),
    *(parameter.values for parameter in variants(switches=True)),
    ("kd", {"class_balance": 0.5}),
    ("bpkd", {"edge_norm": "count", "norm_over": "batch"}),
]
LABELS = ("equal void", "unequal void", "one all void")
ONE_RANK_ONLY = {
    "skds-as_published-True": "a sum over the images of the rank, as published",
    "attnfd-as_published-True": "one length for all images of the rank, as published",
    "cirkd-as_published-True": "`minibatch` does not leave its rank, as published",
    "cirkdv2-as_published-True": "`minibatch` does not leave its rank, as published",
    "cirkd-across_ranks-False": "`minibatch` does not leave its rank, as asked for",
    "cirkdv2-across_ranks-False": "`minibatch` does not leave its rank, as asked for",
}
Result = tuple[dict[str, Tensor], list[Tensor], dict[str, Tensor]]


def _name(name: str, options: Options) -> str:
    return "-".join([name, *(f"{option}-{value}" for option, value in options.items())])


def _label(which: str) -> Tensor:
    label = blocks(n=4)
    if which == "unequal void":
        label[2:, 24:] = VOID
        label[3, :, 32:] = VOID
    elif which == "one all void":
        label[2:] = VOID
    return label


def _part(output: SegOutput, images: slice) -> SegOutput:
    return changed(output, lambda maps: maps[images].detach().clone().requires_grad_())


def _results_of(name: str, options: Options, which: str, images: slice) -> Result:
    """Terms, gradients of the student's maps and of the method's parameters for these of the joint batch's 4 images."""
    whole = [double(maps) for maps in pair(n=4)]
    student, teacher = (_part(maps, images) for maps in whole)
    label = _label(which)[images]
    if name == "task":
        method, terms = nn.Module(), {"task": task_loss(student.logits, label)}
    else:
        method = make(name, *whole, **options)
        for module in method.modules():
            if type(module) is nn.BatchNorm2d:  # of a discriminator: it reads its rank's own batch, as a network's does
                module.eval()
        with mock.patch.object(torch, "rand", _draws(images)):
            terms = call(method, student, teacher, label)
    torch.stack(list(terms.values())).sum().backward()
    return (
        {key: value.detach() for key, value in terms.items()},
        [torch.zeros_like(maps) if maps.grad is None else maps.grad for maps in all_maps(student)],
        {key: parameter.grad for key, parameter in method.named_parameters() if parameter.grad is not None},
    )


def _draws(images: slice) -> Callable[..., Tensor]:
    """`torch.rand` that draws for the joint batch and gives the part of these images."""
    rand = torch.rand

    def draw(*shape: int, **options: Any) -> Tensor:
        return rand(*shape, **options) if "generator" in options else rand(4, *shape[1:], **options)[images]

    return draw


def _rank(rank: int) -> dict[tuple[str, str], Result]:
    images = slice(2 * rank, 2 * rank + 2)
    return {(_name(*setting), which): _results_of(*setting, which, images) for setting in SETTINGS for which in LABELS}


JOINT = [setting for setting in SETTINGS if _name(*setting) not in ONE_RANK_ONLY]
ALONE = [setting for setting in SETTINGS if _name(*setting) in ONE_RANK_ONLY]


@pytest.fixture(scope="module")
def ranks() -> list[dict[tuple[str, str], Result]]:
    """What each of two processes computes, of all methods."""
    return in_two(_rank)


@pytest.mark.parametrize("which", LABELS)
@pytest.mark.parametrize(("name", "options"), JOINT, ids=[_name(*setting) for setting in JOINT])
def test_two_ranks_equal_one_with_the_joint_batch(
    name: str, options: Options, which: str, ranks: list[dict[tuple[str, str], Result]]
) -> None:
    key = _name(name, options)
    (a_terms, a_maps, a_own), (b_terms, b_maps, b_own) = (rank[key, which] for rank in ranks)
    terms, maps, parameters = _results_of(name, options, which, slice(None))
    for term, value in terms.items():
        _assert_close((a_terms[term] + b_terms[term]) / 2, value)
    for a, b, joint in zip(a_maps, b_maps, maps, strict=True):
        _assert_close(torch.cat([a, b]) / 2, joint)
    assert a_own.keys() == b_own.keys() == parameters.keys()
    for parameter, joint in parameters.items():
        _assert_close((a_own[parameter] + b_own[parameter]) / 2, joint)


@pytest.mark.parametrize(("name", "options"), ALONE, ids=[_name(*setting) for setting in ALONE])
def test_what_does_not_leave_its_rank_differs_from_the_joint_batch(
    name: str, options: Options, ranks: list[dict[tuple[str, str], Result]]
) -> None:
    a, b = (rank[_name(name, options), "unequal void"][0] for rank in ranks)
    joint = _results_of(name, options, "unequal void", slice(None))[0]
    mean = {term: ((a[term] + b[term]) / 2).item() for term in joint}
    assert mean != pytest.approx({term: value.item() for term, value in joint.items()}, rel=1e-3)


def _assert_close(result: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(result, wanted, rtol=1e-7, atol=1e-7 * wanted.abs().max().item())
