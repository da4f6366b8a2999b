"""The table of `segdistill benchmark`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from segdistill.core.results import Result
from segdistill.exporting.measuring import Latency
from segdistill.models.exported.description import Precision

BENCHMARK_FILE = "benchmark.json"


@dataclass(frozen=True)
class BenchmarkRow:
    """One network or file.

    Attributes:
        name: "teacher", "student alone", "distilled", or the file's name.
        runtime: What ran it.
        precision: Of its weights.
        megabytes: Of its file; None for a network that has none.
        miou, edge_miou, body_miou: On validation, in percent, images run whole.
        drop: Points of mIoU below the network that was exported; None for other networks.
        latency: Milliseconds an image, by number of threads.
    """

    name: str
    runtime: str
    precision: Precision
    megabytes: float | None
    miou: float
    edge_miou: float | None
    body_miou: float | None
    drop: float | None
    latency: dict[int, Latency]


@dataclass(frozen=True, repr=False)
class Benchmark(Result):
    """The table of a run.

    Attributes:
        rows: Teacher and student alone if the run has them, the network, its files.
        data: The data set's name.
        validation: How many of its images were scored.
        size: (H,W) of the image that was timed.
        runs: Of which each time is the median.
        calibration: How INT8 was calibrated, in words.
        warnings: What is missing and why, and which file is smaller but slower.
        environment: Machine and versions.
    """

    rows: tuple[BenchmarkRow, ...]
    data: str
    validation: int
    size: tuple[int, int]
    runs: int
    calibration: str
    warnings: tuple[str, ...]
    environment: dict[str, Any]

    def records(self) -> list[dict[str, Any]]:
        """A line a network or file."""
        return [dict(zip(self.headings(), line, strict=True)) for line in self.cells()]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        table = {"headings": self.headings(), "cells": self.cells(), "notes": self.notes()}
        return {**asdict(self), "size": list(self.size), "table": table}

    def headings(self) -> list[str]:
        """Of the columns."""
        threads = self.rows[0].latency
        times = [f"ms, {count} thread{'s' if count > 1 else ''}" for count in threads]
        return ["network", "runtime", "mIoU", "drop", "edge", "body", "MB", *times]

    def cells(self) -> list[list[str]]:
        """The rows as text."""
        return [
            [
                row.name,
                row.runtime,
                f"{row.miou:.2f}",
                "" if row.drop is None else f"{row.drop:.2f}",
                *("" if value is None else f"{value:.2f}" for value in (row.edge_miou, row.body_miou, row.megabytes)),
                *(f"{each.median:.1f} ({each.low:.1f}-{each.high:.1f})" for each in row.latency.values()),
            ]
            for row in self.rows
        ]

    def notes(self) -> str:
        """How the numbers were made."""
        packages = self.environment.get("packages", {})
        return (
            f"{self.data}: mIoU in percent on {self.validation} validation images, each run whole; edge and body: near "
            f"and away from class boundaries; drop: points below the network that was exported. ms: median and "
            f"quartiles of {self.runs} runs in turns, from an image of {self.size[0]}x{self.size[1]} to its classes. "
            f"{self.calibration} Machine: {self.environment.get('machine')}; torch {packages.get('torch')}."
        )

    def markdown(self) -> str:
        """Table, notes and warnings."""
        lines = [self.headings(), ["---"] * len(self.headings()), *self.cells()]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return "\n".join([table, "", self.notes(), *(f"- {warning}" for warning in self.warnings), ""])
