"""Everything that the template shows, gathered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from segdistill.evaluation.cost.macs import EXPLAINED
from segdistill.reporting.answer import Answer, answer
from segdistill.reporting.numbers import UNKNOWN, points
from segdistill.reporting.page.bars import Bars, by_class, by_method, by_region, class_table
from segdistill.reporting.page.curves import Panel, panels
from segdistill.reporting.page.exports import exports
from segdistill.reporting.page.gallery import Gallery
from segdistill.reporting.page.scatter import Scatter, scatters
from segdistill.reporting.page.subject import Subject
from segdistill.reporting.study_table import COSTS, cells, notes
from segdistill.studies.result import ALONE, Study
from segdistill.studies.verdict import verdict

_ELSEWHERE = ("best classes", "worst classes", "steps", "s/step", *COSTS)
"""Columns of the study's table that figures and the other tables of the page show."""


@dataclass(frozen=True)
class Table:
    """Rows of text under their headings.

    Attributes:
        caption: What is in it.
        headings: Of the columns.
        rows: Cells; the first one names the row.
        strong: Index of the row of the best method.
    """

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    strong: int | None = None


@dataclass(frozen=True)
class PageModel:
    """What the page shows, in its order.

    Attributes:
        title: Of the page.
        subject: What was compared, on which data, in a sentence.
        answer: The sentences at its beginning.
        scores: The study's table.
        costs: What an image costs each network.
        exports: The exported files of a distillation, if they were benchmarked.
        by_method: Gains of the methods.
        by_region: Gains at edges and inside.
        by_class: Gains of the best method.
        classes: IoU of every class and network.
        panels: Training curves.
        scatters: mIoU against costs.
        gallery: The images.
        runs: Every finished run.
        recipe: What all runs share, as YAML.
        methods: Labels and entries of the methods, as YAML.
        environment: Of the process that measured.
        command: That it was started by.
        budget: Of a run.
        notes: How the numbers were made.
    """

    title: str
    subject: str
    answer: Answer
    scores: Table
    costs: Table
    exports: Table | None
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


def page_model(subject: Subject, pictures: Gallery) -> PageModel:
    """Gather everything that the template shows.

    Args:
        subject: The study and its folder.
        pictures: The images.

    Returns:
        The page, not yet as HTML.
    """
    study = subject.study
    files = exports(subject.folder)
    best = subject.best
    labels = subject.labels()
    height, width = study.size
    seeds = ", ".join(map(str, study.seeds))
    environment = dict(study.environment)
    command = environment.pop("command", [])
    return PageModel(
        title=f"Distillation on {study.data}",
        subject=(
            f"{'One distillation' if subject.single else 'A comparison'} on {study.data}: {study.images} validation "
            f"images of {height}x{width} (height x width), {len(study.classes)} classes, {study.budget} a run, "
            f"{'seed' if len(study.seeds) == 1 else 'seeds'} {seeds}."
        ),
        answer=answer(study),
        scores=_scores(study),
        costs=_costs(study),
        exports=Table("Exported files beside the networks of the run", files.headings, files.rows) if files else None,
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
        notes=(*_notes(study), *(files.notes if files else ())),
    )


def _scores(study: Study) -> Table:
    """The study's own table, with what the interval says, and without what figures and the other tables say."""
    headings, rows = cells(study, leave_out=_ELSEWHERE)
    methods = study.methods()
    strong = next((index for index, row in enumerate(rows) if methods and row[0] == methods[0].label), None)
    if "gain" in headings:
        after = 1 + headings.index("95 % CI" if "95 % CI" in headings else "gain")
        headings = (*headings[:after], "verdict", *headings[after:])
        for row in rows:
            summary = study.of(row[0])
            row.insert(after, verdict(summary.gain) if summary is not None and summary.gain is not None else "")
    caption = f"Scores in percent on {study.images} validation images of {study.data}"
    return Table(caption, headings, tuple(map(tuple, rows)), strong)


def _costs(study: Study) -> Table:
    networks = {"teacher": study.teacher_cost, "student": study.student_cost}
    if study.alone_cost is not None:
        networks[ALONE] = study.alone_cost
    lines = tuple(
        (name, f"{cost.parameters / 1e6:.2f}", f"{cost.gflops:.2f}", f"{cost.milliseconds:.1f}")
        for name, cost in networks.items()
    )
    return Table("What an image costs", ("network", "million parameters", "GFLOPs", "ms an image"), lines)


def _classes(study: Study, labels: list[str]) -> Table:
    columns = [*(["teacher"] if study.teacher is not None else []), *labels]
    lines = tuple((name, *(points(value) for value in values)) for name, values in class_table(study, columns))
    return Table("IoU of every class in percent, mean over seeds", ("class", *columns), lines)


def _runs(study: Study) -> Table:
    headings = "run,seed,mIoU,edge,body,boundary,mAcc,aAcc,steps,batch,min,commit,folder"
    lines = []
    for row in study.outcomes:
        scores = (
            _fine(value) for value in (row.miou, row.edge_miou, row.body_miou, row.boundary_miou, row.macc, row.aacc)
        )
        made = (str(row.steps), str(row.batch_size), f"{row.seconds / 60:.1f}", row.commit or UNKNOWN, row.folder)
        lines.append((row.label, str(row.seed), *scores, *made))
    return Table("Every finished run", tuple(headings.split(",")), tuple(lines))


def _fine(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2f}"


def _notes(study: Study) -> tuple[str, ...]:
    missing = "The teacher's scores are not here: it knows other classes than the data set, or is not trained yet."
    teacher = () if study.teacher is not None else (missing,)
    return (
        *teacher,
        notes(study, cells(study, leave_out=_ELSEWHERE)[0]),
        "verdict: gain or loss where the interval leaves zero out, unclear where it does not. boundary mIoU: of the "
        "bands along the contours of the classes.",
        f"Parameters without the auxiliary head; GFLOPs: {EXPLAINED['paper']}; ms: median of one image.",
    )


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True).strip()


def _flat(values: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield key, ", ".join(f"{name} {each}" for name, each in value.items())
        else:
            yield key, UNKNOWN if value is None else str(value)
