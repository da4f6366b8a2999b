"""What runs an exported file: onnxruntime, OpenVINO, or torch. Each is imported when its first file is opened."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from segdistill.core.errors import CheckpointError, RecipeError, SegdistillError
from segdistill.models.exported.description import KEY, ExportDescription, read_export_description
from segdistill.models.exported.pt2 import load_program

Array = NDArray[Any]


class Backend(ABC):
    """An opened file: called on a batch as the file takes it, it gives what the file gives.

    Args:
        path: The file.
        threads: How many it may use; None for as many as torch uses.

    Raises:
        RecipeError: The package that runs such files is not installed.
        CheckpointError: The file is damaged or not from this library.
    """

    suffix: ClassVar[str]
    name: ClassVar[str]
    description: ExportDescription

    def __init__(self, path: Path, threads: int | None = None) -> None:
        self.path = path
        self.threads = threads or torch.get_num_threads()
        try:
            self.description = read_export_description(self._open(), path)
        except SegdistillError:
            raise
        except Exception as error:  # each runtime has exceptions of its own
            raise CheckpointError(
                f"Can't read {path} with {self.name}: {first_line(error)}. It may be damaged: export the run again."
            ) from error

    @abstractmethod
    def _open(self) -> str | None:
        """Open the file and give the description in its metadata."""

    @abstractmethod
    def __call__(self, batch: Array) -> Array:
        """The file's answer to a batch."""

    @property
    def bytes(self) -> int:
        """The size of the file, with the one of weights beside it if there is one."""
        beside = self.path.with_suffix(".bin")
        with_weights = self.suffix == ".xml" and beside.is_file()
        return self.path.stat().st_size + (beside.stat().st_size if with_weights else 0)


def onnx_runtime() -> Any:
    """onnxruntime, told to report nothing of its use.

    Raises:
        RecipeError: It is not installed.
    """
    runtime = require_package("onnxruntime", "runs .onnx files")
    runtime.disable_telemetry_events()
    return runtime


class OnnxBackend(Backend):
    """onnxruntime on the processor."""

    suffix = ".onnx"
    name = "onnxruntime"

    def _open(self) -> str | None:
        runtime = onnx_runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.log_severity_level = 3  # its warnings are about its own optimizations
        self._session = runtime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        text: str | None = self._session.get_modelmeta().custom_metadata_map.get(KEY)
        return text

    def __call__(self, batch: Array) -> Array:
        answer: Array = self._session.run(None, {self._input: batch})[0]
        return answer


class OpenVinoBackend(Backend):
    """OpenVINO on the processor."""

    suffix = ".xml"
    name = "OpenVINO"

    def _open(self) -> str | None:
        openvino = require_package("openvino", "runs .xml files of OpenVINO")
        core = openvino.Core()
        model = core.read_model(self.path)
        text = str(model.get_rt_info(KEY).value) if KEY in model.get_rt_info() else None
        settings = {"INFERENCE_NUM_THREADS": self.threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
        if _precision(text) != "float16":
            settings["INFERENCE_PRECISION_HINT"] = "f32"  # or processors that can would round to bfloat16
        self._model = core.compile_model(model, "CPU", settings)
        return text

    def __call__(self, batch: Array) -> Array:
        return np.array(self._model(batch)[0])


class TorchBackend(Backend):
    """torch itself, of an ExportedProgram."""

    suffix = ".pt2"
    name = "torch"

    def _open(self) -> str | None:
        program, text = load_program(self.path, KEY)
        self._module = program.module()
        return text

    @torch.no_grad()
    def __call__(self, batch: Array) -> Array:
        answer: Array = self._module(torch.from_numpy(batch)).numpy()
        return answer


BACKENDS: dict[str, type[Backend]] = {each.suffix: each for each in (OnnxBackend, OpenVinoBackend, TorchBackend)}
"""Suffix of a file -> what runs it."""


def require_package(name: str, purpose: str) -> Any:
    """The module of an optional package.

    Args:
        name: Of the module, as "onnxruntime.quantization".
        purpose: What the package does, for the message: "runs .onnx files".

    Returns:
        The module.

    Raises:
        RecipeError: It is not installed, or can't be imported.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise RecipeError(
            f"The package {name.partition('.')[0]}, which {purpose}, can't be imported ({error}). "
            "Install it with: pip install 'segdistill[export]'"
        ) from error


def _precision(text: str | None) -> str:
    return "float32" if text is None else "float16" if '"precision": "float16"' in text else "float32"


def first_line(error: Exception) -> str:
    """The first line of an error's message, of which runtimes write pages.

    Args:
        error: Of any runtime.

    Returns:
        At most 300 characters, without a period at the end; the error's type where it says nothing.
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300].rstrip(".")
