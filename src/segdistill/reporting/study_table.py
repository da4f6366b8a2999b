"""The table of a study: for a terminal, as Markdown and as CSV."""

from __future__ import annotations

import csv
import io

from rich.box import SIMPLE_HEAD
from rich.table import Table

from segdistill.reporting.answer import answer
from segdistill.studies.result import ALONE, Gain, Outcome, Spread, Study, Summary

HEADINGS = (
    "network", "seeds", "mIoU", "gain", "95 % CI", "gap closed", "edge", "body", "mAcc", "steps", "min", "s/step",
    "cost", "best classes", "worst classes",
)  # fmt: skip


def rows(study: Study) -> list[list[str]]:
    """The teacher, the student alone and the methods, the best first, as text."""
    alone = study.of(ALONE)
    teacher = [] if study.teacher is None else [_teacher(study.teacher)]
    return [*teacher, *(_cells(row) for row in ([alone] if alone else []) + list(study.methods()))]


def markdown(study: Study) -> str:
    """Answer, table and notes."""
    lines = [HEADINGS, ["---"] * len(HEADINGS), *rows(study)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([*(f"{line}\n" for line in answer(study).lines()), table, "", notes(study), ""])


def terminal(study: Study) -> Table:
    """The columns that fit a terminal; the others are in the files and on the page."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for index, heading in enumerate(("network", "mIoU", "gain", "95 % CI", "closed", "edge", "body", "cost")):
        table.add_column(heading, justify="right" if index else "left", no_wrap=True)
    for row in rows(study):
        cells = dict(zip(HEADINGS, row, strict=True))
        near, away = (cells[where].partition(" ")[0] for where in ("edge", "body"))
        kept = [cells[name].replace(" ± ", "±") for name in ("network", "mIoU", "gain", "95 % CI", "gap closed")]
        table.add_row(*kept, near, away, cells["cost"])
    return table


def comma_separated(study: Study) -> str:
    """A line for every run, scores unrounded, classes as columns."""
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    plain = [
        "label", "seed", "steps", "batch_size", "seconds", "miou", "macc", "aacc", "edge_miou", "body_miou",
        "boundary_miou",
    ]  # fmt: skip
    made = ["machine", "threads", "device", "torch", "commit"]
    table.writerow([*plain, *(f"iou {name}" for name in study.classes), *made])
    for each in ([study.teacher] if study.teacher else []) + list(study.outcomes):
        table.writerow([getattr(each, key) for key in plain] + list(each.iou) + [getattr(each, key) for key in made])
    return written.getvalue()


def notes(study: Study) -> str:
    """How the numbers were made."""
    height, width = study.size
    made = study.outcomes
    machines = sorted({f"{each.machine}, {each.device}, {each.threads} threads" for each in made})
    commits = sorted({each.commit or "unknown" for each in made})
    batch = f", batch {made[0].batch_size}" if made else ""
    return (
        f"{study.data}: {study.images} validation images, {width}x{height}; budget {study.budget}{batch}. Scores in "
        "percent, mean ± standard deviation over seeds, last or best weights as the recipe's `keep` says. gain: paired "
        "with the student alone of the same seed; 95 % CI: Student's t of these differences, each method by itself. "
        "gap closed: gain over the distance to the teacher. edge, body: mIoU near and away from class boundaries. min: "
        "training without validation; cost: time of a step over the student alone's. "
        f"Machine: {'; '.join(machines)}; commit {', '.join(commits)}."
    )


def _teacher(teacher: Outcome) -> list[str]:
    steps = str(teacher.steps) if teacher.steps else "-"
    minutes = f"{teacher.seconds / 60:.1f}" if teacher.seconds else "-"
    scores = [_maybe(value, ".2f") for value in (teacher.edge_miou, teacher.body_miou, teacher.macc)]
    return ["teacher", "-", f"{teacher.miou:.2f}", "", "", "", *scores, steps, minutes, "", "", "", ""]


def _cells(row: Summary) -> list[str]:
    best, worst = (row.classes[:3], row.classes[-3:][::-1]) if row.classes else ((), ())
    return [
        row.label,
        ", ".join(map(str, row.seeds)),
        _spread(row.miou),
        "" if row.gain is None else _spread(row.gain, "+"),
        _interval(row.gain),
        "" if row.gap_closed is None else f"{100 * row.gap_closed:.0f} %",
        _spread(row.edge_miou),
        _spread(row.body_miou),
        _spread(row.macc),
        str(row.steps),
        f"{row.minutes:.1f}",
        f"{row.step_seconds:.2f}",
        "" if row.cost is None else f"{row.cost:.2f}x",
        *(", ".join(f"{each.name} {each.points:+.1f}" for each in classes) for classes in (best, worst)),
    ]


def _interval(gain: Gain | None) -> str:
    return "" if gain is None or gain.low is None else f"{gain.low:+.2f} to {gain.high:+.2f}"


def _spread(value: Spread | None, sign: str = "") -> str:
    if value is None:
        return ""
    return f"{value.mean:{sign}.2f}" + ("" if value.std is None else f" ± {value.std:.2f}")


def _maybe(value: float | None, pattern: str) -> str:
    return "" if value is None else format(value, pattern)
