"""Every format of a run that can run here, in one table: scores, size and time, beside teacher and student alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BeforeValidator, Field, model_validator

from segdistill.core.errors import SegdistillError
from segdistill.core.numbers import Count, Size
from segdistill.core.paths import HomePath
from segdistill.core.storage import write_json, write_text
from segdistill.core.typed_settings import TypedSettings
from segdistill.data import SegmentationDataset, create_dataset
from segdistill.evaluation.scoring import Quality
from segdistill.exporting.benchmark_result import BENCHMARK_FILE, Benchmark, BenchmarkRow
from segdistill.exporting.export import Exporter, file_name, finish
from segdistill.exporting.folder import assembled
from segdistill.exporting.measuring import Latency, latencies, score, timing_image, whole_images
from segdistill.exporting.result import ExportedFile
from segdistill.exporting.settings import SUFFIX, Calibration, ExportSettings, Format
from segdistill.models.exported.description import Precision
from segdistill.models.exported.network import Exported, ExportedNetwork
from segdistill.models.loaded import LoadedModel
from segdistill.models.network import SegmentationNetwork
from segdistill.recipe.recipe import Recipe
from segdistill.runtime.environment import describe_environment

_RUNTIME: dict[Format, str] = {"onnx": "onnxruntime", "openvino": "OpenVINO", "torch": "torch.export"}


def _listed(value: Any) -> Any:
    """ "1,2" and 1 as lists."""
    if isinstance(value, str):
        return [word for word in value.split(",") if word]
    return value if isinstance(value, list | tuple) else [value]


class BenchmarkSettings(TypedSettings):
    """What `benchmark` measures."""

    formats: Annotated[tuple[Format, ...], BeforeValidator(_listed)] = ("onnx", "openvino", "torch")
    """Which formats are written, as onnx,torch."""

    int8: bool = True
    """Whether ONNX and OpenVINO are written in 8 bits, too."""

    size: Size | None = None
    """The size of the image that is timed, as 512x1024; without it that of the first validation image."""

    threads: Annotated[tuple[Count, ...], BeforeValidator(_listed)] = (1,)
    """Every network is timed on each of these numbers of threads, as 1,2."""

    runs: Count = 15
    """Timed passes, of which the median is taken."""

    images: Count = 64
    """How many training images INT8 is calibrated with."""

    seed: int = Field(0, ge=0)
    """Which of them."""

    calibration: Calibration = "mean"
    """How ranges are made of what was seen, for ONNX: mean, minmax, entropy or percentile, as for `export`."""

    out: HomePath | None = None
    """The folder that is written; without it the folder benchmark of the run."""

    @model_validator(mode="after")
    def _possible(self) -> BenchmarkSettings:
        idle = [] if self.int8 else sorted(self.model_fields_set & {"images", "seed", "calibration"})
        if idle:
            raise ValueError(f"{', '.join(idle)} would do nothing here, only with int8=true")
        return self


@dataclass(frozen=True)
class Candidate:
    """A network that is measured, with the words for its row."""

    name: str
    runtime: str
    precision: Precision
    megabytes: float | None
    networks: dict[int, SegmentationNetwork]
    exported: bool


def benchmark_run(
    model: LoadedModel,
    others: dict[str, LoadedModel],
    settings: BenchmarkSettings,
    recipe: Recipe,
    out: Path,
    data: SegmentationDataset,
    *,
    name: str,
    quiet: bool = False,
) -> Benchmark:
    """Export a network to every format, and measure all files beside the network and others of its run.

    Args:
        model: The network.
        others: Teacher and student alone, if the run has them, by the words for their rows.
        settings: What is measured.
        recipe: Of the run.
        out: The folder that the files, benchmark.json and benchmark.md go to.
        data: The validation images.
        name: What the network is called in its row.
        quiet: Show no progress.

    Raises:
        SegdistillError: No file could be written, or the data can't be read.
    """
    shape = data[0].image.shape
    image = timing_image(settings.size or (shape[-2], shape[-1]), shape[0])
    whole = whole_images(recipe)
    warnings: list[str] = []
    with assembled(out) as aside:
        files = _write_files(model, settings, recipe, aside, out, warnings)
        candidates = [_of_model(each, title, settings) for title, each in {**others, name: model}.items()]
        candidates += [_of_file(each, settings) for each in files]
        qualities = [
            score(next(iter(each.networks.values())), data, whole, each.name, quiet=quiet) for each in candidates
        ]
        times = _times(candidates, image, settings)
        base = qualities[len(others)].scores.miou
        rows = tuple(map(_row, candidates, qualities, times, [base] * len(candidates)))
        done = Benchmark(
            rows=rows,
            data=recipe.data.name,
            validation=len(data),
            size=(image.shape[-2], image.shape[-1]),
            runs=settings.runs,
            calibration=_calibration(settings, recipe) if settings.int8 else "",
            warnings=(*warnings, *_slower(rows)),
            environment=describe_environment(),
        )
        write_json(aside / BENCHMARK_FILE, done.as_dict())
        write_text(aside / "benchmark.md", done.markdown())
    return done


def _calibration(settings: BenchmarkSettings, recipe: Recipe) -> str:
    """How the INT8 files were made, in a sentence."""
    images = min(settings.images, len(create_dataset(recipe.data, "train")))
    return f"INT8: {images} training images, seed {settings.seed}; ONNX {settings.calibration}, OpenVINO by NNCF."


def _write_files(
    model: LoadedModel, settings: BenchmarkSettings, recipe: Recipe, aside: Path, out: Path, warnings: list[str]
) -> list[ExportedFile]:
    """The files of all formats; one that can't be written becomes a warning."""
    calibrated = {key: getattr(settings, key) for key in ("images", "seed", "calibration")} if settings.int8 else {}
    asked = ExportSettings(int8=settings.int8, **calibrated)
    exporter = Exporter(model, asked, recipe, aside, file_name(model))
    files = []
    for format in settings.formats:
        precisions: tuple[Precision, ...] = ("float32", "int8") if settings.int8 and format != "torch" else ("float32",)
        for precision in precisions:
            try:
                files.append(exporter.write(format, precision))
            except SegdistillError as error:
                warnings.append(f"No {format} file in {precision}: {error}")
    if not files:
        raise SegdistillError("No file could be written.\n  " + "\n  ".join(warnings))
    finish(exporter, out, files, None)
    return files


