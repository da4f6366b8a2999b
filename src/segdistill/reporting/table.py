"""The honest table: teacher, student alone, distilled student, with what each cost and how it was made."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from segdistill.evaluation.boundary import BoundaryScores
from segdistill.evaluation.cost.macs import EXPLAINED
from segdistill.evaluation.metrics import Scores, plain


@dataclass(frozen=True)
class Row:
    """One network. scores: None if it knows other classes than the data set. boundary: None then, too, and where the
    recipe says metrics.boundary=false. seconds: wall-clock of its training, None if unknown. milliseconds: an image,
    batch of one."""

    name: str
    scores: Scores | None
    boundary: BoundaryScores | None
    parameters: int
    gflops: float
    milliseconds: float
    seed: int | None
    steps: int | None
    seconds: float | None

    def cells(self) -> list[str]:
        """The row as text, in the order of `HEADINGS`."""
        scores = (None,) * 3 if self.scores is None else (self.scores.miou, self.scores.macc, self.scores.aacc)
        return [
            self.name,
            *(_maybe(value, ".2f") for value in scores),
            f"{self.parameters / 1e6:.2f}",
            f"{self.gflops:.2f}",
            f"{self.milliseconds:.1f}",
            _maybe(self.seed, "d"),
            _maybe(self.steps, "d"),
            "-" if self.seconds is None else f"{self.seconds / 60:.1f}",
        ]


HEADINGS = ("network", "mIoU", "mAcc", "aAcc", "Mpar", "GFLOPs", "ms", "seed", "steps", "min")


@dataclass(frozen=True)
class Proof:
    """The rows of one run with everything they depend on: data, image size, machine and commit."""

    rows: tuple[Row, ...]
    data: str
    images: int
    size: tuple[int, int]
    environment: dict[str, Any]
    remarks: tuple[str, ...] = ()

    @property
    def gain(self) -> float | None:
        """mIoU of the distilled student over the student alone, in points; None without a student alone."""
        by_name = {row.name: row.scores.miou for row in self.rows if row.scores is not None}
        alone = by_name.get("student alone")
        return None if alone is None else by_name[self.rows[-1].name] - alone

    def conclusion(self) -> str:
        """One sentence that says what distillation was worth in this run."""
        if self.gain is None:
            return "No student alone was trained (baseline=none), so the gain is not known."
        verdict = "gained" if self.gain > 0 else "lost"
        return f"Distillation {verdict} {abs(self.gain):.2f} mIoU over the same student alone; one seed proves little."

    def notes(self) -> str:
        """How the numbers were made."""
        height, width = self.size
        return (
            f"{self.data}: {self.images} validation images, whole, {width}x{height}; scores in percent. Mpar: million "
            f"parameters, auxiliary head left out; GFLOPs: {EXPLAINED['paper']}; ms: median for one image; "
            f"min: minutes of training. {''.join(f'{remark} ' for remark in self.remarks)}"
            f"Machine: {self.environment['machine']}, {self.environment['threads']} threads, "
            f"{self.environment['device']}; torch {self.environment['packages']['torch']}; "
            f"commit {self.environment['commit'] or 'unknown'}."
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        rows = [
            {
                **asdict(row),
                "scores": row.scores and row.scores.as_dict(),
                "boundary": row.boundary and plain(asdict(row.boundary)),
            }
            for row in self.rows
        ]
        return {
            "rows": rows,
            "gain": self.gain,
            "data": self.data,
            "images": self.images,
            "size": list(self.size),
            "environment": self.environment,
            "remarks": list(self.remarks),
        }

    def markdown(self) -> str:
        """The table with its conclusion and notes."""
        lines = [HEADINGS, ["---"] * len(HEADINGS), *(row.cells() for row in self.rows)]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"{table}\n\n{self.conclusion()}\n\n{self.notes()}\n"

    def rich(self) -> Table:
        """The table for a terminal."""
        table = Table(
            title=self.conclusion(), caption=self.notes(), title_justify="left", caption_justify="left",
            box=SIMPLE_HEAD, padding=(0, 1, 0, 0),
        )  # fmt: skip
        for index, heading in enumerate(HEADINGS):
            table.add_column(heading, justify="right" if index else "left", no_wrap=True)
        for row in self.rows:
            table.add_row(*row.cells(), style="bold" if row is self.rows[-1] else None)
        return table


def _maybe(value: float | None, pattern: str) -> str:
    return "-" if value is None else format(value, pattern)
