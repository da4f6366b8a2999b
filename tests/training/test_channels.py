"""Distillation on images of four channels of 16 bits, from a teacher that sees three of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from channel_folders import RANGE, four_channels, write_folder
from forked import Forked
from PIL import Image
from safetensors.torch import load_file

import segdistill
from segdistill.core.errors import DataError, RecipeError
from segdistill.data.reading import read_image
from segdistill.recipe.recipe import load_recipe
from segdistill.training.plan import resolve

from .test_resume import wait_for_step

METHOD = ("method=[kd, cwd]", "teacher.channels=[0,1,2]", "augment.mix=classmix", "augment.scale=[0.4,0.9]")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("four") / "data")


@pytest.fixture(scope="module")
def words(tiny: tuple[str, ...], root: Path) -> list[str]:
    kept = [word for word in tiny if not word.startswith(("data.", "streets"))]
    return ["folder", f"data.root={root}", "data.channels=4", RANGE, *kept]


@pytest.fixture(scope="module")
def run(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a student that sees four channels and a teacher that sees the first three."""
    out = tmp_path_factory.mktemp("run") / "run"
    segdistill.distill(*words, *METHOD, out=out, quiet=True)
    return out


def test_student_and_teacher_see_their_channels(run: Path, root: Path) -> None:
    student, teacher = segdistill.load_model(run), segdistill.load_model(run / "teacher")
    image = read_image(root / "images" / "2.tif", pixels=student.pixels)[None]
    other = image.clone()
    other[:, 3] = 1 - other[:, 3]
    with torch.no_grad():
        assert torch.equal(teacher(image).logits, teacher(other).logits)
        assert not torch.equal(student(image).logits, student(other).logits)
    assert (student.mean.shape[1], teacher.mean.shape[1]) == (4, 3)


def test_every_verb_takes_the_run(run: Path, root: Path, tmp_path: Path) -> None:
    for part in (run, run / "teacher"):
        assert 0 <= segdistill.evaluate(part, quiet=True).quality.scores.miou <= 100
    file = root / "images" / "0.tif"
    (written,) = segdistill.predict(run, file, out=tmp_path / "out")
    stored = four_channels(0)[0]
    model = segdistill.load_model(run)
    floats = torch.from_numpy(stored.astype(np.float32)).permute(2, 0, 1) / 4000
    by_file, by_array, by_tensor = model.predict([file, stored, floats])
    assert np.array_equal(np.asarray(Image.open(written.mask)), by_file.mask)
    assert np.array_equal(by_file.mask, by_array.mask)
    assert np.array_equal(by_file.mask, by_tensor.mask)
    assert by_file.image.shape == (32, 48, 3)
    assert len(segdistill.predict(run, root / "images", out=tmp_path / "all")) == 10  # the .npy file among them
    np.save(tmp_path / "three.npy", stored[..., :3])
    with pytest.raises(DataError, match=r"three\.npy has 3 channel\(s\); expected 4"):
        segdistill.predict(run, tmp_path / "three.npy", out=tmp_path / "out")
    assert all(each.is_file() for each in segdistill.show(run, out=tmp_path / "pictures"))
    assert segdistill.report(run).file.is_file()
    assert segdistill.profile(run, latency=False).macs > 0


def test_a_resumed_run_has_the_same_bits(
    words: list[str], run: Path, tmp_path: Path, start: Callable[..., Forked]
) -> None:
    folder = tmp_path / "run"
    recipe = [*words, *METHOD, f"teacher.weights={run / 'teacher'}", "baseline=none", f"out={folder}", "--resume"]
    process = start("distill", *recipe)
    wait_for_step(process, folder / "metrics.jsonl", 4)
    process.kill()
    process.wait()
    last = start("distill", *recipe, "workers=1")
    assert last.wait() == 0, last.communicate()[1]
    assert (folder / "student.safetensors").read_bytes() == (run / "student.safetensors").read_bytes()


def test_a_given_teacher_sees_the_channels_that_are_named(
    words: list[str], tiny: tuple[str, ...], root: Path, tmp_path: Path
) -> None:
    rgb = tmp_path / "rgb"
    shutil.copytree(root, rgb)
    for number in range(10):
        pixels = (four_channels(number)[0][..., :3] // 16).astype(np.uint8)
        for old in (rgb / "images").glob(f"{number}.*"):
            old.unlink()
        Image.fromarray(pixels).save(rgb / "images" / f"{number}.png")
    kept = [word for word in tiny if not word.startswith(("data.", "streets"))]
    teacher = tmp_path / "teacher"
    segdistill.train("folder", *kept, f"data.root={rgb}", "role=teacher", "steps=2", out=teacher, quiet=True)
    given = [*words, "method=kd", f"teacher.weights={teacher}", "baseline=none", "steps=2", "teacher.cache=logits"]
    with pytest.raises(RecipeError, match=r"sees 3 channel\(s\).*images have 4.*teacher\.channels"):
        resolve(load_recipe(*given, out=tmp_path / "refused"))
    with pytest.raises(RecipeError, match=r"takes 3 channel\(s\), and \[0, 1\] are 2"):
        resolve(load_recipe(*given, "teacher.channels=[0,1]", out=tmp_path / "refused"))
    done = segdistill.distill(*given, "teacher.channels=[2,1,0]", out=tmp_path / "run", quiet=True)
    scored = segdistill.evaluate(teacher, *words, "network.input_channels=[2,1,0]", quiet=True)
    assert scored.quality.scores.miou == pytest.approx(done.study.teacher.miou, abs=1e-3)


def test_a_backbone_pretrained_on_four_channels_starts_a_student(words: list[str], tmp_path: Path) -> None:
    teacher = (
        "pretrain.teacher=vit_tiny_patch16_224", "pretrain.teacher_weights=null",
        "pretrain.teacher_options={embed_dim: 24, depth: 1, num_heads: 2}",
    )  # fmt: skip
    pretraining = [*words, *teacher, "steps=1", "validate_every=1"]
    done = segdistill.pretrain(*pretraining, "teacher.channels=[2,1,0]", out=tmp_path / "backbone", quiet=True)
    task = resolve(
        load_recipe(*words, f"student.backbone_weights={done.folder}", out=tmp_path / "run"), distills=False
    ).task
    expected = load_file(done.folder / "backbone.safetensors")
    ours = task.network.state_dict()
    assert all(torch.equal(ours[key], value) for key, value in expected.items())
    assert any(value.ndim == 4 and value.shape[1] == 4 for value in expected.values())


def test_doctor_names_images_of_other_channels(words: list[str], root: Path, tmp_path: Path) -> None:
    bad = tmp_path / "data"
    shutil.copytree(root, bad)
    tifffile.imwrite(bad / "images" / "4.tif", four_channels(4)[0][..., :3], photometric="rgb")
    report = segdistill.doctor(*words, f"data.root={bad}", out=tmp_path / "run")
    problems = [finding.text for finding in report.findings if finding.level == "problem"]
    assert any("4.tif has 3 channel(s); expected 4" in text for text in problems), problems
