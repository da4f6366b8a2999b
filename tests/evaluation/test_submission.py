"""Submissions: what is written is what the servers read, and the check finds what they would refuse."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdistill.core.errors import DataError, SegdistillError
from segdistill.data.tables import label_table
from segdistill.evaluation.submission import SERVERS, Submission, check_submission, server_of

CITY = label_table("cityscapes").classes.names


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three test images of Cityscapes by name, in the size the server wants."""
    folder = tmp_path_factory.mktemp("cityscapes") / "leftImg8bit" / "test" / "berlin"
    folder.mkdir(parents=True)
    paths = [folder / f"berlin_{number:06d}_000019_leftImg8bit.png" for number in range(3)]
    for path in paths:
        Image.new("RGB", (2048, 1024)).save(path)
    return paths


def _predicted(seed: int, classes: int, size: tuple[int, int] = (1024, 2048)) -> np.ndarray:
    return np.random.default_rng(seed).integers(classes, size=size)


def _submit(tmp_path: Path, images: list[Path]) -> Path:
    submission = Submission(tmp_path / "sent", server_of("cityscapes"), CITY, images, {"weights": "a"})
    for number, image in enumerate(submission.pending):
        submission.add(image, _predicted(number, 19))
    return submission.pack()


def test_cityscapes_gets_its_own_ids_in_grey_pngs_of_the_images_names(tmp_path: Path, images: list[Path]) -> None:
    ids = np.array([7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33])
    file = _submit(tmp_path, images)
    with zipfile.ZipFile(file) as archive:
        assert archive.namelist() == [f"{image.stem}.png" for image in images]
        for number, name in enumerate(archive.namelist()):
            picture = Image.open(io.BytesIO(archive.read(name)))
            assert picture.mode == "L"
            assert np.array_equal(np.asarray(picture), ids[_predicted(number, 19)])
    assert check_submission(file, SERVERS["cityscapes"], images) == []
    assert check_submission(file, SERVERS["cityscapes"]) == [
        "The zip holds 3 maps; the test set has 1525 images.",
    ]


@pytest.mark.parametrize(
    ("name", "first", "path"),
    [
        ("ade20k", 1, "x.png"),
        ("voc", 0, "results/VOC2012/Segmentation/comp6_test_cls/x.png"),
        ("pascal_context", 1, "x.png"),
    ],
)
def test_other_servers_get_their_values_and_places(name: str, first: int, path: str, tmp_path: Path) -> None:
    image, server = tmp_path / "x.jpg", server_of(name)
    Image.new("RGB", (50, 40)).save(image)
    table = label_table(name).classes
    submission = Submission(tmp_path / "sent", server, table.names, [image], {})
    predicted = _predicted(0, len(table), (40, 50))
    submission.add(image, predicted)
    file = submission.pack()
    assert check_submission(file, server, [image]) == []
    with zipfile.ZipFile(file) as archive:
        assert archive.namelist() == [path]
        picture = Image.open(io.BytesIO(archive.read(path)))
        assert np.array_equal(np.asarray(picture), predicted + first)
        if server.palette:
            y, x = 7, 9
            assert picture.convert("RGB").getpixel((x, y)) == table.colors[predicted[y, x]]


def test_sixty_classes_of_pascal_context_send_the_background_as_0(tmp_path: Path) -> None:
    names = ["background", *label_table("pascal_context").classes.names]
    assert server_of("pascal_context").ids(names).tolist() == list(range(60))


def test_a_network_of_other_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'cat', which is no class of cityscapes"):
        Submission(tmp_path / "sent", server_of("cityscapes"), ["road", "cat"], [], {})
    with pytest.raises(DataError, match="Did you mean 'cityscapes'"):
        server_of("cityscape")


def test_an_interrupted_submission_goes_on_and_another_networks_is_refused(tmp_path: Path, images: list[Path]) -> None:
    first = Submission(tmp_path / "sent", server_of("cityscapes"), CITY, images, {"weights": "a"})
    first.add(images[1], _predicted(5, 19))
    again = Submission(tmp_path / "sent", server_of("cityscapes"), CITY, images, {"weights": "a"})
    assert again.pending == [images[0], images[2]]
    with pytest.raises(SegdistillError, match=r"made otherwise.*made_by\.json"):
        Submission(tmp_path / "sent", server_of("cityscapes"), CITY, images, {"weights": "b"})


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    images = [tmp_path / "a" / "x.jpg", tmp_path / "b" / "x.jpg"]
    with pytest.raises(DataError, match=r"sent as x\.png"):
        Submission(tmp_path / "sent", server_of("ade20k"), label_table("ade20k").classes.names, images, {})


def _png(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format="PNG")
    return buffer.getvalue()


def _good() -> bytes:
    return _png(np.full((1024, 2048), 7, np.uint8))


@pytest.mark.parametrize(
    ("entry", "content", "problem"),
    [
        ("{0}.png", _png(np.full((512, 1024), 7, np.uint8)), "1024x512 pixels (width x height) instead of 2048x1024"),
        ("{0}.png", _png(np.resize(np.arange(19, dtype=np.uint8), (1024, 2048))), "these look like train ids"),
        ("{0}.png", _png(np.full((1024, 2048), 200, np.uint8)), "Values 200 mean no class"),
        ("{0}.png", _png(np.zeros((1024, 2048, 3), np.uint8)), "Mode RGB"),
        ("{0}.png", _png(np.full((1024, 2048), 7, np.uint16)), "Mode I;16"),
        ("{0}.png", b"not a picture", "No readable PNG"),
        ("{0}.png", _good()[:-400], "No readable PNG"),
        ("{0}.txt", b"", "1 files are no PNG"),
        ("other.png", _good(), "1 maps belong to no image: other.png"),
    ],
)
def test_the_check_names_what_is_wrong(
    tmp_path: Path, images: list[Path], entry: str, content: bytes, problem: str
) -> None:
    file = tmp_path / "sent.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(entry.format(images[0].stem), content)
        for image in images[1:]:
            archive.writestr(f"{image.stem}.png", _good())
    result = check_submission(file, SERVERS["cityscapes"], images)
    assert any(problem in line for line in result), result


def test_the_check_finds_missing_and_doubled_maps_and_files_that_are_no_zip(tmp_path: Path, images: list[Path]) -> None:
    file = tmp_path / "sent.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{images[0].stem}.png", _good())
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr(f"{images[0].stem}.png", _good())
    result = check_submission(file, SERVERS["cityscapes"], images)
    assert any("2 of 3 maps are missing" in line for line in result)
    assert any("in the zip 2 times" in line for line in result)
    assert "There is no file" in check_submission(tmp_path / "none.zip", SERVERS["cityscapes"])[0]
    assert "is no zip file" in check_submission(images[0], SERVERS["cityscapes"])[0]


def test_maps_in_a_wrong_folder_are_found_without_the_images(tmp_path: Path) -> None:
    file = tmp_path / "sent.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("2007_000033.png", _png(np.zeros((4, 4), np.uint8)))
    result = check_submission(file, SERVERS["voc"])
    assert any("comp6_test_cls" in line for line in result)
