"""A network as its INT8 file computes it, in torch and with gradients: what quantization-aware training trains.

onnxruntime's quantizer says which tensors of the graph become 8-bit and with which scale and zero point. An ONNX file
names its tensors as the traced program does that it was written from, so the same places are found there:

    in the INT8 file   image - Q - DQ ------ Conv - Q - DQ -- ...    Conv's weight is int8, a scale a channel or one
    here               image - fake -- conv(fake weight) - fake -- ...

fake(x) = s (clamp(round(x / s) + z, 0, 255) - z), with a straight-through gradient for round. The zero point z stays;
the scale s of every activation is learned, log s being the parameter. Sources: Jacob et al., arXiv 1712.05877 (fake
quantization, batch norms folded into convolutions before their weights are rounded); Esser et al., arXiv 1902.08153 and
Jain et al., arXiv 1903.08066 (learned scales, in the logarithm).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind

from segdistill.core.outputs import SegOutput
from segdistill.models.exported.description import Input
from segdistill.models.network import SegmentationNetwork

_ATEN = torch.ops.aten
_NORM = _ATEN._native_batch_norm_legit_no_training.default
_CONVS = (_ATEN.conv2d.default, _ATEN.convolution.default)
_LINEARS = (_ATEN.linear.default, _ATEN.addmm.default, _ATEN.mm.default)
_SILUS = (_ATEN.silu.default,)
_BEHIND = (_ATEN.argmax.default, _ATEN._to_copy.default, _ATEN.upsample_bilinear2d.vec)


SIGMOID = ".sigmoid"
"""What the place of the sigmoid inside of a SiLU is called: the SiLU's name and this. torch has one node for both."""


@dataclass(frozen=True)
class Range:
    """The 8-bit grid of an activation: x is scale * (q - zero_point), q from 0 to 255.

    Attributes:
        scale, zero_point: Of the grid.
        product: Of a sigmoid, the tensor that it is a factor of, or nothing.
    """

    scale: float
    zero_point: int
    product: str = ""


def fake_quantize(x: Tensor, scale: Tensor, zero_point: int | Tensor, low: int, high: int) -> Tensor:
    """x as 8-bit integers hold it: scale * (clamp(round(x / scale) + zero_point, low, high) - zero_point).

    Rounding has the gradient of the identity, so that of x is 1 within the range and 0 outside of it.

    Args:
        x: Of any shape.
        scale: That broadcasts with it.
        zero_point: The integer that stands for 0.
        low, high: The smallest and largest integer.
    """
    exact = x / scale
    rounded = exact + (exact.round() - exact).detach()
    return (torch.clamp(rounded + zero_point, low, high) - zero_point) * scale


def fake_weight(weight: Tensor, *, per_channel: bool) -> Tensor:
    """Weights (O,...) as int8 holds them, -127 to 127: the largest of a channel, or of all, is 127."""
    largest = weight.detach().abs()
    if per_channel and weight.ndim > 1:
        largest = largest.flatten(1).amax(1).view(-1, *[1] * (weight.ndim - 1))
    else:
        largest = largest.amax()
    return fake_quantize(weight, (largest / 127).clamp_min(torch.finfo(weight.dtype).tiny), 0, -127, 127)


