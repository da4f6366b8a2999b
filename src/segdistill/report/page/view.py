"""Everything that the template shows, gathered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from segdistill.comparison.result import Outcome, Spread, Study, Summary
from segdistill.evaluation.macs import EXPLAINED
from segdistill.report.page.answer import Answer, answer, ends, verdict
from segdistill.report.page.bars import Bars, by_class, by_method, by_region, class_table
from segdistill.report.page.curves import Panel, panels
from segdistill.report.page.gallery import Gallery
from segdistill.report.page.numbers import UNKNOWN, points, ratio, share, signed
from segdistill.report.page.scatter import Scatter, scatters
from segdistill.report.page.subject import Subject


@dataclass(frozen=True)
class Table:
    """Rows of text under their headings; the first cell of a row names it. strong: the row of the best method."""

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    strong: int | None = None


@dataclass(frozen=True)
class View:
    """What the page shows, in its order."""

    title: str
    subject: str
    answer: Answer
    scores: Table
    costs: Table
    by_method: Bars | None
    by_region: tuple[Bars, ...]
    by_class: Bars | None
    classes: Table
    panels: tuple[Panel, ...]
    scatters: tuple[Scatter, ...]
    gallery: Gallery
    runs: Table
    recipe: str
    methods: tuple[tuple[str, str], ...]
    environment: tuple[tuple[str, str], ...]
    command: str
    budget: str
    notes: tuple[str, ...]


def view(subject: Subject, pictures: Gallery) -> View:
    """The page of a study, with its pictures."""
    study = subject.study
    best = subject.best
    labels = subject.labels()
    height, width = study.size
    seeds = ", ".join(map(str, study.seeds))
    environment = dict(study.environment)
    command = environment.pop("command", [])
    return View(
        title=f"Distillation on {study.data}",
        subject=(
            f"{'One distillation' if subject.single else 'A comparison'} on {study.data}: {study.images} validation "
            f"images of {width}x{height}, {len(study.classes)} classes, {study.budget} a run, "
            f"{'seed' if len(study.seeds) == 1 else 'seeds'} {seeds}."
        ),
        answer=answer(study),
        scores=_scores(study, labels),
        costs=_costs(study),
        by_method=by_method(study),
        by_region=tuple(by_region(study)),
        by_class=None if best is None else by_class(study, best),
        classes=_classes(study, labels),
        panels=tuple(panels(subject)),
        scatters=tuple(scatters(study)),
        gallery=pictures,
        runs=_runs(study),
        recipe=_yaml(study.recipe),
        methods=tuple((row.label, _yaml(row.method)) for row in study.methods()),
        environment=tuple(_flat(environment)),
        command=" ".join(map(str, command)),
        budget=study.budget,
        notes=_notes(study),
    )


def _scores(study: Study, labels: Iterable[str]) -> Table:
    headings = (
        "network", "mIoU", "gain", "95 % interval", "verdict", "gap closed", "time a step", "seeds", "edge mIoU",
        "body mIoU", "boundary mIoU", "mAcc", "aAcc", "min",
    )  # fmt: skip
    rows = []
    if study.teacher is not None:
        rows.append(_teacher(study.teacher))
    rows += [_scored(row) for label in labels if (row := study.of(label)) is not None]
    methods = study.methods()
    strong = next((place for place, row in enumerate(rows) if methods and row[0] == methods[0].label), None)
    return Table(
        f"Scores in percent on {study.images} validation images of {study.data}", headings, tuple(rows), strong
    )


def _teacher(row: Outcome) -> tuple[str, ...]:
    scores = (points(value) for value in (row.edge_miou, row.body_miou, row.boundary_miou, row.macc, row.aacc))
    minutes = f"{row.seconds / 60:.1f}" if row.seconds else UNKNOWN
    return ("teacher", points(row.miou), "", "", "", "", "", "", *scores, minutes)


def _scored(row: Summary) -> tuple[str, ...]:
    gain = row.gain
    gained = ("", "", "", "") if gain is None else (
        signed(gain.mean), ends(gain), verdict(gain), share(row.gap_closed)
    )  # fmt: skip
    scores = (_spread(each) for each in (row.edge_miou, row.body_miou, row.boundary_miou, row.macc, row.aacc))
    cost = "1" if gain is None and row.cost is None else ratio(row.cost)
    return (row.label, _spread(row.miou), *gained, cost, str(len(row.seeds)), *scores, f"{row.minutes:.1f}")


def _spread(value: Spread | None) -> str:
    if value is None:
        return UNKNOWN
    return points(value.mean) if value.std is None else f"{points(value.mean)} ± {points(value.std)}"


def _costs(study: Study) -> Table:
    rows = tuple(
        (name, f"{cost.parameters / 1e6:.2f}", f"{cost.gflops:.2f}", f"{cost.milliseconds:.1f}")
        for name, cost in (("teacher", study.teacher_cost), ("student", study.student_cost))
    )
    return Table("What an image costs", ("network", "million parameters", "GFLOPs", "ms an image"), rows)


def _classes(study: Study, labels: list[str]) -> Table:
    columns = [*(["teacher"] if study.teacher is not None else []), *labels]
    rows = tuple((name, *(points(value) for value in values)) for name, values in class_table(study, columns))
    return Table("IoU of every class in percent, mean over seeds", ("class", *columns), rows)


def _runs(study: Study) -> Table:
    headings = (
        "run",
        "seed",
        "mIoU",
        "edge mIoU",
        "body mIoU",
        "mAcc",
        "aAcc",
        "steps",
        "batch",
        "min",
        "commit",
        "folder",
    )
    rows = []
    for row in study.outcomes:
        scores = (_fine(value) for value in (row.miou, row.edge_miou, row.body_miou, row.macc, row.aacc))
        made = (str(row.steps), str(row.batch_size), f"{row.seconds / 60:.1f}", row.commit or UNKNOWN, row.folder)
        rows.append((row.label, str(row.seed), *scores, *made))
    return Table("Every finished run", headings, tuple(rows))


def _fine(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2f}"


def _notes(study: Study) -> tuple[str, ...]:
    teacher = (
        ()
        if study.teacher is not None
        else ("The teacher knows other classes than the data set, so its scores can't be compared and are left out.",)
    )
    return (
        *teacher,
        "gain: of a run over the student alone of the same seed, in points of mIoU, in the mean over seeds; the 95 % "
        "interval is Student's t over the seeds. ±: standard deviation over seeds.",
        "verdict: unclear where the interval contains zero. gap closed: share of the way from the student alone to the "
        "teacher. time a step: wall-clock of a training step over that of the student alone. min: of training a run, "
        "validation left out.",
        "edge mIoU: over the pixels near another class; body mIoU: over all others; boundary mIoU: of the bands along "
        "the contours of the classes.",
        f"Parameters without the auxiliary head; GFLOPs: {EXPLAINED['paper']}; ms: median of one image, on the machine "
        "below.",
    )


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True).strip()


def _flat(values: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield key, ", ".join(f"{name} {each}" for name, each in value.items())
        else:
            yield key, UNKNOWN if value is None else str(value)
