"""Our Swin against timm's, with the same weights, and on any size of image."""

from __future__ import annotations

import pytest
import torch
from timm.models.swin_transformer import SwinTransformer

from segdistill.models.build import build
from segdistill.models.families.swin import Swin
from segdistill.models.zoo import resolve_spec

SMALL = {"channels": 12, "depths": (2, 2, 2, 1), "heads": (1, 2, 3, 4), "window": 4}


def _from_timm(theirs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """timm's weights by our names; its patch merging has the four tokens in another order."""
    names = {}
    for key, value in theirs.items():
        new = key.replace("patch_embed.proj", "patches").replace("patch_embed.norm", "patch_norm")
        new = new.replace("layers.", "stages.").replace(".blocks.", ".").replace("mlp.fc1", "mlp.0")
        new = new.replace("mlp.fc2", "mlp.2")
        if ".downsample." in key:
            stage = int(key.split(".")[1])
            new = f"merges.{stage - 1}.{key.partition('downsample.')[2]}"
            # theirs: (column, row, channel); ours: (channel, row, column)
            value = value.unflatten(-1, (2, 2, -1)).transpose(-3, -1).flatten(-3)
        names[new] = value
    return names


def test_it_is_the_network_that_timm_has() -> None:
    torch.manual_seed(0)
    size = (128, 256)  # whole windows at each stage: timm rolls before it pads, OpenMMLab after
    theirs = SwinTransformer(
        img_size=size, window_size=4, embed_dim=12, depths=(2, 2, 2, 1), num_heads=(1, 2, 3, 4), num_classes=0,
        always_partition=True,
    ).eval()  # fmt: skip
    for name, parameter in theirs.named_parameters():
        if "norm" not in name:  # so large that attention, its bias and the shift count
            torch.nn.init.normal_(parameter, std=0.3)
    ours = Swin(**SMALL).eval()
    weights = {
        key: value for key, value in _from_timm(theirs.state_dict()).items() if not key.startswith(("norm.", "head"))
    }
    missing, surplus = ours.load_state_dict(weights, strict=False)
    assert surplus == []
    assert all(key.startswith("norms.") or key.endswith("relative_position_index") for key in missing)
    image = torch.randn(2, 3, *size)
    with torch.no_grad():
        expected = theirs.forward_intermediates(image, intermediates_only=True)
        for ours_map, map_, norm in zip(ours(image), expected, ours.norms, strict=True):
            torch.testing.assert_close(
                ours_map, norm(map_.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), rtol=1e-3, atol=1e-4
            )


@pytest.mark.parametrize("size", [(65, 97), (33, 47), (5, 16), (1, 1)], ids=str)
def test_any_size_and_a_batch_of_one_trains(size: tuple[int, int]) -> None:
    fields = {"name": "upernet_swin_t", "backbone_options": SMALL, "channels": 8, "auxiliary_channels": 8}
    network = build(resolve_spec(fields), 3).train()
    output = network(torch.rand(1, 3, *size))
    assert output.auxiliary is not None
    (output.logits.square().mean() + output.auxiliary.square().mean()).backward()
    assert output.logits.shape[-2:] == (-(-size[0] // 4), -(-size[1] // 4))
    assert output.logits.isfinite().all()
