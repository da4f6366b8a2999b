"""What a study found: every finished run, and every method in the mean over seeds. `study.json` holds it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from segdistill.core.errors import DataError
from segdistill.core.storage import write_json

ALONE = "student alone"
STUDY_FILE = "study.json"


@dataclass(frozen=True)
class NetworkCost:
    """What one image costs, a batch of one. parameters: auxiliary head left out. milliseconds: a median, here."""

    parameters: int
    gflops: float
    milliseconds: float


@dataclass(frozen=True)
class Outcome:
    """One finished run, measured on all validation images; scores in percent, None where a class is absent.

    folder: of the run, relative to the study's. seconds: wall-clock of its steps, validation left out.
    """

    label: str
    seed: int
    folder: str
    steps: int
    batch_size: int
    seconds: float
    miou: float
    macc: float
    aacc: float
    edge_miou: float | None
    body_miou: float | None
    boundary_miou: float | None
    iou: tuple[float | None, ...]
    machine: str
    threads: int
    device: str
    torch: str
    commit: str | None

    @property
    def step_seconds(self) -> float:
        """Wall-clock of a step."""
        return self.seconds / self.steps


def made_on(environment: dict[str, Any]) -> dict[str, Any]:
    """The fields of an `Outcome` that say where it was made, from a run's environment.json."""
    kept = {key: environment[key] for key in ("machine", "threads", "device", "commit")}
    return {**kept, "torch": environment["packages"]["torch"]}


@dataclass(frozen=True)
class Spread:
    """A value over seeds, in the order of the summary's seeds. std: of the sample, None for a single seed."""

    mean: float
    std: float | None
    values: tuple[float, ...]


@dataclass(frozen=True)
class Gain(Spread):
    """Differences from the student alone of the same seed, and the 95 % confidence interval of their mean.

    The interval is Student's t over the seeds; None for a single seed, which says nothing about the next one.
    """

    low: float | None
    high: float | None


@dataclass(frozen=True)
class ClassGain:
    """By how much a class's IoU moved, in points, in the mean over seeds."""

    name: str
    points: float


@dataclass(frozen=True)
class Summary:
    """A method, or the student alone, over its finished seeds.

    method: its recipe entries, nothing for the student alone. gains are None for the student alone and where no seed
    has both. gap_closed: share of the way from the student alone to the teacher, 1 is all of it. cost: wall-clock of a
    step over that of the student alone. classes: by gain, the largest first.
    """

    label: str
    method: list[dict[str, Any]]
    seeds: tuple[int, ...]
    steps: int
    minutes: float
    step_seconds: float
    cost: float | None
    miou: Spread
    macc: Spread
    aacc: Spread
    edge_miou: Spread | None
    body_miou: Spread | None
    boundary_miou: Spread | None
    gain: Gain | None
    edge_gain: Gain | None
    body_gain: Gain | None
    gap_closed: float | None
    classes: tuple[ClassGain, ...]


@dataclass(frozen=True)
class Failure:
    """A run that could not be finished, and why."""

    label: str
    seed: int
    error: str


@dataclass(frozen=True)
class Study:
    """A comparison: the networks, what each run reached and what the methods were worth.

    size: H,W of a validation image. teacher: its scores as an outcome (seed and steps as far as they are known), None
    if it knows other classes. recipe: what all runs share. budget: as "2000 steps" or "30 minutes". environment: of the
    process that measured. pending: runs that are neither finished nor failed, as "kd, seed 2".
    """

    data: str
    images: int
    size: tuple[int, int]
    classes: tuple[str, ...]
    seeds: tuple[int, ...]
    budget: str
    teacher: Outcome | None
    teacher_cost: NetworkCost
    student_cost: NetworkCost
    outcomes: tuple[Outcome, ...]
    summary: tuple[Summary, ...]
    failures: tuple[Failure, ...]
    pending: tuple[str, ...]
    recipe: dict[str, Any]
    environment: dict[str, Any]

    def of(self, label: str) -> Summary | None:
        """The summary of that label, if any of its runs is finished."""
        return next((row for row in self.summary if row.label == label), None)

    def methods(self) -> Sequence[Summary]:
        """All but the student alone, the best first."""
        rows = [row for row in self.summary if row.label != ALONE]
        return sorted(rows, key=lambda row: -row.miou.mean)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        written: dict[str, Any] = _STUDY.dump_python(self, mode="json")
        return {"kind": "study", **written}

    def save(self, folder: Path) -> None:
        """Write study.json."""
        write_json(folder / STUDY_FILE, self.as_dict())


_STUDY = TypeAdapter(Study)


def load_study(folder: str | Path) -> Study:
    """The study that `compare` left in `folder`."""
    file = Path(folder) / STUDY_FILE
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
        return _STUDY.validate_python({key: value for key, value in written.items() if key != "kind"})
    except FileNotFoundError as error:
        raise DataError(f"No {file}: {folder} is no study, or none of its runs is finished yet.") from error
    except (ValueError, AttributeError, ValidationError) as error:
        raise DataError(
            f"{file} can't be read as a study: {error}. Run `segdistill compare {folder}` again."
        ) from error
