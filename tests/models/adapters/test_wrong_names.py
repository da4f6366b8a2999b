"""Networks of other libraries that can't be had: a name, an option or a file that is wrong is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import transformers as hf

import segdistill
from segdistill.core.errors import CheckpointError, RecipeError
from segdistill.models.open import create_model


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hff:folder", r"'hff:'\. Did you mean 'hf'\?"),
        ("hf:", "names no network"),
        ("smp:unett/resnet18", r"Did you mean 'unet'\?"),
        ("smp:unet/resnet81", r"'resnet81'\. Did you mean 'resnet18'\?"),
        ("smp:unet", "encoder"),
        ("torchvision:fcn_resnet51", r"Did you mean 'fcn_resnet50'\?"),
        ("module:os:system", "does not say that it makes a network"),
        ("module:no_such_package:x", "Can't import 'no_such_package'"),
        ("module:segdistill.models.layers:BatchNrm", r"Did you mean 'BatchNorm'\?"),
        ("module:segdistill", "expected module:package.module:factory"),
    ],
)
def test_a_wrong_name_gets_the_nearest(name: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        create_model(name, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"options": {"feature": ["encoder"]}}, r"network.options.feature'\. Did you mean 'features'\?"),
        ({"channels": 8}, "'network.channels' has no meaning"),
        ({"options": {"features": ["encodr"]}}, r"no module 'encodr'\. Did you mean 'encoder'\?"),
        ({"options": {"arguments": {"decoder_chanels": 8}}}, r"Did you mean 'decoder_channels'\?"),
        ({"backbone_weights": "some.pth"}, "null or pretrained"),
    ],
    ids=str,
)
def test_a_wrong_option_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        create_model("smp:unet/mobilenet_v2", 3, **options)


def test_options_are_not_for_our_own_networks() -> None:
    with pytest.raises(RecipeError, match="other libraries"):
        create_model("mobilenetv2_035_fcn", 3, options={"features": []})


def test_files_that_are_not_there_are_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match="there is no folder /no/where"):
        segdistill.load_model("hf:/no/where")
    with pytest.raises(CheckpointError, match="not a trained network, and there is no folder"):
        segdistill.load_model("smp:unet/resnet18")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="save_pretrained"):
        segdistill.load_model(f"smp:{tmp_path}")
    with pytest.raises(CheckpointError, match="save_pretrained"):
        segdistill.load_model(f"hf:{tmp_path}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="There is no folder nobody/nothing, so the Hugging Face hub was asked"):
        segdistill.load_model("hf:nobody/nothing")


def test_a_config_that_was_meddled_with_is_named(tmp_path: Path) -> None:
    config = hf.SegformerConfig(
        hidden_sizes=[4, 8, 8, 8], depths=[1] * 4, num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=12
    )
    hf.SegformerForSemanticSegmentation(config).save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**written, "mlp_ratios": [4]}))
    with pytest.raises(CheckpointError, match=f"Can't load 'hf:{tmp_path}'"):
        segdistill.load_model(f"hf:{tmp_path}")
