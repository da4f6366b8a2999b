"""`reproduce`: a row of a published table run again, what it measured beside what was printed, and what differed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdistill.commands.distill import distill
from segdistill.commands.evaluate import evaluate
from segdistill.commands.train import train
from segdistill.core.errors import RecipeError, nearest
from segdistill.core.results import Result
from segdistill.evaluation.metrics import Scores
from segdistill.recipe.composition import is_assignment
from segdistill.recipe.published_rows import PublishedRow, published_rows
from segdistill.recipe.recipe import Recipe, load_recipe
from segdistill.studies.result import ALONE, Outcome

_FREE = frozenset({
    "out", "seed", "workers", "log_every", "checkpoint_every", "channels_last", "baseline", "teacher.weights",
    "data.root", "data.masks", "teacher.check", "inference.batch", "inference.store", "inference.max_elements",
    "student.backbone_weights", "teacher.network.backbone_weights",
})  # fmt: skip
"""Keys that a table does not print or that don't touch the result; what starts the networks is looked at by itself."""


@dataclass(frozen=True)
class Reproduced:
    """A row beside what this run measured of it.

    Attributes:
        row: What was published.
        miou: What was measured, in percent.
        macc: Likewise.
        description: What makes the two hard to compare, or nothing.
    """

    row: PublishedRow
    miou: float
    macc: float
    description: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        published = {"miou": self.row.miou, "macc": self.row.macc}
        measured = {"miou": self.miou, "macc": self.macc}
        return {
            "row": self.row.name,
            "published": published,
            "measured": measured,
            "difference": {key: None if value is None else measured[key] - value for key, value in published.items()},
            "description": self.description,
        }


@dataclass(frozen=True, repr=False)
class Reproduction(Result):
    """A finished `reproduce`.

    Attributes:
        row: What was published.
        folder: Of the run.
        lines: The row itself first, then what else of its table the run measured.
        changed: What was not as published, in words; nothing if the recipe was the published one.
    """

    row: PublishedRow
    folder: Path
    lines: tuple[Reproduced, ...]
    changed: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "folder": str(self.folder),
            "lines": [line.as_dict() for line in self.lines],
            "changed": list(self.changed),
            "row": self.row.as_dict(),
        }


def reproduce(
    row: str, *parts: str | Path, resume: bool = False, quiet: bool = False, **overrides: Any
) -> Reproduction:
    """Run a row of a published table and put what it measures beside what was printed.

    A teacher's or a student's row is trained, the others are distilled, from `teacher.weights` if it is given. The run
    is the folder `out`, by default runs/<row>-seed<n>.

    Args:
        row: Its name, as "bpkd/cityscapes/pspnet_r18/bpkd".
        *parts: Recipe parts over the row's own, as for `load_recipe`; data.root at least.
        resume: Go on with the run that the folder holds.
        quiet: Show no progress.
        **overrides: Recipe keys over the parts.

    Returns:
        What was measured beside what was printed.

    Raises:
        RecipeError: No row has that name, or the recipe can't work; nothing is trained then.
    """
    rows = published_rows()
    if row not in rows:
        raise RecipeError(f"No published row is called '{row}'.{nearest(row, rows)} They are in `segdistill list`.")
    published = rows[row]
    recipe = load_recipe(row, *parts, **overrides)
    if recipe.out is None:
        overrides = {**overrides, "out": Path("runs") / f"{row}-seed{recipe.seed}"}
        recipe = load_recipe(row, *parts, **overrides)
    changed = (*_changed(load_recipe(row), recipe), *_starts(published, recipe))
    words, chosen = (row, *parts), _keys_of([*parts, *changed])
    if published.role != "distilled":
        trained = train(*words, resume=resume, quiet=quiet, **overrides)
        line = Reproduced(published, *_scores(published, trained.folder, trained.scores, chosen, quiet))
        return Reproduction(published, trained.folder, (line,), changed)
    done = distill(*words, resume=resume, quiet=quiet, **overrides)
    outcomes = {outcome.label: outcome for outcome in done.study.outcomes}
    alone, (student,) = outcomes.pop(ALONE, None), outcomes.values()
    lines = [Reproduced(published, *_scores(published, done.folder, student, chosen, quiet))]
    for role, other in (("student", alone), ("teacher", done.study.teacher)):
        if other is not None and not published.evaluation:
            sibling = published.sibling(role)
            lines.append(Reproduced(sibling, other.miou, other.macc, _protocol(published, sibling)))
    return Reproduction(published, done.folder, tuple(lines), changed)


