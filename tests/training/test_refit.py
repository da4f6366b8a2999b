"""After the last step: batch norm's statistics and one bias a class, fitted to images as they are tested."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from processes import in_two
from torch import nn

import segdistill
from segdistill.core.classes import IGNORE_INDEX
from segdistill.data import create_dataset
from segdistill.data.base import Sample
from segdistill.data.datasets.streets import Streets
from segdistill.evaluation.settings import InferenceConfig
from segdistill.models.build import build
from segdistill.models.files import read_description
from segdistill.models.spec import NetworkSpec
from segdistill.recipe.recipe import load_recipe
from segdistill.training.refit.batches import batches_as_tested
from segdistill.training.refit.biases import class_layer, fit_biases, miou_of
from segdistill.training.refit.refit import refit
from segdistill.training.refit.statistics import mix_statistics, statistics_of

CANDIDATES = [number / 8 for number in range(-16, 17)]


def plain_biases(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Every candidate of every class tried by itself."""
    biases = torch.zeros(scores.shape[1])
    for _ in range(3):
        for c in labels.unique().tolist():
            tried = {}
            for candidate in CANDIDATES:
                biases[c] = candidate
                tried[candidate] = (round(miou_of(scores, labels, biases), 9), -abs(candidate), -candidate)
            biases[c] = max(tried, key=lambda each: tried[each])
    return biases


@pytest.mark.parametrize("seed", range(5))
def test_biases_are_those_of_the_plain_search(seed: int) -> None:
    torch.manual_seed(seed)
    labels = torch.randint(0, 4, (400,))
    labels[labels == 2] = 3  # a class without a pixel keeps its scores
    scores = torch.randn(400, 4) + F.one_hot(labels, 4) + torch.tensor([0.7, -0.4, 0.0, -1.0])
    biases = fit_biases(scores, labels)
    assert biases.tolist() == plain_biases(scores, labels).tolist()
    assert biases[2] == 0
    assert miou_of(scores, labels, biases) > miou_of(scores, labels)


