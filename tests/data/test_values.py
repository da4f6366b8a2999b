"""Raw mask values: the lookup table, and what a user is told about a value without a meaning."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from segdistill.core.classes import IGNORE_INDEX
from segdistill.core.errors import DataError
from segdistill.data.base import label_file
from segdistill.data.datasets.coco_stuff import table_of_182
from segdistill.data.datasets.pascal_context import context_table
from segdistill.data.tables import as_table, label_table
from segdistill.data.values import LabelValues, packed, ranges

PATH = Path("mask.png")
TABLES = ("ade20k", "camvid", "cityscapes", "coco_stuff", "pascal_context", "streets", "voc")


def _raw(values: list[int], dtype: type[np.integer] = np.uint8) -> NDArray[np.integer]:
    return np.array([values], dtype)


def test_values_become_indices() -> None:
    values = LabelValues({7: 0, 8: 1, 33: 2, 0: IGNORE_INDEX})
    assert values(_raw([7, 33, 0, 8, 255]), PATH).tolist() == [[0, 2, 255, 1, 255]]
    assert values(_raw([7]), PATH).dtype == np.uint8


def test_several_values_may_mean_one_class() -> None:
    assert LabelValues({1: 0, 2: 0, 3: 1})(_raw([1, 2, 3]), PATH).tolist() == [[0, 0, 1]]


def test_255_is_a_class_where_the_table_says_so() -> None:
    assert LabelValues({0: 0, 255: 1})(_raw([0, 255]), PATH).tolist() == [[0, 1]]


def test_values_of_16_bits() -> None:
    values = LabelValues({24001: 0, 65535: 1, 3: IGNORE_INDEX})
    assert values(_raw([24001, 3, 65535], np.uint16), PATH).tolist() == [[0, 255, 1]]
    with pytest.raises(DataError, match="value 24002;"):
        values(_raw([24001, 24002], np.uint16), PATH)


def test_colors() -> None:
    values = LabelValues({packed((128, 64, 128)): 0, packed((0, 0, 142)): 1, 0: IGNORE_INDEX}, colors=True)
    raw = _raw([packed((0, 0, 142)), 0, packed((128, 64, 128))], np.uint32)
    assert values(raw, PATH).tolist() == [[1, 255, 0]]
    with pytest.raises(DataError, match=re.escape("the color (128, 64, 129)")):
        values(_raw([packed((128, 64, 129))], np.uint32), PATH)


@pytest.mark.parametrize("value", [packed((255, 255, 255)), packed((0, 0, 1)), packed((200, 0, 0))])
def test_a_color_above_below_and_between_the_known_ones_is_refused(value: int) -> None:
    values = LabelValues({packed((10, 0, 0)): 0, packed((250, 0, 0)): 1}, colors=True)
    with pytest.raises(DataError, match="expected"):
        values(_raw([value], np.uint32), PATH)


def test_a_value_without_meaning_is_named_with_file_share_and_cause() -> None:
    values = LabelValues.of_indices(3, [9], cause="Ask the one who drew it.")
    with pytest.raises(DataError) as caught:
        values(_raw([0, 1, 2, 5, 5, 9, 0, 0]), PATH)
    text = str(caught.value)
    for part in ("mask.png", "value 5;", "0..2", "9, 255", "25 %", "Ask the one who drew it."):
        assert part in text


def test_classes_that_are_counted_from_1_are_recognised() -> None:
    with pytest.raises(DataError, match="counted from 1"):
        LabelValues.of_indices(3)(_raw([1, 2, 3]), PATH)
    with pytest.raises(DataError) as caught:
        LabelValues.of_indices(3)(_raw([0, 1, 3]), PATH)
    assert "counted from 1" not in str(caught.value)


def test_a_photo_in_place_of_a_mask_is_recognised() -> None:
    with pytest.raises(DataError, match="photo"):
        LabelValues.of_indices(3)(np.arange(200, dtype=np.uint8)[None], PATH)


def test_ranges() -> None:
    assert ranges([0, 1, 2, 5, 7, 8]) == "0..2, 5, 7..8"


# --- The tables -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "count"),
    [("ade20k", 150), ("camvid", 11), ("cityscapes", 19), ("coco_stuff", 171), ("pascal_context", 59), ("voc", 21)],
)
def test_every_table_has_its_classes(name: str, count: int) -> None:
    assert len(label_table(name).classes) == count


@pytest.mark.parametrize("name", TABLES)
def test_a_table_names_every_value_once(name: str) -> None:
    table = label_table(name)
    values = [value for ids in table.ids for value in ids]
    assert len({*values, *table.void}) == len(values) + len(table.void)
    assert all(isinstance(word, str) for word in (*table.classes.names, *table.void.values()))


def test_every_published_id_of_cityscapes_has_a_meaning() -> None:
    table = label_table("cityscapes")
    assert sorted([value for ids in table.ids for value in ids] + list(table.void)) == [*range(34), 255]


def test_all_182_ids_of_coco_are_classes_and_171_are_annotated() -> None:
    table = table_of_182()
    assert [ids[0] for ids in table.ids] == list(range(182))
    absent = {row["name"] for row in label_file("coco_stuff")["absent"]}
    assert len(absent) == 11
    assert [name for name in table.classes.names if name not in absent] == list(label_table("coco_stuff").classes.names)


def test_the_three_numbers_of_pascal_context() -> None:
    for column, last in (("id", 59), ("official", 59), ("raw", 458)):
        ids = [values[0] for values in context_table(60, column).ids]
        assert len(set(ids)) == 60
        assert (ids[0], max(ids)) == (0, last)
    raw = [values[0] for values in context_table(59, "raw").ids]
    assert raw == sorted(raw)  # both are alphabetical
    assert context_table(59, "id").void == {0: "background"}


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ({}, "key 'classes'"),
        ({"classes": [{"id": 1}, {"name": "b"}]}, "class 0"),
        ({"classes": [{"name": "a", "id": 1}, {"name": "b", "id": 1}]}, "value 1 means 'b' and 'a'"),
        ({"classes": ["a", "b"], "void": {1: "x"}}, "value 1 means 'b' and 'void'"),
        ({"classes": [{"name": "a", "id": -1}, "b"]}, "from 0 to 65535"),
        ({"classes": [{"name": "a", "color": [1, 2]}, "b"]}, "color of 'a'"),
        ({"classes": [{"name": "a", "color": "#12345g"}, "b"]}, "#rrggbb"),
        ({"classes": ["a", {"name": "a", "id": 3}]}, "'a' twice"),
        ({"classes": [True, "b"]}, "class 0"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(tree: object, says: str) -> None:
    with pytest.raises(DataError, match=re.escape(says)):
        as_table(tree, "mine.yaml")
