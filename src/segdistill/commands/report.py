"""`report`: one self-contained page on what a study or a distillation found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segdistill.core.results import Result
from segdistill.core.storage import write_text
from segdistill.models.exported.network import is_exported
from segdistill.reporting.page.gallery import gallery
from segdistill.reporting.page.render import render
from segdistill.reporting.page.subject import open_subject
from segdistill.reporting.page.view import page_model
from segdistill.runs.folder import run_of


@dataclass(frozen=True, repr=False)
class Report(Result):
    """A written page.

    Attributes:
        file: The HTML file.
        megabytes: Its size.
        answer: Its first sentence.
        pictures: Names of the images it shows.
        warnings: What it had to leave out, and why.
    """

    file: Path
    megabytes: float
    answer: str
    pictures: tuple[str, ...]
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "file": str(self.file)}


def report(
    folder: str | Path,
    *parts: str | Path,
    out: str | Path | None = None,
    images: str | int | Sequence[str | int] = (),
    quiet: bool = False,
) -> Report:
    """Write what a study found into one HTML file that needs nothing else.

    Args:
        folder: Of a `compare` or a `distill`, or an exported file of one. The table of `benchmark` is on the page.
        *parts: Recipe parts over the runs' own, as data.root=... where the images have moved; without images the page
            is written without pictures and says so.
        out: The file; default `<folder>/report.html`.
        images: Names or numbers of the validation images to show, or a single one; default those that the best method
            improved most and worsened most over the student alone, and usual ones.
        quiet: Show no progress.

    Returns:
        The file and what is in it.

    Raises:
        DataError: There is not a study in the folder, or no image of that name.
        RecipeError: A part is wrong.
    """
    path = Path(folder)
    path = run_of(path).path if is_exported(path) else path
    subject = open_subject(path)
    images = [images] if isinstance(images, str | int) else images
    pictures = gallery(subject, parts, images, quiet=quiet)
    model = page_model(subject, pictures)
    page = render(model)
    file = Path(out) if out is not None else path / "report.html"
    write_text(file, page)
    return Report(
        file=file,
        megabytes=round(len(page.encode()) / 1e6, 2),
        answer=model.answer.headline,
        pictures=tuple(each.name for each in pictures.thumbnails),
        warnings=pictures.warnings,
    )
