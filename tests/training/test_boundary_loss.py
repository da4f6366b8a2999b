"""Boundary heads: what they should say, their losses, and the networks that have them in training."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from deployed import small
from scipy import ndimage
from torch import Tensor

from segdistill.core.classes import UNLABELED
from segdistill.methods import create_method
from segdistill.models.auxiliary import LabelDetails, LabelEdges
from segdistill.models.build import probe
from segdistill.models.catalog import ZOO
from segdistill.models.zoo import resolve_spec
from segdistill.recipe.training import TaskLossConfig
from segdistill.training.boundary_loss import detail_loss, edge_loss, near_edges
from segdistill.training.distiller import Distiller
from segdistill.training.task_loss import task_loss

CLASSES = 4
VOID = 255
NAMES = ["ddrnet_23_slim", "pidnet_s", "stdc1", "bisenetv1_r18"]


def _batch() -> tuple[Tensor, Tensor]:
    noise = torch.Generator().manual_seed(3)
    image = torch.randint(0, 255, (2, 3, 64, 96), dtype=torch.uint8, generator=noise)
    label = torch.randint(0, CLASSES, (2, 8, 12), generator=noise).repeat_interleave(8, 1).repeat_interleave(8, 2)
    label[:, :8] = VOID
    return image, label.to(torch.uint8)


def test_edges_are_where_two_classes_meet() -> None:
    label = torch.zeros(1, 12, 12, dtype=torch.long)
    label[:, :, 6:] = 1
    edges = LabelEdges()(label)[0]
    assert edges.sum(1).tolist() == [4.0] * 12, "four pixels wide"
    assert edges[0].nonzero().flatten().tolist() == [4, 5, 6, 7], "two on each side"
    label[:, :, 6:] = VOID
    assert not LabelEdges()(label).any(), "void meets nothing"


def test_details_are_the_laplacians_answers_at_three_strides() -> None:
    label = _batch()[1].long()[:1]
    kernel = torch.full((3, 3), -1.0)
    kernel[1, 1] = 8
    answers = torch.from_numpy(ndimage.correlate(label[0].numpy().astype("f4"), kernel.numpy(), mode="constant"))
    fused = torch.zeros(label.shape[1:])
    for stride, weight in ((1, 0.6), (2, 0.3), (4, 0.1)):
        coarse = (answers[::stride, ::stride] > 0.1).float()
        fused += weight * coarse.repeat_interleave(stride, 0).repeat_interleave(stride, 1)
    assert torch.equal(LabelDetails()(label)[0], (fused > 0.15).float()), "stride 4 alone does not reach the threshold"


def test_the_edge_loss_weighs_edges_by_the_share_of_the_rest() -> None:
    label = torch.zeros(1, 2, 4, dtype=torch.long)
    label[0, 1, 3] = VOID
    target = torch.tensor([[[1.0, 0, 0, 0], [0, 1, 0, 1]]])
    logits = torch.randn(1, 1, 2, 4, generator=torch.Generator().manual_seed(0))
    entropy = F.binary_cross_entropy_with_logits(logits[:, 0], target, reduction="none")[label != VOID]
    weight = torch.where(target[label != VOID] == 1, 5 / 7, 2 / 7)
    torch.testing.assert_close(edge_loss(logits, target, label), (weight * entropy).mean())


def test_the_detail_loss_is_cross_entropy_and_dice() -> None:
    target = torch.tensor([[[1.0, 0], [0, 1]]])
    logits = torch.randn(1, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    both, scores = torch.stack([1 - target, target], 1), logits.sigmoid()
    dice = 2 * (scores * both).sum() / (scores.square().sum() + both.square().sum() + 2e-3)
    expected = F.binary_cross_entropy(scores, both) + 1 - dice
    label = torch.zeros(1, 2, 2, dtype=torch.long)
    torch.testing.assert_close(detail_loss(logits, target, label), expected)
    beside = torch.cat([label, torch.full_like(label, VOID)])  # an image without labels takes nothing from the others
    twice = detail_loss(logits.repeat(2, 1, 1, 1), target.repeat(2, 1, 1), beside)
    torch.testing.assert_close(twice, expected)


@pytest.mark.parametrize("name", NAMES)
def test_auxiliary_and_boundary_heads_train_as_published(name: str) -> None:
    network = small(name, CLASSES, dropout=0.0)
    image, label = _batch()
    distiller = Distiller(network).train()
    terms = distiller(image, label)
    output = network(image / 255)
    maps = [output.auxiliary, *output.further_auxiliary]
    weight = {"stdc1": 1.0, "bisenetv1_r18": 1.0}.get(name, 0.4)
    expected = weight * sum(task_loss(each, label.long()) for each in maps if each is not None)
    torch.testing.assert_close(terms["auxiliary"], expected, rtol=1e-4, atol=1e-5)
    torch.stack(list(terms.values())).sum().backward()
    assert all(each.grad is not None for each in network.parameters() if each.requires_grad)


def test_pidnets_boundary_head_adds_the_loss_of_pixels_near_edges() -> None:
    network = small("pidnet_s", CLASSES, dropout=0.0)
    image, label = _batch()
    terms = Distiller(network, task=TaskLossConfig(boundary_weight=2.0)).train()(image, label)
    assert set(terms) == {"task", "auxiliary", "boundary", "near_boundary"}
    output = network(image / 255)
    boundary = F.interpolate(output.boundary, label.shape[-2:], mode="bilinear", align_corners=False)
    expected = 2 * edge_loss(boundary, LabelEdges()(label.long()), label.long())
    torch.testing.assert_close(terms["boundary"], expected, rtol=1e-4, atol=1e-5)
    near = near_edges(torch.tensor([[[[2.0, 1.0]]]]), torch.tensor([[[3, 3]]]))
    assert near.tolist() == [[[3, VOID]]], "0.8 is between sigmoid(1) and sigmoid(2)"


@pytest.mark.parametrize("name", ["pidnet_s", "stdc1"])
def test_pixels_without_labels_are_void_to_the_heads(name: str) -> None:
    distiller = Distiller(small(name, CLASSES, dropout=0.0)).train()
    image, label = _batch()
    expected = distiller(image, label)
    unlabelled = torch.where(label == VOID, UNLABELED, label)
    terms = distiller(image, unlabelled)
    assert "boundary" in terms
    for key, value in expected.items():
        torch.testing.assert_close(terms[key], value, msg=key)


def test_a_teacher_gives_nothing_but_what_is_asked() -> None:
    output = small("pidnet_s", CLASSES, dropout=0.0).eval()(_batch()[0] / 255)
    assert output.auxiliary is None
    assert output.boundary is None
    assert output.further_auxiliary == ()


@pytest.mark.parametrize("method", ["kd", "bpkd", "canonical"])
def test_they_teach_and_learn(method: str) -> None:
    teacher, student = small("pidnet_s", CLASSES, channels=24), small("ddrnet_23_slim", CLASSES)
    example = {"student": probe(student), "teacher": probe(teacher), "num_classes": CLASSES}
    distiller = Distiller(student, [create_method(method, **example)], teacher).train()
    terms = distiller(*_batch())
    assert {"task", "auxiliary"} < set(terms)
    torch.stack(list(terms.values())).sum().backward()
    assert all(each.isfinite() for each in terms.values())
    assert all(each.grad is not None for each in student.parameters())


def test_weights_of_auxiliary_losses_are_the_published_ones() -> None:
    weights = {name: resolve_spec({"name": name}).auxiliary_weight for name in ZOO}
    assert {name for name, weight in weights.items() if weight != 0.4} == {
        "stdc1", "stdc2", "bisenetv1_r18", "bisenetv1_r50", "bisenetv2",
    }  # fmt: skip
