"""`report`: one self-contained page on what a study or a distillation found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segdistill.core.storage import write_text
from segdistill.reporting.page.gallery import gallery
from segdistill.reporting.page.render import render
from segdistill.reporting.page.subject import open_subject
from segdistill.reporting.page.view import view


@dataclass(frozen=True)
class Report:
    """A written page. answer: its first sentence. pictures: the images it shows. remarks: what it had to leave out."""

    file: Path
    megabytes: float
    answer: str
    pictures: tuple[str, ...]
    remarks: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "file": str(self.file)}


def report(
    folder: str | Path,
    *parts: str | Path,
    out: str | Path | None = None,
    images: Sequence[str | int] = (),
    quiet: bool = False,
) -> Report:
    """Write what the study or the distillation run in `folder` found into one HTML file that needs nothing else.

    out: the file, default `<folder>/report.html`. images: names or numbers of the validation images to show; default
    those that the best method improved most and worsened most over the student alone, and usual ones. parts: recipe
    parts over the runs' own, as data.root=... where the images have moved; without images the page is written without
    pictures and says so.
    """
    subject = open_subject(folder)
    pictures = gallery(subject, parts, images, quiet=quiet)
    shown = view(subject, pictures)
    page = render(shown)
    file = Path(out) if out is not None else Path(folder) / "report.html"
    write_text(file, page)
    return Report(
        file=file,
        megabytes=round(len(page.encode()) / 1e6, 2),
        answer=shown.answer.headline,
        pictures=tuple(each.name for each in pictures.thumbnails),
        remarks=pictures.remarks,
    )
