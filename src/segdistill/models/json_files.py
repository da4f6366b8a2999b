"""JSON files beside weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from segdistill.core.errors import CheckpointError


def read_object(path: Path) -> dict[str, Any]:
    """The content of a JSON file that holds an object.

    Args:
        path: Of the file.

    Returns:
        Its keys and values.

    Raises:
        CheckpointError: It can't be read, or holds something else.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"Can't read {path}: {error}.") from error
    if not isinstance(tree, dict):
        raise CheckpointError(f"{path} holds a {type(tree).__name__}; expected a JSON object.")
    return tree
