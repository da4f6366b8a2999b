"""CVAT's segmentation masks, as an archive and as its folder."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from annotated import annotated, grid, images, label_of
from own_folders import says_in_order
from PIL import Image

from segdistill.core.errors import DataError

MAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncar:250,50,83::\nroad:61,61,245::\n"
SHOWN = grid("11112222 11112222 ........ ........ ........ ........")


def write(root: Path, labelmap: str = MAP, mask: np.ndarray | None = None) -> Path:
    images(root, "images/a.png", "images/b.png")
    folder = root / "export"
    (folder / "SegmentationClass").mkdir(parents=True)
    colors = np.array([(0, 0, 0), (250, 50, 83), (61, 61, 245)], np.uint8)
    pixels = colors[SHOWN] if mask is None else mask
    Image.fromarray(pixels).save(folder / "SegmentationClass" / "b.png")
    (folder / "labelmap.txt").write_text(labelmap)
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(folder / "SegmentationClass" / "a.png")
    with zipfile.ZipFile(root / "masks.zip", "w") as archive:
        for path in folder.rglob("*.*"):
            archive.write(path, path.relative_to(folder))
    return root


@pytest.mark.parametrize("masks", ["export", "masks.zip"])
@pytest.mark.parametrize("labelmap", [MAP, MAP.replace("background:0,0,0::\n", "")])
def test_painted_masks_by_the_label_map(tmp_path: Path, masks: str, labelmap: str) -> None:
    data = annotated(write(tmp_path, labelmap), masks)
    assert data.classes.names == ("background", "car", "road")
    assert data.classes.colors == ((0, 0, 0), (250, 50, 83), (61, 61, 245))
    assert np.array_equal(label_of(data, "b"), SHOWN)
    assert any("CVAT masks" in note for note in data.notes)


def test_damaged_exports_are_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, mask=np.full((6, 8, 3), 7, np.uint8))
    with pytest.raises(DataError, match=says_in_order("masks.zip", "SegmentationClass/b.png", "(7, 7, 7)")):
        label_of(annotated(tmp_path, "masks.zip"), "b")
    (tmp_path / "export" / "labelmap.txt").write_text("car 1 2 3\n")
    with pytest.raises(DataError, match=says_in_order("export", "labelmap.txt", "car 1 2 3")):
        annotated(tmp_path, "export")
    content = (tmp_path / "masks.zip").read_bytes()
    (tmp_path / "masks.zip").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=says_in_order("masks.zip", "zip archive")):
        annotated(tmp_path, "masks.zip", format="cvat_masks")


def test_a_damaged_mask_in_an_archive_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    with zipfile.ZipFile(tmp_path / "masks.zip", "w") as archive:
        archive.writestr("labelmap.txt", MAP)
        archive.writestr("SegmentationClass/b.png", "not a picture")
    with pytest.raises(DataError, match=says_in_order("masks.zip", "SegmentationClass/b.png", "not an image")):
        label_of(annotated(tmp_path, "masks.zip"), "b")


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    write(tmp_path, mask=np.zeros((5, 8, 3), np.uint8))
    with pytest.raises(DataError, match=says_in_order("b.png", "8x5", "8x6")):
        label_of(annotated(tmp_path, "export"), "b")


def test_two_labels_of_one_color_are_refused(tmp_path: Path) -> None:
    write(tmp_path, f"{MAP}truck:250,50,83::\n")
    with pytest.raises(DataError, match=says_in_order("export", "'car' and 'truck' share one color")):
        annotated(tmp_path, "export")