def test_miou_is_that_of_the_pixels() -> None:
    scores = torch.tensor([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    labels = torch.tensor([0, 1, 1, 1])  # predicted 0, 0, 1, 2
    assert miou_of(scores, labels) == pytest.approx((50 + 100 / 3) / 2)
    assert miou_of(scores, labels, torch.tensor([0.0, 2.0, 0.0])) == pytest.approx((0 + 75) / 2)


def test_statistics_are_those_of_all_images_and_leave_the_network_alone() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    batches = [torch.randn(2, 3, 4, 5) * 3 + 1, torch.randn(1, 3, 7, 5)]
    measured = statistics_of(network, batches)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    pixels = torch.cat([batch.movedim(1, 0).flatten(1) for batch in batches], 1)
    torch.testing.assert_close(measured["0.running_mean"], pixels.mean(1))
    torch.testing.assert_close(measured["0.running_var"], pixels.var(1))
    normed = [F.batch_norm(batch, None, None, training=True) for batch in batches]  # by each batch, as in training
    behind = torch.cat([network[1](batch).movedim(1, 0).flatten(1) for batch in normed], 1).detach()
    torch.testing.assert_close(measured["2.running_mean"], behind.mean(1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(measured["2.running_var"], behind.var(1), atol=1e-5, rtol=1e-4)
    old = {name: before[name] for name in measured}
    mix_statistics(network, old, measured, 0.25)
    torch.testing.assert_close(
        network[0].running_mean, 0.75 * before["0.running_mean"] + 0.25 * measured["0.running_mean"]
    )


def test_a_map_of_one_pixel_has_no_statistics() -> None:
    network = nn.BatchNorm2d(3)
    measured = statistics_of(network, [torch.randn(1, 3, 1, 1)])
    assert torch.equal(measured[".running_var"], torch.ones(3))


@pytest.mark.parametrize("name", ["fcn", "pspnet", "deeplabv3plus", "lraspp"])
def test_the_layer_of_the_classes_is_the_one_that_moves_their_scores(name: str) -> None:
    network = build(NetworkSpec(backbone="test_resnet", head=name, channels=8, output_stride=16), 3).eval()
    image = torch.rand(2, 3, 40, 48)
    layer = class_layer(network, image)
    assert layer is not None
    with torch.no_grad():
        before = network(image).logits
        layer.bias += torch.tensor([0.0, 1.0, -2.0])  # type: ignore[operator]
        moved = network(image).logits - before
    torch.testing.assert_close(moved, torch.tensor([0.0, 1.0, -2.0])[:, None, None].expand_as(moved), atol=1e-5, rtol=0)


def test_a_network_whose_classes_have_no_bias_has_no_such_layer() -> None:
    network = build(NetworkSpec(backbone="test_resnet", head="fcn", channels=8, output_stride=16), 3).eval()
    layer = class_layer(network, torch.rand(1, 3, 40, 48))
    assert layer is not None
    layer.bias = None  # type: ignore[assignment]
    assert class_layer(network, torch.rand(1, 3, 40, 48)) is None


def sample(height: int, width: int) -> Sample:
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
    return Sample(image, torch.randint(0, 3, (height, width), dtype=torch.uint8), "a")


def test_images_are_looked_at_as_they_are_tested() -> None:
    samples = [sample(30, 40) for _ in range(5)] + [sample(31, 40)]
    whole = [*batches_as_tested(samples, InferenceConfig(size_divisor=16))]
    assert [len(inputs) for inputs, _ in whole] == [4, 2]  # 30 and 31 rows are both brought to 32
    inputs, labels = whole[0]
    assert torch.equal(inputs[0, :, :30, :40], samples[0].image / 255)
    assert torch.equal(inputs[0, :, 31], inputs[0, :, 29])
    assert torch.equal(labels[0, :30, :40], samples[0].label)
    assert bool((labels[0, 30:] == IGNORE_INDEX).all())
    windows = [*batches_as_tested(samples[:1], InferenceConfig(mode="slide", crop=(16, 24), stride=(14, 16)))]
    assert sum(len(inputs) for inputs, _ in windows) == 4
    assert torch.equal(windows[0][1][3], samples[0].label[14:30, 16:40])


def test_what_was_shifted_is_put_right() -> None:
    recipe = load_recipe("streets", "tiny_pair", "data.count=12")
    network = build(recipe.student, 8).eval()
    layer = class_layer(network, torch.rand(1, 3, 96, 128))
    assert layer is not None
    with torch.no_grad():
        layer.bias[3] += 2  # type: ignore[index]
    data = create_dataset(recipe.data, "train")
    fitted = refit(network, data, 6, recipe.inference)
    assert fitted is not None
    assert fitted.images == 6
    assert fitted.after > fitted.before
    assert fitted.biases is not None
    assert fitted.biases[3] < 0
    for value in network.state_dict().values():
        assert bool(value.isfinite().all())


def test_runs_hand_over_what_was_fitted_and_so_do_two_processes(tiny: tuple[str, ...], tmp_path: Path) -> None:
    words = [*tiny, "steps=2", "refit_images=6"]
    segdistill.train(*tiny, "steps=2", out=tmp_path / "plain", quiet=True)
    segdistill.train(*words, out=tmp_path / "one", quiet=True)
    assert "refit" not in read_description(tmp_path / "plain" / "student.safetensors").trained
    record = read_description(tmp_path / "one" / "student.safetensors").trained["refit"]
    assert record["images"] == 6
    assert record["after"] >= record["before"]
    in_two(_train, [*words, f"out={tmp_path / 'two'}"])
    again = read_description(tmp_path / "two" / "student.safetensors").trained["refit"]
    assert again["images"] == 6  # other numbers: on a processor each process has batch norms of its own
    assert again["after"] >= again["before"]


def _train(rank: int, words: list[str]) -> None:
    segdistill.train(*words, quiet=True)


def test_without_a_label_it_is_left_out_with_a_message(
    tiny: tuple[str, ...], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    teacher = segdistill.train(*tiny, "role=teacher", "steps=1", out=tmp_path / "teacher", quiet=True)
    images = tmp_path / "data" / "images"
    images.mkdir(parents=True)
    scenes = Streets(size=(32, 48), count=6)
    for index in range(6):
        Image.fromarray(scenes[index].image.permute(1, 2, 0).numpy()).save(images / f"{index}.png")
    words = (*(word for word in tiny if not word.startswith(("streets", "data."))), "kd", "baseline=none", "steps=1")
    data = {"name": "folder", "root": str(images.parent), "classes": list(Streets.classes.names), "labels": "none"}
    weights = {"weights": str(teacher.folder)}
    segdistill.distill(*words, "refit_images=4", data=data, teacher=weights, out=tmp_path / "run")
    assert read_description(tmp_path / "run" / "student.safetensors").trained["refit"] is None
    assert "no image has a label" in capfd.readouterr().err