def _of_model(model: LoadedModel, name: str, settings: BenchmarkSettings) -> Candidate:
    megabytes = model.path.stat().st_size / 1e6 if model.path.is_file() else None
    networks = dict.fromkeys(settings.threads, model.network.cpu().eval())
    return Candidate(name, "torch", "float32", megabytes, networks, exported=False)


def _of_file(file: ExportedFile, settings: BenchmarkSettings) -> Candidate:
    networks: dict[int, SegmentationNetwork] = {
        threads: ExportedNetwork(Exported(file.path).open(threads)) for threads in settings.threads
    }
    format = next(each for each, suffix in SUFFIX.items() if suffix == file.path.suffix)
    return Candidate(file.path.name, _RUNTIME[format], file.precision, file.megabytes, networks, exported=True)


def _times(
    candidates: Sequence[Candidate], image: torch.Tensor, settings: BenchmarkSettings
) -> list[dict[int, Latency]]:
    """Of each candidate the milliseconds by number of threads; all of one number are timed in turns."""
    times: list[dict[int, Latency]] = [{} for _ in candidates]
    before = torch.get_num_threads()
    try:
        for threads in settings.threads:
            torch.set_num_threads(threads)
            measured = latencies([each.networks[threads] for each in candidates], image, runs=settings.runs)
            for each, latency in zip(times, measured, strict=True):
                each[threads] = latency
    finally:
        torch.set_num_threads(before)
    return times


def _row(candidate: Candidate, quality: Quality, latency: dict[int, Latency], base: float) -> BenchmarkRow:
    boundary, miou = quality.boundary, quality.scores.miou
    return BenchmarkRow(
        name=candidate.name,
        runtime=candidate.runtime,
        precision=candidate.precision,
        megabytes=candidate.megabytes,
        miou=miou,
        edge_miou=None if boundary is None else boundary.edge_miou,
        body_miou=None if boundary is None else boundary.body_miou,
        drop=base - miou if candidate.exported else None,
        latency=latency,
    )


def _slower(rows: Sequence[BenchmarkRow]) -> Iterator[str]:
    """A sentence for every INT8 file that is slower than the float one of its runtime."""
    floats = {row.runtime: row for row in rows if row.precision == "float32"}
    for row in rows:
        if row.precision != "int8" or row.runtime not in floats:
            continue
        for threads, latency in row.latency.items():
            before = floats[row.runtime].latency[threads].median
            if latency.median > before:
                yield (
                    f"{row.name} is smaller but slower than {floats[row.runtime].name} on {threads} thread(s): "
                    f"{latency.median:.1f} ms after {before:.1f} ms."
                )
