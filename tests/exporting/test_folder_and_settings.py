"""Export: files beside each other, networks that are traced with difficulty, settings that would do nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from patches import Patches, patches
from torch import Tensor

import segdistill
from segdistill.core.classes import unnamed_classes
from segdistill.core.errors import SegdistillError
from segdistill.core.outputs import SegOutput
from segdistill.exporting.benchmark import BenchmarkSettings
from segdistill.exporting.export import export_model
from segdistill.exporting.quantize import quantize_onnx
from segdistill.exporting.settings import Calibration, ExportSettings
from segdistill.models.exported.description import ExportDescription
from segdistill.models.loaded import LoadedModel
from segdistill.models.open import create_model


def test_each_file_keeps_what_it_was_exported_with(tmp_path: Path) -> None:
    model = patches(*"abcd")
    export_model(model, ExportSettings(outputs="logits"), None, tmp_path, quiet=True)
    export_model(model, ExportSettings(format="torch", size=(48, 80), input="uint8"), None, tmp_path, quiet=True)
    files = json.loads((tmp_path / "export.json").read_text(encoding="utf-8"))["files"]
    keys = "input", "outputs", "size"
    assert [files["network.onnx"][key] for key in keys] == ["float", "logits", "any"]
    assert [files["network.pt2"][key] for key in keys] == ["uint8", "classes", [48, 80]]


class Gated(Patches):
    """A network with an argmax inside."""

    def forward(self, image: Tensor) -> SegOutput:
        output = super().forward(image)
        strongest = output.embedding.argmax(1, keepdim=True).float()
        return SegOutput(output.logits + strongest, output.embedding, ())


def test_a_network_with_an_argmax_inside_is_compared_at_its_last_one(tmp_path: Path) -> None:
    model = LoadedModel(Gated().eval(), patches(*"abcd").classes, Path("gated"))
    done = export_model(model, ExportSettings(), None, tmp_path, quiet=True)
    assert done.files[0].parity is not None
    assert done.files[0].parity.difference is not None


def test_a_network_from_a_file_of_classes_predicts(tmp_path: Path) -> None:
    export_model(patches(*"abcd"), ExportSettings(), None, tmp_path, quiet=True)
    image = torch.rand(3, 33, 47)
    done = segdistill.load_model(tmp_path / "network.onnx").predict(image)
    assert np.array_equal(done.mask, patches(*"abcd").network.predict(image).mask)


@pytest.mark.slow
def test_a_network_that_pools_to_one_cell_takes_photos_of_any_size(tmp_path: Path) -> None:
    network = create_model("pidnet_s", 4).eval()
    model = LoadedModel(network, unnamed_classes(4), Path("pidnet"))
    export_model(model, ExportSettings(outputs="logits"), None, tmp_path, quiet=True)
    image = torch.rand(1, 3, 360, 480)
    with torch.no_grad():
        expected = F.interpolate(network(image).logits, (360, 480), mode="bilinear")
    logits = segdistill.load_model(tmp_path / "network.onnx")(image).logits
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-3)
    with pytest.raises(SegdistillError, match="holds for images of up to"):
        export_model(model, ExportSettings(format="torch"), None, tmp_path / "program", quiet=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": 5}, "steps would do nothing here, only with int8=train"),
        ({"int8": True, "lr": 0.1}, "lr would do nothing here, only with int8=train"),
        ({"images": 3, "calibration": "entropy"}, "calibration, images would do nothing here, only with int8"),
        ({"int8": True, "format": "openvino", "calibration": "entropy"}, "calibration is for format=onnx"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ExportSettings(**given)


def test_a_benchmark_without_int8_refuses_what_is_for_int8() -> None:
    with pytest.raises(ValueError, match="calibration, images would do nothing here, only with int8=true"):
        BenchmarkSettings(int8=False, images=3, calibration="entropy")


@pytest.mark.parametrize("calibration", ["entropy", "percentile"])
def test_images_of_several_sizes_are_not_for_histograms(calibration: Calibration, tmp_path: Path) -> None:
    batches = [np.zeros((1, 3, 8, width), np.float32) for width in (8, 10)]
    settings = ExportSettings(int8=True, calibration=calibration)
    description = ExportDescription(unnamed_classes(4))
    with pytest.raises(SegdistillError, match=r"have 2 sizes.*calibration=mean"):
        quantize_onnx(tmp_path / "x.onnx", tmp_path / "y.onnx", batches, settings, description)
