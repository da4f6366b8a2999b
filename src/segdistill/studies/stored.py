"""A study as it was left in its folder."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from segdistill.core.errors import DataError
from segdistill.studies.result import STUDY, STUDY_FILE, Study


def load_study(folder: str | Path) -> Study:
    """The study that `compare` or `distill` left in `folder`.

    Args:
        folder: Where study.json is.

    Returns:
        What study.json holds.

    Raises:
        DataError: There is none, or it can't be read.
    """
    file = Path(folder) / STUDY_FILE
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
        return STUDY.validate_python({key: value for key, value in written.items() if key != "kind"})
    except FileNotFoundError as error:
        raise DataError(f"No {file}: {folder} is not a study, or none of its runs is finished yet.") from error
    except (ValueError, AttributeError, ValidationError) as error:
        raise DataError(
            f"{file} can't be read as a study: {error}. Write it again: with `segdistill compare {folder}`, or with "
            "the same `segdistill distill` and --resume."
        ) from error
