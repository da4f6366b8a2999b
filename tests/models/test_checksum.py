"""What tells one network from another: all that its predictions depend on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import segdistill as sd
from segdistill.core.pixels import PixelFormat
from segdistill.models.checksum import identity_of
from segdistill.models.loaded import LoadedModel
from segdistill.models.open import open_model


def network(dilation: int = 1) -> sd.SegmentationNetwork:
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 8, 3, padding=dilation, dilation=dilation)
    return sd.wrap(nn.Sequential(convolution, nn.ReLU(), nn.Conv2d(8, 2, 1)), 2)


def identity(network: sd.SegmentationNetwork) -> str:
    return json.dumps(identity_of(open_model(network)))


def test_it_is_the_same_for_the_same_network_and_plain() -> None:
    assert identity(network()) == identity(network())
    assert json.loads(identity(network())) == identity_of(open_model(network()))


@pytest.mark.parametrize("change", ["mean", "std", "bgr", "pixels", "channels", "size", "weights", "layers"])
def test_it_changes_with_whatever_changes_predictions(change: str) -> None:
    other = network(dilation=2) if change == "layers" else network()
    if change in ("mean", "std"):
        getattr(other, change)[0, 1] += 0.1
    elif change == "bgr":
        other.bgr = True
    elif change == "pixels":
        other.pixels = PixelFormat(3, ((0.0, 4095.0),))
    elif change == "channels":
        other.input_channels = (2, 1, 0)
    elif change == "size":
        other = sd.wrap(other.module, 2, size=(64, 96))  # type: ignore[arg-type]
    elif change == "weights":
        next(other.parameters()).data[0, 0, 0, 0] += 1
    assert identity(other) != identity(network())


def test_a_network_that_was_trained_on_is_not_the_one_of_its_file() -> None:
    loaded = sd.load_model("streets_teacher")
    before = identity(loaded)
    next(loaded.parameters()).data += 1
    assert loaded.file is not None
    assert identity(loaded) != before


def test_the_weights_of_an_openvino_file_are_beside_it(tmp_path: Path) -> None:
    (tmp_path / "student.xml").write_text("layers")
    checksums = set()
    for content in (b"some", b"other"):
        (tmp_path / "student.bin").write_bytes(content)
        model = LoadedModel(network(), open_model(network()).classes, tmp_path / "student.xml")
        checksums.add(identity_of(model)["checksum"])
    assert len(checksums) == 2
