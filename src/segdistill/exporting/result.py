"""What `export` wrote, how it compares with the network, and what 8 bits cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segdistill.core.results import Result
from segdistill.exporting.measuring import Latency
from segdistill.exporting.parity import Parity
from segdistill.models.exported.description import ExportDescription, Precision


@dataclass(frozen=True)
class ExportedFile:
    """A file that was written.

    Attributes:
        path: Where it is.
        megabytes: Its size, weights beside it included.
        precision: Of its weights.
        parity: How it compares with the network, of int8=train with the one that rounds as it does; None for other
            INT8, which is measured by its scores.
    """

    path: Path
    megabytes: float
    precision: Precision
    parity: Parity | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        parity = self.parity and self.parity.as_dict()
        return {"path": str(self.path), "megabytes": self.megabytes, "precision": self.precision, "parity": parity}


@dataclass(frozen=True)
class Int8Report:
    """What 8 bits cost and bring.

    Attributes:
        images: How many training images the ranges were calibrated with.
        seed: Which of them.
        method: How ranges were made.
        validation: How many images were scored.
        float_miou, int8_miou: Of the two files, in percent.
        untrained_miou: Of int8=train: of the INT8 file before it, in percent.
        steps: Of int8=train, else 0.
        teacher: What taught it then, in words.
        max_drop: How many points were allowed.
        float_latency, int8_latency: Of an image of `size` on `threads` threads.
        size: (H,W).
        threads: Of the runtime.
    """

    images: int
    seed: int
    method: str
    validation: int
    float_miou: float
    int8_miou: float
    max_drop: float
    float_latency: Latency
    int8_latency: Latency
    size: tuple[int, int]
    threads: int
    untrained_miou: float | None = None
    steps: int = 0
    teacher: str = ""

    @property
    def drop(self) -> float:
        """Points of mIoU that the INT8 file loses."""
        return self.float_miou - self.int8_miou

    @property
    def passed(self) -> bool:
        """Whether it loses no more than was allowed."""
        return self.drop <= self.max_drop

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "size": list(self.size), "drop": self.drop, "passed": self.passed}


@dataclass(frozen=True, repr=False)
class Export(Result):
    """What `export` wrote.

    Attributes:
        folder: Where the files are, `export.json` and the runner beside them.
        files: The files, float first.
        description: What they take and give.
        int8: What 8 bits cost, if they were asked for.
    """

    folder: Path
    files: tuple[ExportedFile, ...]
    description: ExportDescription
    int8: Int8Report | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        files = [each.as_dict() for each in self.files]
        int8 = self.int8 and self.int8.as_dict()
        return {"folder": str(self.folder), "files": files, "int8": int8, "description": self.description.as_dict()}
