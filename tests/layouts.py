"""The published layouts in small, written to a folder: one to three images a split, a few labels in each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

SMALL = (
    "student={backbone: mobilenetv2_035, head: fcn, channels: 8, output_stride: 16, auxiliary_channels: 8}",
    "teacher.network={backbone: mobilenetv2_035, head: fcn, channels: 12, output_stride: 16}",
    "augment.crop=[64,96]",
    "workers=0",
    "data.partial=true",
)
"""Recipe parts that make any published row small enough to run on such data: other networks, smaller crops."""


def write_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4), (1, 2, 3)).save(path)


def write_mask(path: Path, values: list[int]) -> None:
    """Four rows of `values`, six of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array([values] * 4, np.uint8)).save(path)


def write_lines(path: Path, names: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))


def cityscapes(root: Path) -> Path:
    for part, city in (("train", "aachen"), ("train", "ulm"), ("val", "lindau"), ("train_extra", "augsburg")):
        write_image(root / "leftImg8bit" / part / city / f"{city}_000000_000001_leftImg8bit.png")
        for truth in ("gtFine", "gtCoarse") if part != "train_extra" else ("gtCoarse",):
            mask = root / truth / part / city / f"{city}_000000_000001_{truth}_labelIds.png"
            write_mask(mask, [0, 7, 8, 29, 33, 255] if truth == "gtFine" else [7, 7, 7, 0, 0, 0])
    return root


def ade20k(root: Path) -> Path:
    for split, folder, count in (("train", "training", 3), ("val", "validation", 2)):
        for number in range(1, count + 1):
            write_image(root / "images" / folder / f"ADE_{split}_{number:08d}.jpg")
            write_mask(root / "annotations" / folder / f"ADE_{split}_{number:08d}.png", [0, 1, 150, number, 0, 2])
    return root


def pascal_context(root: Path) -> Path:
    for split, names in (("train", ["2008_000002", "2008_000003"]), ("val", ["2008_000004"])):
        write_lines(root / "ImageSets" / "SegmentationContext" / f"{split}.txt", names)
        for name in names:
            write_image(root / "JPEGImages" / f"{name}.jpg")
            write_mask(root / "SegmentationClassContext" / f"{name}.png", [0, 1, 2, 6, 37, 59])
    return root


def voc(root: Path) -> Path:
    for name in ("train", "extra", "val"):
        write_image(root / "JPEGImages" / f"{name}.jpg")
        write_mask(root / "SegmentationClassAug" / f"{name}.png", [0, 1, 20, 255, 15, 0])
        if name != "extra":
            write_mask(root / "SegmentationClass" / f"{name}.png", [0, 1, 20, 255, 15, 1])
    write_lines(root / "ImageSets" / "Segmentation" / "train.txt", ["train"])
    write_lines(root / "ImageSets" / "Segmentation" / "val.txt", ["val"])
    write_lines(root / "ImageSets" / "SegmentationAug" / "train_aug.txt", ["extra", "train"])
    return root


def coco_stuff(root: Path) -> Path:
    for folder, names in (("train2017", ["000000000009", "000000000025"]), ("val2017", ["000000000139"])):
        for name in names:
            write_image(root / "images" / folder / f"{name}.jpg")
            write_mask(root / "annotations" / folder / f"{name}.png", [0, 10, 12, 91, 181, 255])
    return root


MAKE: dict[str, Callable[[Path], Path]] = {
    "cityscapes": cityscapes,
    "ade20k": ade20k,
    "pascal_context": pascal_context,
    "voc": voc,
    "coco_stuff": coco_stuff,
}
"""Those with an official number of images."""


def camvid(root: Path) -> Path:
    """The lists hold the path of the machine they were made on, as the published ones do."""
    for split, names in (("train", ("a", "b", "c")), ("val", ("d",)), ("test", ("e", "f"))):
        (root / split).mkdir(parents=True)
        (root / f"{split}annot").mkdir()
        for i, name in enumerate(names):
            Image.new("RGB", (8, 6), (i, 0, 0)).save(root / split / f"{name}.png")
            Image.new("L", (8, 6), i).save(root / f"{split}annot" / f"{name}.png")
        lines = [f"/SegNet/CamVid/{split}/{name}.png /SegNet/CamVid/{split}annot/{name}.png\n" for name in names]
        (root / f"{split}.txt").write_text("".join(lines))
    return root


def enlarge(root: Path, times: int) -> Path:
    """Every image `times` as large and full of noise, every mask `times` as large."""
    noise = np.random.default_rng(0)
    for file in sorted([*root.rglob("*.png"), *root.rglob("*.jpg")]):
        with Image.open(file) as opened:
            large = opened.resize((times * opened.width, times * opened.height), Image.Resampling.NEAREST)
        if large.mode == "RGB":
            large = Image.fromarray(noise.integers(0, 255, (large.height, large.width, 3), dtype=np.uint8))
        large.save(file)
    return root


def all_layouts(folder: Path) -> dict[str, Path]:
    """Each data set in its layout, with images of about 96x64."""
    makers = {**MAKE, "camvid": camvid}
    return {name: enlarge(make(folder / name), 16) for name, make in makers.items()}
