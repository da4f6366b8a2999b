"""Label Studio JSON: a brush that another encoder of its packing wrote, shapes in percent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotated import annotated, grid, images, label_of, save_json
from own_folders import says_in_order

from segdistill.core.errors import DataError

PACKED = [
    0, 0, 0, 192, 57, 27, 254, 39, 0, 183, 255, 124, 3, 9, 255, 219, 0, 194, 127, 246, 192, 48, 159, 253, 240, 11, 127,
    246, 192, 0,
]  # fmt: skip
"""What label_studio_brush_rle_rs.encode_rle (its encoder) makes of DISC as RGBA, with 8-bit values and 3, 4, 8, 16."""

DISC = grid("........ ..111... .11111.. .11111.. .11111.. ..111...")


def region(kind: str, label: str = "car", **value: Any) -> dict[str, Any]:
    return {
        "id": "aB3", "from_name": "tag", "to_name": "image", "type": kind, "original_width": 8, "original_height": 6,
        "image_rotation": 0, "value": {kind: [label], **value},
    }  # fmt: skip


def write(root: Path, *regions: dict[str, Any], address: str = "/data/upload/1/0a1b2c3d-b.png") -> Path:
    images(root, "images/a.png", "images/b.png")
    tasks = [
        {"id": 1, "data": {"image": "s3://bucket/folder/a.png"}, "annotations": [{"id": 1, "result": []}]},
        {
            "id": 2,
            "data": {"image": address},
            "annotations": [
                {"id": 2, "was_cancelled": False, "result": list(regions)},
                {"id": 3, "was_cancelled": True, "result": [{"type": "brushlabels"}]},
            ],
        },
    ]
    return save_json(root / "export.json", tasks)


@pytest.mark.parametrize(
    "address", ["/data/upload/1/0a1b2c3d-b.png", "/data/local-files/?d=images%2Fb.png", "https://host/x/b.png?sig=1"]
)
def test_a_brush_is_the_mask_that_was_packed(tmp_path: Path, address: str) -> None:
    write(tmp_path, region("brushlabels", format="rle", rle=PACKED), address=address)
    data = annotated(tmp_path, "export.json")
    assert data.classes.names == ("background", "car")
    assert np.array_equal(label_of(data, "b"), DISC)
    assert any("Label Studio" in note for note in data.notes)
    assert not label_of(annotated(tmp_path, "export.json", "train"), "a").any()


def test_polygons_boxes_and_ellipses_in_percent(tmp_path: Path) -> None:
    write(
        tmp_path,
        region("polygonlabels", "road", points=[[0, 0], [100, 0], [100, 50], [0, 50]], closed=True),
        region("rectanglelabels", "car", x=50, y=0, width=25, height=33.3333, rotation=0),
        region("ellipselabels", "dog", x=18.75, y=75, radiusX=13.75, radiusY=18.333, rotation=0),
        region("rectanglelabels", "cat", x=100, y=50, width=16.66667, height=33.33333 * 8 / 6, rotation=90),
        {"type": "choices", "value": {"choices": ["good"]}},
    )
    data = annotated(tmp_path, "export.json")
    assert data.classes.names == ("background", "car", "cat", "dog", "road")
    label = label_of(data, "b")
    assert np.array_equal(label[:3], grid("44441144 44441144 44444444"))
    assert np.array_equal(label[4:, :4], grid("333. .3.."))
    assert (label == 2).any()
    assert any("1 regions" in note for note in data.notes)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (region("brushlabels", format="rle", rle=PACKED[:-5]), "end after 25 bytes"),
        (region("brushlabels", format="rle", rle=[0, 0, 0, 9, *PACKED[4:]]), "9 values; expected 192"),
        (region("brushlabels", format="png"), "'png'"),
        (region("polygonlabels", points=[[1, 2], [3, "x"]]), "points"),
        ({**region("brushlabels"), "image_rotation": 90}, "turned by 90"),
        ({"type": "polygonlabels", "id": "q"}, "region q of task 2"),
    ],
)
def test_a_damaged_export_is_refused_by_name(tmp_path: Path, broken: dict[str, Any], words: str) -> None:
    path = write(tmp_path, broken)
    with pytest.raises(DataError, match=says_in_order(path, words)):
        label_of(annotated(tmp_path, "export.json"), "b")


def test_tasks_that_nobody_labelled_are_left_out(tmp_path: Path) -> None:
    root = images(tmp_path, *[f"images/{name}.png" for name in "abcd"])
    skipped = [{"id": 3, "was_cancelled": True, "result": [region("rectanglelabels")]}]
    box = region("rectanglelabels", x=0, y=0, width=100, height=100)
    answers = {"a": [{"id": 1, "result": []}], "b": [{"id": 2, "result": [box]}], "c": skipped, "d": []}
    tasks = [{"data": {"image": f"{name}.png"}, "annotations": each} for name, each in answers.items()]
    save_json(root / "export.json", tasks)
    data = annotated(root, "export.json", "train"), annotated(root, "export.json")
    assert [[each.name(index) for index in range(len(each))] for each in data] == [["a"], ["b"]]
    assert not label_of(data[0], "a").any()  # that nothing is there was said
    assert any("2 tasks of export.json were skipped" in note for note in data[0].notes)
