"""Class balance: of the task loss and of pixel-wise KD."""

from __future__ import annotations

import pytest
import torch

from segdistill.core.errors import RecipeError
from segdistill.core.outputs import SegOutput
from segdistill.data.balance import class_weights
from segdistill.data.datasets.streets import Streets
from segdistill.methods import create_method


def output(logits: torch.Tensor) -> SegOutput:
    return SegOutput(logits=logits, embedding=logits, features=(logits,))


def test_fully_balanced_kd_is_the_mean_of_the_classes_own_means() -> None:
    student, teacher = torch.randn(2, 3, 8, 10), torch.randn(2, 3, 8, 10)
    label = torch.zeros(2, 8, 10, dtype=torch.long)
    label[:, :2], label[0, 5, 5:] = 1, 2
    label[1, 7] = 255
    example = {"student": output(student), "teacher": output(teacher), "num_classes": 3}
    balanced = create_method("kd", **example, class_balance=1.0)
    pixels = (teacher.softmax(1) * (teacher.log_softmax(1) - student.log_softmax(1))).sum(1)
    expected = torch.stack([pixels[label == c].mean() for c in range(3)]).mean()
    assert torch.allclose(balanced(output(student), output(teacher), label)["kd"], expected, rtol=1e-5)
    plain = create_method("kd", **example)(output(student), output(teacher), label)["kd"]
    assert torch.allclose(plain, pixels[label != 255].mean(), rtol=1e-5)
    with pytest.raises(RecipeError, match="needs labels"):
        balanced(output(student), output(teacher), None)


@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_task_weights_follow_the_share_and_keep_the_mean(exponent: float) -> None:
    data = Streets(size=(32, 48), count=20)
    weights = class_weights(data, exponent)
    assert weights is not None
    counts = sum(torch.bincount(sample.label.reshape(-1), minlength=256)[:8] for sample in data)
    share = counts / counts.sum()
    assert torch.allclose((weights * share).sum(), torch.tensor(1.0), rtol=1e-5)
    assert torch.allclose(weights[7] / weights[2], (share[2] / share[7]) ** exponent, rtol=1e-5)


def test_no_exponent_means_no_weights() -> None:
    assert class_weights(Streets(size=(32, 48), count=2), 0) is None
