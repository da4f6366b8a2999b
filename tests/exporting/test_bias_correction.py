"""Ranges of activations; what rounding to 8 bits does to means is taken back by biases."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from patches import Patches, patches
from torch import Tensor, nn

from segdistill.core.outputs import SegOutput
from segdistill.exporting.export import Exporter
from segdistill.exporting.quantize import activation_ranges
from segdistill.exporting.settings import Calibration, ExportSettings
from segdistill.models.exported.backends import OnnxBackend
from segdistill.models.exported.description import Outputs
from segdistill.models.loaded import LoadedModel
from segdistill.recipe.recipe import load_recipe

CPUINFO = Path("/proc/cpuinfo")
DATA = ("streets", "data.size=[48,80]", "data.count=4")


class Twice(Patches):
    """The same convolution on two maps."""

    def forward(self, image: Tensor) -> SegOutput:
        pixels = self.normalize(image)
        embedding = (self.conv(pixels) + self.conv(pixels.square())).relu()
        return SegOutput(self.classifier(embedding), embedding, ())


def constants(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The initializers of an ONNX file by name, and the nodes by what they put out."""
    graph = onnx.load(file).graph
    values = {each.name: torch.from_numpy(onnx.numpy_helper.to_array(each).copy()) for each in graph.initializer}
    return values, {name: node for node in graph.node for name in node.output}


@pytest.mark.parametrize(("calibration", "of_all"), [("mean", np.mean), ("minmax", np.max)])
def test_ranges_are_those_of_the_images(tmp_path: Path, calibration: Calibration, of_all: Callable[..., float]) -> None:
    model, settings = patches(*"abcd"), ExportSettings(int8=True, images=4, calibration=calibration)
    exporter = Exporter(model, settings, load_recipe(*DATA), tmp_path, "network")
    exporter.write("onnx", "int8")
    images = [model.network.normalize(each.image[None] / 255) for each in exporter.data("train")]
    width = of_all([float(each.max()) for each in images]) + of_all([-float(each.min()) for each in images])
    ranges = activation_ranges(tmp_path / "network.int8.onnx")
    assert 255 * ranges["div"].scale == pytest.approx(width, rel=1e-4)  # div ends the normalization


@pytest.mark.parametrize("network", [Patches, Twice])
def test_biases_take_back_what_rounded_weights_add(tmp_path: Path, network: type[Patches]) -> None:
    torch.manual_seed(0)
    model = LoadedModel(network(5).eval(), patches(*"abcd").classes, Path("patches"))
    assert isinstance(model.network, Patches)
    nn.init.normal_(model.network.conv.weight, mean=0.3)
    with torch.no_grad():
        model.network.conv.weight[:, 0, 0, 0] = 40  # so that all others are rounded by large steps
    exporter = Exporter(model, ExportSettings(int8=True, images=4), load_recipe(*DATA), tmp_path, "network")
    exporter.write("onnx", "int8")
    values, makers = constants(tmp_path / "network.int8.onnx")
    pixels = model.network.normalize(torch.stack([each.image for each in exporter.data("train")]) / 255)
    maps = [pixels, pixels.square()] if network is Twice else [pixels]
    convolutions = [node for node in makers.values() if node.op_type == "Conv"]
    assert len(convolutions) == len(maps) + 1  # the classifier
    for image, convolution in zip(maps, convolutions[:-1], strict=True):
        weight, scales, _ = (values[name] for name in makers[convolution.input[1]].input)
        bias, steps = (values[name] for name in makers[convolution.input[2]].input[:2])
        error = weight * scales.view(-1, 1, 1, 1) - model.network.conv.weight.detach()
        added = F.conv2d(image, error, stride=2).mean((0, 2, 3))
        assert (added.abs() > 2 * steps).sum() > 4  # or it would say nothing
        expected = model.network.conv.bias.detach() - added
        assert ((bias * steps - expected).abs() < 1.01 * steps).all()  # the bias is rounded, and what is taken off


@pytest.mark.skipif(
    platform.machine() == "x86_64" and CPUINFO.exists() and "vnni" not in CPUINFO.read_text(),
    reason="without VNNI onnxruntime's sums of two 8-bit products saturate (docs/export.md)",
)
@pytest.mark.parametrize("outputs", ["logits", "small"])
def test_int8_keeps_the_mean_of_each_classs_scores(tmp_path: Path, outputs: Outputs) -> None:
    torch.manual_seed(0)
    model = patches(*"abcd", width=61)
    assert isinstance(model.network, Patches)
    nn.init.normal_(model.network.conv.weight, mean=0.3)
    nn.init.normal_(model.network.classifier.weight)
    recipe = load_recipe(*DATA, f"inference.size_divisor={32 if outputs == 'logits' else 1}")
    settings = ExportSettings(size=(48, 80), outputs=outputs, int8=True, images=4)
    exporter = Exporter(model, settings, recipe, tmp_path, "network")
    exporter.write("onnx", "float32")
    exporter.write("onnx", "int8")
    images = [sample.image[None].numpy().astype(np.float32) / 255 for sample in exporter.data("train")]
    before, after = (
        np.mean([OnnxBackend(tmp_path / name)(image).mean((0, 2, 3)) for image in images], axis=0)
        for name in ("network.onnx", "network.int8.onnx")
    )
    np.testing.assert_allclose(after, before, rtol=0, atol=0.03)  # up to 0.1 without the correction
    graph = onnx.load(tmp_path / "network.int8.onnx").graph
    makers = {name: node for node in graph.node for name in node.output}
    last = [makers[graph.output[0].name]]
    while last[-1].op_type not in ("Conv", "DequantizeLinear"):
        last.append(makers[last[-1].input[0]])
    assert {node.op_type for node in last[:-1]} == ({"Slice", "Resize"} if outputs == "logits" else set())
