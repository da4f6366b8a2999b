"""`show`, `submit` and `check-zip` as a user runs them, on a tiny distillation."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from own_folders import image
from PIL import Image

from segdistill import create_model, distill, show, submit, train
from segdistill.core.classes import IGNORE_INDEX
from segdistill.core.colors import colorise
from segdistill.core.errors import SegdistillError
from segdistill.data.colors import with_legend
from segdistill.data.datasets.streets import Streets
from segdistill.data.tables import label_table
from segdistill.evaluation.inference.inference import infer
from segdistill.evaluation.inference.padding import bordered
from segdistill.evaluation.settings import InferenceConfig
from segdistill.models.open import open_model
from segdistill.reporting.activations import activation_map
from segdistill.reporting.panels import GAINED, LOST, RIGHT, VOID, WRONG, change_map, disagreement, error_map, heat

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny: tuple[str, ...]) -> Path:
    folder = tmp_path_factory.mktemp("show") / "run"
    distill(*tiny, "kd", out=folder, quiet=True)
    return folder


def test_show_draws_all_pictures(run: Path, segdistill: Command, tmp_path: Path) -> None:
    done = segdistill(
        "show", run, "what=compare,activations,embeddings,curves", "images=0,3", f"out={tmp_path}", "--json"
    )
    names = [Path(path).name for path in json.loads(done.stdout)]
    first, second = (Streets(split="val", size=(32, 48), count=12).name(index) for index in (0, 3))
    assert names == [
        "curves.png",
        "embeddings.png",
        *(name for stem in (first, second) for name in (f"{stem}.png", f"{stem}_activations.png")),
    ]
    for name in names:
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 100
            assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 10, "not an empty picture"


def test_show_of_a_single_network_and_of_an_image_by_name(run: Path, tmp_path: Path) -> None:
    name = Streets(split="val", size=(32, 48), count=12).name(1)
    made = show(run / "alone", what=["compare"], images=[name], out=tmp_path)
    assert [path.name for path in made] == [f"{name}.png"]


@pytest.mark.parametrize("image", ["2", 2, 0])
def test_show_of_one_image_needs_no_list(image: str | int, run: Path, tmp_path: Path) -> None:
    made = show(run / "alone", what="compare", images=image, out=tmp_path)
    name = Streets(split="val", size=(32, 48), count=12).name(int(image))
    assert [path.name for path in made] == [f"{name}.png"]


def test_show_of_nothing_is_refused(run: Path, segdistill: Command) -> None:
    done = segdistill("show", run, "what=")
    assert done.returncode == 1
    assert "Key 'what' names no picture; expected one or more of compare, activations" in done.stderr


def test_images_of_one_name_in_two_folders_have_a_picture_each(tiny: tuple[str, ...], tmp_path: Path) -> None:
    for camera in ("1", "2"):
        for number, split in enumerate(("train", "val")):
            folder = tmp_path / "data" / split
            image(folder / "images" / camera / f"{number}.png", red=int(camera), size=(48, 32))
            label = np.eye(32, 48, dtype=np.uint8)
            (folder / "masks" / camera).mkdir(parents=True)
            Image.fromarray(label).save(folder / "masks" / camera / f"{number}.png")
    words = "folder", f"data.root={tmp_path / 'data'}", "data.classes=[road,sky]", "data.images={split}/images/{name}"
    train(*tiny[3:], *words, "data.masks={split}/masks/{name}", out=tmp_path / "run", steps=1, quiet=True)
    made = show(tmp_path / "run", what=["compare"], out=tmp_path / "shown")
    assert [path.name for path in made] == ["1_0.png", "1_1.png"]
    with pytest.raises(SegdistillError, match=r"2 validation images are called '1'.*\[0, 1\]"):
        show(tmp_path / "run", what=["compare"], images=["1"], out=tmp_path / "shown")


@pytest.mark.parametrize(
    "inference", [InferenceConfig(size_divisor=64), InferenceConfig(mode="slide", crop=(32, 32)), InferenceConfig()]
)
def test_show_runs_images_as_evaluate_does(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inference: InferenceConfig
) -> None:
    drawn: dict[str, Any] = {}
    target = "segdistill.commands.show.save_panels"
    monkeypatch.setattr(target, lambda path, panels, *rest, **keys: drawn.update(panels))
    words = [f"inference.{key}={json.dumps(value)}" for key, value in inference.model_dump(mode="json").items()]
    show(run, *words, what=["compare"], images=[0], out=tmp_path)
    data = Streets(split="val", size=(32, 48), count=12)
    image = data[0].image[None]
    student, teacher = (open_model(each).network for each in (run, run / "teacher"))
    expected = infer(student, image, inference).classes[0]
    assert np.array_equal(drawn["distilled"], colorise(expected, data.classes))
    assert np.array_equal(drawn["distilled: wrong"], error_map(data[0].label, expected))
    wide = bordered(image, inference.size_divisor)
    scores = []
    with torch.no_grad():
        for network in (teacher, student):
            logits = network(wide.float() / 255).logits
            full = torch.nn.functional.interpolate(logits, wide.shape[-2:], mode="bilinear", align_corners=False)
            scores.append(full[0, :, :32, :48])
    assert np.abs(drawn["distilled: unlike the teacher"].astype(int) - heat(disagreement(*scores))).max() <= 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["images=99"], "number from 0 to"),
        (["what=compares"], "Did you mean 'compare'"),
        (["what=activations", "class=raod"], "Did you mean 'road'"),
    ],
)
def test_show_says_what_is_wrong(
    run: Path, segdistill: Command, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = segdistill("show", run, *arguments, f"out={tmp_path}")
    assert done.returncode == 1
    assert message in done.stderr.replace("\n", " ")


def test_show_of_a_folder_without_a_run(segdistill: Command, tmp_path: Path) -> None:
    done = segdistill("show", tmp_path)
    assert done.returncode == 1
    assert "is not a run folder" in done.stderr.replace("\n", " ")


def test_error_and_change_maps_paint_each_pixel_by_what_happened() -> None:
    label = torch.tensor([[0, 1, 1, IGNORE_INDEX]], dtype=torch.uint8)
    before, after = (torch.tensor([row], dtype=torch.uint8) for row in ([0, 0, 1, 0], [0, 1, 0, 1]))
    assert error_map(label, after).tolist() == [[list(RIGHT), list(RIGHT), list(WRONG), list(VOID)]]
    assert change_map(label, before, after).tolist() == [[list(RIGHT), list(GAINED), list(LOST), list(VOID)]]


def test_disagreement_is_the_total_variation_of_the_class_probabilities() -> None:
    one, other = torch.tensor([[[9.0, 0.0]], [[0.0, 0.0]]]), torch.tensor([[[0.0, 0.0]], [[9.0, 0.0]]])
    confidence = torch.tensor(9.0).sigmoid().item()
    assert disagreement(one, other).flatten().tolist() == pytest.approx([2 * confidence - 1, 0], abs=1e-6)


def test_an_activation_map_shows_the_class_where_it_is_predicted() -> None:
    torch.manual_seed(0)
    network = create_model("mobilenetv2_035_fcn", 200)
    image = torch.randint(256, (3, 64, 96), dtype=torch.uint8)
    classes = network.eval()(image[None].float() / 255).logits.argmax(1)
    absent = next(index for index in range(200) if index not in classes)
    result = activation_map(network, image, int(classes.flatten().mode().values))
    assert result.shape == (64, 96)
    assert 0 <= result.min() < result.max() <= 1
    assert not activation_map(network, image, absent).any()


def test_a_legend_names_the_classes_that_are_there_below_the_picture() -> None:
    classes = label_table("streets").classes
    label = (
        torch.tensor([[0, 2], [2, IGNORE_INDEX]], dtype=torch.uint8).repeat_interleave(100, 0).repeat_interleave(100, 1)
    )
    pixels = colorise(label, classes)
    shown = with_legend(pixels, label, classes)
    assert np.array_equal(shown[:200], pixels)
    below = {tuple(color) for color in shown[200:].reshape(-1, 3).tolist()}
    assert {classes.colors[0], classes.colors[2]} <= below
    assert classes.colors[1] not in below


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run of a network with the classes of Cityscapes, and a folder of two test images."""
    folder = tmp_path_factory.mktemp("city")
    names = label_table("cityscapes").classes.names
    for part in ("images", "masks"):
        (folder / "data" / part).mkdir(parents=True)
    random = np.random.default_rng(0)
    for index in range(5):
        Image.fromarray(random.integers(256, size=(32, 48, 3), dtype=np.uint8)).save(
            folder / f"data/images/{index}.png"
        )
        Image.fromarray(random.integers(19, size=(32, 48), dtype=np.uint8)).save(folder / f"data/masks/{index}.png")
    (folder / "data" / "classes.txt").write_text("\n".join(names), encoding="utf-8")
    train(
        "folder", f"data.root={folder / 'data'}", "augment.crop=[32,48]", "steps=1", "batch_size=2", "workers=0",
        "student={backbone: mobilenetv2_035, head: fcn, channels: 8}", out=folder / "run", quiet=True,
    )  # fmt: skip
    (folder / "test" / "berlin").mkdir(parents=True)
    for index in range(2):
        picture = Image.fromarray(random.integers(256, size=(1024, 2048, 3), dtype=np.uint8))
        picture.save(folder / "test" / "berlin" / f"berlin_00000{index}_000019_leftImg8bit.png")
    return folder / "run", folder / "test"


