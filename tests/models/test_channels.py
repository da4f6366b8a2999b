"""Networks for images of other channels than three, and networks that see some of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

import segdistill
from segdistill.core.errors import CheckpointError, RecipeError
from segdistill.core.pixels import PixelFormat, over_channels
from segdistill.models.backbones import create_backbone, describe_backbone
from segdistill.models.build import build, probe
from segdistill.models.channels import choose_channels, for_images, image_channels, require_channels
from segdistill.models.families import BACKBONES
from segdistill.models.spec import NetworkSpec
from segdistill.models.teacher import Teacher

SMALL = {"backbone": "test_resnet", "head": "fcn", "channels": 8, "auxiliary_channels": 0}
FOUR = (0, 1, 2, 3)


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_weights_for_rgb_are_adapted_as_timm_adapts_them(tmp_path: Path, channels: int) -> None:
    file = tmp_path / "test_resnet.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), file)
    overlay = {"file": str(file)}
    theirs = timm.create_model(
        "test_resnet", pretrained=True, pretrained_cfg_overlay=overlay, in_chans=channels, features_only=True
    )
    ours = create_backbone("test_resnet", weights=file, channels=channels)
    expected = theirs.state_dict()
    assert next(iter(expected.values())).shape[1] == channels
    assert ours.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in ours.state_dict().items())


def test_weights_of_as_many_channels_are_taken_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "test_resnet.safetensors"
    state = timm.create_model("test_resnet", in_chans=4, features_only=True).state_dict()
    save_file(state, file)
    ours = create_backbone("test_resnet", weights=file, channels=4).state_dict()
    assert all(torch.equal(value, ours[key]) for key, value in state.items())
    with pytest.raises(CheckpointError, match=r"\(\d+, 4, 3, 3\) in the file"):
        create_backbone("test_resnet", weights=file)


@pytest.mark.parametrize("name", sorted({cls: name for name, (cls, _) in reversed(BACKBONES.items())}.values()))
def test_backbones_of_our_own_take_any_channels(name: str) -> None:
    backbone = create_backbone(name, channels=5).eval()
    with torch.no_grad():
        stages = backbone(torch.zeros(1, 5, 64, 64))
    assert [stage.shape[1] for stage in stages] == describe_backbone(backbone)[0]


def test_the_normalization_of_other_channels_is_that_of_rgb_in_turn_or_its_mean() -> None:
    rgb = build(NetworkSpec(**SMALL), 3)
    four = build(NetworkSpec(**SMALL, input_channels=FOUR), 3)
    grey = build(NetworkSpec(**SMALL, input_channels=(0,)), 3)
    assert torch.equal(four.mean[:, :3], rgb.mean)
    assert torch.equal(four.std[:, 3], rgb.std[:, 0])
    assert grey.mean.flatten().tolist() == pytest.approx([float(rgb.mean.mean())])
    assert over_channels((1, 2, 6), 5) == (1, 2, 6, 1, 2)
    assert over_channels((1, 2, 6), 1) == (3,)
    given = build(NetworkSpec(**SMALL, input_channels=FOUR, mean=(0.1, 0.2, 0.3, 0.4), std=(1, 1, 1, 2)), 3)
    assert given.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])
    with pytest.raises(RecipeError, match="'mean' has 3 value"):
        build(NetworkSpec(**SMALL, input_channels=FOUR, mean=(0.1, 0.2, 0.3)), 3)
    with pytest.raises(RecipeError, match="'bgr' is for RGB"):
        build(NetworkSpec(**SMALL, input_channels=FOUR, bgr=True), 3)


def test_a_network_sees_the_channels_it_is_given() -> None:
    image = torch.rand(2, 5, 32, 48)
    rgb = build(NetworkSpec(**SMALL), 3).eval()
    chosen = build(NetworkSpec(**SMALL, input_channels=(3, 0, 1)), 3).eval()
    chosen.load_state_dict(rgb.state_dict())
    assert torch.equal(chosen(image).logits, rgb(image[:, [3, 0, 1]]).logits)
    assert (image_channels(chosen), image_channels(Teacher(chosen)), image_channels(nn.ReLU())) == (4, 4, 3)
    require_channels(Teacher(chosen), PixelFormat(5))
    for network, channels in ((chosen, 3), (Teacher(rgb), 5), (rgb, 1)):
        with pytest.raises(RecipeError, match=rf"images have {channels}.*teacher\.channels"):
            require_channels(network, PixelFormat(channels))
    with pytest.raises(RecipeError, match="images have 1"):  # which would broadcast
        rgb(image[:, :1])


def test_a_network_of_fewer_channels_is_not_shown_the_first_ones_unasked() -> None:
    grey = build(NetworkSpec(**SMALL, input_channels=(0,)), 3).eval()
    grey.pixels = PixelFormat(1)
    require_channels(grey, PixelFormat(1))
    with pytest.raises(RecipeError, match=r"trained on images of 1 channel\(s\), and the images have 3"):
        require_channels(Teacher(grey), PixelFormat(3))
    choose_channels(grey, (0,), "it")
    require_channels(Teacher(grey), PixelFormat(3))


def test_a_network_of_another_library_takes_what_it_was_made_for() -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1))
    wrapped = segdistill.wrap(module, 4).eval()
    image = torch.rand(1, 5, 32, 48)
    expected = wrapped(image[:, [4, 2, 0]]).logits
    choose_channels(wrapped, (4, 2, 0), "it")
    assert torch.equal(wrapped(image).logits, expected)
    with pytest.raises(RecipeError, match=r"it takes 3 channel\(s\), and \[0, 1\] are 2"):
        choose_channels(wrapped, (0, 1), "it")
    assert for_images(NetworkSpec(name="smp:unet/resnet18"), PixelFormat(4)).input_channels is None
    assert for_images(NetworkSpec(**SMALL), PixelFormat(4)).input_channels == FOUR
    assert for_images(NetworkSpec(**SMALL), PixelFormat(3)).input_channels is None


def test_costs_are_those_of_the_network_s_channels() -> None:
    # test_resnet's first convolution: 3x3, so that a further channel costs 9 multiply-adds an output
    of = {
        channels: segdistill.profile(
            build(NetworkSpec(**SMALL, input_channels=tuple(range(channels))), 3), size=(64, 64), latency=False
        )
        for channels in (3, 4)
    }
    first = next(iter(build(NetworkSpec(**SMALL), 3).backbone.modules()))
    outputs = next(each for each in first.modules() if isinstance(each, nn.Conv2d)).out_channels
    assert of[4].parameters - of[3].parameters == 9 * outputs
    assert of[4].macs - of[3].macs == 9 * outputs * 32 * 32
    assert probe(build(NetworkSpec(**SMALL, input_channels=FOUR), 3)).logits.shape[1] == 3
