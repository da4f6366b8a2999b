"""A study whose validation images have no label says so, and not that its files are broken."""

from __future__ import annotations

from pathlib import Path

import pytest
from own_folders import without_masks

import segdistill
from segdistill.core.errors import DataError


def test_a_study_without_labels_to_compare_by_says_so(tiny: tuple[str, ...], tmp_path: Path) -> None:
    teacher = segdistill.train(*tiny, "role=teacher", "steps=1", out=tmp_path / "teacher", quiet=True)
    recipe = (*(word for word in tiny if not word.startswith(("streets", "data."))), "steps=1", "baseline=none")
    data = without_masks(tmp_path / "data")
    weights = {"weights": str(teacher.folder)}
    with pytest.raises(DataError, match=r"student-alone-0.scores\.json: no validation image has a labelled pixel") as e:
        segdistill.compare(*recipe, data=data, teacher=weights, methods="kd", seeds="0", out=tmp_path / "s", quiet=True)
    assert "does not hold" not in str(e.value)