def test_submit_writes_what_check_finds_good_but_for_the_number(
    city: tuple[Path, Path], segdistill: Command, tmp_path: Path
) -> None:
    run, images = city
    done = segdistill("submit", run, "cityscapes", images, f"out={tmp_path / 'sent'}", "--json")
    result = json.loads(done.stdout)
    assert result["images"] == 2
    assert result["problems"] == ["2 images were given; the test set has 1525."]
    with zipfile.ZipFile(result["file"]) as archive:
        assert archive.namelist() == [f"berlin_00000{index}_000019_leftImg8bit.png" for index in range(2)]
    checked = segdistill("check-zip", result["file"], "cityscapes", images)
    assert "is good" in checked.stdout.replace("\n", " ")
    assert segdistill("check-zip", result["file"], "cityscapes").returncode == 1


def test_submit_refuses_maps_of_a_network_that_sees_images_otherwise(city: tuple[Path, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(city[0], run)
    image = tmp_path / "images" / "a.png"
    image.parent.mkdir()
    Image.fromarray(np.zeros((32, 48, 3), np.uint8)).save(image)
    for _ in range(2):
        assert submit(run, "cityscapes", image, out=tmp_path / "sent", quiet=True).images == 1
    description = run / "student.yaml"
    description.write_text(description.read_text().replace("bgr: false", "bgr: true"))
    with pytest.raises(SegdistillError, match="made otherwise"):
        submit(run, "cityscapes", image, out=tmp_path / "sent", quiet=True)
