"""`prepare cityscapes`: masks drawn from polygons, and ids made train ids."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from layouts import cityscapes
from numpy.typing import NDArray
from own_folders import image, values_of

from segdistill import prepare
from segdistill.core.errors import DataError
from segdistill.preparation.cityscapes import draw_polygons


def _polygons(path: Path, objects: list[dict[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"imgWidth": 8, "imgHeight": 6, "objects": objects}))
    return path


def _box(label: str, left: int, top: int, right: int, bottom: int, **more: object) -> dict[str, object]:
    return {"label": label, "polygon": [[left, top], [right, top], [right, bottom], [left, bottom]], **more}


def test_polygons_cover_those_before(tmp_path: Path) -> None:
    path = _polygons(
        tmp_path / "a_polygons.json",
        [
            _box("road", 0, 3, 7, 5),
            _box("cargroup", 1, 2, 3, 4),
            _box("license plate", 2, 3, 2, 3),
            _box("polegroup", 6, 0, 6, 5),
            _box("sky", 0, 0, 7, 5, deleted=1),
            _box("out of roi", 0, 5, 7, 5),
        ],
    )
    label = draw_polygons(path).tolist()
    assert label[0] == [255] * 8
    assert label[3] == [0, 13, 13, 13, 0, 0, 255, 0]
    assert label[5] == [255] * 8


@pytest.mark.parametrize("text", ["", "{}", '{"imgWidth": 8, "imgHeight": 6, "objects": [{"label": "road"}]}', "[1]"])
def test_polygons_that_make_no_sense_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "a_polygons.json").write_text(text)
    with pytest.raises(DataError, match=r"a_polygons\.json"):
        draw_polygons(tmp_path / "a_polygons.json")


def test_an_object_of_no_label_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'spaceship'"):
        draw_polygons(_polygons(tmp_path / "a.json", [_box("spaceship", 0, 0, 7, 5)]))


def test_cityscapes_with_polygons_only(tmp_path: Path) -> None:
    for part, city in (("train", "ulm"), ("val", "lindau")):
        image(tmp_path / "leftImg8bit" / part / city / f"{city}_1_leftImg8bit.png", size=(8, 6))
        _polygons(tmp_path / "gtFine" / part / city / f"{city}_1_gtFine_polygons.json", [_box("car", 0, 0, 7, 5)])
    done = prepare("cityscapes", root=tmp_path, quiet=True, partial=True)
    assert done.ready
    assert done.converted == {"train-id masks": 2}
    assert values_of(tmp_path / "gtFine" / "val" / "lindau" / "lindau_1_gtFine_labelTrainIds.png") == [[13] * 8] * 6


def test_cityscapes_label_ids_for_other_tools(tmp_path: Path) -> None:
    root = cityscapes(tmp_path / "root")
    done = prepare("cityscapes", root=root, out=tmp_path / "made", quiet=True, partial=True)
    assert done.converted == {"train-id masks": 7}
    name = "gtFine/val/lindau/lindau_000000_000001_gtFine_label"
    assert values_of(root / f"{name}Ids.png")[0] == [0, 7, 8, 29, 33, 255]
    assert values_of(tmp_path / "made" / f"{name}TrainIds.png")[0] == [255, 0, 1, 255, 18, 255]


def test_an_interrupted_conversion_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from segdistill.preparation import cityscapes as preparation
    from segdistill.runtime.interruption import Interrupted

    for number in range(20):
        folder = tmp_path / "gtFine" / "train" / "ulm"
        _polygons(folder / f"ulm_{number:02d}_gtFine_polygons.json", [_box("car", 0, 0, 7, 5)])
    draw = preparation.draw_polygons

    def stop_at_the_fifth(path: Path) -> NDArray[np.uint8]:
        if "ulm_05" in path.name:
            raise KeyboardInterrupt
        return draw(path)

    with monkeypatch.context() as patch:
        patch.setattr(preparation, "draw_polygons", stop_at_the_fifth)
        with pytest.raises(Interrupted, match="the same command goes on"):
            prepare("cityscapes", root=tmp_path, quiet=True)
    made = [*tmp_path.rglob("*labelTrainIds.png")]
    assert len(made) < 20
    assert all(values_of(path) == [[13] * 8] * 6 for path in made)
    assert prepare("cityscapes", root=tmp_path, quiet=True).converted == {"train-id masks": 20 - len(made)}
    assert not [*tmp_path.rglob("*.part")]
