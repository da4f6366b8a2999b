"""COCO panoptic: ids of segments in PNGs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotated import annotated, grid, images, label_of, save_json
from own_folders import says_in_order
from PIL import Image

from segdistill.core.errors import DataError

IDS = np.array([[0] * 2 + [7] * 2 + [66_051] * 2 + [300] * 2] * 6)


def write(root: Path, **change: Any) -> Path:
    images(root, "images/a.png", "images/b.png")
    (root / "panoptic_val").mkdir()
    rgb = np.stack([IDS % 256, IDS // 256 % 256, IDS // 65536], -1).astype(np.uint8)
    Image.fromarray(rgb).save(root / "panoptic_val" / "b.png")
    segments = [
        {"id": 7, "category_id": 1, "iscrowd": 0, "area": 12, "bbox": [2, 0, 2, 6]},
        {"id": 66_051, "category_id": 200, "iscrowd": 0, "area": 12, "bbox": [4, 0, 2, 6]},
        {"id": 300, "category_id": 1, "iscrowd": 1, "area": 12, "bbox": [6, 0, 2, 6]},
    ]
    tree = {
        "images": [{"id": n, "file_name": f"{name}.jpg", "width": 8, "height": 6} for n, name in ((1, "a"), (2, "b"))],
        "annotations": [{"image_id": 2, "file_name": "b.png", "segments_info": segments}],
        "categories": [
            {"id": 1, "name": "person", "supercategory": "person", "isthing": 1, "color": [220, 20, 60]},
            {"id": 200, "name": "rug-merged", "supercategory": "floor", "isthing": 0, "color": [250, 141, 255]},
        ],
    }
    return save_json(root / "panoptic_val.json", {**tree, **change})


def test_segments_are_areas_of_their_category(tmp_path: Path) -> None:
    write(tmp_path)
    data = annotated(tmp_path, "panoptic_val.json")
    assert data.classes.names == ("background", "person", "rug-merged")
    assert data.classes.colors[1] == (220, 20, 60)
    assert np.array_equal(label_of(data, "b"), grid("..112211 " * 6))
    void = annotated(tmp_path, "panoptic_val.json", unlabeled="void")
    assert np.array_equal(label_of(void, "b"), grid("xx001100 " * 6))
    assert not label_of(annotated(tmp_path, "panoptic_val.json", "train"), "a").any()


def test_damaged_files_are_refused_by_name(tmp_path: Path) -> None:
    segments = [{"id": 7, "category_id": 1}]
    path = write(tmp_path, annotations=[{"image_id": 2, "file_name": "b.png", "segments_info": segments}])
    with pytest.raises(DataError, match=says_in_order(path, "b.png", "holds (3, 2, 1), (44, 1, 0)")):
        label_of(annotated(tmp_path, path.name), "b")
    segments[0]["category_id"] = 9
    save_json(path, {"images": [], "categories": [], "annotations": [{"image_id": 2, "segments_info": segments}]})
    with pytest.raises(DataError, match=says_in_order(path, "an annotation is")):
        annotated(tmp_path, path.name)
    path = write(tmp_path / "other")
    (tmp_path / "other" / "panoptic_val" / "b.png").unlink()
    with pytest.raises(DataError, match=says_in_order(path, "b.png", "panoptic_val")):
        annotated(tmp_path / "other", path.name)
