"""Files that people have and that are easily misread: bits, bands, pages, photos that are turned, other labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from own_folders import CLASSES, image, mask, open_folder, says_in_order
from PIL import Image
from raw_files import png, tiff

import segdistill
from segdistill.core.errors import DataError
from segdistill.data.reading import read_image, read_mask
from segdistill.diagnosis.diagnose import Diagnosis

Array = NDArray[Any]
SMALL = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3
"""A mask of three classes."""


def doctor(root: Path, **options: Any) -> Diagnosis:
    tree = {"root": str(root), "classes": CLASSES, **options}
    return segdistill.doctor("folder", data=tree, augment={"crop": [4, 6]}, quiet=True)


# --- Formats, bits, bands, pages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("quality", [75, 95])
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_a_lossy_mask_is_refused_whatever_it_holds(tmp_path: Path, quality: int, name: str) -> None:
    path = tmp_path / name
    Image.fromarray(SMALL).save(path, format="WEBP" if name == "a.webp" else "JPEG", quality=quality)
    for colors in (False, True):
        with pytest.raises(DataError, match=says_in_order(path, "is lossy", "PNG")):
            read_mask(path, colors=colors)


def test_a_tiff_mask_compressed_as_jpeg_is_refused(tmp_path: Path) -> None:
    Image.fromarray(SMALL.repeat(16, 0).repeat(16, 1)).save(tmp_path / "a.tif", compression="jpeg")
    with pytest.raises(DataError, match="is lossy"):
        read_mask(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_an_image_of_16_bits_and_three_colors_is_refused(tmp_path: Path, suffix: str) -> None:
    pixels, path = np.arange(36, dtype=np.uint16).reshape(3, 4, 3) * 100, tmp_path / f"deep.{suffix}"
    png(pixels, 16, path, 2) if suffix == "png" else tiff(pixels, path)
    with pytest.raises(DataError, match=says_in_order(path, "more than 8 bits", "16 bits")):
        read_image(path)


@pytest.mark.parametrize(
    "kind", ["uint16 png", "uint16 tif", "int32 tif", "float32 tif", "1 bit", "2 bits", "4 bits", "gif", "alpha", "bmp"]
)
def test_index_masks_of_every_depth(tmp_path: Path, kind: str) -> None:
    wanted = SMALL % 2 if kind == "1 bit" else SMALL
    word, _, form = kind.partition(" ")
    path = tmp_path / f"m.{form if form in ('png', 'tif') else word if word in ('gif', 'bmp') else 'png'}"
    wide = np.tile(wanted, (1, 2))
    if "bit" in kind:
        png(wide, int(word), path)
    elif kind == "alpha":
        Image.fromarray(np.dstack([wide, np.full_like(wide, 255)])).save(path)
    else:
        Image.fromarray(wide.astype(word if form else np.uint8)).save(path)
    assert np.array_equal(read_mask(path), wide)


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32, bool])
def test_index_masks_as_arrays(tmp_path: Path, kind: type) -> None:
    np.save(tmp_path / "m.npy", np.asfortranarray((SMALL % 2).astype(kind)))
    assert np.array_equal(read_mask(tmp_path / "m.npy"), SMALL % 2)


BAD_MASKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "fractions.tif": (lambda path: Image.fromarray(SMALL / np.float32(2)).save(path), "0.5"),
    "negative.npy": (lambda path: np.save(path, SMALL.astype(int) - 1), "from -1 to 1"),
    "onehot.npy": (lambda path: np.save(path, np.zeros((3, 4, 2))), "shape (3, 4, 2)"),
    "objects.npy": (lambda path: np.save(path, np.array([[None]]), allow_pickle=True), "array of object"),
    "cut.npy": (lambda path: path.write_bytes(b"\x93NUMPY\x01"), "bytes)"),
    "pages.tif": (
        lambda path: Image.fromarray(SMALL).save(path, save_all=True, append_images=[Image.fromarray(SMALL)]),
        "2 pages",
    ),
    "frames.gif": (
        lambda path: Image.fromarray(SMALL).save(path, save_all=True, append_images=[Image.fromarray(1 - SMALL % 2)]),
        "2 pages",
    ),
    "levels.gif": (lambda path: Image.fromarray(SMALL * 2).save(path), "grey level"),
    "glass.png": (lambda path: Image.fromarray(np.dstack([SMALL, SMALL])).save(path), "transparent"),
    "white.tif": (lambda path: Image.fromarray(SMALL == 0).save(path, tiffinfo={262: 0}), "counts from white"),
    "web.png": (lambda path: path.write_bytes(b"<html>"), "known format"),
}


@pytest.mark.parametrize("name", BAD_MASKS)
def test_a_mask_that_is_not_certain_is_refused(tmp_path: Path, name: str) -> None:
    make, words = BAD_MASKS[name]
    make(tmp_path / name)
    with pytest.raises(DataError, match=says_in_order(tmp_path / name, words)) as caught:
        read_mask(tmp_path / name)
    assert "BytesIO" not in str(caught.value)


def test_a_painted_mask_that_is_seen_through_is_refused_where_it_has_a_color(tmp_path: Path) -> None:
    colors = np.zeros((2, 2, 4), np.uint8)
    colors[0] = 9, 0, 0, 255
    Image.fromarray(colors).save(tmp_path / "clear.png")
    assert read_mask(tmp_path / "clear.png", colors=True).tolist() == [[9 << 16] * 2, [0, 0]]
    colors[1] = 9, 0, 0, 0
    Image.fromarray(colors).save(tmp_path / "unclear.png")
    with pytest.raises(DataError, match=says_in_order("unclear.png", "transparent")):
        read_mask(tmp_path / "unclear.png", colors=True)


def test_bands_that_are_dropped_are_named_and_too_many_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for bands in (4, 5, 8):
        root = tmp_path / str(bands)
        for number in range(5):
            mask(root / "masks" / f"{number}.png", [0, 1, 2] * 2)
            (root / "images").mkdir(exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 255, (4, 6, bands), np.uint8)
            tiff(pixels, root / "images" / f"{number}.tif")
        done = doctor(root)
        if bands < 8:
            assert np.array_equal(read_image(root / "images" / "4.tif").permute(1, 2, 0).numpy(), pixels[..., :3])
            assert [f.text for f in done.findings if f.level == "warning" and f"4 of {bands} bands" in f.text]
        else:
            assert [f.text for f in done.problems if "8 band(s)" in f.text]
    tiff(np.zeros((4, 6, 4), np.uint8), tmp_path / "gdal.tif", photometric=1)
    with pytest.raises(DataError, match=r"gdal\.tif.*4 band\(s\)"):
        read_image(tmp_path / "gdal.tif")
    assert "More samples" not in capfd.readouterr().err


# --- Photos that are turned -----------------------------------------------------------------------------------------


def turned(root: Path, orientation: int, size: tuple[int, int], suffix: str = "jpg", mask_tag: int = 1) -> Array:
    """An image whose white pixels are class 1 in a mask that is drawn on the pixels as stored."""
    label = np.zeros(size, np.uint8)
    label[8:24, 8:32] = 1
    exif, mask_exif = Image.Exif(), Image.Exif()
    exif[0x0112], mask_exif[0x0112] = orientation, mask_tag
    for folder in ("train/images", "train/masks"):
        (root / folder).mkdir(parents=True)
    Image.fromarray(np.dstack([label * 250] * 3)).save(root / "train/images" / f"0.{suffix}", exif=exif, quality=95)
    Image.fromarray(label).save(root / "train/masks/0.png", exif=mask_exif)
    return label


def labelled_rightly(data: Any) -> bool:
    sample = data[0]
    return bool(((sample.image.float().mean(0) > 128) == sample.label.bool()).all())


@pytest.mark.parametrize(("orientation", "size"), [(3, (48, 64)), (2, (48, 64)), (6, (64, 64)), (6, (48, 64))])
@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_a_mask_drawn_on_the_stored_pixels(
    tmp_path: Path, orientation: int, size: tuple[int, int], suffix: str
) -> None:
    turned(tmp_path, orientation, size, suffix)
    options = {"classes": ["a", "b"]}
    with pytest.raises(DataError, match=r"data\.exif=ignore") as caught:
        open_folder(tmp_path, **options)[0]
    assert f"EXIF orientation {orientation}" in str(caught.value)
    assert "as stored" in str(caught.value)
    assert labelled_rightly(open_folder(tmp_path, exif="ignore", **options))
    if size[0] == size[1] or orientation < 5:
        assert not labelled_rightly(open_folder(tmp_path, exif="apply", **options))


@pytest.mark.parametrize("exif", ["auto", "apply", "ignore"])
def test_an_image_and_a_mask_that_are_turned_alike(tmp_path: Path, exif: str) -> None:
    turned(tmp_path, 6, (48, 64), mask_tag=6)
    assert labelled_rightly(open_folder(tmp_path, exif=exif, classes=["a", "b"]))


def test_doctor_warns_that_masks_must_be_turned_too(tmp_path: Path) -> None:
    turned(tmp_path, 3, (48, 64))
    done = doctor(tmp_path, classes=["a", "b"], exif="apply")
    assert any(f.level == "warning" and "masks must be turned, too" in f.text for f in done.findings)
    assert not any("rightly" in f.text for f in done.findings)


# --- Labels that are not masks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"masks/0.json": json.dumps({"shapes": []})}, "data.masks="),
        ({"annotations.json": json.dumps({"annotations": [], "categories": []})}, "data.masks=annotations.json"),
        ({"masks/task-0-annotation-0-by-1-tag-road-0.png": ""}, "Label Studio"),
        ({"labels/0.txt": "0 0.1 0.2 0.3 0.4 0.5 0.6\n"}, "YOLO"),
        ({"masks/0.nii.gz": "x"}, "not read"),
    ],
)
def test_labels_of_tools_are_named_with_what_converts_them(tmp_path: Path, files: dict[str, str], words: str) -> None:
    image(tmp_path / "images" / "0.jpg")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=says_in_order("masks", *files, words)):
        open_folder(tmp_path)


def test_masks_with_another_ending_are_named_with_their_template(tmp_path: Path) -> None:
    image(tmp_path / "images" / "0.jpg")
    (tmp_path / "masks").mkdir()
    Image.fromarray(SMALL % 2).save(tmp_path / "masks" / "0_mask.gif")
    with pytest.raises(DataError, match=says_in_order("0_mask.gif", "data.masks='masks/{name}_mask.gif'")):
        open_folder(tmp_path)
