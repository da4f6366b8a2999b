"""Backbones of timm and networks of others, tried once: odd sizes, layouts, divisors, norms over one value."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import segdistill
from segdistill.core.errors import RecipeError
from segdistill.models.build import build
from segdistill.models.open import create_model
from segdistill.models.probing import norm_of_one_value
from segdistill.models.segmenter import Segmenter
from segdistill.models.stage_fit import probe_backbone
from segdistill.models.zoo import resolve_spec

SWIN = {"embed_dim": 24, "depths": [1, 1, 2, 1], "num_heads": [1, 1, 2, 2]}
BACKBONES: dict[str, tuple[dict[str, Any], int]] = {
    "resnet18": ({}, 1),
    "hrnet_w18_small": ({}, 32),
    "vit_tiny_patch16_224": ({"embed_dim": 24, "depth": 4, "num_heads": 2}, 16),
    "swin_tiny_patch4_window7_224": (SWIN, 4),
    "swinv2_tiny_window8_256": (SWIN, 4),
}


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("head", ["fcn", "deeplabv3plus"])
def test_a_timm_backbone_of_any_kind_trains_and_runs_at_any_size(name: str, head: str) -> None:
    options, divisor = BACKBONES[name]
    made_of = {"backbone": name, "backbone_options": options, "head": head, "channels": 8}
    network = build(resolve_spec(made_of), 3)
    assert isinstance(network, Segmenter)
    assert network.stage_fit.divisor == divisor
    for size in ((64, 64), (131, 163), (33, 97)):
        output = network(torch.rand(2, 3, *size))
        output.logits.sum().backward()
        coarsest = output.features[-1]
        for feature, channels in zip(output.features, network.backbone.feature_info.channels(), strict=True):
            assert feature.shape[1] == channels
        stride = network.backbone.feature_info.reduction()[-1]
        assert coarsest.shape[2:] == (-(-size[0] // stride), -(-size[1] // stride))


def test_padding_changes_nothing_where_none_is_needed() -> None:
    network = create_model("mobilenetv2_035_fcn", 3, backbone="hrnet_w18_small", output_stride=None).eval()
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        plain = network.backbone(network.normalize(image))
        assert all(torch.equal(a, b) for a, b in zip(network(image).features, plain, strict=True))


def test_a_backbone_of_one_size_is_refused_by_name() -> None:
    with pytest.raises(RecipeError, match="'maxvit_rmlp_pico_rw_256' takes images of one size only"):
        create_model("mobilenetv2_035_fcn", 3, backbone="maxvit_rmlp_pico_rw_256", output_stride=None)


class Odd(nn.Module):
    """Says that its stage has 8 channels, and gives 6."""

    feature_info = type("Info", (), {"channels": staticmethod(lambda: [8])})

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.conv(x)]


def test_a_backbone_that_gives_other_channels_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"'odd' says its stages have \[8\] channels"):
        probe_backbone(Odd(), "odd", "odd")


class Returning(nn.Module):
    """Scores of three classes, returned as `form`."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.stem, self.score, self.form = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 1), form

    def forward(self, x: Tensor) -> object:
        maps = self.stem(x)
        scores = self.score(maps)
        return {
            "N,H,W,K": scores.permute(0, 2, 3, 1),
            "features first": (maps, {"x": 1}, scores),
            "the only tensor": {"pred": scores, "loss": None},
        }[self.form]


@pytest.mark.parametrize("form", ["N,H,W,K", "features first", "the only tensor"])
@pytest.mark.parametrize("classifier", [None, "output"])
def test_scores_are_found_however_they_are_returned(form: str, classifier: str | None) -> None:
    module = Returning(form)
    network = segdistill.wrap(module, 3, classifier=classifier)
    image = torch.rand(2, 3, 31, 45)
    expected = module.score(module.stem(network.normalize(image)))
    assert torch.equal(network(image).logits, expected)


class Pooled(nn.Module):
    """A global context behind a norm."""

    def __init__(self, norm: type[nn.Module]) -> None:
        super().__init__()
        self.stem, self.score = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 1)
        self.context = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), norm(8))

    def forward(self, x: Tensor) -> Tensor:
        maps = self.stem(x)
        return self.score(maps + self.context(maps))


def test_a_norm_over_one_value_is_named() -> None:
    network = segdistill.wrap(Pooled(nn.BatchNorm2d), 3).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    norm = norm_of_one_value(network, (64, 64))
    assert norm is not None
    assert "'module.context.2', with an input of 1x8x1x1" in norm
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        network(torch.rand(1, 3, 64, 64))
    assert norm_of_one_value(create_model("mobilenetv2_pspnet", 3), (64, 64)) is None  # our norms take one value
    with pytest.raises(RecipeError, match="instance norm of it sees maps of 1x1"):
        segdistill.wrap(Pooled(nn.InstanceNorm2d), 3)
