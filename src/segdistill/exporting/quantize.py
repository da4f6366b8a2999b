"""INT8: static quantization with training images, by onnxruntime for ONNX and by NNCF for OpenVINO, never crossed."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segdistill.core.errors import SegdistillError
from segdistill.data import SegmentationDataset
from segdistill.exporting.bias_correction import correct_biases, last_nodes
from segdistill.exporting.formats import save_openvino
from segdistill.exporting.onnx_file import describe
from segdistill.exporting.settings import ExportSettings
from segdistill.exporting.simulation import Range
from segdistill.models.exported.backends import Array, first_line, onnx_runtime, require_package
from segdistill.models.exported.description import ExportDescription
from segdistill.models.exported.network import as_batch

_METHODS = {"mean": "MinMax", "minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}


def calibration_batches(
    data: SegmentationDataset, settings: ExportSettings, description: ExportDescription
) -> list[Array]:
    """The training images that ranges are calibrated with, one a batch, drawn by the seed; whole, as images are run."""
    count = min(settings.images, len(data))
    drawn = sorted(random.Random(settings.seed).sample(range(len(data)), count))
    return [as_batch(data[index].image[None], description) for index in drawn]


def quantize_onnx(
    source: Path,
    target: Path,
    batches: Sequence[Array],
    settings: ExportSettings,
    description: ExportDescription,
    learned: Mapping[str, Range] | None = None,
) -> None:
    """Write an ONNX file with 8-bit weights, a scale a channel, and 8-bit activations (QDQ).

    The file goes through onnxruntime's pre-processing first: without it, operations are not fused, and the quantized
    file is slower than the float one. The last resizing and the argmax stay in float: they hold class scores. Rounding
    moves the means of channels and of class scores; biases move them back, where ranges are not learned.

    Args:
        source: The float file.
        target: The file to write.
        batches: What ranges are calibrated with.
        settings: The method.
        description: For the metadata.
        learned: Ranges of activations by name, which are taken as they are.

    Raises:
        RecipeError: onnx or onnxruntime is not installed.
        SegdistillError: The quantizer can't quantize the network.
    """
    onnx = require_package("onnx", "writes .onnx files")
    onnx_runtime()
    shapes = {batch.shape for batch in batches}
    if len(shapes) > 1 and settings.calibration in ("entropy", "percentile"):
        raise SegdistillError(
            f"calibration={settings.calibration} needs images of one size, and the training images have {len(shapes)} "
            "sizes. Take calibration=mean or minmax, or one size for all, as size=512x1024."
        )
    tools = require_package("onnxruntime.quantization", "quantizes .onnx files")
    prepare = require_package("onnxruntime.quantization.shape_inference", "quantizes .onnx files")
    prepared = target.with_name(f"{target.stem}.prepared.onnx")
    with _explained("onnxruntime"):
        prepare.quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        tools.quantize_static(
            str(prepared),
            str(target),
            _reader(tools, batches),
            quant_format=tools.QuantFormat.QDQ,
            per_channel=settings.per_channel,
            activation_type=tools.QuantType.QUInt8,
            weight_type=tools.QuantType.QInt8,
            calibrate_method=tools.CalibrationMethod[_METHODS[settings.calibration]],
            nodes_to_exclude=[node.name for node in last_nodes(onnx.load(prepared))],
            extra_options={
                "TensorQuantOverrides": _overrides(tools, learned or {}),
                "CalibMovingAverage": settings.calibration == "mean",
            },
        )
    model = onnx.load(target)
    if learned is None:
        correct_biases(onnx.load(prepared), model, batches)
    prepared.unlink()
    describe(model, description)
    onnx.save_model(model, target)


def _overrides(tools: Any, learned: Mapping[str, Range]) -> dict[str, list[dict[str, Any]]]:
    """Ranges as onnxruntime's quantizer takes them."""
    kind = tools.QuantType.QUInt8
    return {
        tensor: [
            {
                "scale": np.array(each.scale, np.float32),
                "zero_point": np.array(each.zero_point, np.uint8),
                "quant_type": kind,
            }
        ]
        for tensor, each in learned.items()
    }


def activation_ranges(path: Path) -> dict[str, Range]:
    """The activations that an INT8 ONNX file quantizes, by name."""
    onnx = require_package("onnx", "reads .onnx files")
    graph = onnx.load(path).graph
    values = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    readers = {name: node for node in graph.node for name in node.input}
    ranges: dict[str, Range] = {}
    for node in graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0] in values:
            continue
        tensor, scale, zero_point = node.input
        product = ""
        if tensor in makers and makers[tensor].op_type == "Sigmoid":
            product = readers[readers[node.output[0]].output[0]].output[0]
        ranges[tensor] = Range(float(values[scale]), int(values[zero_point]), product)
    return ranges


def _reader(tools: Any, batches: Sequence[Array]) -> Any:
    """The batches as onnxruntime's quantizer asks for them."""
    waiting = iter(batches)

    class Reader(tools.CalibrationDataReader):  # type: ignore[misc]
        """One batch at a time, then None."""

        def get_next(self) -> dict[str, Array] | None:
            batch = next(waiting, None)
            return None if batch is None else {"image": batch}

    return Reader()


def quantize_openvino(source: Path, target: Path, batches: list[Array], description: ExportDescription) -> None:
    """Write an OpenVINO file in 8 bits by NNCF, from a float ONNX file; arguments as for `quantize_onnx`."""
    openvino = require_package("openvino", "writes .xml files")
    os.environ.setdefault("NNCF_CI", "1")  # its switch for reporting nothing of its use, read when it is imported
    nncf = require_package("nncf", "quantizes .xml files")
    with _explained("NNCF"):
        model = openvino.Core().read_model(source)
        quantized = nncf.quantize(model, nncf.Dataset(batches), subset_size=len(batches))
        save_openvino(quantized, target, description)


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """While entered, a tool says nothing, and what it raises becomes an error for people."""
    loggers = [logging.getLogger(each) for each in ("root", "nncf", "onnxruntime")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        raise SegdistillError(
            f"{name} can't quantize the network: {first_line(error)}. Nothing was written. Export it without int8."
        ) from error
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
