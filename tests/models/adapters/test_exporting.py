"""Networks with an encoder of timm, and modules of one's own, become files that give what they gave."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from quick import cases
from torch import nn

import segdistill
from segdistill.data.tables import label_table
from segdistill.exporting.export import export_model
from segdistill.exporting.settings import ExportSettings
from segdistill.models.loaded import LoadedModel
from segdistill.models.network import SegmentationNetwork
from segdistill.models.open import create_model

CLASSES = label_table("streets").classes
K = len(CLASSES)
OWN = """
from torch import nn

class Own(nn.Sequential):
    def __init__(self, num_classes: int) -> None:
        super().__init__(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, num_classes, 1), nn.Upsample(scale_factor=2))
"""


def written(network: SegmentationNetwork, out: Path) -> SegmentationNetwork:
    """The ONNX file of a network, for any size."""
    model = LoadedModel(network.eval(), CLASSES, out / "network")
    done = export_model(model, ExportSettings(outputs="logits"), None, out / "export", quiet=True)
    return segdistill.load_model(done.files[0].path)


def assert_same(network: SegmentationNetwork, file: SegmentationNetwork) -> None:
    """On two images of a size that was not traced."""
    image = torch.rand(2, 3, 70, 111, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = nn.functional.interpolate(network(image).logits, (70, 111), mode="bilinear")
        torch.testing.assert_close(file(image).logits, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


@pytest.mark.parametrize("name", cases(["module:own_network:Own"], ["smp:unet/tu-test_efficientnet"]))
def test_a_network_made_from_its_name_is_exported(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """tu-NAME is an encoder of timm, module: the user's own."""
    (tmp_path / "own_network.py").write_text(OWN, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_network", raising=False)
    torch.manual_seed(0)
    network = create_model(name, K)
    assert_same(network, written(network, tmp_path))


@pytest.mark.slow
def test_a_transformer_of_hugging_face_is_exported(published: Callable[[str], Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = segdistill.load_model(published("segformer").name)
    assert_same(network, written(network, tmp_path))
