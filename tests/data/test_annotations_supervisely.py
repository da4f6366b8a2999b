"""Supervisely JSON, by hand from its own documentation."""

from __future__ import annotations

import base64
import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotated import annotated, grid, images, label_of, save_json
from own_folders import says_in_order
from PIL import Image

from segdistill.core.errors import DataError


def packed(mask: Any) -> str:
    """A mask as the SDK writes it: PNG, zlib, base64."""
    file = io.BytesIO()
    Image.fromarray(np.asarray(mask, np.uint8) > 0).save(file, format="PNG")
    return base64.b64encode(zlib.compress(file.getvalue())).decode()


def polygon(label: str, exterior: list[list[int]], *interior: list[list[int]]) -> dict[str, Any]:
    points = {"exterior": exterior, "interior": list(interior)}
    return {"id": 5, "classTitle": label, "geometryType": "polygon", "tags": [], "points": points}


def write(root: Path, *objects: dict[str, Any]) -> Path:
    images(root, "ds/img/a.png", "ds/img/b.png")
    classes = [
        {"title": "road", "shape": "polygon", "color": "#0F8A7C"},
        {"title": "car", "shape": "bitmap", "color": "#FF0000"},
    ]
    save_json(root / "meta.json", {"classes": classes, "tags": []})
    save_json(root / "ds/ann/a.png.json", {"size": {"height": 6, "width": 8}, "objects": [], "tags": []})
    return save_json(root / "ds/ann/b.png.json", {"size": {"height": 6, "width": 8}, "objects": list(objects)})


def test_polygons_with_holes_bitmaps_and_boxes(tmp_path: Path) -> None:
    write(
        tmp_path,
        polygon("road", [[0, 0], [8, 0], [8, 4], [0, 4]], [[1, 1], [3, 1], [3, 3], [1, 3]]),
        {
            "id": 6, "classTitle": "car", "geometryType": "bitmap",
            "bitmap": {"data": packed(grid("11 1. 11")), "origin": [6, 3]},
        },
        {"classTitle": "car", "geometryType": "rectangle", "points": {"exterior": [[4, 0], [5, 1]], "interior": []}},
        {"classTitle": "car", "geometryType": "point", "points": {"exterior": [[4, 4]], "interior": []}},
    )  # fmt: skip
    data = annotated(tmp_path, "ds/ann", images="ds/img/{name}")
    assert data.classes.names == ("background", "road", "car")
    assert data.classes.colors[1:] == ((15, 138, 124), (255, 0, 0))
    assert np.array_equal(label_of(data, "b"), grid("11112111 1..11111 1..11111 11111122 ......2. ......22"))
    assert any("Supervisely" in note for note in data.notes)
    assert any("1 points" in note for note in data.notes)
    assert not label_of(annotated(tmp_path, "ds", "train", images="ds/img/{name}"), "a").any()


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"classTitle": "car", "geometryType": "bitmap", "bitmap": {"data": "AAAA", "origin": [0, 0]}}, "PNG"),
        ({"classTitle": "car", "geometryType": "bitmap", "bitmap": {"data": "AAAA"}}, "origin"),
        ({"classTitle": "car", "geometryType": "mesh", "points": {"exterior": []}}, "'mesh'"),
        ({"geometryType": "polygon"}, "classTitle"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, broken: dict[str, Any], words: str) -> None:
    path = write(tmp_path, broken)
    with pytest.raises(DataError, match=says_in_order(path, words)):
        label_of(annotated(tmp_path, "ds/ann", images="ds/img/{name}", format="supervisely"), "b")
