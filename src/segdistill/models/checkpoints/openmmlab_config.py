"""The configuration that OpenMMLab keeps in its files: what no tensor shows, the stride and what pixels become."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from segdistill.core.errors import CheckpointError
from segdistill.models.preprocessor import unless_usual

_STRIDES = {
    ((1, 2, 1, 1), (1, 1, 2, 4)): 8,
    ((1, 2, 2, 1), (1, 1, 1, 2)): 16,
    ((1, 2, 2, 2), (1, 1, 1, 1)): 32,
}
"""Strides and dilations of a ResNet's stages -> its output stride."""


def configured(meta: Mapping[str, Any], network: Mapping[str, Any]) -> dict[str, Any]:
    """What a file's configuration, a text in Python's syntax that is parsed and never run, says of its network.

    Args:
        meta: The plain values of the file; its text is under "cfg" (mmseg 1) or "config" (mmseg 0).
        network: Fields of a `NetworkSpec`, as the tensors imply them.

    Returns:
        Fields in the place of those: output_stride and head of a ResNet, mean, std and bgr; none without a text.

    Raises:
        CheckpointError: The network is built as this library can't build it.
    """
    text = meta.get("cfg") or meta.get("config")
    tree = _parsed(text) if isinstance(text, str) else {}
    model = tree.get("model") if isinstance(tree.get("model"), dict) else {}
    assert isinstance(model, dict)
    pixels = model.get("data_preprocessor") or tree.get("data_preprocessor") or tree.get("img_norm_cfg")
    return {**_stride(model, network), **(_pixels(pixels) if isinstance(pixels, dict) else {})}


def _stride(model: Mapping[str, Any], network: Mapping[str, Any]) -> dict[str, Any]:
    backbone, head = (each if isinstance(each := model.get(key), dict) else {} for key in ("backbone", "decode_head"))
    strides, dilations = (_numbers(backbone.get(key), 4) for key in ("strides", "dilations"))
    if not str(backbone.get("type")).startswith("ResNet") or not strides or not dilations:
        return {}
    built = strides, dilations
    if built not in _STRIDES or backbone.get("multi_grid"):
        grid = f", multi_grid {backbone['multi_grid']}" if backbone.get("multi_grid") else ""
        raise CheckpointError(
            f"its configuration has a ResNet of strides {built[0]} and dilations {built[1]}{grid}, which this library "
            f"can't build; expected one of {[*_STRIDES]}."
        )
    ours = network["head"]
    of_head = _numbers(head.get("dilations"), 1 + len(ours.get("dilations", ())))
    if "dilations" in ours and of_head:
        ours = {**ours, "dilations": [*of_head[1:]]}
    return {"output_stride": _STRIDES[built], "head": ours}


def _pixels(given: Mapping[str, Any]) -> dict[str, Any]:
    """mean and std of RGB in [0,1] from those of 0 to 255, which are in the order that the network sees."""
    mean, std = (_numbers(given.get(key), 3) for key in ("mean", "std"))
    if not mean or not std:
        return {}
    bgr = not given.get("bgr_to_rgb", given.get("to_rgb", False))
    order = -1 if bgr else 1
    mean, std = (tuple(value / 255 for value in each[::order]) for each in (mean, std))
    return unless_usual({"mean": mean, "std": std, "bgr": bgr})


def _numbers(value: Any, count: int) -> tuple[Any, ...]:
    """So many numbers; nothing where the value is something else."""
    is_list = isinstance(value, list | tuple) and len(value) == count
    return tuple(value) if is_list and all(isinstance(each, int | float) for each in value) else ()


def _parsed(text: str) -> dict[str, Any]:
    """The assignments of a text, as plain values; none of one that is not Python's."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    named = [each for each in body if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name)]
    return {each.targets[0].id: _value(each.value) for each in named}  # type: ignore[attr-defined]


def _value(node: ast.expr) -> Any:
    """A literal, or a call of dict with such; None for anything else."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        return {word.arg: _value(word.value) for word in node.keywords if word.arg is not None}
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return None
