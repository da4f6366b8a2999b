"""What a page is about: a study, or a single distillation, which is a study of one seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segdistill.core.errors import DataError
from segdistill.reporting.page.single import study_of_run
from segdistill.runs.folder import RunFolder
from segdistill.studies.result import ALONE, STUDY_FILE, Outcome, Study, Summary, load_study


@dataclass(frozen=True)
class Subject:
    """A study and the folder that its outcomes' folders are relative to. single: it is one distillation run."""

    folder: Path
    study: Study
    single: bool

    def run(self, outcome: Outcome) -> RunFolder:
        """The folder of a finished run."""
        return RunFolder(self.folder / outcome.folder)

    def runs(self, label: str) -> list[RunFolder]:
        """The folders of a label's finished runs, by seed."""
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
        """The student alone, if it was trained, then the methods, the best first."""
        first = [ALONE] if self.alone is not None else []
        return [*first, *(row.label for row in self.study.methods())]


def open_subject(folder: str | Path) -> Subject:
    """The study or the distillation run in `folder`."""
    path = Path(folder)
    if (path / STUDY_FILE).is_file():
        return Subject(path, load_study(path), single=False)
    if (path / "result.json").is_file():
        return Subject(path, study_of_run(path), single=True)
    run = RunFolder(path)
    if not run.recipe.is_file():
        raise DataError(
            f"{path} holds neither a study ({STUDY_FILE}) nor a measured distillation (result.json). Name the folder "
            "of a `segdistill compare` or of a `segdistill distill`."
        )
    if run.finished("teacher") or run.finished("student"):
        raise DataError(
            f"{path} holds a single network and nothing to compare it with. `segdistill evaluate {path}` scores it; "
            "a page is made of the folder of a `segdistill compare` or of a `segdistill distill`."
        )
    raise DataError(f"The run in {path} is not finished. Continue it with --resume, then write its page.")
