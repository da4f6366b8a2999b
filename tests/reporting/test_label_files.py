"""Predictions as labels: the library's readers draw the same masks again, and calls go on where they were stopped."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import ray
import torch
from annotated import annotated
from PIL import Image
from processes import in_two
from pycocotools.coco import COCO
from torch import nn

import segdistill as sd
from segdistill.core.classes import Classes
from segdistill.data.colors import save_mask
from segdistill.reporting.label_files import job
from segdistill.reporting.label_files.base import Labelled
from segdistill.reporting.label_files.regions import regions, without_small
from segdistill.reporting.label_files.writers import WRITERS, write_labels

CLASSES = Classes(("road", "car & co", "sky"), ((128, 64, 128), (0, 0, 142), (70, 130, 180)))
SIZE = (23, 31)


def random_mask(seed: int, size: tuple[int, int] = SIZE) -> Any:
    """Areas of all shapes: single pixels, holes in holes, pinches, the border, and void among them."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 4, (-(-size[0] // 3), -(-size[1] // 3))).repeat(3, 0).repeat(3, 1)
    fine = random.integers(0, 4, size)
    mask = np.where(random.random(size) < 0.8, coarse[: size[0], : size[1]], fine)
    return np.where(mask == 3, 255, mask).astype(np.uint8)


@pytest.fixture
def labelled(tmp_path: Path) -> tuple[list[Labelled], dict[str, Any]]:
    """Images in folders and their masks, as `predict` leaves them."""
    predicted, masks = [], {}
    for number, name in enumerate(["a.png", "night/b c.jpg", "night/é.png", "d.png"]):
        image = tmp_path / "images" / name
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((*SIZE, 3), 40 * number, np.uint8)).save(image)
        below = image.relative_to(tmp_path / "images")
        file = tmp_path / "out" / "masks" / below.with_suffix(".png")
        masks[image.stem] = random_mask(number)
        save_mask(file, torch.from_numpy(masks[image.stem]), CLASSES)
        predicted.append(Labelled(image, PurePosixPath(below), PurePosixPath(below.with_suffix("")), file))
    return predicted, masks


FILES = {
    "coco": "annotations.json",
    "cvat": "annotations.xml",
    "labelstudio": "tasks.json",
    "labelme": "",
}


@pytest.mark.parametrize("format", WRITERS)
def test_what_is_written_is_read_pixel_by_pixel(
    format: Any, labelled: tuple[list[Labelled], dict[str, Any]], tmp_path: Path
) -> None:
    predicted, masks = labelled
    out = tmp_path / "out"
    write_labels(format, predicted, CLASSES, out)
    if format == "labelme":  # the folder holds nothing else
        for file in (out / "masks").rglob("*.png"):
            file.unlink()
    options = {"images": "images/{name}", "unlabeled": "void", "classes": list(CLASSES.names)}
    for split in ("train", "val"):
        data = annotated(tmp_path, f"out/{FILES[format]}".rstrip("/"), split, **options)
        for index in range(len(data)):
            assert (data[index].label.numpy() == masks[data.name(index).rpartition("/")[2]]).all()
    assert (out / "classes.txt").read_text().splitlines() == list(CLASSES.names)


