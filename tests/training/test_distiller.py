"""One step: what is learned from, and what is left alone."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.core.classes import IGNORE_INDEX, UNLABELED
from segdistill.core.outputs import SegOutput
from segdistill.methods import create_method
from segdistill.models.build import probe
from segdistill.models.open import create_model
from segdistill.models.teacher import Teacher
from segdistill.recipe.training import TaskLossConfig
from segdistill.training.distiller import Distiller
from segdistill.training.task_loss import task_loss


def test_task_loss_averages_over_pixels_that_are_not_void() -> None:
    logits, label = torch.randn(2, 5, 4, 6), torch.randint(0, 5, (2, 16, 24))
    label[:, :5] = 255
    scores = F.interpolate(logits, (16, 24), mode="bilinear", align_corners=False)
    assert torch.allclose(task_loss(logits, label), F.cross_entropy(scores, label, ignore_index=255))


def test_all_void_gives_no_loss_and_no_gradient() -> None:
    logits = torch.randn(1, 5, 4, 6, requires_grad=True)
    loss = task_loss(logits, torch.full((1, 8, 12), 255))
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.fixture
def distiller() -> Distiller:
    student = create_model("mobilenetv2_035_fcn", 8, auxiliary_channels=8)
    teacher = create_model("mobilenetv2_035_fcn", 8, channels=16, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    example = {"student": probe(student), "teacher": probe(teacher), "num_classes": 8}
    methods = [create_method("kd", **example), create_method("cwd", **example, source="embedding")]
    return Distiller(student, methods, teacher)


def test_the_teacher_is_used_but_never_trained_saved_or_switched(distiller: Distiller) -> None:
    teacher = distiller.teacher
    assert teacher is not None
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    distiller.train()
    image = torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8)
    terms = distiller(image, torch.randint(0, 8, (2, 32, 32), dtype=torch.uint8))
    assert set(terms) == {"task", "auxiliary", "kd", "cwd"}
    torch.stack(list(terms.values())).sum().backward()
    assert not teacher.training
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert all(parameter.grad is not None for parameter in distiller.parameters())
    assert {name.partition(".")[0] for name in distiller.state_dict()} == {"student", "methods", "shares"}


def test_a_teacher_of_other_classes_says_none_of_an_image_without_labels() -> None:
    network = create_model("mobilenetv2_035_fcn", 8, auxiliary_channels=0)
    seen: list[Tensor] = []
    for same_classes in (True, False):
        method = create_method("ifvd", student=probe(network), teacher=probe(network), num_classes=8)
        method.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[2]))
        distiller = Distiller(network, [method], copy.deepcopy(network), same_classes=same_classes).train()
        image = torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8)
        label = torch.stack([torch.zeros(32, 32), torch.full((32, 32), UNLABELED)]).to(torch.uint8)
        distiller(image, label)
    answered, silent = seen
    assert (answered[1] < 8).all()
    assert (silent[1] == IGNORE_INDEX).all()


def test_the_recipe_says_how_the_task_loss_is_taken() -> None:
    network = create_model("mobilenetv2_035_fcn", 8, auxiliary_channels=8, dropout=0.0).train()
    image = torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8)
    label = torch.randint(0, 8, (2, 32, 32), dtype=torch.uint8)
    label[:, :8] = 255
    how = TaskLossConfig(align_corners=True, divisor="all", auxiliary_weight=0.1)
    terms = Distiller(network, task=how)(image, label)
    output = network(image / 255)
    for key, logits, weight in (("task", output.logits, 1.0), ("auxiliary", output.auxiliary, 0.1)):
        scores = F.interpolate(logits, (32, 32), mode="bilinear", align_corners=True)
        expected = weight * F.cross_entropy(scores, label.long(), ignore_index=255, reduction="sum") / label.numel()
        assert terms[key].item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_method_that_asks_gets_the_teachers_auxiliary_logits() -> None:
    student = create_model("mobilenetv2_035_fcn", 8, auxiliary_channels=8, dropout=0.0)
    teacher = create_model("mobilenetv2_035_fcn", 8, auxiliary_channels=16).eval()
    example = {"student": probe(student), "teacher": probe(teacher), "num_classes": 8}
    image = torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8)
    label = torch.randint(0, 8, (2, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        reference = teacher(image / 255)
    terms = {}
    for asked in (False, True):
        method = create_method("dsd", **example, auxiliary=asked)
        seen: list[SegOutput] = []
        method.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[1]))
        terms[asked] = Distiller(student, [method], Teacher(teacher)).train()(image, label)["dsd/psd"]
        assert (seen[0].auxiliary is not None) == asked
        torch.testing.assert_close(seen[0].logits, reference.logits)
    assert terms[True] != terms[False]
    assert teacher(image / 255).auxiliary is None
