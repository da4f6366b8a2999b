"""Inputs that other tools, and earlier versions of this one, read wrongly without a word: now right, or refused."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from own_folders import CLASSES, image, mask, names_of, open_folder, pair, row, says_in_order
from PIL import Image
from raw_files import png, tiff

import segdistill
from segdistill.core.errors import DataError, RecipeError
from segdistill.data.pairs import FilePairs
from segdistill.data.reading import read_image, read_mask
from segdistill.diagnosis.diagnose import Diagnosis

Array = NDArray[Any]
SMALL = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3
"""A mask of three classes."""


def doctor(root: Path, **options: Any) -> Diagnosis:
    tree = {"root": str(root), "classes": CLASSES, **options}
    return segdistill.doctor("folder", data=tree, augment={"crop": [4, 6]}, quiet=True)


def files_of(data: Any, root: Path) -> list[str]:
    assert isinstance(data, FilePairs)
    return [path.relative_to(root / "images").as_posix() for path, _ in data.pairs]


# --- Lists: each line means one image, or is refused ----------------------------------------------------------------


@pytest.fixture
def sequences(tmp_path: Path) -> Path:
    """seq1, seq2 and seq3, whose frames have the same names."""
    for seq in (1, 2, 3):
        for frame in (0, 1):
            image(tmp_path / "images" / f"seq{seq}" / f"{frame:04d}.png", red=10 * seq + frame)
            mask(tmp_path / "masks" / f"seq{seq}" / f"{frame:04d}.png", [seq - 1] * 6)
    return tmp_path


def write_lists(root: Path, form: str) -> None:
    lines = {"train": [(1, 0), (2, 0), (2, 1)], "val": [(3, 0), (3, 1)]}
    for split, frames in lines.items():
        text = "".join(form.format(root=root, seq=seq, frame=f"{frame:04d}") + "\n" for seq, frame in frames)
        (root / f"{split}.txt").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    "form",
    [
        "{root}/images/seq{seq}/{frame}.png",
        "./images/seq{seq}/{frame}.png",
        "images/../images/seq{seq}/{frame}",
        "mydata/images/seq{seq}/{frame}.png",
        "{root}/masks/seq{seq}/{frame}.png",
        "images\\seq{seq}\\{frame}.png",
        "C:\\data\\images\\seq{seq}\\{frame}.PNG",
        "seq{seq}/{frame}.jpg",
    ],
)
def test_every_way_to_write_a_nested_image(sequences: Path, form: str) -> None:
    write_lists(sequences, form)
    assert files_of(open_folder(sequences), sequences) == ["seq1/0000.png", "seq2/0000.png", "seq2/0001.png"]
    assert files_of(open_folder(sequences, "val"), sequences) == ["seq3/0000.png", "seq3/0001.png"]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["0000.png"], ["'0000.png'", "seq1/0000.png", "seq2/0000.png"]),
        (["seq1/0000", "./images/seq1/0000.png"], ["twice", "'seq1/0000'", "'./images/seq1/0000.png'"]),
        (["seq9/0000.png"], ["0000.png", "which is not in"]),
        (["here/seq1/0000", "there/seq2/0000"], ["here/seq1/0000", "there/seq2/0000", "not certain"]),
    ],
)
def test_a_line_that_is_not_certain_is_refused(sequences: Path, lines: list[str], words: list[str]) -> None:
    (sequences / "train.txt").write_text("\n".join(lines))
    with pytest.raises(DataError, match=says_in_order(sequences / "train.txt")) as caught:
        open_folder(sequences)
    assert all(word in str(caught.value) for word in words)


def test_names_in_both_spellings_of_an_accent(tmp_path: Path) -> None:
    nfc, nfd = (unicodedata.normalize(form, "rué") for form in ("NFC", "NFD"))
    image(tmp_path / "images" / f"{nfd}.png")
    mask(tmp_path / "masks" / f"{nfc}.png", [2] * 6)
    (tmp_path / "train.txt").write_text(nfc, encoding="utf-8")
    assert row(open_folder(tmp_path)) == [2] * 6
    image(tmp_path / "images" / f"{nfc}.png")
    with pytest.raises(DataError, match="share a name"):
        open_folder(tmp_path)


def test_two_columns_that_may_be_two_files_are_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "lists"):
        image(folder / "a.png")
        mask(folder / "a_m.png", [1] * 6)
    (tmp_path / "lists" / "train.lst").write_text("a.png,a_m.png\n")
    with pytest.raises(DataError, match=says_in_order("'a.png'", "may be", tmp_path / "a.png")):
        open_folder(tmp_path, lists={"train": "lists/train.lst"})
    for name in ("a.png", "a_m.png"):
        (tmp_path / name).unlink()
    assert row(open_folder(tmp_path, lists={"train": "lists/train.lst"})) == [1] * 6


def test_a_test_list_is_not_validation(sequences: Path) -> None:
    (sequences / "train.txt").write_text("seq1/0000\n")
    (sequences / "test.txt").write_text("seq3/0000\n")
    with pytest.raises(DataError, match=says_in_order("train.txt and test.txt", "no val.txt", "data.lists=")):
        open_folder(sequences, "val")


# --- Splits by folder, templates ------------------------------------------------------------------------------------


@pytest.mark.parametrize("val", ["val", "valid", "Validation"])
def test_folders_named_after_splits_are_the_split(tmp_path: Path, val: str) -> None:
    for place in ("train/a", "train/b", f"{val}/c", "test/d"):
        image(tmp_path / "images" / f"{place}.png", red=ord(place[-1]))
        mask(tmp_path / "masks" / f"{place}.png", [0, 1, 2] * 2)
    assert names_of(open_folder(tmp_path)) == ["a", "b"]
    assert names_of(open_folder(tmp_path, "val")) == ["c"]
    message = " ".join(finding.text for finding in doctor(tmp_path).findings)
    assert "are the split: 2 train, 1 val, 1 test" in message
    assert names_of(open_folder(tmp_path, "val", val_pattern="test/*")) == ["d"], "a rule goes before folders"


@pytest.mark.parametrize(
    ("places", "words"),
    [
        (["train/a", "b"], ["named after a split", "train/a", "b"]),
        (["train/a", "val/b", "more/c"], ["named after a split", "more/c"]),
        (["train/a", "val/b", "valid/c"], ["val and valid"]),
        (["train/a", "test/b"], ["none for val"]),
    ],
)
def test_a_mixture_of_split_folders_and_others_is_refused(tmp_path: Path, places: list[str], words: list[str]) -> None:
    for place in places:
        image(tmp_path / "images" / f"{place}.png")
        mask(tmp_path / "masks" / f"{place}.png", [0] * 6)
    with pytest.raises(DataError, match=says_in_order(*words)):
        open_folder(tmp_path)


def test_a_folder_valid_beside_train(tmp_path: Path) -> None:
    for place, name in (("train", "a"), ("valid", "b")):
        image(tmp_path / place / "images" / f"{name}.jpg")
        mask(tmp_path / place / "masks" / f"{name}.png", [0] * 6)
    assert names_of(open_folder(tmp_path)) == ["a"]
    assert names_of(open_folder(tmp_path, "val")) == ["b"]
    image(tmp_path / "images" / "c.png")
    with pytest.raises(DataError, match=says_in_order("images/ and train/images/")):
        open_folder(tmp_path)


def test_a_suffix_in_a_template_takes_its_other_case(tmp_path: Path) -> None:
    for number in range(10):
        image(tmp_path / "images" / f"{number}.{('jpg', 'JPG')[number % 2]}", red=number)
        mask(tmp_path / "masks" / f"{number}.{('png', 'PNG')[number % 2]}", [0, 1, 2] * 2)
    image(tmp_path / "images" / "x.jpeg")
    options = {"images": "images/{name}.jpg", "masks": "masks/{name}.png"}
    assert sum(len(open_folder(tmp_path, split, **options)) for split in ("train", "val")) == 10
    (left,) = [finding for finding in doctor(tmp_path, **options).findings if "fit no rule" in finding.text]
    assert left.files == (str(tmp_path / "images" / "x.jpeg"),)


# --- Class lists of labelling tools ---------------------------------------------------------------------------------

TOOLS = {
    "labels.txt": "__ignore__\n_background_\nroad\ncar\n",
    "_classes.csv": "Pixel Value, Class\n0, background\n1, road\n2, car\n",
    "labelmap.txt": "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:128,0,0::\ncar:0,128,0::\n",
    "class_dict.csv": "name,r,g,b\nbackground,0,0,0\nroad,128,0,0\ncar,0,128,0\n",
    "numbered.txt": "0: background\n1: road\n2: car\n",
    "places.txt": "0 background\n1 road\n2 car\n",
    "colors.txt": "0 0 0 background\n128 0 0 road\n0 128 0 car\n",
    "bom.txt": "\ufeffbackground\r\nroad\r\ncar\r\n",
    "data.yaml": "names: {0: background, 1: road, 2: car}\nnc: 3\n",
    "list.yaml": "[background, road, car]\n",
}


@pytest.mark.parametrize("name", TOOLS)
def test_class_lists_of_tools(tmp_path: Path, name: str) -> None:
    root = pair(tmp_path, [0, 1, 2, 255, 1, 0])
    (root / name).write_bytes(TOOLS[name].encode())
    data = open_folder(root, classes=name)
    assert [each.strip("_") for each in data.classes.names] == ["background", "road", "car"]
    assert row(data) == [0, 1, 2, 255, 1, 0]
    if "128" in TOOLS[name]:
        assert data.classes.colors == ((0, 0, 0), (128, 0, 0), (0, 128, 0))


def test_values_of_a_class_list_are_the_values(tmp_path: Path) -> None:
    (tmp_path / "_classes.csv").write_text("Pixel Value, Class\n7, road\n3, car\n")
    assert row(open_folder(pair(tmp_path, [7, 3, 7, 3, 3, 255]), classes="_classes.csv")) == [0, 1, 0, 1, 1, 255]


@pytest.mark.parametrize(
    "text",
    [
        "1 euro\n2 euro\n5 cents\n",
        "# my classes\nroad\ncar\n",
        "Idx\tRatio\tName\n1\t0.1\twall\n",
        "road\n__ignore__\ncar\n",
        "0, road\ncar\n",
        '{"0": "road", "1": "car"}',
        "Pixel Value, Class\n0, road\nx, car\n",
        "0, road\n0, car\n",
        "names: {1: road, 2: car}",
        "[road, off]",
    ],
)
def test_a_class_list_that_is_not_certain_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / ("list.yaml" if text.startswith(("names", "[")) else "list.txt")
    file.write_text(text)
    with pytest.raises(DataError, match=says_in_order(file)):
        open_folder(pair(tmp_path, [0, 1] * 3), classes=file)


def test_class_files_lie_as_named_or_below_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, here = pair(tmp_path / "set", [0, 1] * 3), tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("names.txt", "table.yaml"):
        (root / name).write_text("road\ncar\n" if name.endswith("txt") else "classes: [road, car]")
        assert open_folder(root, classes=name).classes.names == ("road", "car")
        assert open_folder(Path("~/set"), classes=f"~/set/{name}").classes.names == ("road", "car")
        (here / name).write_text("car\nroad\n")
        with pytest.raises(DataError, match=says_in_order(here / name, root / name)):
            open_folder(root, classes=name)


@pytest.mark.parametrize("count", [255, 300])
def test_more_classes_than_a_label_holds_are_refused(tmp_path: Path, count: int) -> None:
    root = pair(tmp_path, [4, 253, 255] * 2, np.uint16)
    names = [f"cell {number}" for number in range(count)]
    with pytest.raises(DataError, match=says_in_order(f"There are {count} classes", "at most 254", "data.merge")):
        open_folder(root, classes=names)
    assert row(open_folder(root, classes=names[:254]))[:3] == [4, 253, 255]


def test_words_that_yaml_changes(tmp_path: Path) -> None:
    root = pair(tmp_path, [0, 1] * 3)
    tree = ["folder", f"data.root={root}", "tiny_pair"]
    with pytest.raises(RecipeError, match=says_in_order("data.classes", "no, off and false", "quotes")):
        segdistill.doctor(*tree, "data.classes=[no,yes,off]", quiet=True)
    with pytest.raises(RecipeError, match=says_in_order("data.values", "on and true", "quotes")):
        segdistill.doctor(*tree, "data.classes=['on','off']", "data.values={0: on, 1: off}", quiet=True)
    report = segdistill.doctor("folder", f"data.root={root}", "data.classes=[a,b]", "data.values={0:1,1:a}", quiet=True)
    assert report.splits["train"].of_value == {0: 1, 1: 0}


# --- Options that would do nothing, or something else ----------------------------------------------------------------


def test_values_count_classes_before_they_are_merged(tmp_path: Path) -> None:
    root = pair(tmp_path, [7, 8, 9, 7, 8, 9])
    options = {"classes": ["road", "car", "truck", "sky"], "merge": {"truck": "car"}}
    assert row(open_folder(root, values={7: 0, 8: 2, 9: 3}, **options))[:3] == [0, 1, 2]
    assert row(open_folder(root, values={7: "road", 8: "truck", 9: "sky"}, **options))[:3] == [0, 1, 2]
    options["merge"] = {"truck": None, "car": "lorry"}
    assert row(open_folder(root, values={7: "lorry", 8: "truck", 9: "car"}, **options))[:3] == [1, 255, 1]


@pytest.mark.parametrize("rule", [{"val_every": 2}, {"val_fraction": 0.5}, {"val_pattern": "a"}])
def test_a_split_rule_that_would_do_nothing_is_refused(tmp_path: Path, rule: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=says_in_order(f"data.{next(iter(rule))}", "would do nothing")):
        open_folder(pair(tmp_path, [0] * 6), **rule)


def test_colors_nobody_named_are_not_looked_for_in_masks(tmp_path: Path) -> None:
    root = pair(tmp_path, [(128, 0, 0)] * 6)
    (root / "classes.txt").write_text("background\nplane\n")
    with pytest.raises(DataError, match=says_in_order("data.colors", "'background' has none (2 such)")):
        open_folder(root, classes=root / "classes.txt", mask_colors=True)
    with pytest.raises(DataError, match=says_in_order("data.unlisted is for masks of values")):
        open_folder(root, mask_colors=True, unlisted="void", colors={"road": [1, 2, 3]})


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
        ({"masks/0.json": json.dumps({"shapes": []})}, "labelme2voc"),
        ({"annotations.json": json.dumps({"annotations": [], "categories": []})}, "pycocotools"),
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
