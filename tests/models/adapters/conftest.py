"""Tiny networks of other libraries, made and saved on the spot with random weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
import transformers as hf
from torch import nn
from torchvision import models

from segdistill.data.tables import label_table

CLASSES = label_table("streets").classes
NAMES = CLASSES.names
K = len(NAMES)
_LABELS = {"id2label": dict(enumerate(NAMES)), "label2id": {name: index for index, name in enumerate(NAMES)}}
_SWIN = {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 4, "image_size": 64}
_STAGES = ["stage1", "stage2", "stage3", "stage4"]
_VIT = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 16}


def _segformer() -> nn.Module:
    config = hf.SegformerConfig(
        hidden_sizes=[4, 8, 8, 8],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=12,
        **_LABELS,
    )
    return hf.SegformerForSemanticSegmentation(config)


def _upernet() -> nn.Module:
    backbone = hf.SwinConfig(out_features=_STAGES, **_SWIN)
    config = hf.UperNetConfig(
        backbone_config=backbone, hidden_size=8, auxiliary_channels=8, auxiliary_in_channels=32, **_LABELS
    )
    return hf.UperNetForSemanticSegmentation(config)


def _dpt() -> nn.Module:
    config = hf.DPTConfig(
        image_size=64,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        readout_type="project",
        **_VIT,
        **_LABELS,
    )
    return hf.DPTForSemanticSegmentation(config)


def _beit() -> nn.Module:
    config = hf.BeitConfig(
        image_size=32,
        patch_size=8,
        out_indices=[1, 2, 3, 4],
        pool_scales=[1, 2],
        use_relative_position_bias=True,
        auxiliary_channels=8,
        **_VIT,
        **_LABELS,
    )
    return hf.BeitForSemanticSegmentation(config)


def _mobilevit() -> nn.Module:
    config = hf.MobileViTConfig(
        hidden_sizes=[8, 8, 8],
        neck_hidden_sizes=[4, 4, 4, 4, 4, 4, 8],
        num_attention_heads=2,
        aspp_out_channels=8,
        output_stride=16,
        **_LABELS,
    )
    return hf.MobileViTForSemanticSegmentation(config)


def _mask2former() -> nn.Module:
    config = hf.Mask2FormerConfig(
        backbone_config=hf.SwinConfig(out_features=_STAGES, **_SWIN),
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=16,
        dim_feedforward=16,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        num_queries=5,
        **_LABELS,
    )
    return hf.Mask2FormerForUniversalSegmentation(config)


def _maskformer() -> nn.Module:
    config = hf.MaskFormerConfig(
        fpn_feature_size=32,
        mask_feature_size=32,
        backbone_config=hf.SwinConfig(out_features=_STAGES, **_SWIN),
        decoder_config=hf.DetrConfig(
            d_model=16, encoder_layers=1, decoder_layers=1, decoder_ffn_dim=16, decoder_attention_heads=2, num_queries=5
        ),
        **_LABELS,
    )
    return hf.MaskFormerForInstanceSegmentation(config)


def _oneformer() -> nn.Module:
    config = hf.OneFormerConfig(
        backbone_config=hf.SwinConfig(out_features=_STAGES, **_SWIN),
        num_queries=5,
        hidden_dim=32,
        conv_dim=32,
        mask_dim=32,
        encoder_feedforward_dim=16,
        dim_feedforward=16,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        task_seq_len=8,
        **_LABELS,
    )
    return hf.OneFormerForUniversalSegmentation(config)


def _eomt() -> nn.Module:
    config = hf.EomtConfig(
        image_size=32, patch_size=8, num_blocks=1, num_queries=5, num_upscale_blocks=1, **_VIT, **_LABELS
    )
    return hf.EomtForUniversalSegmentation(config)


SEMANTIC: dict[str, Callable[[], nn.Module]] = {
    "segformer": _segformer,
    "upernet": _upernet,
    "dpt": _dpt,
    "beit": _beit,
    "mobilevit": _mobilevit,
}
MASKS: dict[str, Callable[[], nn.Module]] = {
    "oneformer": _oneformer,
    "mask2former": _mask2former,
    "maskformer": _maskformer,
    "eomt": _eomt,
}
SMP: dict[str, Callable[[], nn.Module]] = {
    "unet": lambda: smp.Unet("mobilenet_v2", encoder_weights=None, classes=K, decoder_channels=(16, 8, 8, 8, 8)),
    "deeplabv3plus": lambda: smp.DeepLabV3Plus("resnet18", encoder_weights=None, classes=K, decoder_channels=16),
}


TORCHVISION = ("lraspp_mobilenet_v3_large", "deeplabv3_resnet50")
EVERY = (*SEMANTIC, *MASKS, *SMP, *TORCHVISION)


@dataclass(frozen=True)
class Published:
    """A network as its library made it, and what a recipe calls it."""

    name: str
    module: nn.Module


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Published]:
    """Make and save the network of that name once."""

    @cache
    def make(name: str) -> Published:
        folder = tmp_path_factory.mktemp(name)
        torch.manual_seed(0)
        if name in TORCHVISION:
            return Published(
                f"torchvision:{name}", models.get_model(name, weights=None, weights_backbone=None, num_classes=K)
            )
        if name in SMP:
            module = SMP[name]().eval()
            module.save_pretrained(folder)
            return Published(f"smp:{folder}", module)
        return Published(f"hf:{folder}", _save_hf(name, folder))

    return make


def _save_hf(name: str, folder: Path) -> nn.Module:
    """A Hugging Face model and its image processor, saved as a user would; the model in evaluation mode."""
    torch.manual_seed(0)
    model = ({**SEMANTIC, **MASKS}[name]()).eval()
    model.save_pretrained(folder)
    hf.SegformerImageProcessor(image_mean=[0.5, 0.4, 0.3], image_std=[0.2, 0.3, 0.4]).save_pretrained(folder)
    return model
