"""A study whose validation images have no label says so, and not that its files are broken."""

from __future__ import annotations

from pathlib import Path

import pytest
from own_folders import without_masks
from PIL import Image

import segdistill
from segdistill.core.errors import RecipeError
from segdistill.data.datasets.streets import Streets


def test_a_study_without_labels_to_compare_by_says_so(tiny: tuple[str, ...], tmp_path: Path) -> None:
    teacher = segdistill.train(*tiny, "role=teacher", "steps=1", out=tmp_path / "teacher", quiet=True)
    recipe = (*(word for word in tiny if not word.startswith(("streets", "data."))), "steps=1", "baseline=none")
    data = without_masks(tmp_path / "data")
    weights = {"weights": str(teacher.folder)}
    with pytest.raises(RecipeError, match="No validation image has a mask"):
        segdistill.compare(*recipe, data=data, teacher=weights, methods="kd", seeds="0", out=tmp_path / "s", quiet=True)
    assert not (tmp_path / "s").exists()


def test_a_study_counts_the_validation_images_that_have_a_mask(tiny: tuple[str, ...], tmp_path: Path) -> None:
    recipe = (*(word for word in tiny if not word.startswith(("streets", "data."))), "steps=1", "batch_size=2")
    data = {**without_masks(tmp_path / "data"), "labels": "some"}
    (tmp_path / "data" / "masks").mkdir()
    for index in (0, 1, 3, 4):
        label = Streets(size=(32, 48), count=6)[index].label
        Image.fromarray(label.numpy()).save(tmp_path / "data" / "masks" / f"{index}.png")
    (tmp_path / "data" / "val.txt").write_text("0\n1\n2\n")
    (tmp_path / "data" / "train.txt").write_text("3\n4\n5\n")
    done = segdistill.distill(*recipe, "kd", data=data, out=tmp_path / "run", quiet=True)
    assert done.study.images == 2
    weights = {"weights": str(tmp_path / "run" / "teacher")}
    study = segdistill.compare(
        *recipe, data=data, teacher=weights, methods="kd", seeds="0", out=tmp_path / "study", quiet=True
    )
    assert study.images == 2
