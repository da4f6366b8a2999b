"""From a traced network to an ONNX file."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from segdistill.core.errors import SegdistillError
from segdistill.models.exported.backends import first_line, require_package
from segdistill.models.exported.description import KEY, ExportDescription

OPSET = 18
"""Of every file: it has all that these networks need, and every runtime of the last three years reads it."""


def write_onnx(
    program: torch.export.ExportedProgram, path: Path, description: ExportDescription
) -> torch.export.ExportedProgram:
    """Write a traced network as ONNX.

    Args:
        program: The traced network.
        path: Of the file.
        description: For its metadata.

    Returns:
        The program as it was written, whose nodes have the names of the file's tensors; its weights are `program`'s.

    Raises:
        RecipeError: The packages that write ONNX are not installed.
        SegdistillError: An operation of the network has no counterpart in ONNX.
    """
    onnx = require_package("onnx", "writes .onnx files")
    require_package("onnxscript", "writes .onnx files")
    try:
        with _silence():
            made = torch.onnx.export(
                program, dynamo=True, opset_version=OPSET, input_names=["image"], output_names=[description.outputs],
                verbose=False,
            )  # fmt: skip
    except Exception as error:  # the exporter has many
        cause = error.__cause__ or error
        raise SegdistillError(f"The network can't be written as ONNX: {first_line(cause)}.") from error  # type: ignore[arg-type]
    assert made is not None
    model = made.model_proto
    _clean(model, description)
    onnx.checker.check_model(model)
    describe(model, description)
    onnx.save_model(model, path)
    assert made.exported_program is not None
    return made.exported_program


def describe(model: Any, description: ExportDescription) -> None:
    """Write the description into the metadata of an onnx.ModelProto."""
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, description.as_json()
    model.producer_name, model.producer_version = KEY, str(description.origin.get("version", ""))
    model.doc_string = f"Semantic segmentation, {len(description.classes)} classes; the metadata '{KEY}' describes it."


def _clean(model: Any, description: ExportDescription) -> None:
    """Take paths of this machine out of an onnx.ModelProto, and give the free axes names."""
    image = model.graph.input[0].type.tensor_type.shape.dim
    sides = (1, 2) if description.input == "uint8" else (2, 3)
    wanted = {image[axis].dim_param: name for axis, name in zip((0, *sides), ("batch", "height", "width"), strict=True)}
    pattern = re.compile(r"\b(" + "|".join(re.escape(name) for name in wanted if name) + r")\b")
    del model.graph.value_info[:]  # shapes of the traced size stand in it, by which runtimes share memory
    infos = [*model.graph.input, *model.graph.output]
    for info in infos:
        for axis in info.type.tensor_type.shape.dim:
            if axis.dim_param:
                axis.dim_param = pattern.sub(lambda match: wanted[match.group()], axis.dim_param)
    for part in [*model.graph.node, *model.graph.initializer, *infos, *model.functions, model.graph]:
        del part.metadata_props[:]
        part.doc_string = ""


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """While entered, the exporter's progress and advice to its own developers are not printed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def halve(source: Path, target: Path, description: ExportDescription) -> None:
    """Write an ONNX file again with weights and operations in float16; its input and output stay as they are.

    Raises:
        RecipeError: onnxruntime, which has the converter, is not installed.
    """
    onnx = require_package("onnx", "writes .onnx files")
    converter = require_package("onnxruntime.transformers.float16", "converts to float16")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about weights that float16 rounds to zero
        model = converter.convert_float_to_float16(onnx.load(source), keep_io_types=True)
    describe(model, description)
    onnx.save_model(model, target)
