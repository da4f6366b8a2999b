"""Folders of Hugging Face that hold less, or otherwise, than `save_pretrained` of a trained network writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from torch import Tensor

import segdistill
from segdistill.core.errors import CheckpointError
from segdistill.models.open import create_model


def _image(*size: int) -> Tensor:
    return torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(5))


def _segformer(folder: Path, processor: dict[str, Any] | None = None, **config: Any) -> Path:
    network = hf.SegformerForSemanticSegmentation(hf.SegformerConfig(num_labels=5, **config))
    network.save_pretrained(folder)
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def test_a_folder_of_segformer_is_the_same_network_with_and_without_its_library(tmp_path: Path) -> None:
    image = _image(64, 96)
    processor = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3, "do_flip_channel_order": True}
    folder = _segformer(tmp_path / "pixels", processor)
    with torch.no_grad():
        ours, theirs = (segdistill.load_model(name)(image).logits for name in (str(folder), f"hf:{folder}"))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    with pytest.raises(CheckpointError, match=r"num_attention_heads=\[1, 1, 2, 4\].*hf:"):
        segdistill.load_model(_segformer(tmp_path / "heads", num_attention_heads=[1, 1, 2, 4]))
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"x": "old.safetensors"}}')  # of before
    assert torch.equal(segdistill.load_model(folder)(image).logits, ours)


def test_weights_in_half_precision_are_a_network_like_any_other(tmp_path: Path) -> None:
    network = hf.SegformerForSemanticSegmentation(hf.SegformerConfig(num_labels=5)).to(torch.bfloat16)
    network.save_pretrained(tmp_path)
    loaded = segdistill.load_model(f"hf:{tmp_path}")
    assert {value.dtype for value in loaded.parameters()} == {torch.float32}
    assert loaded(_image(64, 96)).logits.dtype == torch.float32


def test_a_student_whose_backbone_is_not_in_the_file_is_refused(tmp_path: Path) -> None:
    folder = _segformer(tmp_path)
    state = {
        key: value for key, value in load_file(folder / "model.safetensors").items() if ".encoder.block.0." not in key
    }
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    for classes in (5, 7):  # 7: the classifier, too, begins at random
        with pytest.raises(CheckpointError, match="tensors of the backbone are not in the file"):
            create_model(f"hf:{folder}", classes)