class SimulatedNetwork(SegmentationNetwork):
    """The student with the rounding of its INT8 file. Batch norms keep their statistics; all else is trained.

    Its parameters are those of the program, which are those of the network that was traced: training it trains them.

    Args:
        program: What the float ONNX file was written from; its nodes have the names of the file's tensors.
        ranges: Of the activations that the INT8 file quantizes, by their names there.
        num_classes: K.
        input: What the program takes.
        per_channel: Whether weights have a scale a channel, or one.
    """

    def __init__(
        self,
        program: torch.export.ExportedProgram,
        ranges: Mapping[str, Range],
        *,
        num_classes: int,
        input: Input,
        per_channel: bool,
    ) -> None:
        super().__init__(num_classes=num_classes, mean=(0, 0, 0), std=(1, 1, 1))
        self.input = input
        graph = _up_to_scores(program.graph_module)
        names = {node.name for node in graph.graph.nodes}
        nodes = {
            name: name if name in names else f"{each.product}{SIGMOID}"
            for name, each in ranges.items()
            if name in names or each.product in names
        }
        self.unseen = sorted(set(ranges) - set(nodes))
        """Tensors of the file that torch's program does not have, as between the two halves of a linear layer."""
        self._ranges = {name: ranges[name] for name in nodes}
        self._places = {node: index for index, node in enumerate(nodes.values())}
        self._zero_points = [each.zero_point for each in self._ranges.values()]
        self.log_scales = nn.Parameter(torch.tensor([math.log(each.scale) for each in self._ranges.values()]))
        constants: dict[str, Any] = {**program.state_dict, **program.constants}
        self.weights = nn.ParameterList(
            each for each in program.state_dict.values() if isinstance(each, nn.Parameter) and each.is_floating_point()
        )
        state = {
            spec.arg.name: constants[spec.target]
            for spec in program.graph_signature.input_specs
            if spec.kind != InputKind.USER_INPUT
        }
        self._run = _Rounding(graph, state, self, per_channel)

    def ranges(self) -> dict[str, Range]:
        """The learned ranges, by the names of the file's tensors."""
        scales = self.log_scales.detach().exp().tolist()
        return {
            name: replace(each, scale=scale) for (name, each), scale in zip(self._ranges.items(), scales, strict=True)
        }

    def rounded(self, node: str, x: Tensor) -> Tensor:
        """An activation as the file holds it, if that quantizes it."""
        index = self._places.get(node)
        if index is None:
            return x
        return fake_quantize(x, self.log_scales[index].exp(), self._zero_points[index], 0, 255)

    def forward(self, image: Tensor) -> SegOutput:
        """RGB (N,3,H,W) in [0,1] -> the scores before they are resized; they have no embedding and no stages."""
        if self.input == "uint8":
            image = (image * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
        logits: Tensor = self._run.run(image)
        return SegOutput(logits=logits, embedding=logits.new_zeros(len(logits), 0, 1, 1), features=())


class _Rounding(fx.Interpreter):
    """Runs a traced program up to its scores, with the rounding of weights and activations put in.

    A convolution and the batch norm that follows it are one convolution here, as in the file.
    """

    def __init__(
        self, graph: fx.GraphModule, state: dict[str, Tensor], network: SimulatedNetwork, per_channel: bool
    ) -> None:
        super().__init__(graph)
        self.state, self.per_channel = state, per_channel
        self._rounded = network.rounded
        self._norms = dict(_norms_behind(graph.graph))

    def placeholder(self, target: Any, args: Any, kwargs: Any) -> Any:
        return self.state[target] if target in self.state else super().placeholder(target, args, kwargs)

    def run_node(self, node: fx.Node) -> Any:
        first: Any = node.args[0] if node.args else None
        if node.name in self.state:
            return self.state[node.name]
        if node in self._norms.values():
            return (self.env[first], None, None)  # it was part of the convolution
        if node.target in _CONVS:
            return self._rounded(node.name, self._convolution(node))
        if node.target in _LINEARS:
            return self._rounded(node.name, self._linear(node))
        if node.target in _SILUS:
            x = self.env[first]
            return self._rounded(node.name, x * self._rounded(node.name + SIGMOID, x.sigmoid()))
        result = super().run_node(node)
        return self._rounded(node.name, result) if isinstance(result, Tensor) else result

    def _convolution(self, node: fx.Node) -> Tensor:
        """A convolution with rounded weights; w g and (b - mean) g + beta, g = gamma / sqrt(var + eps), if normed."""
        args, kwargs = self.fetch_args_kwargs_from_env(node)
        x, weight, bias, *rest = (*args, None) if len(args) == 2 else args
        norm = self._norms.get(node)
        if norm is not None:
            constants: Any = norm.args[1:]
            gamma, beta, mean, variance = (None if arg is None else self.state[arg.name] for arg in constants[:4])
            assert mean is not None
            assert variance is not None
            factor = (variance + constants[5]).rsqrt() * (1 if gamma is None else gamma)
            weight = weight * factor.view(-1, 1, 1, 1)
            bias = (-mean if bias is None else bias - mean) * factor + (0 if beta is None else beta)
        weight = fake_weight(weight, per_channel=self.per_channel)
        result: Tensor = node.target(x, weight, bias, *rest, **kwargs)  # type: ignore[operator]
        return result

    def _linear(self, node: fx.Node) -> Tensor:
        """A linear layer with rounded weights, where one of its factors is a weight."""
        args, kwargs = self.fetch_args_kwargs_from_env(node)
        args = tuple(
            fake_weight(value, per_channel=self.per_channel)
            if isinstance(source, fx.Node) and source.name in self.state and value.ndim == 2
            else value
            for source, value in zip(node.args, args, strict=True)
        )
        result: Tensor = node.target(*args, **kwargs)  # type: ignore[operator]
        return result


def _up_to_scores(module: fx.GraphModule) -> fx.GraphModule:
    """The same graph, ending with the class scores: without the last resizing and the argmax."""
    results: Any = module.graph.output_node().args[0]
    node = results[0]
    while node.target in _BEHIND:
        node = node.args[0]
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    graph.graph_copy(module.graph, copies)
    graph.output(copies[node])
    graph.eliminate_dead_code()
    return fx.GraphModule(module, graph)


def _norms_behind(graph: fx.Graph) -> list[tuple[fx.Node, fx.Node]]:
    """Convolutions and the batch norms that alone read them, which the quantizer's pre-processing makes one."""
    norms: list[Any] = [node for node in graph.nodes if node.target is _NORM]
    return [(node.args[0], node) for node in norms if node.args[0].target in _CONVS and len(node.args[0].users) == 1]
