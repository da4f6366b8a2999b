"""The table of a study: its cells, as Markdown, as CSV and for the page."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Sequence

from segdistill.evaluation.cost.macs import EXPLAINED
from segdistill.reporting.answer import answer
from segdistill.studies.result import (
    ALONE,
    LONGER,
    TEACHER,
    ClassGain,
    Gain,
    NetworkCost,
    Outcome,
    Spread,
    Study,
    Summary,
)

HEADINGS = (
    "network", "seeds", "mIoU", "gain", "95 % CI", "gap closed", "edge", "body", "mAcc", "aAcc", "Mpar", "GFLOPs", "ms",
    "steps", "min", "s/step", "cost", "best classes", "worst classes",
)  # fmt: skip
UNKNOWN = "-"
COSTS = ("Mpar", "GFLOPs", "ms")
WITH_ONE_SEED = ("aAcc", *COSTS)
"""Columns of a study of one seed, which has few rows and no intervals."""


def cells(study: Study, leave_out: Collection[str] = ()) -> tuple[tuple[str, ...], list[list[str]]]:
    """The table as text.

    Args:
        study: What is shown: the teacher, the student alone and the methods, the best first.
        leave_out: Headings of columns that the reader finds elsewhere.

    Returns:
        The headings and the rows. Columns in which nothing is known of any network are left out; accuracy of all
        pixels and what an image costs stand in the table of a study of one seed only.
    """
    rows = _rows(study)
    left_out = {*leave_out, *(() if study.one_seed else WITH_ONE_SEED)}
    filled = {heading for row in rows for heading, cell in row.items() if cell not in ("", UNKNOWN)}
    headings = tuple(heading for heading in HEADINGS if heading in filled - left_out)
    return headings, [[row[heading] for heading in headings] for row in rows]


def markdown(study: Study) -> str:
    """The answer, the table and the notes as Markdown.

    Args:
        study: What was found.

    Returns:
        The content of table.md.
    """
    headings, rows = cells(study)
    lines = headings, ["---"] * len(headings), *([_escaped(cell) for cell in row] for row in rows)
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([*(f"{line}\n" for line in answer(study).lines()), table, "", notes(study), ""])


def _escaped(cell: str) -> str:
    """A cell whose text, as the name of a class, is no Markdown or HTML."""
    return cell.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")


def comma_separated(study: Study) -> str:
    """A line for every run, scores unrounded, classes as columns.

    Args:
        study: What was found.

    Returns:
        The content of table.csv.
    """
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


def notes(study: Study, shown: Collection[str] = HEADINGS) -> str:
    """How the numbers were made, and what the columns mean.

    Args:
        study: What the table shows.
        shown: Headings of the columns that the reader sees, if it is not all.

    Returns:
        A paragraph.
    """
    height, width = study.size
    made = study.outcomes
    machines = sorted({f"{each.machine}, {each.device}, {each.threads} threads" for each in made})
    versions = sorted({each.torch for each in made})
    commits = sorted({each.commit or "unknown" for each in made})
    batch = f", batch {made[-1].batch_size}" if made else ""
    over = "" if study.one_seed else ", mean ± standard deviation over seeds"
    teacher = f"teacher: {study.teacher_description}. " if study.teacher_description else ""
    return (
        f"{study.data}: {study.images} validation images, {height}x{width} (height x width); budget "
        f"{study.budget}{batch}. Scores in percent{over}, last or best weights as the recipe's `keep` says. "
        f"{_meanings(study, shown)}{teacher}"
        f"Machine: {'; '.join(machines)}; torch {', '.join(versions)}; commit {', '.join(commits)}."
    )


def _meanings(study: Study, shown: Collection[str]) -> str:
    """What the columns are whose names do not say it; columns of one sentence stand together."""
    seen = set(cells(study)[0]) & set(shown)
    over = "over the student alone" if study.one_seed else "paired with the student alone of the same seed"
    sentences = (
        {"gain": f"gain: {over}", "95 % CI": "95 % CI: Student's t of these differences, each method by itself"},
        {"gap closed": "gap closed: gain over the distance to the teacher"},
        {"edge": "edge, body: mIoU near and away from class boundaries"},
        {"Mpar": "Mpar: million parameters, auxiliary head left out"},
        {"GFLOPs": f"GFLOPs: {EXPLAINED['paper']}"},
        {"ms": "ms: median for one image"},
        {"min": "min: training without validation", "cost": "cost: time of a step over the student alone's"},
    )
    parts = ("; ".join(text for heading, text in each.items() if heading in seen) for each in sentences)
    return "".join(f"{part}. " for part in parts if part)


def _rows(study: Study) -> list[dict[str, str]]:
    """A cell for every heading, of every network that is known."""
    alone = [row for label in (ALONE, LONGER) if (row := study.of(label)) is not None]
    rows = [_method(row, study.cost(row.label)) for row in [*alone, *study.methods()]]
    if study.teacher is not None:
        return [_teacher(study, study.teacher), *rows]
    if study.one_seed and rows:  # it knows other classes, but what it costs is known
        unknown = dict.fromkeys(("seeds", "mIoU", "mAcc", "aAcc", "steps", "min"), UNKNOWN)
        teacher = {**dict.fromkeys(HEADINGS, ""), **unknown, "network": TEACHER, **_cost(study.teacher_cost)}
        return [teacher, *rows]
    return rows


def _teacher(study: Study, teacher: Outcome) -> dict[str, str]:
    return {
        **dict.fromkeys(HEADINGS, ""),
        "network": TEACHER,
        "seeds": str(teacher.seed) if study.one_seed and teacher.steps else UNKNOWN,
        "mIoU": f"{teacher.miou:.2f}",
        "edge": _maybe(teacher.edge_miou, ".2f"),
        "body": _maybe(teacher.body_miou, ".2f"),
        "mAcc": f"{teacher.macc:.2f}",
        "aAcc": f"{teacher.aacc:.2f}",
        "steps": str(teacher.steps or UNKNOWN),
        "min": f"{teacher.seconds / 60:.1f}" if teacher.seconds else UNKNOWN,
        **_cost(study.teacher_cost),
    }


def _method(row: Summary, cost: NetworkCost) -> dict[str, str]:
    best, worst = (row.classes[:3], row.classes[-3:][::-1]) if row.classes else ((), ())
    trained = row.steps > 0  # a student alone that is a published file does not say how it was trained
    return {
        "network": row.label,
        "seeds": ", ".join(map(str, row.seeds)) if trained else UNKNOWN,
        "mIoU": _spread(row.miou),
        "gain": "" if row.gain is None else _spread(row.gain, "+"),
        "95 % CI": _interval(row.gain),
        "gap closed": "" if row.gap_closed is None else f"{round(100 * row.gap_closed)} %",
        "edge": _spread(row.edge_miou),
        "body": _spread(row.body_miou),
        "mAcc": _spread(row.macc),
        "aAcc": _spread(row.aacc),
        "steps": str(row.steps) if trained else UNKNOWN,
        "min": f"{row.minutes:.1f}" if trained else UNKNOWN,
        "s/step": f"{row.step_seconds:.2f}" if trained else UNKNOWN,
        "cost": "" if row.cost is None else f"{row.cost:.2f}x",
        "best classes": _gains(best),
        "worst classes": _gains(worst),
        **_cost(cost),
    }


def _cost(cost: NetworkCost) -> dict[str, str]:
    numbers = f"{cost.parameters / 1e6:.2f}", f"{cost.gflops:.2f}", f"{cost.milliseconds:.1f}"
    return dict(zip(COSTS, numbers, strict=True))


def _gains(classes: Sequence[ClassGain]) -> str:
    return ", ".join(f"{each.name} {each.points:+.1f}" for each in classes)


def _interval(gain: Gain | None) -> str:
    return "" if gain is None or gain.low is None else f"{gain.low:+.2f} to {gain.high:+.2f}"


def _spread(value: Spread | None, sign: str = "") -> str:
    if value is None:
        return ""
    return f"{value.mean:{sign}.2f}" + ("" if value.std is None else f" ± {value.std:.2f}")


def _maybe(value: float | None, pattern: str) -> str:
    return "" if value is None else format(value, pattern)
