"""`evaluate` as a person runs it: what it measures, alone and shared by processes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TINY
from own_folders import without_masks
from PIL import Image
from processes import in_two

import segdistill as library
from segdistill.core.errors import DataError, RecipeError
from segdistill.data import create_dataset
from segdistill.data.datasets.streets import Streets
from segdistill.evaluation.inference.inference import predict_classes
from segdistill.evaluation.metrics import ConfusionMatrix
from segdistill.evaluation.settings import MetricsConfig
from segdistill.models.open import open_model

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny: tuple[str, ...]) -> Path:
    folder = tmp_path_factory.mktemp("evaluate") / "run"
    library.distill(*tiny, "kd", "data.count=5", out=folder, quiet=True)
    return folder


def _evaluated(rank: int, folder: Path) -> dict[str, Any]:
    done = library.evaluate(folder, agreement=True, calibration=True, quiet=True)
    return json.loads(json.dumps(done.as_dict()))


def test_two_processes_count_an_odd_number_of_images_once(finished: Path, segdistill: Run) -> None:
    alone = segdistill("evaluate", finished, "agreement=true", "calibration=true", "--json")
    assert alone.returncode == 0, alone.stderr
    one = json.loads(alone.stdout)
    assert one["images"] % 2 == 1
    for shared in in_two(_evaluated, finished):
        assert shared == one  # to the last digit: integers were added, and no image twice
    assert list(one["boundary"]["boundary_iou"]) == list(one["iou"])


def test_agreement_is_with_the_teacher_of_the_run(finished: Path) -> None:
    done = library.evaluate(finished, agreement=True, boundary=False, calibration=False, quiet=True)
    assert (done.quality.boundary, done.quality.calibration_error) == (None, None)
    recipe = library.load_recipe(finished / "recipe.yaml")
    networks = [open_model(finished / part).network for part in (".", "teacher")]
    matrix = ConfusionMatrix(8)
    for sample in create_dataset(recipe.data, "val"):
        student, teacher = (predict_classes(network, sample.image[None])[0] for network in networks)
        matrix.update(student, torch.where(sample.label == 255, 255, teacher))
    assert done.quality.agreement is not None
    assert done.quality.agreement.pixels == pytest.approx(matrix.scores().aacc, abs=0.05)
    assert done.quality.agreement.miou == pytest.approx(matrix.scores().miou, abs=0.1)
    with_itself = library.evaluate(
        finished, "teacher.weights=" + str(finished), agreement=True, quiet=True
    ).quality.agreement
    assert with_itself is not None
    assert with_itself.pixels == 100


def test_agreement_without_a_teacher_says_what_to_set(finished: Path) -> None:
    with pytest.raises(RecipeError, match=r"teacher\.weights=FOLDER"):
        library.evaluate(finished / "alone", agreement=True, quiet=True)


def test_people_get_the_same_numbers(finished: Path, segdistill: Run) -> None:
    quality = library.evaluate(finished, agreement=True, calibration=True, quiet=True).quality
    printed = segdistill("evaluate", finished, "agreement=true", "calibration=true").stdout
    boundary, agreement = quality.boundary, quality.agreement
    assert boundary is not None
    assert agreement is not None
    for value in (
        quality.scores.miou, quality.scores.mdice, boundary.boundary_miou, boundary.edge_miou, boundary.body_miou,
        quality.calibration_error, agreement.pixels, *boundary.trimap_miou.values(),
    ):  # fmt: skip
        assert f"{value:.2f}" in printed
    short = segdistill("evaluate", finished, "boundary=false").stdout
    assert "boundary" not in short
    assert "calibration" not in short


def test_a_misspelt_metric_is_named_with_the_nearest(finished: Path) -> None:
    with pytest.raises(RecipeError, match=r"Unknown key 'boundry'. Did you mean 'boundary'\?"):
        library.evaluate(finished, "boundry=true", quiet=True)


def test_metrics_as_an_object_take_a_key_beside_them(finished: Path) -> None:
    done = library.evaluate(finished, metrics=MetricsConfig(bins=5, calibration=True), boundary=False, quiet=True)
    assert (done.metrics.bins, done.quality.boundary) == (5, None)
    assert done.quality.calibration_error is not None


def test_a_file_that_would_not_be_written_is_refused(finished: Path, segdistill: Run) -> None:
    done = segdistill("evaluate", finished, "out=scores.json")
    assert done.returncode == 1
    assert "Key 'out': evaluate writes no file, found 'scores.json'. --json prints the scores" in done.stderr
    with pytest.raises(RecipeError, match="evaluate writes no file"):
        library.evaluate(finished, out="scores.json", quiet=True)


def test_ignored_classes_are_in_the_table_and_not_in_the_means(finished: Path, segdistill: Run) -> None:
    full = library.evaluate(finished, quiet=True)
    kept = library.evaluate(finished, "metrics.ignore=[sky, 3]", quiet=True)
    rest = [value for k, value in enumerate(full.scores.iou) if k not in (0, 3)]
    assert full.classes[0] == "sky"
    assert kept.scores.miou == pytest.approx(float(np.nanmean(rest)))
    assert kept.as_dict()["iou"] == full.as_dict()["iou"]
    assert kept.quality.boundary is not None
    edges = [value for k, value in enumerate(kept.quality.boundary.boundary_iou) if k not in (0, 3)]
    assert kept.quality.boundary.boundary_miou == pytest.approx(float(np.nanmean(edges)))
    assert "sky (not in the means)" in segdistill("evaluate", finished, "ignore=sky", "boundary=false").stdout
    with pytest.raises(RecipeError, match=r"'metrics.ignore': the data set has no class 'ssky'. Did you mean 'sky'"):
        library.evaluate(finished, "metrics.ignore=[ssky]", quiet=True)
    with pytest.raises(RecipeError, match="every class"):
        library.evaluate(finished, f"metrics.ignore={list(range(8))}", quiet=True)


def test_the_test_split_of_a_data_set_that_has_one(finished: Path, tmp_path: Path) -> None:
    data = tmp_path / "CamVid"
    draw = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for folder, shape in ((split, (32, 48, 3)), (f"{split}annot", (32, 48))):
            (data / folder).mkdir(parents=True)
            for name in ("a", "b", "c"):
                Image.fromarray(draw.integers(0, 12, shape, np.uint8)).save(data / folder / f"{name}.png")
        lines = [f"/SegNet/CamVid/{split}/{name}.png /SegNet/CamVid/{split}annot/{name}.png" for name in "abc"]
        (data / f"{split}.txt").write_text("\n".join(lines))
    weights = tmp_path / "run"
    words = ["camvid", f"data.root={data}", "data.partial=true"]
    library.train(*words, *TINY[3:], "steps=1", "data.partial=true", out=weights, quiet=True)
    done = library.evaluate(weights, split="test", quiet=True)
    assert done.images == 3
    with pytest.raises(DataError, match="'streets' has no labelled test images"):
        library.evaluate(finished, split="test", quiet=True)


def test_images_without_a_mask_are_not_counted(finished: Path, tmp_path: Path) -> None:
    data = without_masks(tmp_path)
    (tmp_path / "val.txt").write_text("0\n1\n2\n")
    (tmp_path / "train.txt").write_text("3\n4\n5\n")
    with pytest.raises(DataError, match="Data set 'folder' has 3 images for val and no mask of any"):
        library.evaluate(finished, data=data, quiet=True)
    scene = Streets(size=(32, 48), count=6)[1]
    (tmp_path / "masks").mkdir()
    Image.fromarray(scene.label.numpy()).save(tmp_path / "masks" / "1.png")
    done = library.evaluate(finished, data={**data, "labels": "some"}, quiet=True)
    assert done.images == 1
    predicted = predict_classes(open_model(finished).network, scene.image[None])
    matrix = ConfusionMatrix(8)
    matrix.update(predicted, scene.label[None])
    assert done.scores.miou == pytest.approx(matrix.scores().miou, abs=0.1)


def test_a_split_without_labels_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "leftImg8bit" / "test" / "berlin"
    folder.mkdir(parents=True)
    Image.fromarray(np.zeros((32, 64, 3), np.uint8)).save(folder / "berlin_000000_000019_leftImg8bit.png")
    network = library.wrap(torch.nn.Conv2d(3, 19, 3, padding=1), 19, classifier="output")
    words = ["cityscapes", f"data.root={tmp_path}", "data.partial=true", "workers=0"]
    with pytest.raises(DataError, match=r"'cityscapes' has 1 images for test and no mask of any.*split=val"):
        library.evaluate(network, *words, split="test", quiet=True)
