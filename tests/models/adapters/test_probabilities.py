"""What is not taken for scores, pixels or an auxiliary head, and networks that are made in more than one try."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import segdistill
from segdistill.core.errors import RecipeError
from segdistill.models.open import create_model

K = 4


def _image(*size: int) -> Tensor:
    return torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(5))


def _plain() -> nn.Sequential:
    """A network whose body, "0", gives maps of other than K channels."""
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, K, 1))


class Shares(nn.Module):
    """Scores that come as probabilities, in ways by which no layer gives them as they are."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.score, self.other = nn.Conv2d(6, K, 1), nn.Conv2d(6, K, 1)
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        maps = self.stem(x)
        scores = self.score(maps)
        if self.way == "summed":
            return (scores + self.other(maps)).softmax(1)
        if self.way == "before":
            return F.interpolate(scores.softmax(1), x.shape[-2:], mode="bilinear")
        if self.way == "bicubic":
            return F.interpolate(scores, x.shape[-2:], mode="bicubic").softmax(1)
        return scores.sigmoid()


@pytest.mark.parametrize("way", ["before", "bicubic", "sigmoid"])
def test_the_scores_before_they_become_probabilities_are_found(way: str) -> None:
    module = Shares(way).eval()
    network = segdistill.wrap(module, K).eval()
    with torch.no_grad():
        scores = module.score(module.stem(network.normalize(_image(32, 48))))
    torch.testing.assert_close(network(_image(32, 48)).logits, scores)


def test_probabilities_are_not_taken_for_scores() -> None:
    with pytest.raises(RecipeError, match="between 0 and 1, as after a sigmoid or softmax"):
        segdistill.wrap(Shares("summed"), K)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        ({"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}, "Divide mean and std by 255"),
        ({"std": (0, 0, 0)}, "std none of 0"),
        ({"std": (1, 1)}, "a number for each channel"),
    ],
)
def test_numbers_that_no_pixels_are_normalized_by(pixels: dict[str, tuple[float, ...]], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        segdistill.wrap(_plain(), K, **pixels)  # type: ignore[arg-type]


def test_mean_and_std_of_bytes_are_refused_in_a_recipe() -> None:
    with pytest.raises(RecipeError, match=r"student.*Divide mean and std by 255"):
        segdistill.doctor("streets", "tiny_pair", "student.mean=[123.675,116.28,103.53]", quiet=True)
    with pytest.raises(RecipeError, match="Divide mean and std by 255"):
        create_model("smp:unet/resnet18", K, mean=[123.675, 116.28, 103.53])


def test_an_auxiliary_head_that_is_named_must_score_the_classes() -> None:
    network = segdistill.wrap(_plain(), K, auxiliary="0").train()
    with pytest.raises(RecipeError, match="auxiliary=0 gives"):
        network(_image(32, 48))


def test_half_a_module_is_made_whole() -> None:
    assert segdistill.wrap(_plain().half(), K)(_image(32, 48)).logits.dtype == torch.float32


@pytest.mark.parametrize("name", ["smp:pan/resnet18", "smp:dpt/tu-vit_tiny_patch16_224"])
def test_networks_of_smp_that_need_larger_multiples(name: str) -> None:
    assert create_model(name, K).eval()(_image(69, 101)).logits.shape[1] == K


def test_a_network_of_another_library_sees_any_of_the_channels() -> None:
    network = create_model("smp:unet/resnet18", K, input_channels=[3, 2, 1]).eval()
    image = torch.cat([torch.zeros(2, 1, 32, 48), _image(32, 48)], 1)
    twin = create_model("smp:unet/resnet18", K).eval()
    twin.load_state_dict(network.state_dict())
    torch.testing.assert_close(network(image).logits, twin(_image(32, 48).flip(1)).logits)
