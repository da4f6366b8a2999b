"""From a trained network to checked files in a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from segdistill.core.errors import SegdistillError
from segdistill.core.storage import sha256
from segdistill.data import SegmentationDataset, create_dataset
from segdistill.evaluation.settings import InferenceConfig
from segdistill.exporting.folder import add_description, assembled, copy_runner
from segdistill.exporting.formats import write_openvino, write_program
from segdistill.exporting.graph import ExportGraph, Traced, trace
from segdistill.exporting.measuring import latencies, score, timing_image, whole_images
from segdistill.exporting.onnx_file import OPSET, halve, write_onnx
from segdistill.exporting.origin import origin_of
from segdistill.exporting.parity import check_parity
from segdistill.exporting.quantize import activation_ranges, calibration_batches, quantize_onnx, quantize_openvino
from segdistill.exporting.quantized_training import TrainedInt8, float_teacher, train_quantized, weights_restored
from segdistill.exporting.result import Export, ExportedFile, Int8Report
from segdistill.exporting.settings import SUFFIX, ExportSettings, Format
from segdistill.exporting.simulation import SimulatedNetwork
from segdistill.exporting.web import refuse_other_page, require_runtime, write_page
from segdistill.models.channels import pixels_of
from segdistill.models.exported.backends import require_package
from segdistill.models.exported.description import ExportDescription, Precision
from segdistill.models.exported.intact import parts_of
from segdistill.models.exported.network import Exported, ExportedNetwork
from segdistill.models.loaded import LoadedModel
from segdistill.recipe.recipe import Recipe

_MARK: dict[Precision, str] = {"float32": "", "float16": ".fp16", "int8": ".int8"}


class Exporter:
    """Writes the files of one network into a folder. The network is traced once, whatever the number of files.

    Args:
        model: The network.
        settings: What is asked for.
        recipe: Of its run, if it has one.
        folder: Where files are written.
        name: Of the files, without suffix.
    """

    def __init__(
        self, model: LoadedModel, settings: ExportSettings, recipe: Recipe | None, folder: Path, name: str
    ) -> None:
        self.model, self.settings, self.recipe, self.folder, self.name = model, settings, recipe, folder, name
        self.named: torch.export.ExportedProgram | None = None  # with the names of the float ONNX file's tensors
        inference = InferenceConfig() if recipe is None else recipe.inference
        network, align_corners = model.network.cpu().eval(), inference.align_corners
        self.graph = ExportGraph(
            network, settings.input, settings.outputs, align_corners=align_corners, size_divisor=inference.size_divisor
        )
        divisor = inference.size_divisor if settings.outputs == "small" else 1
        if settings.size is not None and any(side % divisor for side in settings.size):
            height, width = (side + -side % divisor for side in settings.size)
            raise SegdistillError(
                f"size={settings.size[0]}x{settings.size[1]} is no multiple of inference.size_divisor={divisor}, and a "
                f"file with outputs=small does not add a border. Take size={height}x{width}, or outputs=logits."
            )
        self.traced: Traced = trace(self.graph, settings.size)
        self.description = ExportDescription(
            classes=model.classes,
            input=settings.input,
            outputs=settings.outputs,
            size=settings.size,
            least=self.traced.least,
            align_corners=align_corners,
            pixels=pixels_of(model.network),
            size_divisor=divisor,
            origin=origin_of(model, settings.license),
        )
        self._writers: dict[tuple[Format, Precision], Callable[[Path, ExportDescription], None]] = {
            ("onnx", "float32"): self._write_onnx,
            ("onnx", "float16"): lambda path, text: halve(self._onnx(), path, text),
            ("onnx", "int8"): lambda path, text: quantize_onnx(
                self._onnx(), path, calibration_batches(self.data("train"), settings, text), settings, text
            ),
            ("openvino", "float32"): lambda path, text: write_openvino(self._onnx(), path, text),
            ("openvino", "float16"): lambda path, text: write_openvino(self._onnx(), path, text),
            ("openvino", "int8"): lambda path, text: quantize_openvino(
                self._onnx(), path, calibration_batches(self.data("train"), settings, text), text
            ),
            ("torch", "float32"): lambda path, text: write_program(self.traced, path, text),
        }

    def write(self, format: Format, precision: Precision) -> ExportedFile:
        """Write a file, open it and compare it with the network.

        Raises:
            SegdistillError: It can't be written, opened or run, or differs from the network.
        """
        path = self.folder / f"{self.name}{_MARK[precision]}{SUFFIX[format]}"
        if not path.exists():  # the ONNX file may have been made for another one
            self._writers[format, precision](path, replace(self.description, precision=precision))
        backend = Exported(path).open()
        parity = None if precision == "int8" else check_parity(self.graph, backend, self.recipe)
        return ExportedFile(path, backend.bytes / 1e6, precision, parity)

    def _onnx(self) -> Path:
        """The float ONNX file, which the others are made from."""
        path = self.folder / f"{self.name}.onnx"
        if not path.exists():
            self._write_onnx(path, self.description)
        return path

    def _write_onnx(self, path: Path, description: ExportDescription) -> None:
        self.named = write_onnx(self.traced.program, path, description)

    def train_int8(self, *, quiet: bool) -> TrainedInt8:
        """Train the student with the rounding of its INT8 file, and write that file; the network stays as it is.

        Raises:
            SegdistillError: It can't be trained or quantized, or the file does not give what was trained.
        """
        settings, text = self.settings, replace(self.description, precision="int8")
        recipe, data = self.recipe, self.data("train")
        assert recipe is not None
        source, (plain, tuned, path) = self._onnx(), (
            self.folder / f"{self.name}{mark}.onnx" for mark in (".untrained", ".tuned", _MARK["int8"])
        )  # fmt: skip
        batches = calibration_batches(data, settings, text)
        quantize_onnx(source, plain, batches, settings, text)
        assert self.named is not None
        network = SimulatedNetwork(
            self.named, activation_ranges(plain), num_classes=len(self.model.classes), input=settings.input,
            per_channel=settings.per_channel,
        )  # fmt: skip
        network.pixels = text.pixels
        teacher = float_teacher(self.model, recipe)
        with weights_restored(self.model.network):
            train_quantized(network, teacher.network, data, recipe, settings, quiet=quiet)
            write_onnx(self.traced.program, tuned, self.description)
            quantize_onnx(tuned, path, batches, settings, text, network.ranges())
            divisor = self.graph.size_divisor
            graph = ExportGraph(
                network, settings.input, settings.outputs, align_corners=text.align_corners, size_divisor=divisor
            )
            backend = Exported(path).open()
            parity = check_parity(graph.eval(), backend, recipe)
        return TrainedInt8(ExportedFile(path, backend.bytes / 1e6, "int8", parity), plain, teacher.name)

    def data(self, split: str) -> SegmentationDataset:
        """A split of the run's data."""
        if self.recipe is None:
            raise _no_data()
        return create_dataset(self.recipe.data, split)  # type: ignore[arg-type]

    def int8_report(
        self, float_file: Path, int8_file: Path, trained: TrainedInt8 | None = None, *, quiet: bool
    ) -> Int8Report:
        """Score both files on validation and time them; of a trained one score what it was before, too."""
        data, recipe = self.data("val"), self.recipe
        assert recipe is not None
        paths = [float_file, int8_file, *([] if trained is None else [trained.untrained])]
        networks = [ExportedNetwork(Exported(path).open()) for path in paths]
        whole = whole_images(recipe)
        scores = [
            score(network, data, whole, path.name, quiet=quiet).scores.miou
            for network, path in zip(networks, paths, strict=True)
        ]
        size = self.settings.size or (data[0].image.shape[-2], data[0].image.shape[-1])
        times = latencies(networks[:2], timing_image(size, self.description.pixels.channels), runs=15)
        return Int8Report(
            images=min(self.settings.images, len(self.data("train"))),
            seed=self.settings.seed,
            method=self.settings.calibration if int8_file.suffix == ".onnx" else "nncf",
            validation=len(data),
            float_miou=scores[0],
            int8_miou=scores[1],
            max_drop=self.settings.max_drop,
            float_latency=times[0],
            int8_latency=times[1],
            size=size,
            threads=networks[0].backend.threads,
            untrained_miou=None if trained is None else scores[2],
            steps=0 if trained is None else self.settings.steps,
            teacher="" if trained is None else trained.teacher,
        )


