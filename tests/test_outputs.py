"""What is written in one call never collides, and never falls on what is read."""

from __future__ import annotations

import unicodedata
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
from PIL import Image

import segdistill
from segdistill.core.classes import unnamed_classes
from segdistill.core.colors import palette
from segdistill.core.errors import DataError
from segdistill.core.output_names import output_names
from segdistill.evaluation.settings import InferenceConfig
from segdistill.models.loaded import LoadedModel
from segdistill.reporting.prediction import predict_files


def names(*files: str) -> list[str]:
    given = {Path(file): PurePosixPath(file) for file in files}
    return [str(name) for name in output_names(given).values()]


def test_names_keep_folders_and_never_meet() -> None:
    assert names("a.jpg", "b.png") == ["a", "b"]
    assert names("x/a.jpg", "y/a.jpg") == ["x/a", "y/a"]
    assert names("a.jpg", "a.png") == ["a-jpg", "a-png"]
    assert len({*names("a.jpg", "a.png", "a-png.jpg")}) == 3
    accents = [unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD")]
    for several in (["A.png", "a.png"], accents, ["a.b.png", "a.b.jpg"], ["a.jpg", "a.JPG", "a.jpeg"]):
        written = [unicodedata.normalize("NFC", name).casefold() for name in names(*several)]
        assert len({*written}) == len(several), written


def test_a_file_of_the_same_name_in_two_given_folders() -> None:
    given = {Path(folder, "a.jpg"): PurePosixPath("a.jpg") for folder in ("one", "two", "three/one")}
    assert len({*output_names(given).values()}) == 3
    given = {Path(folder, name): PurePosixPath("a.jpg") for folder in ("x/one", "y/one") for name in ("a.jpg", "A.jpg")}
    assert len({*output_names(given).values()}) == 4


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A run of one step."""
    done = segdistill.train(
        "streets", "tiny_pair", "data.size=[32,48]", "data.count=6", "augment.crop=[32,32]", steps=1, batch_size=2,
        workers=0, out=str(tmp_path / "run"), quiet=True,
    )  # fmt: skip
    return done.folder


def picture(path: Path, red: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((32, 48, 3), red, np.uint8)).save(path)


def test_predict_on_a_folder_as_people_have_it(trained: Path, tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "photos" / "predictions"
    for place in ("a.jpg", "a.png", "more/a.jpg", "more/b.JPG"):
        picture(photos / place)
    (photos / "._a.jpg").write_bytes(b"\0\5\26\7Mac OS X")
    (photos / "broken.png").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"(?s)1 of 5 images.*broken\.png"):
        list(segdistill.predict(trained, photos, out=out))
    masks = sorted(path.relative_to(out).as_posix() for path in out.rglob("*_mask.png"))
    assert masks == ["a-jpg_mask.png", "a-png_mask.png", "more/a_mask.png", "more/b_mask.png"]
    (photos / "broken.png").unlink()
    again = [each.image for each in segdistill.predict(trained, photos, out=out)]
    assert len(again) == 4, "what an earlier call wrote is not predicted"


def test_predict_never_writes_over_an_image(trained: Path, tmp_path: Path) -> None:
    for name in ("a.png", "a_mask.png"):
        picture(tmp_path / "photos" / name)
    before = (tmp_path / "photos" / "a_mask.png").read_bytes()
    with pytest.raises(DataError, match=r"a_mask\.png would be written over"):
        list(segdistill.predict(trained, tmp_path / "photos", out=tmp_path / "photos"))
    assert (tmp_path / "photos" / "a_mask.png").read_bytes() == before


def test_more_classes_than_a_mask_holds_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    model = LoadedModel(torch.nn.Identity(), unnamed_classes(300), tmp_path)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="There are 300 classes"):
        list(predict_files(model, [tmp_path / "a.png"], tmp_path, inference=InferenceConfig()))
    assert palette(unnamed_classes(255)).shape == (256, 3)