def test_coco_is_what_its_own_library_reads(
    labelled: tuple[list[Labelled], dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predicted, masks = labelled
    write_labels("coco", predicted, CLASSES, tmp_path / "out")
    coco = COCO(str(tmp_path / "out" / "annotations.json"))
    for image in coco.dataset["images"]:
        drawn = np.full(SIZE, 255, np.uint8)
        for each in coco.imgToAnns[image["id"]]:
            mask = coco.annToMask(each).astype(bool)
            assert mask.sum() == each["area"]
            rows, columns = np.nonzero(mask)
            left, top, width, height = each["bbox"]
            assert (columns.min(), rows.min()) == (left, top)
            assert (columns.max() + 1, rows.max() + 1) == (left + width, top + height)
            drawn[mask] = each["category_id"] - 1
        assert (drawn == masks[Path(image["file_name"]).stem]).all()


def test_outlines_have_corners_only_where_they_turn() -> None:
    mask = np.full((5, 6), 255, np.uint8)
    mask[1:4, 2:5] = 1
    mask[1, 4] = 255
    (region,) = regions(mask)
    assert region.outline() == [(2, 1), (4, 1), (4, 2), (5, 2), (5, 4), (2, 4)]


def test_small_areas_become_void() -> None:
    mask = np.zeros((4, 8), np.uint8)
    mask[:2, 5:] = 1  # six pixels
    mask[3, 3] = 1
    cleaned = without_small(mask, 2)
    assert (cleaned == np.where((np.indices(mask.shape) == np.array([[[3]], [[3]]])).all(0), 255, mask)).all()
    assert (without_small(mask, 7)[mask == 1] == 255).all()
    assert (without_small(mask, 0) == mask).all()


class Ramp(nn.Module):
    """Three classes; the further from the first column, the surer of the last."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        column = torch.linspace(0, 4, image.shape[-1])
        return self.weight * column + 0 * image[:, :1]


def ramp() -> sd.SegmentationNetwork:
    return sd.wrap(Ramp(), 3, mean=(0, 0, 0), std=(1, 1, 1), classifier="output")


def photos(folder: Path, count: int = 5) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(np.full((6, 8 + number // 3 % 8, 3), 50 + number, np.uint8)).save(folder / f"{number}.png")
    return folder


def test_uncertain_pixels_become_void(tmp_path: Path) -> None:
    made = sd.predict(ramp(), photos(tmp_path / "photos", 1), out=tmp_path / "out", void_below=0.8, format="coco")
    confidence = (torch.linspace(0, 4, 8) * torch.tensor([1.0, 2, 3]).view(3, 1)).softmax(0).amax(0).numpy()
    mask = np.array(Image.open(made[0].mask))
    assert (mask == np.where(confidence < 0.8, 255, 2)).all()
    assert 0 < (mask == 255).sum() < mask.size
    assert made[0].overlay is None
    (each,) = json.loads((tmp_path / "out" / "annotations.json").read_text())["annotations"]
    assert each["area"] == (mask == 2).sum()


@pytest.fixture
def inferred(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of images, as they go through a network."""
    names: list[str] = []
    infer = job.infer

    def noting(*arguments: Any, **options: Any) -> Any:
        names.extend(Path(name).stem for name in options["names"])
        return infer(*arguments, **options)

    monkeypatch.setattr(job, "infer", noting)
    return names


def test_a_call_goes_on_and_predicts_no_image_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inferred: list[str]
) -> None:
    folder, out = photos(tmp_path / "photos"), tmp_path / "out"
    network = ramp()

    def stopping(self: Any, images: Any, items: Any) -> Any:
        if items[0].image.name == "3.png":
            raise KeyboardInterrupt
        return run(self, images, items)

    run = job.MaskJob._infer
    with monkeypatch.context() as patch:
        patch.setattr(job.MaskJob, "_infer", stopping)
        with pytest.raises(KeyboardInterrupt):
            sd.predict(network, folder, out=out, format="cvat")
    assert not (out / "annotations.xml").exists()
    before = {file: file.stat().st_mtime_ns for file in (out / "masks").iterdir()}
    assert [file.name for file in sorted(before)] == ["0.png", "1.png", "2.png"]
    assert inferred == ["0", "1", "2"]
    (out / "masks" / ".3.png.12345.part").touch()  # as a killed process leaves it
    made = sd.predict(network, folder, out=out, format="cvat", batch_size=2)
    assert sorted(file.name for file in (out / "masks").iterdir()) == [f"{number}.png" for number in range(5)]
    assert inferred == ["0", "1", "2", "3", "4"]
    assert [each.image.name for each in made] == [f"{number}.png" for number in range(5)]
    assert all(file.stat().st_mtime_ns == time for file, time in before.items())
    manifest = json.loads((out / "manifest.json").read_text())
    assert [entry["size"] for entry in manifest["images"]] == [[6, 8]] * 3 + [[6, 9]] * 2
    assert (out / "annotations.xml").read_text().count("<image ") == 5
    sd.predict(network, folder, out=out, format="coco")  # of the same masks
    assert inferred == ["0", "1", "2", "3", "4"]
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(folder / "1.png")
    os.utime(folder / "1.png", ns=(1, 1))
    sd.predict(network, folder, out=out, format="cvat")
    assert inferred[5:] == ["1"]
    sd.predict(network, folder, out=out, format="cvat", void_below=0.9)
    assert len(inferred) == 11


def test_a_network_that_sees_images_otherwise_makes_new_masks(tmp_path: Path, inferred: list[str]) -> None:
    folder, out = photos(tmp_path / "photos", 1), tmp_path / "out"
    calls: list[dict[str, Any]] = [{}, {"bgr": True}, {"bgr": True, "mean": (0, 0, 0)}, {"size": (12, 16)}]
    for number, options in enumerate(calls, 1):
        for _ in range(2):
            sd.predict(sd.wrap(Ramp(), 3, classifier="output", **options), folder, out=out)
            assert len(inferred) == number


def test_a_killed_call_goes_on_with_what_is_there(tmp_path: Path, start: Any, segdistill: Any) -> None:
    folder, masks = photos(tmp_path / "photos", 30), tmp_path / "out" / "masks"
    words = ["predict", "streets_teacher", folder, f"out={tmp_path / 'out'}", "format=coco"]
    process = start(*words)
    while len([*masks.glob("[!.]*")]) < 3:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
    process.kill_group()
    before = {file: file.stat().st_mtime_ns for file in masks.glob("[!.]*")}
    assert 3 <= len(before) < 30
    assert not (tmp_path / "out" / "annotations.json").exists()
    done = segdistill(*words)
    assert done.returncode == 0, done.stderr
    assert all(file.stat().st_mtime_ns == written for file, written in before.items())
    assert len([*masks.iterdir()]) == 30
    images = json.loads((tmp_path / "out" / "annotations.json").read_text())["images"]
    assert len({each["file_name"] for each in images}) == len(images) == 30


def test_batches_give_the_masks_of_single_images(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    one, several = (
        sd.predict("streets_teacher", folder, out=tmp_path / f"out{size}", batch_size=size) for size in (1, 3)
    )
    for first, second in zip(one, several, strict=True):
        assert (np.array(Image.open(first.mask)) == np.array(Image.open(second.mask))).all()


def predicted_by(rank: int, folder: Path, out: Path) -> Sequence[str]:
    """`predict` as one of the processes, and the masks that this one wrote."""
    written: list[str] = []
    save = job.save_mask
    job.save_mask = lambda path, *rest, **notes: (written.append(path.name), save(path, *rest, **notes))
    made = sd.predict("streets_teacher", folder, out=out, format="coco")
    return [*written, "all", *sorted(each.image.name for each in made)]


def test_processes_share_the_images(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    first, second = in_two(predicted_by, folder, tmp_path / "out")
    everything = ["all", *(f"{number}.png" for number in range(5))]
    assert first == ["0.png", "2.png", "4.png", *everything]
    assert second == ["1.png", "3.png", *everything]
    assert len(json.loads((tmp_path / "out" / "annotations.json").read_text())["images"]) == 5
    alone = sd.predict("streets_teacher", folder, out=tmp_path / "alone", format="coco")
    for each in alone:
        assert each.mask.read_bytes() == (tmp_path / "out" / "masks" / each.mask.name).read_bytes()


def test_ray_gives_the_same(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    (folder / "broken.png").write_bytes((folder / "0.png").read_bytes()[:40])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        with pytest.raises(sd.SegdistillError, match="1 of 6 images could not be predicted"):
            sd.predict("streets_teacher", folder, out=tmp_path / "out", format="coco", executor="ray")
    finally:
        ray.shutdown()
    (folder / "broken.png").unlink()
    for each in sd.predict("streets_teacher", folder, out=tmp_path / "alone", format="coco"):
        assert each.mask.read_bytes() == (tmp_path / "out" / "masks" / each.mask.name).read_bytes()
    both = [json.loads((tmp_path / name / "annotations.json").read_text()) for name in ("out", "alone")]
    assert both[0] == both[1]


def test_what_can_not_be_is_refused(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 1)
    twice = photos(tmp_path / "more", 1)
    with pytest.raises(sd.SegdistillError, match=r"2 images are called 0\.png"):
        sd.predict("streets_teacher", folder, twice, out=tmp_path / "out", format="coco")
    with pytest.raises(sd.SegdistillError, match="that other machines can open"):
        sd.predict(ramp(), folder, out=tmp_path / "out", executor="ray")
    with pytest.raises(sd.SegdistillError, match="format"):
        sd.predict(ramp(), folder, out=tmp_path / "out", format="yolo")  # type: ignore[arg-type]
