"""From a traced network to the other formats: OpenVINO and torch."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path

import torch

from segdistill.core.errors import SegdistillError
from segdistill.exporting.graph import Traced
from segdistill.models.exported.backends import first_line, require_package
from segdistill.models.exported.description import KEY, ExportDescription


def write_openvino(source: Path, target: Path, description: ExportDescription) -> None:
    """Write an ONNX file as OpenVINO's .xml and .bin.

    Args:
        source: The ONNX file.
        target: The .xml file; the weights stand beside it.
        description: For the metadata. Weights are float16 if it says so.

    Raises:
        RecipeError: OpenVINO is not installed.
    """
    openvino = require_package("openvino", "writes .xml files")
    save_openvino(openvino.Core().read_model(source), target, description)


def save_openvino(model: object, target: Path, description: ExportDescription) -> None:
    """Write an openvino.Model with its description."""
    openvino = require_package("openvino", "writes .xml files")
    model.set_rt_info(description.as_json(), KEY)  # type: ignore[attr-defined]
    openvino.save_model(model, target, compress_to_fp16=description.precision == "float16")


def write_program(traced: Traced, path: Path, description: ExportDescription) -> None:
    """Write a traced network as an ExportedProgram (.pt2), from which Core ML, LiteRT and ExecuTorch start.

    Raises:
        SegdistillError: torch can't write an operation on sizes, as the ceil of timm's "same" padding, or the trace
            holds for small images only, as where the network pools maps that are 1x1 then.
    """
    program = traced.program
    if traced.most is not None:
        most = "x".join(map(str, traced.most))
        raise SegdistillError(
            f"The traced network holds for images of up to {most}, and no .pt2 of it is for any size. Give a size, as "
            "size=512x1024."
        )
    program._example_inputs = None  # they would be pickled
    content = io.BytesIO()  # torch's own writer ends the process on a full disk
    try:
        with _silence():
            torch.export.save(program, content, extra_files={KEY: description.as_json()})
    except Exception as error:  # torch's writer has several
        hint = "" if description.size else " Give a size, as size=512x1024, so that sizes are numbers."
        raise SegdistillError(f"torch can't write the traced network as .pt2: {first_line(error)}.{hint}") from error
    path.write_bytes(content.getbuffer())


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """While entered, torch does not log the whole graph of a network that it can't write."""
    logger = logging.getLogger("torch._export")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