def export_model(
    model: LoadedModel, settings: ExportSettings, recipe: Recipe | None, out: Path, *, quiet: bool = False
) -> Export:
    """Write a network as the settings say, checked against it; after an error `out` is as it was.

    Args:
        model: The network.
        settings: What is asked for.
        recipe: Of its run, if it has one: says what its data are and how its scores are resized.
        out: The folder.
        quiet: Show no progress.

    Raises:
        SegdistillError: The network can't be traced, written or quantized, a file differs from it, or the folder can't
            be written to.
    """
    ort = require_runtime(settings.ort, pixels_of(model.network)) if settings.format == "web" else ""
    require_packages(settings)
    if settings.format == "web":
        refuse_other_page(out)
    if settings.int8 and recipe is None:
        raise _no_data()
    with assembled(out) as aside:
        exporter = Exporter(model, settings, recipe, aside, file_name(model))
        files = [exporter.write(settings.file_format, settings.precision)]
        report = None
        if settings.int8:
            trained = exporter.train_int8(quiet=quiet) if settings.int8 == "train" else None
            files.append(exporter.write(settings.file_format, "int8") if trained is None else trained.file)
            report = exporter.int8_report(files[0].path, files[1].path, trained, quiet=quiet)
        finish(exporter, out, files, report)
        if settings.format == "web":
            write_page(aside, files, exporter.description, ort)
    files = [replace(each, path=out / each.path.name) for each in files]
    return Export(out, tuple(files), exporter.description, report)


