"""What a page is about: the study of a `compare`, or of a `distill`, which has one seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segdistill.core.errors import DataError
from segdistill.models.spec import is_adapted
from segdistill.runs.folder import RunFolder
from segdistill.studies.result import ALONE, LONGER, STUDY_FILE, Outcome, Study, Summary
from segdistill.studies.stored import load_study

_OLD_RESULT = "result.json"
"""What `distill` wrote in place of study.json before it made studies."""


@dataclass(frozen=True)
class Subject:
    """A study with its folder.

    Attributes:
        folder: What the outcomes' folders are relative to.
        study: What was found.
    """

    folder: Path
    study: Study

    @property
    def single(self) -> bool:
        """Whether it is one distillation, whose run folder holds the study."""
        return any(row.folder == "." for row in self.study.outcomes)

    def run(self, outcome: Outcome) -> RunFolder:
        """Where a finished run is.

        Args:
            outcome: Of the run.

        Returns:
            Its folder; for a network that was given from elsewhere its file or name.
        """
        return RunFolder(Path(outcome.folder) if is_adapted(outcome.folder) else self.folder / outcome.folder)

    def runs(self, label: str) -> list[RunFolder]:
        """Where a label's finished runs are.

        Args:
            label: As in the outcomes.

        Returns:
            Their folders, by seed.
        """
        rows = sorted((row for row in self.study.outcomes if row.label == label), key=lambda row: row.seed)
        return [self.run(row) for row in rows]

    @property
    def alone(self) -> Summary | None:
        """The student without a teacher."""
        return self.study.of(ALONE)

    @property
    def best(self) -> Summary | None:
        """The method with the highest mean mIoU."""
        return next(iter(self.study.methods()), None)

    def labels(self) -> list[str]:
        """The student alone, of equal steps and of equal minutes, as far as they were trained; then the methods, the
        best first."""
        first = [label for label in (ALONE, LONGER) if self.study.of(label) is not None]
        return [*first, *(row.label for row in self.study.methods())]


def open_subject(folder: str | Path) -> Subject:
    """Open the study in the folder of a `compare` or of a `distill`.

    Args:
        folder: Where study.json is.

    Returns:
        The study with its folder.

    Raises:
        DataError: There is not a study in it; the error says what there is, and what to do.
    """
    path = Path(folder)
    if (path / STUDY_FILE).is_file():
        return Subject(path, load_study(path))
    if (path / _OLD_RESULT).is_file():
        raise DataError(
            f"{path} was measured by an earlier version: it holds {_OLD_RESULT}, and no {STUDY_FILE}. "
            f"Distil into another out=FOLDER; teacher.weights={path / 'teacher'} and baseline={path / 'alone'} take "
            "the networks that are trained already."
        )
    run = RunFolder(path)
    if not run.recipe.is_file():
        raise DataError(
            f"{path} holds no study ({STUDY_FILE}). Name the folder of a `segdistill compare` or of a "
            "`segdistill distill`."
        )
    if run.finished("teacher") or run.finished("student"):
        raise DataError(
            f"{path} holds a single network and nothing to compare it with. `segdistill evaluate {path}` scores it; "
            "a page is made of the folder of a `segdistill compare` or of a `segdistill distill`."
        )
    raise DataError(f"The run in {path} is not finished. Continue it with --resume, then write its page.")