def _scores(
    row: PublishedRow, folder: Path, measured: Scores | Outcome, chosen: set[str], quiet: bool
) -> tuple[float, float]:
    """mIoU and mAcc as `measured` on the run's validation images or, where the row was scored on others, on these.

    `chosen` are the keys that the call has set, which stay as they are.
    """
    if row.evaluation:
        again = [word for word in row.evaluation if word.partition("=")[0] not in chosen]
        measured = evaluate(folder, *again, boundary=False, agreement=False, calibration=False, quiet=quiet).scores
    return measured.miou, measured.macc


def _keys_of(words: Iterable[str | Path]) -> set[str]:
    """The keys that are set by words, or by lines of what has changed; names and files among them count for nothing."""
    return {str(word).partition("=")[0] for word in words if is_assignment(str(word))}


def _changed(published: Recipe, changed_recipe: Recipe) -> Iterator[str]:
    """Each key that the changed recipe has otherwise than the published one: its value, and the row's in brackets."""
    then, now = (dict(_leaves(recipe.model_dump(mode="json"))) for recipe in (published, changed_recipe))
    others = []  # networks of another name: their single keys say no more
    for key in ("student", "teacher.network"):
        if then.get(f"{key}.name") != now.get(f"{key}.name"):
            others.append(key)
            yield f"{key}={_network(key, now)} ({_network(key, then)})"
    for key in {**then, **now}:
        inside = any(key == other or key.startswith(f"{other}.") for other in others)
        if key not in _FREE and not inside and then.get(key) != now.get(key):
            yield f"{key}={_plain(now.get(key))} ({_plain(then.get(key))})"


def _network(key: str, leaves: dict[str, Any]) -> str:
    """A network by its name, or by what it is made of."""
    head = leaves.get(f"{key}.head") or leaves.get(f"{key}.head.name")
    made_of = f"{leaves.get(f'{key}.backbone')} with {head}"
    return str(leaves.get(f"{key}.name") or made_of)


def _leaves(tree: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{key}.")
        elif key == "method":
            for position, method in enumerate(value):
                yield from _leaves(method, f"method.{position}.")
        else:
            yield path + key, value


def _plain(value: Any) -> str:
    return "unset" if value is None else str(value)


def _starts(row: PublishedRow, recipe: Recipe) -> Iterator[str]:
    """What the networks start from, where it is not what the published ones started from."""
    starting = {"student": recipe.student} if row.role != "teacher" else {}
    if row.role == "teacher" or (row.role == "distilled" and recipe.teacher.weights is None):
        starting["teacher"] = recipe.teacher.network
    for role, network in starting.items():
        if network is not None and network.backbone_weights is None:
            published = row.backbones.get(role, "ImageNet weights")
            yield f"the {role}'s backbone starts from random weights ({published})"
    if row.role == "distilled":
        file = row.sibling("teacher").file or "the published one"
        if recipe.teacher.weights is None:
            yield f"the teacher is trained in this run ({file})"
        elif Path(str(recipe.teacher.weights)).name != file:
            yield f"the teacher is {recipe.teacher.weights} ({file})"


def _protocol(row: PublishedRow, other: PublishedRow) -> str:
    """A description where the row that is measured along was printed under another test protocol."""
    mine, theirs = (load_recipe(each.name) for each in (row, other))
    same = (mine.inference, mine.metrics) == (theirs.inference, theirs.metrics)
    return "" if same else "measured with the student's test protocol, printed with its own"
