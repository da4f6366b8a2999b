"""Small stand-ins for what the documentation's commands name: data sets, photos, weight files and finished runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from channel_folders import write_folder
from layouts import MAKE, enlarge
from PIL import Image
from snippets import PAGES, blocks, small

import segdistill
from segdistill.data.tables import label_table
from segdistill.models.files import save_model
from segdistill.models.zoo import resolve_spec

SIZE = (48, 64)
"""Height and width of every image."""

ROOTS = {
    "camvid": "data/CamVid",
    "cityscapes": "data/cityscapes",
    "ade20k": "data/ade/ADEChallengeData2016",
    "pascal_context": "data/VOCdevkit/VOC2010",
    "voc": "data/VOCdevkit/VOC2012",
    "coco_stuff": "data/coco_stuff164k",
}
"""Where the fragments of data sets look, if no data.root is said."""

Make = Callable[[Path], object]


def provide(store: Path, folder: Path, text: str) -> None:
    """Put into `folder` whatever of `WORLD` the text names and does not make itself; it is made once, in `store`."""
    text += "".join(f" {root}" for name, root in ROOTS.items() if re.search(rf"\b{name}\b", text))
    for path, make in WORLD.items():
        name = re.escape(path)
        named = re.search(rf"(?<![\w/.-]){name}(?![\w-])", text)
        made = re.search(rf"""(?<![.\w])out=["']?{name}(?![\w-])""", text)
        if not named or made:
            continue
        if not (store / path).exists():
            make(store / path)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        if (store / path).is_dir():
            shutil.copytree(store / path, folder / path, copy_function=os.link, dirs_exist_ok=True)
        else:
            os.link(store / path, folder / path)


def _picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(sum(path.name.encode())).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(noise).resize(SIZE[::-1], Image.Resampling.BICUBIC).save(path)
    return path


def _mask(path: Path, values: Iterable[int]) -> Path:
    """Every value in a column or more of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = list(values)
    row = np.array([values[place * len(values) // SIZE[1]] for place in range(SIZE[1])], np.uint8)
    Image.fromarray(np.tile(row, (SIZE[0], 1))).save(path)
    return path


def _camvid(root: Path) -> None:
    for split in ("train", "val", "test"):
        names = [f"{split}_{number}.png" for number in range(2)]
        for name in names:
            _picture(root / split / name)
            _mask(root / f"{split}annot" / name, range(12))
        prefix = f"/SegNet/CamVid/{split}"
        (root / f"{split}.txt").write_text("".join(f"{prefix}/{name} {prefix}annot/{name}\n" for name in names))


def _cityscapes(root: Path) -> None:
    table = label_table("cityscapes")
    for split, city, number in (("train", "ulm", 0), ("train", "ulm", 1), ("val", "lindau", 0), ("test", "bonn", 0)):
        name = f"{city}_{number:06d}_000019"
        _picture(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png")
        if split != "test":
            _mask(
                root / "gtFine" / split / city / f"{name}_gtFine_labelIds.png",
                [0, *(ids[0] for ids in table.ids)],
            )


def _cityscapes_downloads(folder: Path) -> None:
    _cityscapes(folder / "unpacked")
    for archive, part in (("leftImg8bit_trainvaltest.zip", "leftImg8bit"), ("gtFine_trainvaltest.zip", "gtFine")):
        with zipfile.ZipFile(folder / archive, "w") as packed:
            for file in sorted((folder / "unpacked" / part).rglob("*.png")):
                packed.write(file, file.relative_to(folder / "unpacked"))


def _own(values: tuple[int, ...] = (0, 1, 2), names: str = "road\ncar\nsky\n") -> Make:
    """images/, masks/ and classes.txt."""

    def make(root: Path) -> None:
        for number in range(6):
            _picture(root / "images" / f"photo_{number}.jpg")
            _mask(root / "masks" / f"photo_{number}.png", values)
        (root / "classes.txt").write_text(names)

    return make


def _polygons(root: Path) -> None:
    """images/ and COCO's annotations.json."""
    _own()(root)
    (height, width), ring = SIZE, [0, 0, 30, 0, 30, SIZE[0], 0, SIZE[0]]
    images = [{"id": n, "file_name": f"photo_{n}.jpg", "height": height, "width": width} for n in range(6)]
    areas = [{"id": n, "image_id": n, "category_id": 1 + n % 2, "segmentation": [ring]} for n in range(6)]
    categories = [{"id": 1, "name": "road"}, {"id": 2, "name": "car"}]
    tree = {"images": images, "annotations": areas, "categories": categories}
    (root / "annotations.json").write_text(json.dumps(tree))


def _hub(root: Path) -> None:
    """A parquet file of images and masks, and id2label.json."""
    _own()(root / "files")
    columns: dict[str, list[dict[str, bytes]]] = {"image": [], "label": []}
    for image in sorted((root / "files" / "images").iterdir()):
        columns["image"].append({"bytes": image.read_bytes()})
        columns["label"].append({"bytes": (root / "files" / "masks" / f"{image.stem}.png").read_bytes()})
    pq.write_table(pa.table(columns), root / "train-00000-of-00001.parquet")
    (root / "id2label.json").write_text(json.dumps({"0": "unlabeled", "1": "road", "2": "car"}))


