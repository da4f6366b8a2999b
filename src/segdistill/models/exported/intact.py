"""Whether an exported file is what `export` wrote: a flipped byte of a weight gives wrong classes, and no error."""

from __future__ import annotations

import json
from pathlib import Path

from segdistill.core.errors import CheckpointError
from segdistill.core.storage import sha256

DESCRIPTION = "export.json"
"""Beside exported files: what they are, with their checksums."""


def parts_of(path: Path) -> list[Path]:
    """An exported file, and the one with its weights if that stands beside it (.bin of an .xml).

    Args:
        path: Of the file.

    Returns:
        One or two paths.
    """
    weights = path.with_suffix(".bin")
    return [path, weights] if path.suffix == ".xml" and weights.is_file() else [path]


def require_intact(path: Path) -> None:
    """Compare an exported file with its checksum, if an `export.json` beside it has one.

    Args:
        path: Of the file.

    Raises:
        CheckpointError: It is another file than was written.
    """
    try:
        sums = json.loads((path.parent / DESCRIPTION).read_text(encoding="utf-8"))["files"][path.name]["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    for part in parts_of(path):
        if isinstance(sums, dict) and part.name in sums and sha256(part) != sums[part.name]:
            raise CheckpointError(
                f"{part} is damaged, or was changed: its checksum is not the one in {DESCRIPTION} beside it. "
                "Export the run again; a file that was changed on purpose belongs into another folder."
            )
