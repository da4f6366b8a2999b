"""Bias correction: what rounding to 8 bits does to means is taken back by the biases of an INT8 file, which are 32-bit.

The float file's convolution and the INT8 file's, whose weight is W' in place of W, x being a calibration image's map:

    conv(x, W) + b     and     conv(x, W') + b - mean(conv(x, W' - W))     have the same mean over images and pixels

and the classifier, last of all, keeps each class's mean score with all that is rounded before it, activations too.
Source: Nagel et al., "Data-free quantization through weight equalization and bias correction", ICCV 2019, arXiv
1906.04721; means are measured here, as in its appendix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segdistill.models.exported.backends import Array, onnx_runtime, require_package

_BEHIND = ("Cast", "ArgMax", "Slice", "Resize")
_ERROR = ".rounding"  # what is added to a name for the convolution with the error of its weights


def correct_biases(before: Any, quantized: Any, batches: Sequence[Array]) -> None:
    """Correct the 8-bit file's biases of convolutions, and then of the classifier for all that is left.

    Convolutions without a bias, and linear layers, whose bias the quantizer makes an activation, are left as they are.

    Args:
        before: The float onnx.ModelProto that was quantized.
        quantized: What became of it; changed in place.
        batches: Calibration images, one a batch.
    """
    convolutions = _quantized_convolutions(before, quantized)
    if convolutions:
        _move(quantized, _rounding_shifts(before, convolutions, batches))
    _center_scores(before, quantized, batches)


def last_nodes(model: Any) -> list[Any]:
    """The nodes behind the classifier, the last one first: back to the first operation with weights."""
    makers = {name: node for node in model.graph.node for name in node.output}
    nodes = []
    node = makers.get(model.graph.output[0].name)
    while node is not None and node.op_type in _BEHIND:
        nodes.append(node)
        node = makers.get(node.input[0])
    return nodes


@dataclass(frozen=True)
class _Convolution:
    """A convolution of both files.

    Attributes:
        node: In the float file.
        error: What rounding has added to its weight, of the weight's shape.
        bias: The name of its 32-bit bias in the INT8 file.
    """

    node: Any
    error: Array
    bias: str


def _quantized_convolutions(before: Any, quantized: Any) -> list[_Convolution]:
    """The convolutions with a bias whose weight is 8-bit in the second file."""
    weights, values = _values(before), _values(quantized)
    makers = {name: node for node in quantized.graph.node for name in node.output}
    after = {node.name: node for node in quantized.graph.node if node.op_type == "Conv"}
    convolutions = []
    for node in before.graph.node:
        twin = after.get(node.name)
        if twin is None or len(node.input) < 3 or node.input[1] not in weights:
            continue
        weight, bias = (makers.get(name) for name in twin.input[1:3])
        if weight is None or bias is None or bias.op_type != "DequantizeLinear":
            continue
        exact = weights[node.input[1]]
        scale = values[weight.input[1]].reshape(-1, *[1] * (exact.ndim - 1))
        convolutions.append(_Convolution(node, values[weight.input[0]] * scale - exact, bias.input[0]))
    return convolutions


def _rounding_shifts(before: Any, convolutions: Sequence[_Convolution], batches: Sequence[Array]) -> dict[str, Array]:
    """By how much rounded weights move the mean of each channel, by the bias that can take it back.

    The float file gets a second convolution beside each, with the error for a weight, so one run of it is enough.
    """
    onnx = require_package("onnx", "writes .onnx files")
    model = _copy(before)
    outputs = {}
    for each in convolutions:
        name = f"{each.node.name}{_ERROR}"
        model.graph.initializer.append(onnx.numpy_helper.from_array(each.error.astype(np.float32), name))
        model.graph.node.add().CopyFrom(each.node)
        node = model.graph.node[-1]
        node.name, node.output[0] = name, f"{name}.map"
        del node.input[1:]
        node.input.append(name)
        outputs[node.output[0]] = each.bias
    return {outputs[name]: mean for name, mean in _channel_means(model, list(outputs), batches).items()}


def _center_scores(before: Any, quantized: Any, batches: Sequence[Array]) -> None:
    """Correct the classifier's bias so that each class's mean score is that of the float file."""
    nodes = last_nodes(before)
    scores = nodes[-1].input[0] if nodes else before.graph.output[0].name
    makers = {name: node for node in quantized.graph.node for name in node.output}
    classifier = makers.get(scores)
    while classifier is not None and classifier.op_type in ("QuantizeLinear", "DequantizeLinear"):  # of outputs=small
        classifier = makers.get(classifier.input[0])
    if classifier is None or classifier.op_type != "Conv" or len(classifier.input) < 3:
        return
    after, wanted = (_channel_means(_copy(each), [scores], batches)[scores] for each in (quantized, before))
    _move(quantized, {makers[classifier.input[2]].input[0]: after - wanted})


def _move(quantized: Any, shifts: Mapping[str, Array]) -> None:
    """Take shifts (O,) off the biases of these names, to the next of their 32-bit steps."""
    onnx = require_package("onnx", "writes .onnx files")
    scales = {node.input[0]: node.input[1] for node in quantized.graph.node if node.op_type == "DequantizeLinear"}
    values = {each.name: each for each in quantized.graph.initializer}
    for name, shift in shifts.items():
        steps = np.round(shift / onnx.numpy_helper.to_array(values[scales[name]])).astype(np.int32)
        moved = onnx.numpy_helper.to_array(values[name]) - steps
        values[name].CopyFrom(onnx.numpy_helper.from_array(moved, name))


def _channel_means(model: Any, tensors: Sequence[str], batches: Sequence[Array]) -> dict[str, Array]:
    """The means (C,) of maps (N,C,h,w) over images and pixels; the onnx.ModelProto gets outputs for them."""
    onnx = require_package("onnx", "writes .onnx files")
    axes = onnx.numpy_helper.from_array(np.array([0, 2, 3], np.int64), f"axes{_ERROR}")
    model.graph.initializer.append(axes)
    del model.graph.output[:]
    for name in tensors:
        model.graph.node.append(onnx.helper.make_node("ReduceMean", [name, axes.name], [f"{name}.mean"], keepdims=0))
        model.graph.output.add().name = f"{name}.mean"
    runtime = onnx_runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    runs = [session.run(None, {"image": batch}) for batch in batches]
    return {name: np.mean(means, axis=0) for name, means in zip(tensors, zip(*runs, strict=True), strict=True)}


def _values(model: Any) -> dict[str, Array]:
    """The constants of an onnx.ModelProto by name."""
    onnx = require_package("onnx", "writes .onnx files")
    return {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}


def _copy(model: Any) -> Any:
    """A copy of an onnx.ModelProto."""
    copied = type(model)()
    copied.CopyFrom(model)
    return copied