def _painted(root: Path) -> None:
    for number in range(6):
        _picture(root / "images" / f"photo_{number}.jpg")
        colors = np.repeat(np.array([[128, 64, 128], [0, 0, 142], [0, 0, 0]], np.uint8), (30, 30, 4), axis=0)
        (root / "masks").mkdir(exist_ok=True)
        Image.fromarray(np.tile(colors, (SIZE[0], 1, 1))).save(root / "masks" / f"photo_{number}.png")


def _unlabelled(root: Path) -> None:
    for split, number in (("train", 0), ("train", 1), ("train", 2), ("val", 3)):
        _picture(root / split / "images" / f"photo_{number}.jpg")
    _mask(root / "val" / "masks" / "photo_3.png", range(3))
    (root / "classes.txt").write_text("road\ncar\nsky\n")


def _photos(folder: Path) -> None:
    for number in range(2):
        _picture(folder / f"photo_{number}.jpg")


def _published(name: str, layout: str) -> Make:
    """A file of that layout with the network of the zoo, untrained, for Cityscapes."""

    def make(path: Path) -> None:
        named = label_table("cityscapes").classes
        model = segdistill.create_model(name, len(named))
        folder = path.with_suffix(".ours")
        save_model(folder, "teacher", model, resolve_spec({"name": name}), named, {})
        segdistill.convert(folder, path, layout=layout, role="teacher")

    return make


def _hugging_face(folder: Path) -> None:
    import transformers

    names = label_table("streets").classes.names
    config = transformers.SegformerConfig(
        hidden_sizes=[4, 8, 8, 8],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=12,
        id2label=dict(enumerate(names)),
        label2id={name: index for index, name in enumerate(names)},
    )
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(folder)
    transformers.SegformerImageProcessor().save_pretrained(folder)


def _smp(folder: Path) -> None:
    import segmentation_models_pytorch as smp

    smp.DeepLabV3Plus("resnet18", encoder_weights=None, classes=8, decoder_channels=16).save_pretrained(folder)


def _distilled(*parts: str, data: Make | None = None) -> Make:
    """A finished distillation on generated scenes, or on data made beside it."""

    def make(run: Path) -> None:
        folder = run.parents[1] / "data_of_runs" / run.name
        if data is not None:
            data(folder)
        root = () if data is None else (f"data.root={folder}",)
        words = [*parts, "tiny_pair", "kd", *root]
        segdistill.distill(*words, *small("distill", words), out=run, quiet=True)

    return make


def _teacher(run: Path) -> None:
    folder = run.parents[1] / "data_of_runs" / run.name
    _own()(folder)
    words = ["folder", "tiny_pair", f"data.root={folder}", "role=teacher"]
    segdistill.train(*words, *small("train", words), out=run, quiet=True)


def _yaml_files() -> dict[str, Make]:
    """The yaml blocks of the pages that begin with the name of a file."""
    named: dict[str, Make] = {}
    for page in PAGES:
        for block in blocks(page):
            name = re.match(r"# (\S+\.ya?ml)\b", block.text)
            if block.language == "yaml" and name:
                named[name[1]] = lambda path, text=block.text: path.write_text(text, encoding="utf-8")
    return named


WORLD: dict[str, Make] = {
    **_yaml_files(),
    **{ROOTS[name]: lambda root, make=make: enlarge(make(root), 8) for name, make in MAKE.items()},
    "data/CamVid": _camvid,
    "data/cityscapes": _cityscapes,
    "downloads": _cityscapes_downloads,
    "my_data": _own(),
    "polygons": _polygons,
    "sidewalk": _hub,
    "orchard": write_folder,
    "cracks": _own((0, 255), ""),
    "painted": _painted,
    "unlabelled": _unlabelled,
    "photo.jpg": _picture,
    "photos": _photos,
    "more_photos": _photos,
    "pspnet_r101-d8_512x1024_80k_cityscapes.pth": _published("pspnet_r18", "openmmlab"),
    "pspnet_r18.pth": _published("pspnet_r18", "openmmlab"),
    "cityscapes.pth": _published("pspnet_r18", "openmmlab"),
    "cirkd.pth": _published("deeplabv3_r18_cirkd", "cirkd"),
    "cirkd_generation2.pth": _published("deeplabv3_r18_cirkd2", "cirkd"),
    "models/segformer-b2-streets": _hugging_face,
    "models/segformer-b0": _hugging_face,
    "models/deeplab": _smp,
    "runs/student": _distilled("streets"),
    "runs/mine": _distilled("streets"),
    "runs/city": _distilled("cityscapes", data=_cityscapes),
    "runs/my_teacher": _teacher,
}
"""What a page may name without having made it, and how the tests make it."""

VALUES = {"images": torch.rand(2, 3, 64, 96)}
"""Names that a program on a page may use without having made them."""