def require_packages(settings: ExportSettings) -> None:
    """Import what the files need, so that a missing package is named before the network is traced.

    Args:
        settings: What is asked for.

    Raises:
        RecipeError: One is not installed.
    """
    if settings.file_format == "torch":
        return
    for name in ("onnx", "onnxscript"):
        require_package(name, "writes .onnx files")
    if settings.file_format == "onnx":
        require_package("onnxruntime", "runs .onnx files")
    else:
        require_package("openvino", "writes .xml files")


def _no_data() -> SegdistillError:
    return SegdistillError(
        "INT8 is calibrated with training images and scored on validation, and this network has no run that "
        "names its data. Name them: a data set and data.root=FOLDER."
    )


def finish(exporter: Exporter, out: Path, files: list[ExportedFile], report: Int8Report | None) -> None:
    """Remove what files were only made from, and write `export.json` and the runner beside them."""
    aside = exporter.folder
    wanted = {each.path.with_suffix(suffix) for each in files for suffix in (each.path.suffix, ".bin")}
    for path in aside.iterdir():
        if path not in wanted:
            path.unlink()
    described = {
        each.path.name: {
            **exporter.description.of_file(),
            "precision": each.precision,
            "megabytes": each.megabytes,
            "sha256": {path.name: sha256(path) for path in parts_of(each.path)},
            "opset": OPSET if each.path.suffix == ".onnx" else None,
            "parity": each.parity and each.parity.as_dict(),
            "int8": report.as_dict() if report and each.precision == "int8" else None,
        }
        for each in files
    }
    of_each = {*exporter.description.of_file(), "precision"}
    common = {key: value for key, value in exporter.description.as_dict().items() if key not in of_each}
    add_description(out, aside, common, described)
    if any(each.path.suffix == ".onnx" for each in files):
        copy_runner(aside)


def file_name(model: LoadedModel) -> str:
    """What the files of a network are called, without suffix: its role."""
    return model.path.stem if model.path.stem in ("student", "teacher") else "network"
