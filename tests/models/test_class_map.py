"""A class map says who is who, and its scores are those of the teacher's classes together."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from segdistill.core.errors import RecipeError
from segdistill.data.tables import label_table
from segdistill.models.class_map import NEVER, ClassMap, class_map

CITYSCAPES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
TEACHER = ("road", "bus", "cat", "lane", "car", "truck")
STUDENT = ("car", "road", "pole")
TARGETS = (1, 0, None, 1, 0, 0)
FULL = ClassMap(TEACHER, STUDENT[:2], TARGETS)
PARTIAL = ClassMap(TEACHER, STUDENT, TARGETS)


def _logits(scale: float = 3.0, dtype: torch.dtype = torch.float32) -> Tensor:
    return (scale * torch.randn(2, 6, 3, 5, generator=torch.Generator().manual_seed(0))).to(dtype)


def _by_hand(logits: Tensor, classes: ClassMap) -> Tensor:
    """One position and class at a time, in double precision."""
    n, _, h, w = logits.shape
    out = torch.empty(n, len(classes.student), h, w, dtype=torch.float64)
    for i, k, y, x in torch.cartesian_prod(*map(torch.arange, out.shape)).tolist():
        scores = [logits[i, c, y, x].item() for c, target in enumerate(classes.targets) if target == k]
        top = max(scores, default=0.0)
        out[i, k, y, x] = top + math.log(sum(math.exp(z - top) for z in scores)) if scores else NEVER
    return out


@pytest.mark.parametrize("classes", [FULL, PARTIAL], ids=["full", "partial"])
@pytest.mark.parametrize("scale", [3.0, 2000.0])
def test_scores_are_the_log_sum_exp_by_hand(classes: ClassMap, scale: float) -> None:
    logits = _logits(scale)
    got = classes(logits)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), _by_hand(logits, classes), rtol=1e-6, atol=1e-5)


def test_probabilities_are_shares_of_what_is_not_dropped() -> None:
    logits = _logits()
    p = logits.softmax(1)
    car, road = p[:, [1, 4, 5]].sum(1), p[:, [0, 3]].sum(1)
    want = torch.stack([car, road], 1) / (1 - p[:, 2:3])
    torch.testing.assert_close(FULL(logits).softmax(1), want)


def test_scores_of_2000_either_way_stay_finite() -> None:
    logits = 2000 * _logits().sign()
    assert FULL(logits).isfinite().all()
    torch.testing.assert_close(FULL(logits).double(), _by_hand(logits, FULL), rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_summed_in_float32(dtype: torch.dtype) -> None:
    logits = _logits(dtype=dtype)
    assert torch.equal(FULL(logits), FULL(logits.float()))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(FULL(logits), FULL(logits.float()))


def test_a_permutation_moves_scores_and_changes_none() -> None:
    logits = _logits()
    swapped = ClassMap(TEACHER, TEACHER[::-1], (5, 4, 3, 2, 1, 0))
    assert torch.equal(swapped(logits), logits.flip(1))


def test_a_class_nobody_maps_to_is_never_predicted_even_after_resizing() -> None:
    scores = torch.nn.functional.interpolate(PARTIAL(_logits(2000.0)), scale_factor=4, mode="bilinear")
    assert scores.isfinite().all()
    assert not (scores.argmax(1) == 2).any()


def test_what_is_dropped_and_uncovered_is_named() -> None:
    assert (PARTIAL.dropped, PARTIAL.uncovered) == (("cat",), ("pole",))
    words = ["6 classes", "car <- bus + car + truck", "dropped: cat", "never says: pole"]
    assert all(word in PARTIAL.describe() for word in words)


# --- by name -----------------------------------------------------------------------------------------------------


def _paired(teacher: tuple[str, ...], student: tuple[str, ...]) -> dict[Any, Any]:
    return class_map("names", teacher, student).mapping()


def test_names_match_however_they_are_spelt() -> None:
    assert _paired(("Traffic_Light", "POLE", "side-walk"), ("sidewalk", "traffic light", "pole")) == {
        "Traffic_Light": "traffic light",
        "POLE": "pole",
        "side-walk": "sidewalk",
    }


def test_names_that_list_synonyms_match_by_one() -> None:
    assert _paired(("road, route", "fence;fencing"), ("fence", "road")) == {
        "road, route": "road",
        "fence;fencing": "fence",
    }


def test_a_class_of_its_own_name_goes_before_an_alias() -> None:
    assert _paired(("tree", "vegetation"), ("vegetation", "tree")) == {"tree": "tree", "vegetation": "vegetation"}
    assert _paired(("tree", "vegetation"), ("tree", "sky")) == {"tree": "tree", "vegetation": "tree"}


def test_cityscapes_to_camvid_by_name_leaves_only_the_bicyclist() -> None:
    paired = class_map("names", CITYSCAPES, label_table("camvid").classes.names)
    assert paired.uncovered == ("bicyclist",)
    assert paired.mapping()["sidewalk"] == "pavement"
    assert paired.mapping()["rider"] is None


def test_cityscapes_to_streets_by_name_covers_all() -> None:
    assert class_map("names", CITYSCAPES, label_table("streets").classes.names).uncovered == ()


@pytest.mark.parametrize(
    ("teacher", "student", "words"),
    [
        (("class 0", "class 1"), ("a", "b"), ["no names", "index: class"]),
        (("LABEL_0", "LABEL_1", "LABEL_2"), ("a", "b"), ["no names"]),
        (("minibike",), ("motorcycle", "motorbike"), ["minibike", "motorcycle or motorbike"]),
        (("a", "b"), ("c", "d"), ["maps no class", "a, b", "c, d"]),
    ],
)
def test_names_that_can_not_be_paired_are_refused(
    teacher: tuple[str, ...], student: tuple[str, ...], words: list[str]
) -> None:
    with pytest.raises(RecipeError) as caught:
        class_map("names", teacher, student)
    assert all(word in str(caught.value) for word in ("teacher.class_map", *words))


# --- from a file or a mapping ------------------------------------------------------------------------------------

MAPPING = {"road": "road", 1: "car", "Cat": None, "lane": 1, 4: 0, "truck": "CAR"}


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_a_file_maps_names_and_indices(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"map{suffix}"
    file.write_text(json.dumps(MAPPING) if suffix == ".json" else yaml.safe_dump(MAPPING))
    for source in (file, str(file), MAPPING):
        assert class_map(source, TEACHER, STUDENT) == PARTIAL


def test_classes_that_are_left_out_are_dropped() -> None:
    assert class_map({"road": "road"}, TEACHER, STUDENT).dropped == TEACHER[1:]


@pytest.mark.parametrize("teacher", [TEACHER, ("a", "a", "b", "3", "c", "d")], ids=["unique", "repeated"])
def test_a_recorded_map_reads_back_as_itself(teacher: tuple[str, ...]) -> None:
    classes = ClassMap(teacher, STUDENT, TARGETS)
    recorded = json.loads(json.dumps(classes.mapping()))  # a recipe in a run folder has text for keys
    assert class_map(recorded, teacher, STUDENT) == classes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("roda: road", ["'roda'", "the teacher", "Did you mean 'road'"]),
        ("road: poel", ["'poel'", "the data set", "Did you mean 'pole'"]),
        ("6: road", ["class 6", "the teacher", "0 to 5"]),
        ("road: 255", ["class 255", "the data set", "0 to 2", "null"]),
        ("{road: road, 0: car}", ["class 0 (road) twice"]),
        ("false: road", ["False", "quotes"]),
        ("road: [a]", ["['a']", "a name or an index"]),
        ("- road", ["found list"]),
        ("road", ["found str"]),
        ("{road", ["not valid YAML"]),
        ("road: null", ["maps no class"]),
    ],
)
def test_a_file_that_is_wrong_is_named_with_what_is_wrong(tmp_path: Path, text: str, words: list[str]) -> None:
    file = tmp_path / "map.yaml"
    file.write_text(text)
    with pytest.raises(RecipeError) as caught:
        class_map(file, TEACHER, STUDENT)
    assert all(word in str(caught.value) for word in (str(file), *words)), caught.value


def test_a_name_that_two_classes_bear_asks_for_the_index() -> None:
    with pytest.raises(RecipeError, match=r"'a' fits classes \[0, 1\] of the teacher.*index"):
        class_map({"a": 0}, ("a", "a"), STUDENT)


def test_a_file_that_is_missing_is_named() -> None:
    with pytest.raises(RecipeError, match=r"'teacher\.class_map'.*nowhere\.yaml"):
        class_map("nowhere.yaml", TEACHER, STUDENT)
