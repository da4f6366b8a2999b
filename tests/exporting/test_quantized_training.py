"""int8=train: rounding as in the INT8 file, and a file that gives what was trained."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import segdistill
from segdistill.cli.main import app
from segdistill.core.errors import RecipeError
from segdistill.exporting.quantized_training import float_teacher, weights_restored
from segdistill.exporting.simulation import fake_quantize, fake_weight
from segdistill.models.open import open_model
from segdistill.recipe.recipe import load_recipe


def test_activations_are_rounded_as_torch_rounds_them() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 5, 6)
    ours, theirs = (x.clone().requires_grad_() for _ in range(2))
    result = fake_quantize(ours, torch.tensor(0.01), 100, 0, 255)
    expected = torch.fake_quantize_per_tensor_affine(theirs, 0.01, 100, 0, 255)
    torch.testing.assert_close(result, expected)
    result.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    assert (ours.grad == 0).any()  # some are out of range


def test_the_scale_has_the_gradient_of_learned_step_sizes() -> None:
    """Within the range round(x/s) - x/s, outside of it the bound that x is clamped to."""
    x, scale = torch.tensor([0.26, -0.04, 9.0, -9.0]), torch.tensor(0.1, requires_grad=True)
    fake_quantize(x, scale, 3, 0, 15).backward(torch.tensor([1.0, 10.0, 100.0, 1000.0]))
    expected = (3 - 2.6) + 10 * (0 + 0.4) + 100 * (15 - 3) + 1000 * (0 - 3)
    assert scale.grad is not None
    assert float(scale.grad) == pytest.approx(expected)


@pytest.mark.parametrize("per_channel", [True, False])
def test_weights_are_rounded_as_torch_rounds_them(per_channel: bool) -> None:
    torch.manual_seed(0)
    weight = torch.randn(6, 3, 3, 3) * torch.logspace(-2, 1, 6).view(6, 1, 1, 1)
    if per_channel:
        scale = weight.abs().amax((1, 2, 3)) / 127
        zeros = torch.zeros(6, dtype=torch.int32)
        expected = torch.fake_quantize_per_channel_affine(weight, scale, zeros, 0, -127, 127)
    else:
        expected = torch.fake_quantize_per_tensor_affine(weight, float(weight.abs().max()) / 127, 0, -127, 127)
    torch.testing.assert_close(fake_weight(weight, per_channel=per_channel), expected)


def test_a_network_that_was_trained_for_a_file_is_as_it_was() -> None:
    network = nn.Linear(2, 2)
    before = network.weight.detach().clone()
    with weights_restored(network), torch.no_grad():
        network.weight += 1
    assert torch.equal(network.weight, before)


@pytest.fixture(scope="module")
def trained(plain_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder after a few steps, with one scale a weight tensor."""
    out = tmp_path_factory.mktemp("trained")
    words = ["int8=train", "size=48x80", "per_channel=false", "steps=3", "images=4", "max_drop=100", "batch_size=2"]
    done = CliRunner().invoke(app, ["export", str(plain_run), *words, f"out={out}", "--json"])
    assert done.exit_code == 0, done.output
    assert "Traceback" not in done.output
    return out


def test_the_file_gives_what_was_trained_with_its_rounding(trained: Path) -> None:
    assert sorted(path.name for path in trained.iterdir()) == [
        "export.json", "run_onnx.py", "student.int8.onnx", "student.onnx",
    ]  # fmt: skip
    described = json.loads((trained / "export.json").read_text(encoding="utf-8"))["files"]["student.int8.onnx"]
    assert described["parity"]["pixels"] < 0.03
    report = described["int8"]
    assert (report["steps"], report["teacher"]) == (3, "the student in float")
    assert 0 <= report["untrained_miou"] <= 100
    data = ["streets", "data.size=[48,80]", "data.count=6", "workers=0"]
    scores = segdistill.evaluate(trained / "student.int8.onnx", *data, quiet=True).scores
    assert scores.miou == pytest.approx(report["int8_miou"], abs=0.01)


@pytest.mark.parametrize("left", ["method", "folder"])
def test_without_the_runs_teacher_the_student_in_float_teaches(distilled_run: Path, left: str) -> None:
    model, recipe = open_model(distilled_run), load_recipe(distilled_run / "recipe.yaml")
    if left == "method":
        recipe = recipe.model_copy(update={"method": ()})
    else:
        weights = recipe.teacher.model_copy(update={"weights": "moved"})
        recipe = recipe.model_copy(update={"teacher": weights})
    teacher = float_teacher(model, recipe)
    assert teacher.name == "the student in float"
    assert teacher.network is not model.network
    image = torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        assert torch.equal(teacher.network(image).logits, model.network(image).logits)


def test_the_runs_teacher_is_the_one_in_its_folder(distilled_run: Path) -> None:
    teacher = float_teacher(open_model(distilled_run), load_recipe(distilled_run / "recipe.yaml"))
    assert teacher.name == "the run's teacher"
    image = torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        expected = open_model(distilled_run / "teacher").network(image).logits
        torch.testing.assert_close(teacher.network(image).logits, expected)


def test_weights_have_one_scale_if_asked_to(trained: Path) -> None:
    graph = onnx.load(trained / "student.int8.onnx").graph
    values = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    readers = [node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in values]
    scales = [values[node.input[1]] for node in readers if values[node.input[0]].ndim == 4]
    assert len(scales) > 5
    assert all(each.size == 1 for each in scales)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["int8=train", "format=openvino"], "int8=train is for format=onnx"),
        (["per_channel=false", "format=openvino"], "per_channel=false is for format=onnx"),
        (["int8=maybe"], "int8"),
    ],
)
def test_what_can_not_be_trained_is_refused(plain_run: Path, words: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        segdistill.export(plain_run, *words)
