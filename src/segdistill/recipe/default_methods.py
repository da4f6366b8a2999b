"""What distils when a recipe names no method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segdistill.models.exported.network import is_exported
from segdistill.recipe.teacher import TeacherConfig

DEFAULT_METHODS: tuple[dict[str, Any], ...] = ({"name": "bpkd", "share": 2.0}, {"name": "canonical"})
"""The default, as a recipe would write it (benchmarks/results/camvid_medium.md)."""

_OF_LOGITS = DEFAULT_METHODS[:1]  # canonical also reads the embedding; what is left was not measured by itself


def default_methods(teacher: TeacherConfig) -> tuple[dict[str, Any], ...]:
    """The default methods of a teacher.

    Args:
        teacher: Of the recipe. Of several, of a cached one and of an exported file there are only logits.

    Returns:
        Recipe entries.
    """
    weights = teacher.weights
    file = isinstance(weights, str) and is_exported(Path(weights))
    only_logits = file or teacher.cache != "off" or isinstance(weights, tuple)
    return _OF_LOGITS if only_logits else DEFAULT_METHODS
