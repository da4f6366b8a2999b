"""The teacher's cached logits: what the student gets of them, who may use them, and that they are never stale."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import segdistill
from segdistill.core.errors import RecipeError, TrainingError
from segdistill.data.augment import Augment
from segdistill.data.base import Sample
from segdistill.data.views import View
from segdistill.training.teacher_cache import TeacherLogits

Run = Callable[..., subprocess.CompletedProcess[str]]

NETWORKS = (
    "student={backbone: test_resnet, head: fcn, channels: 8}",
    "teacher.network={backbone: test_resnet, head: fcn, channels: 8}",
    "teacher.train.steps=1",
    "validate_every=4",
)


def gradients(height: int, width: int) -> Tensor:
    """An image whose red says the row and green the column."""
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    return torch.stack([rows.expand(height, width), columns.expand(height, width), torch.zeros(height, width)]).byte()


@pytest.mark.parametrize("seed", range(12))
def test_a_map_of_the_image_is_cut_as_the_image_is(seed: int) -> None:
    image = gradients(60, 90)
    augment = Augment(crop=(40, 56), scale=(0.5, 1.7), photometric=False, max_class_share=1)
    generator = torch.Generator().manual_seed(seed)
    sample = Sample(image, torch.zeros(60, 90, dtype=torch.uint8), "")
    crop, label, view = augment.viewed(sample, generator)
    inside = label != 255
    result = view.of(image.float(), (40, 56))
    height, width = view.content
    inner = torch.zeros_like(inside)
    inner[2 : height - 2, 2 : width - 2] = True  # at the image's own border resizing differs
    apart = (result - crop)[:, inside & inner].abs()
    assert apart.max() < 1.1, apart.max()  # the crop is rounded to whole numbers, and averaged where it shrinks
    coarse = view.of(F.avg_pool2d(image.float()[None], 4, ceil_mode=True)[0], (10, 14))
    averages = F.avg_pool2d(crop.float()[None], 4)[0]
    whole = F.max_pool2d((~(inside & inner)).float()[None], 4)[0] == 0
    assert (coarse - averages)[:2, whole].abs().max() < 2.5


def test_the_whole_image_is_its_own_view() -> None:
    maps = torch.randn(3, 5, 7)
    view = View((20, 28), (0, 0), (20, 28), (20, 28), flipped=False)
    torch.testing.assert_close(view.of(maps, (5, 7)), maps)
    flipped = View((20, 28), (0, 0), (20, 28), (20, 28), flipped=True)
    torch.testing.assert_close(flipped.of(maps, (5, 7)), maps.flip(-1))


def test_a_run_is_resumed_with_the_same_logits_and_damaged_ones_are_made_anew(
    tiny: tuple[str, ...], tmp_path: Path
) -> None:
    words = [*tiny, *NETWORKS, "kd", "baseline=none", "teacher.cache=logits", f"teacher.cache_folder={tmp_path / 'c'}"]
    segdistill.distill(*words, "steps=4", out=tmp_path / "whole", quiet=True)
    (folder,) = (path.parent for path in (tmp_path / "c").rglob("index.json"))
    made = (folder / "logits.bin").read_bytes()
    (folder / "logits.bin").write_bytes(made[:-2])  # as of a disk that lost the end
    (folder / ".logits.bin.1.part").write_bytes(b"left by a process that was killed")
    segdistill.distill(*words, "steps=4", out=tmp_path / "again", quiet=True)
    assert (folder / "logits.bin").read_bytes() == made
    assert sorted(path.name for path in folder.iterdir()) == ["index.json", "logits.bin"]
    same = [(tmp_path / name / "student.safetensors").read_bytes() for name in ("whole", "again")]
    assert same[0] == same[1]
    lines = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert all(line["kd"] > 0 for line in lines if line["kind"] == "train" and line["step"] > 1)

    logits = TeacherLogits(folder, (2, 3))
    sample = Sample(torch.zeros(3, 32, 48, dtype=torch.uint8), torch.zeros(32, 48, dtype=torch.uint8), "other")
    with pytest.raises(TrainingError, match="'other' has changed"):
        logits(0, sample, View((32, 48), (0, 0), (32, 48), (32, 48), flipped=False))


def test_images_of_several_sizes_have_crops_of_one_grid(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    for split in ("train", "val"):
        for index, size in enumerate([(83, 125), (96, 128), (91, 125), (120, 100)]):
            for kind, high in (("images", 255), ("masks", 3)):
                (tmp_path / split / kind).mkdir(parents=True, exist_ok=True)
                shape = (*size, 3) if kind == "images" else size
                pixels = noise.integers(0, high, shape, np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / kind / f"{index}.png")
    (tmp_path / "classes.txt").write_text("a\nb\nc\n")
    words = ["folder", f"data.root={tmp_path}", *NETWORKS, "student.output_stride=16", "batch_size=4", "log=[]"]
    words += ["augment.crop=[100,100]", "augment.mix=cutmix", "teacher.cache=logits", "kd", "baseline=none"]
    segdistill.distill(*words, "teacher.check=false", "steps=2", out=tmp_path / "run", quiet=True)
    assert (tmp_path / "run" / "student.safetensors").is_file()


def test_a_damaged_bit_of_the_logits_is_named_with_their_folder(tiny: tuple[str, ...], tmp_path: Path) -> None:
    words = [*tiny, *NETWORKS, "kd", "baseline=none", "teacher.cache=logits", "steps=4"]
    segdistill.distill(*words, out=tmp_path / "run", quiet=True)
    whole = (tmp_path / "run" / "student.safetensors").read_bytes()
    (file,) = (tmp_path / "run" / "teacher_logits").rglob("logits.bin")
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 4
    file.write_bytes(content)
    for left in (tmp_path / "run" / "checkpoints", tmp_path / "run" / "student.safetensors"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    with pytest.raises(TrainingError, match=f"in {re.escape(str(file.parent))} are damaged"):
        segdistill.distill(*words, out=tmp_path / "run", resume=True, quiet=True)
    shutil.rmtree(file.parent)  # as it says
    segdistill.distill(*words, out=tmp_path / "run", resume=True, quiet=True)
    assert (tmp_path / "run" / "student.safetensors").read_bytes() == whole


def test_an_index_that_says_something_else_is_made_anew(tiny: tuple[str, ...], tmp_path: Path) -> None:
    words = [*tiny, *NETWORKS, "kd", "baseline=none", "teacher.cache=logits", f"teacher.cache_folder={tmp_path / 'c'}"]
    segdistill.distill(*words, "steps=1", out=tmp_path / "whole", quiet=True)
    (index,) = (tmp_path / "c").rglob("index.json")
    made = index.read_bytes()
    entries = json.loads(made)
    others = ("", "\xff", "{}", "null", entries[1:], [{**entries[0], "shape": [2]}, *entries[1:]], [*entries, 3])
    for other in others:
        index.write_text(other if isinstance(other, str) else json.dumps(other), encoding="latin-1")
        with pytest.raises((OSError, ValueError)):
            TeacherLogits(index.parent, (2, 3))
    segdistill.distill(*words, "steps=1", out=tmp_path / "again", quiet=True)
    assert index.read_bytes() == made


def test_methods_that_read_more_than_logits_are_refused_before_anything_is_trained(
    tiny: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match="canonical reads its embedding"):
        segdistill.distill(*tiny, *NETWORKS, "canonical", "teacher.cache=logits", out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_off_is_no_cache(tiny: tuple[str, ...]) -> None:
    written = segdistill.load_recipe(*tiny, "teacher.cache=off").model_dump(mode="json")
    assert "cache" not in written["teacher"]
