"""After the last step: batch norm's statistics and one bias a class, fitted to images as they are tested."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from made_samples import noise
from own_folders import without_masks
from painted import COLORS, paint
from processes import in_two
from safetensors.torch import load_file
from torch import Tensor, nn

import segdistill
from segdistill.core.classes import IGNORE_INDEX
from segdistill.core.outputs import SegOutput
from segdistill.data import DatasetConfig, SegmentationDataset, create_dataset
from segdistill.evaluation.settings import InferenceConfig
from segdistill.models.build import build
from segdistill.models.files import read_description
from segdistill.models.network import SegmentationNetwork
from segdistill.models.spec import NetworkSpec
from segdistill.training.refit.batches import batches_as_tested
from segdistill.training.refit.biases import class_layer, fit_biases, miou_of
from segdistill.training.refit.refit import Refit, refit
from segdistill.training.refit.statistics import mix_statistics, statistics_of

CANDIDATES = [number / 8 for number in range(-16, 17)]


def plain_biases(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Every candidate of every class tried by itself, on all pixels: the plain twin of `fit_biases`."""
    biases = torch.zeros(scores.shape[1])
    for _ in range(3):
        for c in labels.unique().tolist():
            tried = {}
            for candidate in CANDIDATES:
                biases[c] = candidate
                tried[candidate] = (round(miou_of(scores, labels, biases), 9), -abs(candidate), -candidate)
            biases[c] = max(tried, key=lambda each: tried[each])
    return biases


def iou_of(scores: Tensor, labels: Tensor, c: int) -> float:
    """Of one class, in percent."""
    both, either = (scores.argmax(1) == c) & (labels == c), (scores.argmax(1) == c) | (labels == c)
    return 100 * float(both.sum() / either.sum())


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
    without = fit_biases(scores, labels, ignored=(1,))
    assert without[1] == 0
    assert miou_of(scores, labels, without, ignored=(1,)) > miou_of(scores, labels, ignored=(1,))
    assert miou_of(scores, labels, ignored=(1,)) == pytest.approx(
        (3 * miou_of(scores, labels) - iou_of(scores, labels, 1)) / 2
    )


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


def test_images_are_looked_at_as_they_are_tested() -> None:
    samples = [noise(30, 40)] * 5 + [noise(31, 40)]
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


class NearestColor(SegmentationNetwork):
    """Scores the nearest of the painted colors; bias: added to the second class; shift: of the mean it expects."""

    def __init__(self, bias: float = 0.0, shift: float = 0.0) -> None:
        super().__init__(num_classes=len(COLORS), mean=(0, 0, 0), std=(1, 1, 1))
        colors = torch.tensor(COLORS) / 255
        self.norm = nn.BatchNorm2d(3, affine=False)
        self.classifier = nn.Conv2d(3, len(COLORS), 1)
        with torch.no_grad():
            self.norm.running_mean.copy_(colors.mean(0) + shift)
            self.norm.running_var.copy_(colors.var(0))
            centers = (colors - colors.mean(0)) / colors.std(0)
            self.classifier.weight.copy_(centers[..., None, None])
            self.classifier.bias.copy_(-centers.square().sum(1) / 2)
            self.classifier.bias[1] += bias

    def forward(self, image: torch.Tensor) -> SegOutput:
        embedding = self.norm(image)
        return SegOutput(logits=self.classifier(embedding), embedding=embedding, features=())


@pytest.fixture
def painted(tmp_path: Path) -> SegmentationDataset:
    return create_dataset(DatasetConfig(name="folder", root=paint(tmp_path / "painted")), "train")


def test_what_is_right_is_left_alone(painted: SegmentationDataset) -> None:
    network = NearestColor()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fitted = refit(network, painted, 6, InferenceConfig())
    assert fitted == Refit(0.0, None, 100.0, 100.0, 6)
    assert "nothing raises their mIoU" in fitted.summary()
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_class_with_too_high_scores_gets_a_bias(painted: SegmentationDataset) -> None:
    network = NearestColor(bias=1.9)
    fitted = refit(network, painted, 6, InferenceConfig())
    assert fitted is not None
    assert fitted.before < fitted.after == 100
    assert fitted.biases is not None
    assert fitted.biases[1] < 0
    expected = NearestColor(bias=1.9).classifier.bias + torch.tensor(fitted.biases)
    torch.testing.assert_close(network.classifier.bias, expected)
    again = refit(network, painted, 6, InferenceConfig())
    assert again is not None
    assert again.before == 100


def test_statistics_of_other_images_are_replaced_in_part(painted: SegmentationDataset) -> None:
    network = NearestColor(shift=0.4)
    fitted = refit(network, painted, 6, InferenceConfig())
    assert fitted is not None
    assert fitted.before < fitted.after
    assert fitted.share == 0.5
    right, wrong = NearestColor().norm.running_mean, NearestColor(shift=0.4).norm.running_mean
    torch.testing.assert_close(network.norm.running_mean, (right + wrong) / 2, atol=0.05, rtol=0)  # other colors


def test_a_run_hands_over_and_scores_what_was_fitted(tmp_path: Path) -> None:
    words = ("folder", "steps=1", "batch_size=2", "augment.crop=[32,32]", "optimizer.lr=1e-9", "workers=0")
    data = {"root": str(paint(tmp_path / "painted"))}
    runs = {}
    for images in (0, 6):
        network, out = NearestColor(bias=1.9), tmp_path / f"{images}"
        runs[images] = segdistill.train(*words, data=data, student=network, refit_images=images, out=out, quiet=True)
    plain, fitted = (load_file(tmp_path / f"{images}" / "student.safetensors") for images in runs)
    assert {name for name in plain if not torch.allclose(plain[name], fitted[name], atol=0.01)} == {"classifier.bias"}
    assert runs[6].scores.miou == 100
    assert runs[6].best_miou == runs[0].best_miou < 100  # of the last validation, which was before it
    records = [read_description(tmp_path / f"{images}" / "student.safetensors").trained for images in runs]
    assert "refit" not in records[0]
    assert records[1]["refit"]["after"] == 100


def test_two_processes_hand_over_what_one_of_them_fitted(tiny: tuple[str, ...], tmp_path: Path) -> None:
    in_two(_train, [*tiny, "steps=2", "refit_images=6", f"out={tmp_path / 'two'}"])
    assert read_description(tmp_path / "two" / "student.safetensors").trained["refit"]["images"] == 6


def _train(rank: int, words: list[str]) -> None:
    segdistill.train(*words, quiet=True)


def test_without_a_label_it_is_left_out_with_a_message(
    tiny: tuple[str, ...], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    teacher = segdistill.train(*tiny, "role=teacher", "steps=1", out=tmp_path / "teacher", quiet=True)
    words = (*(word for word in tiny if not word.startswith(("streets", "data."))), "kd", "baseline=none", "steps=1")
    data, weights = without_masks(tmp_path / "data"), {"weights": str(teacher.folder)}
    segdistill.distill(*words, "refit_images=4", data=data, teacher=weights, out=tmp_path / "run")
    assert read_description(tmp_path / "run" / "student.safetensors").trained["refit"] is None
    assert "no image has a label" in capfd.readouterr().err
