"""What a study found: every finished run, and every method in the mean over seeds. `study.json` holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from segdistill.core.results import Result
from segdistill.core.storage import write_json

ALONE = "student alone"
LONGER = "student alone longer"
"""The student alone for the minutes of the costliest method, where a study asks for it."""
TEACHER = "teacher"
STUDY_FILE = "study.json"


@dataclass(frozen=True)
class NetworkCost:
    """What one image costs, in a batch of one.

    Attributes:
        parameters: Their number, auxiliary head left out.
        gflops: Billions of multiply-adds to class scores of the image's size.
        milliseconds: Median on the machine that measured.
    """

    parameters: int
    gflops: float
    milliseconds: float


@dataclass(frozen=True)
class Outcome:
    """One finished run, measured on all validation images; scores in percent.

    Attributes:
        label: "teacher", "student alone" or the method's.
        seed: Of the run.
        folder: Of the run, relative to the study's; or the absolute path, or the name, of a given network.
        steps: 0 if it is not known how the network was trained, as of a published file; so the next two.
        batch_size: Images a step.
        seconds: Wall-clock of the steps, validation left out.
        miou: Mean over classes of the intersection over union.
        macc: Mean over classes of the share of labelled pixels that is hit.
        aacc: Share of all labelled pixels that is hit.
        edge_miou: Near class boundaries; None, as the next two, where the recipe says metrics.boundary=false.
        body_miou: Elsewhere.
        boundary_miou: Boundary IoU, mean over classes.
        iou: By class; None for a class that is absent.
        machine: Name of the processor that trained.
        threads: Of torch.
        device: Name of the GPU, or "cpu".
        torch: Its version.
        commit: Of this library; None if it was installed.
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
        """Wall-clock of a step; 0 if it is not known."""
        return self.seconds / self.steps if self.steps else 0.0


def made_on(environment: dict[str, Any]) -> dict[str, Any]:
    """The fields of an `Outcome` that say where it was made.

    Args:
        environment: The content of a run's environment.json.

    Returns:
        machine, threads, device, commit and torch.

    Raises:
        KeyError: One of them is missing.
    """
    kept = {key: environment[key] for key in ("machine", "threads", "device", "commit")}
    return {**kept, "torch": environment["packages"]["torch"]}


@dataclass(frozen=True)
class Spread:
    """A value over seeds.

    Attributes:
        mean: Over the seeds.
        std: Standard deviation of the sample; None for a single seed.
        values: In the order of the summary's seeds.
    """

    mean: float
    std: float | None
    values: tuple[float, ...]


@dataclass(frozen=True)
class Gain(Spread):
    """Differences from the student alone of the same seed, and the 95 % confidence interval of their mean.

    The interval is Student's t over the seeds; None for a single seed, which says nothing about the next one. A single
    distillation is compared with the student alone that it has, whatever its seed.

    Attributes:
        low: Lower end of the interval; `high` is the upper one.
    """

    low: float | None
    high: float | None


@dataclass(frozen=True)
class ClassGain:
    """By how much a class's IoU moved: in points of percent, in the mean over seeds."""

    name: str
    points: float


@dataclass(frozen=True)
class Summary:
    """A method, or the student alone, over its finished seeds; scores in percent.

    Attributes:
        label: As in the outcomes.
        method: Its recipe entries; nothing for the student alone.
        seeds: Those that are finished.
        steps: Of a run; 0 if not known, as the next two.
        minutes: Of training, mean over seeds.
        step_seconds: Wall-clock of a step, mean over seeds.
        cost: Wall-clock of a step over that of the student alone; None if not known, or of no comparable runs.
        miou: As in the outcomes, as are the next five, of which the last three are None if not every run has them.
        gain: In mIoU; None, as the next two, for the student alone and where no seed has both.
        edge_gain: In mIoU near class boundaries.
        body_gain: In mIoU elsewhere.
        gap_closed: Share of the way from the student alone to the teacher; 1 is all of it.
        classes: By gain, the largest first.
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
    """A run that could not be finished, by its method's label and its seed, and why."""

    label: str
    seed: int
    error: str


@dataclass(frozen=True, repr=False)
class Study(Result):
    """What `compare` and `distill` found: what each run reached and what the methods were worth.

    A distillation is a study of one seed: the student alone, if there is one, and the distilled student.

    Attributes:
        data: Name of the data set.
        images: Number of validation images.
        size: H,W of a validation image.
        classes: Their names.
        seeds: Those that every method gets.
        budget: As "2000 steps" or "30 minutes".
        teacher: Its scores, seed and steps as far as they are known; None if it knows other classes.
        teacher_cost: Of one image.
        student_cost: Of one image.
        outcomes: Every finished run but the teacher's.
        summary: The student alone and every method, over their seeds.
        failures: Runs that could not be finished.
        pending: Runs that are neither finished nor failed, as "kd, seed 2".
        recipe: What all runs share.
        environment: Of the process that measured.
        alone_cost: Of a student alone that was given, which may be another network than the student; else None.
        teacher_description: How the teacher is used, as "it sees images at 2 times their size"; empty if just as it is.
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
    alone_cost: NetworkCost | None = None
    teacher_description: str = ""

    @property
    def gain(self) -> float | None:
        """The best method's gain over the student alone, in points of mIoU; None if nothing is there to compare."""
        gain = next((row.gain for row in self.methods()), None)
        return None if gain is None else gain.mean

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % confidence interval of that gain over the seeds; None for a single seed."""
        gain = next((row.gain for row in self.methods()), None)
        return None if gain is None or gain.low is None or gain.high is None else (gain.low, gain.high)

    def records(self) -> list[dict[str, Any]]:
        """The teacher, the student alone and the methods, the best first."""
        alone = [row for row in self.summary if row.label in (ALONE, LONGER)]
        rows = [] if self.teacher is None else [{"network": TEACHER, "mIoU": self.teacher.miou, "gain": None}]
        for row in [*alone, *self.methods()]:
            gain = row.gain
            values = {"network": row.label, "mIoU": row.miou.mean, "gain": None if gain is None else gain.mean}
            spread = {"low": None if gain is None else gain.low, "high": None if gain is None else gain.high}
            rows.append({**values, **spread, "seeds": len(row.seeds), "steps": row.steps, "minutes": row.minutes})
        empty = dict.fromkeys(key for row in rows for key in row)
        return [{**empty, **row} for row in rows]

    def __repr__(self) -> str:
        gain = "" if self.gain is None else f", gain {self.gain:+.2f}"
        return f"Study({self.data}, {len(self.outcomes)} runs{gain})"

    @property
    def one_seed(self) -> bool:
        """Whether there is no spread over seeds to speak of."""
        return len(self.seeds) == 1

    def cost(self, label: str) -> NetworkCost:
        """What an image costs the network of a label; for every method that is the student."""
        if label == TEACHER:
            return self.teacher_cost
        return self.alone_cost if label == ALONE and self.alone_cost is not None else self.student_cost

    def of(self, label: str) -> Summary | None:
        """The summary of a method or of the student alone by its label; None if none of its runs is finished."""
        return next((row for row in self.summary if row.label == label), None)

    def methods(self) -> Sequence[Summary]:
        """All but the student alone, the best gain first; those of fewer seeds come after the others."""
        rows = [row for row in self.summary if row.label not in (ALONE, LONGER)]
        return sorted(rows, key=lambda row: (-len(row.seeds), not row.gain, -(row.gain or row.miou).mean))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        written: dict[str, Any] = STUDY.dump_python(self, mode="json")
        return {"kind": "study", **written}

    def save(self, folder: Path) -> None:
        """Write study.json.

        Args:
            folder: Of the study.

        Raises:
            SegdistillError: The file can't be written.
        """
        write_json(folder / STUDY_FILE, self.as_dict())


STUDY = TypeAdapter(Study)
"""Reads and writes a study as plain values."""
